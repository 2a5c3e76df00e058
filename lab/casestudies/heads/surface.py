"""The colours of what is seen, before any light: skin, eyes, brows, lips, hair, clothes.

Colours are linear light, in arrays of shape (3, n_points); points are those of `Seen`.
"""

import dataclasses

import numpy as np

from lab.casestudies.heads.looks import Colour, Looks
from lab.casestudies.heads.parameters import Head
from lab.casestudies.heads.shape import Points
from lab.casestudies.heads.view import CLOTH, FRAME, HAIR, HAND, PIXEL, SCARF
from safe_dnn.casestudies.camera import coverage, smooth
from safe_dnn.casestudies.face import colour_of_skin
from safe_dnn.casestudies.scene import TEXTURE_SIDE, textures

_HAIR: dict[str, Colour] = {
    "black": (0.012, 0.010, 0.009),
    "brown": (0.060, 0.032, 0.018),
    "auburn": (0.14, 0.05, 0.02),
    "blond": (0.30, 0.20, 0.09),
    "grey": (0.26, 0.26, 0.26),
}
_EYE_HALF = 0.135  # half the width of an eye


@dataclasses.dataclass(frozen=True)
class Seen:
    """The points of somebody that the pixels see.

    Attributes
    ----------
    world, own : Points
        World coordinates, and those of the head.
    material : ndarray of shape (n_points,), int
    rng : Generator
        For details of the image not determined by the parameters.
    """

    head: Head
    looks: Looks
    world: Points
    own: Points
    material: np.ndarray
    rng: np.random.Generator

    def texture(self, grain: str, across: np.ndarray, down: np.ndarray) -> np.ndarray:
        """Noise with mean 0 and variance 1 at these coordinates of the texture (see `scene.textures`)."""
        top, left = self.rng.integers(TEXTURE_SIDE, size=2).tolist()
        rows, columns = (down.astype(np.int32) + top) % TEXTURE_SIDE, (across.astype(np.int32) + left) % TEXTURE_SIDE
        return textures()[grain][rows, columns]


