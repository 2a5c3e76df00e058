"""Light: where it comes from, and how the camera's sensor turns it into pixels."""

import functools
import math

import numpy as np
from PIL import Image, ImageFilter

from safe_dnn.casestudies.camera import SIDE
from safe_dnn.casestudies.case import Subject

GAMMA = 2.2
_NOISE_SIDE = 512


def direction_of(lit: Subject) -> np.ndarray:
    """Unit vector to the lamp, in camera coordinates: float32 of shape (3,)."""
    side, height = math.radians(lit.light_side_deg), math.radians(lit.light_height_deg)
    return np.array(
        [math.sin(side) * math.cos(height), math.sin(height), math.cos(side) * math.cos(height)], np.float32
    )


def expose(picture: np.ndarray, exposed: Subject, rng: np.random.Generator) -> np.ndarray:
    """Turn light into pixels as the sensor does: brightness, defocus, gamma, noise.

    Parameters
    ----------
    picture : ndarray of shape (3, SIDE, SIDE), float32
        Linear light.

    Returns
    -------
    ndarray of shape (SIDE, SIDE, 3), uint8
    """
    linear = np.clip(picture * np.float32(exposed.light), 0, 1).transpose(1, 2, 0)
    pixels = _gamma_table()[(linear * 4095).astype(np.int16)]
    if exposed.blur_px > 0.2:
        blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(exposed.blur_px))
        pixels = np.asarray(blurred)
    top, left = rng.integers(_NOISE_SIDE - SIDE, size=2)
    noise = _sensor_noise()[top : top + SIDE, left : left + SIDE]
    return np.clip(pixels + noise * np.float32(exposed.noise_levels) + np.float32(0.5), 0, 255).astype(np.uint8)


@functools.cache
def _gamma_table() -> np.ndarray:
    linear = np.arange(4096) / 4095
    return np.rint(255 * linear ** (1 / GAMMA)).astype(np.uint8)


@functools.cache
def _sensor_noise() -> np.ndarray:
    """Noise from which each image takes a crop; drawing new noise would take a tenth of an image's rendering time."""
    noise = np.random.default_rng(1).standard_normal((_NOISE_SIDE, _NOISE_SIDE, 3), dtype=np.float32)
    # Because of a sensor's colour filter, neighbouring pixels share brightness more than hue.
    noise = 0.6 * noise + 0.8 * noise[:, :, 1:2]
    return noise / noise.std()
