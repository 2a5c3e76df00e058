"""Projection from the head to the image and back: a camera far enough away for parallel projection.

Head coordinates: x towards the nose, y towards the brow, z out of the face; the origin is the centre of the eyeball,
whose radius is 1. Image coordinates u (right) and v (up) have the same unit, the half width of the eye.
"""

import dataclasses
import math

import numpy as np

from safe_dnn.casestudies.parameters import Eye

SIDE = 128
"""Height and width of an image, in pixels."""
VIEW_CM = 3.5 / 60.0
"""Half widths spanned by the image, per centimetre of distance."""
LID_DEPTH = 0.8
"""z of the lids at the centre of the eye."""

# u and v of the pixel centres, between −0.5 and 0.5
_U = np.broadcast_to(((np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5), (SIDE, SIDE))
_V = -_U.T


@dataclasses.dataclass(frozen=True)
class Camera:
    """What each pixel sees.

    Attributes
    ----------
    u, v : ndarray of shape (SIDE, SIDE), float32
        Image coordinates of the pixel centres, relative to the centre of the eyeball.
    pixel : float
        Side of a pixel.
    rotation : ndarray of shape (3, 3)
        Rotation from head to camera coordinates.
    """

    u: np.ndarray
    v: np.ndarray
    pixel: float
    rotation: np.ndarray

    def to_head(self, depth: float, *, curvature: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the points that the pixels see on the surface at `depth` (see `bent`)."""
        (uu, _, uz), (vu, vv, vz) = self.rotation[0], self.rotation[1]
        z: np.ndarray | float = depth
        for _ in range(3 if curvature else 1):
            x = (self.u - uz * z) / uu
            z = bent(depth, curvature, x)
        y = (self.v - vu * x - vz * z) / vv
        return x.astype(np.float32), y.astype(np.float32)

    def to_pixels(self, x: np.ndarray, y: np.ndarray, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of points on the head, in Pillow's coordinates: (0, 0) is the corner of the image."""
        u = self.rotation[0, 0] * x + self.rotation[0, 1] * y + self.rotation[0, 2] * z
        v = self.rotation[1, 0] * x + self.rotation[1, 1] * y + self.rotation[1, 2] * z
        return (u - self.u[0, 0]) / self.pixel + 0.5, (self.v[0, 0] - v) / self.pixel + 0.5


def place_camera(eye: Eye, offset: tuple[float, float]) -> Camera:
    """Place the camera so that the centre of the lids is `offset` away from the centre of the image."""
    yaw, pitch = math.radians(eye.head_yaw_deg), math.radians(eye.head_pitch_deg)
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]])
    rotation = nod @ turn
    middle = rotation @ np.array([0.0, 0.0, LID_DEPTH])
    span = VIEW_CM * eye.distance_cm
    u = _U * np.float32(span) + np.float32(middle[0] + offset[0])
    v = _V * np.float32(span) + np.float32(middle[1] + offset[1])
    return Camera(u, v, span / SIDE, rotation)


def bent(depth: float, curvature: float, x: np.ndarray) -> np.ndarray:
    """z of a surface that bends back like the lids around the eyeball and continues nearly straight beside them."""
    x2 = x * x
    return depth - curvature * x2 / (1 + 0.35 * x2)


def coverage(distance: np.ndarray, pixel: float) -> np.ndarray:
    """Share of a pixel inside a shape, from the signed distance of its centre to the edge (positive inside)."""
    return np.clip(distance / np.float32(pixel) + 0.5, 0, 1)


def smooth(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smoothstep: 0 up to `low`, 1 from `high` on, and the cubic with zero slope at both ends in between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
