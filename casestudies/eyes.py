"""The simulator: renders a driver's eye, as seen by a camera in the dashboard, from its parameters.

In: an `Eye`. Out: 128 × 128 pixels. Surfaces are shaded from a height map (`face`) or as spheres (`eyeball`). Edges are
signed distances converted to pixel coverage, so nothing needs supersampling; only lashes and brow are drawn as strokes,
at three times the size. Colours are linear light, in planes of shape (3, SIDE, SIDE), until the last step.
"""

import functools
import math

import numpy as np
from PIL import Image, ImageFilter

from casestudies import eyeball, eyewear, face
from casestudies.camera import SIDE, place_camera
from casestudies.parameters import Eye
from casestudies.people import find_person
from casestudies.scene import Scene

_GAMMA = 2.2
_NOISE_SIDE = 512


def render(eye: Eye) -> np.ndarray:
    """Render the image of an eye.

    Returns
    -------
    ndarray of shape (SIDE, SIDE, 3), uint8
        Determined by the parameters, whatever was rendered before.
    """
    rng = np.random.default_rng(eye.seed)
    right, up = rng.uniform(-0.08, 0.08, 2).tolist()
    scene = Scene(eye, place_camera(eye, (right, up)), _to_light(eye), rng, find_person(eye.person))
    lids = face.shape_lids(scene)
    picture = face.paint_skin(scene, lids)
    picture = eyeball.paint_eyeball(scene, lids, picture)
    picture = face.paint_lashes(scene, picture)
    picture = face.paint_profile(scene, picture)
    picture = eyewear.paint_eyewear(scene, picture)
    return _expose(picture, eye, rng)


def _to_light(eye: Eye) -> np.ndarray:
    side, height = math.radians(eye.light_side_deg), math.radians(eye.light_height_deg)
    return np.array(
        [math.sin(side) * math.cos(height), math.sin(height), math.cos(side) * math.cos(height)], np.float32
    )


def _expose(picture: np.ndarray, eye: Eye, rng: np.random.Generator) -> np.ndarray:
    """Turn light into pixels as the sensor does: brightness, defocus, gamma, noise."""
    exposed = np.clip(picture * np.float32(eye.light), 0, 1).transpose(1, 2, 0)
    pixels = _gamma_table()[(exposed * 4095).astype(np.int16)]
    if eye.blur_px > 0.2:
        blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(eye.blur_px))
        pixels = np.asarray(blurred)
    top, left = rng.integers(_NOISE_SIDE - SIDE, size=2)
    noise = _sensor_noise()[top : top + SIDE, left : left + SIDE]
    return np.clip(pixels + noise * np.float32(eye.noise_levels) + np.float32(0.5), 0, 255).astype(np.uint8)


@functools.cache
def _gamma_table() -> np.ndarray:
    linear = np.arange(4096) / 4095
    return np.rint(255 * linear ** (1 / _GAMMA)).astype(np.uint8)


@functools.cache
def _sensor_noise() -> np.ndarray:
    """Noise from which each image takes a crop; drawing new noise would take a tenth of an image's rendering time."""
    noise = np.random.default_rng(1).standard_normal((_NOISE_SIDE, _NOISE_SIDE, 3), dtype=np.float32)
    # Because of a sensor's colour filter, neighbouring pixels share brightness more than hue.
    noise = 0.6 * noise + 0.8 * noise[:, :, 1:2]
    return noise / noise.std()
