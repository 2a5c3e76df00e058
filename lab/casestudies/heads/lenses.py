"""Glasses and sunglasses: two lenses in a frame, on a surface that bends back to the temples."""

import numpy as np

from lab.casestudies.heads.looks import Looks
from lab.casestudies.heads.surface import as_planes
from lab.casestudies.heads.view import PIXEL, View
from safe_dnn.casestudies.camera import coverage, smooth

_DEPTH = 0.92
_CURVATURE = 0.22


def paint_lenses(picture: np.ndarray, view: View, looks: Looks, depth: np.ndarray, *, dark: bool) -> np.ndarray:
    """Paint lenses and frame over a picture.

    Parameters
    ----------
    picture : ndarray of shape (3, n_pixels), float32
    depth : ndarray of shape (n_pixels,), float32
        Distance from the camera to what lies behind.
    dark : bool
        Whether these are sunglasses.
    """
    camera = view.camera.astype(np.float32)
    start = view.to_head((camera[:1], camera[1:2], camera[2:]))
    ray = view.turned(view.rays())
    far = (_DEPTH - start[2]) / ray[2]
    for _ in range(3):
        x = start[0] + far * ray[0]
        far = (_DEPTH - _CURVATURE * x * x - start[2]) / ray[2]
    x, y = start[0] + far * ray[0], start[1] + far * ray[1]
    visible = (far < depth + 0.02) & (ray[2] < -0.15)

    width, height = looks.lens_half
    half = (1.12 * width, 1.15 * height) if dark else (width, height)
    across, up = np.abs(x), y - looks.build.eyes_height + (0.02 if dark else 0.01)
    rim = _distance_to_rim(across - looks.build.eyes_apart, up, half, looks.lens_squareness)
    sky = smooth(y + 0.1 * x, -0.05, 0.25)
    if dark:
        lens = picture * as_planes(looks.tint) + (0.02 + looks.mirrored * sky) * as_planes((0.9, 1.0, 1.1))
    else:
        lens = 0.93 * picture + 0.02 * sky
    inside = coverage(rim, PIXEL) * visible
    picture = picture + (lens - picture) * inside
    thick = 0.030 if dark else 0.022
    bar = thick / 2 - np.abs(rim + thick / 2)
    bridge = np.minimum(0.02 - np.abs(up - 0.06), looks.build.eyes_apart - half[0] + 0.01 - across)
    frame = coverage(np.maximum(bar, bridge), PIXEL) * visible
    return picture + (as_planes(looks.frame) - picture) * frame


def _distance_to_rim(x: np.ndarray, y: np.ndarray, half: tuple[float, float], squareness: float) -> np.ndarray:
    """Signed distance to a rounded rectangle, positive inside."""
    corner = min(half) * (1 - 0.75 * squareness)
    right, up = np.abs(x) - (half[0] - corner), np.abs(y) - (half[1] - corner)
    return corner - np.hypot(np.maximum(right, 0), np.maximum(up, 0)) - np.minimum(np.maximum(right, up), 0)
