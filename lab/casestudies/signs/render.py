"""The simulator: renders a scene with traffic signs, as seen by a camera behind the windscreen.

In: a `Scene`. Out: 128 × 128 pixels. Everything is painted in daylight at twice the size; then the light is set, and
the camera exposes.
"""

import functools

import numpy as np
from PIL import Image, ImageDraw

from lab.casestudies.signs.faces import face_of
from lab.casestudies.signs.parameters import Scene, Sign
from lab.casestudies.signs.surroundings import FINE, WIDE, paint_surroundings
from safe_dnn.casestudies.camera import SIDE
from safe_dnn.casestudies.light import GAMMA, expose
from safe_dnn.casestudies.scene import TEXTURE_SIDE, textures


def render(scene: Scene) -> np.ndarray:
    """Render the image of a scene.

    Returns
    -------
    ndarray of shape (SIDE, SIDE, 3), uint8
        Determined by the parameters, whatever was rendered before.
    """
    rng = np.random.default_rng(scene.seed)
    picture = paint_surroundings(scene, rng)
    for sign in scene.signs:
        _paint_sign(picture, sign)
    linear = _linear()[np.asarray(picture.reduce(FINE))].transpose(2, 0, 1)
    top, left = rng.integers(TEXTURE_SIDE - SIDE, size=2).tolist()
    grain = textures()["middle"][top : top + SIDE, left : left + SIDE]
    return expose(linear * (1 + 0.07 * grain), scene, rng)


def _paint_sign(picture: Image.Image, sign: Sign) -> None:
    """A sign on its pole, which reaches down to the image's border."""
    left, top = (round((at - side / 2) * FINE) for at, side in ((sign.x, sign.width), (sign.y, sign.height)))
    width, height = round(sign.width * FINE), round(sign.height * FINE)
    pole = max(2, round(0.06 * sign.size * FINE))
    middle = round(sign.x * FINE)
    ImageDraw.Draw(picture).line([(middle, top + height // 2), (middle, WIDE)], (132, 134, 138), pole)
    face = face_of(sign.name, sign.picture).resize((width, height), Image.Resampling.BOX)
    picture.paste(face, (left, top), face)


@functools.cache
def _linear() -> np.ndarray:
    return ((np.arange(256) / 255) ** GAMMA).astype(np.float32)