def paint_surface(seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """The colour of each point, and how much it shines: float32 of shape (3, n_points) and (n_points,)."""
    looks, material = seen.looks, seen.material
    x, y, _ = seen.own
    skin = as_planes(colour_of_skin(seen.head.skin_tone))
    grain = 1 + 0.035 * seen.texture("coarse", 40 * x, 40 * y) + 0.025 * seen.texture("middle", 40 * x, 40 * y)
    colour, gloss = _paint_face(seen, skin, skin * grain)
    strands = _strands(seen)
    folds = 1 + 0.12 * seen.texture("coarse", 40 * seen.world[0], 60 * seen.world[1])
    knit = 1 + 0.16 * np.sin(70 * x + 1.5 * np.sin(50 * y)) * np.sin(60 * y)
    others = {
        HAIR: (1.1 * as_planes(_HAIR[seen.head.hair]) * strands, 0.08),
        CLOTH: (as_planes(looks.cloth) * folds, 0.0),
        FRAME: (as_planes(looks.frame) * np.ones_like(x), 0.15),
        SCARF: (as_planes(looks.scarf) * knit, 0.0),
        HAND: (skin * as_planes((1.0, 0.93, 0.90)) * grain, 0.05),
    }
    for of_material, (own_colour, own_gloss) in others.items():
        here = material == of_material
        colour = np.where(here, own_colour, colour)
        gloss = np.where(here, np.float32(own_gloss), gloss)
    return colour.astype(np.float32), gloss


def as_planes(colour: Colour | np.ndarray) -> np.ndarray:
    """A colour as float32 of shape (3, 1)."""
    return np.array(colour, np.float32)[:, None]


def _over(below: np.ndarray, colour: np.ndarray | float, cover: np.ndarray) -> np.ndarray:
    return below + (colour - below) * cover


def _strands(seen: Seen) -> np.ndarray:
    """Brightness of the hair: streaks that run from the crown down."""
    x, y, z = seen.own
    around = np.arctan2(x, z + np.float32(0.3))
    streaks = 0.25 * seen.texture("fine", 18 * y, 40 * around) + 0.16 * seen.texture("middle", 8 * y, 60 * around)
    return 1 + np.clip(streaks, -0.6, 0.9)


def _paint_face(seen: Seen, base: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Skin with its features, and its gloss."""
    build, (x, y, z) = seen.looks.build, seen.own
    beside = np.abs(x)
    front = smooth(z, 0.1, 0.4)
    tip = 0.10 - 0.37 * build.nose
    red = 0.5 * np.exp(-((beside - 0.38) ** 2 + (y + 0.22) ** 2) / 0.04) + 0.5 * np.exp(-(x**2 + (y - tip) ** 2) / 0.02)
    skin = skin * (1 - red * front * as_planes((0.03, 0.20, 0.16)))
    skin = _paint_beard(seen, skin, front)
    nostril = np.exp(-(((beside - 0.055) / 0.03) ** 2) - ((y - tip + 0.085) / 0.022) ** 2) * (z > 0.75)
    skin = skin * (1 - 0.7 * nostril)
    skin, lips = _paint_lips(seen, base, skin)
    skin = _paint_brows(seen, skin)
    skin, iris = _paint_eyes(seen, skin, front)
    return skin, (0.05 + 0.05 * lips + 0.25 * iris).astype(np.float32)


def _paint_beard(seen: Seen, skin: np.ndarray, front: np.ndarray) -> np.ndarray:
    if not seen.looks.beard:
        return skin
    x, y, _ = seen.own
    mouth = np.exp(-(x**2) / 0.09 - (y - seen.looks.build.mouth_height) ** 2 / 0.012)
    where = smooth(-y, 0.30, 0.45) * smooth(0.75 - np.abs(x), 0, 0.15) * front * (1 - 0.8 * smooth(mouth, 0.2, 0.6))
    return _over(skin, as_planes(_HAIR[seen.head.hair]), np.float32(seen.looks.beard) * where)


def _paint_lips(seen: Seen, base: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lips and the line between them, which is wide and dark if the mouth is open; and the coverage by the lips."""
    build, (x, y, z) = seen.looks.build, seen.own
    up = y - np.float32(build.mouth_height)
    across = 1 - np.clip(x / 0.25, -1, 1) ** 2
    thick, opened = 0.062 * build.lips, build.mouth_open
    upper = 1.15 * thick * across * (1 - 0.25 * np.exp(-((x / 0.04) ** 2))) + 0.02 * opened
    lower = (1.45 * thick + 0.11 * opened) * across
    lips = coverage(np.minimum(upper - up, up + lower), PIXEL) * (z > 0.3)
    skin = _over(skin, base * as_planes((0.80, 0.50, 0.50)) + as_planes((0.04, 0.0, 0.005)), 0.8 * lips)
    line = np.exp(-(((up + 0.02 * opened) / (0.014 + 0.035 * opened)) ** 2)) * smooth(0.25 - np.abs(x), 0, 0.08)
    return skin * (1 - 0.8 * line * (z > 0.3)), lips


def _paint_brows(seen: Seen, skin: np.ndarray) -> np.ndarray:
    build, (x, y, z) = seen.looks.build, seen.own
    along = (np.abs(x) - np.float32(build.eyes_apart)) / 0.20
    middle = build.eyes_height + 0.19 - 0.045 * along * along + 0.012 * along
    brow = np.exp(-(((y - middle) / (0.032 * np.maximum(1.15 - 0.35 * along, 0.3))) ** 2)) * smooth(
        1.1 - np.abs(along), 0, 0.25
    )
    return _over(skin, 0.75 * as_planes(_HAIR[seen.head.hair]), 0.85 * brow * (z > 0.2))


def _paint_eyes(seen: Seen, skin: np.ndarray, front: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eyes in their hollows, with lids and lashes; and the coverage by the irises."""
    looks, (x, y, z) = seen.looks, seen.own
    right, up = np.abs(x) - np.float32(looks.build.eyes_apart), y - np.float32(looks.build.eyes_height)
    hollow = np.exp(-((right / 0.22) ** 2) - (up / 0.10) ** 2) * front
    skin = skin * (1 - hollow * as_planes((0.22, 0.30, 0.25)))
    across = np.clip(right / _EYE_HALF, -1, 1)
    arch = (1 - across * across).astype(np.float32)
    below_upper = 0.068 * arch - up
    open_eye = coverage(np.minimum(below_upper, up + 0.045 * arch), PIXEL) * (z > 0.55)
    distance = np.hypot(right * np.sign(x) - looks.gaze[0], up - 0.008 - looks.gaze[1])
    iris, pupil = coverage(0.058 - distance, 1.2 * PIXEL), coverage(0.024 - distance, PIXEL)
    shaded = (1 - 0.5 * smooth(np.abs(across), 0.5, 1.0)) * (1 - 0.5 * np.exp(-np.maximum(below_upper, 0) / 0.02))
    eye = _over(_over(as_planes((0.56, 0.53, 0.50)) * shaded, as_planes(looks.iris), iris), 0.004, pupil)
    skin = _over(skin, eye, open_eye)
    within = (z > 0.5) * smooth(1.12 - np.abs(right / _EYE_HALF), 0, 0.2)
    lashes = np.exp(-((below_upper / 0.016) ** 2)) * within
    fold = np.exp(-(((below_upper + 0.045) / 0.014) ** 2)) * within
    return skin * (1 - 0.85 * lashes) * (1 - 0.3 * fold), open_eye * iris
