"""From the head to the image and back: a camera far enough away for parallel projection.

Head coordinates: x to the nose, y to the brow, z out of the face, the origin in the middle of the eyeball, whose radius
is 1. Image coordinates u (right), v (up) are in the same unit, the half width of the eye.
"""

import dataclasses
import math

import numpy as np

from casestudies.parameters import Eye

SIDE = 128
"""Height and width of an image, in pixels."""
VIEW_CM = 3.5 / 60.0
"""Half widths that the image spans, per centimetre of distance."""
LID_DEPTH = 0.8
"""z of the lids in the middle of the eye."""

# u and v of the pixels' middles, between −0.5 and 0.5
_U = np.broadcast_to(((np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5), (SIDE, SIDE))
_V = -_U.T


@dataclasses.dataclass(frozen=True)
class Camera:
    """Where the pixels look.

    Attributes
    ----------
    u, v : ndarray of shape (SIDE, SIDE), float32
        Image coordinates of the pixels' middles, relative to the middle of the eyeball.
    pixel : float
        Side of a pixel.
    rotation : ndarray of shape (3, 3)
        From the head to the camera.
    """

    u: np.ndarray
    v: np.ndarray
    pixel: float
    rotation: np.ndarray

    def to_head(self, depth: float, curvature: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """x and y of what the pixels see on the surface at `depth` (see `bent`)."""
        (uu, _, uz), (vu, vv, vz) = self.rotation[0], self.rotation[1]
        z = depth
        for _ in range(3 if curvature else 1):
            x = (self.u - uz * z) / uu
            z = bent(depth, curvature, x)
        y = (self.v - vu * x - vz * z) / vv
        return x.astype(np.float32), y.astype(np.float32)

    def to_pixels(self, x: np.ndarray, y: np.ndarray, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of points of the head, as Pillow counts them: (0, 0) is the corner of the image."""
        u = self.rotation[0, 0] * x + self.rotation[0, 1] * y + self.rotation[0, 2] * z
        v = self.rotation[1, 0] * x + self.rotation[1, 1] * y + self.rotation[1, 2] * z
        return (u - self.u[0, 0]) / self.pixel + 0.5, (self.v[0, 0] - v) / self.pixel + 0.5


def place_camera(eye: Eye, offset: tuple[float, float]) -> Camera:
    """The camera that sees the middle of the lids, `offset` away from the middle of the image."""
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
    """z of a surface that is bent back like the lids around the eyeball, and goes on nearly straight beside them."""
    x2 = x * x
    return depth - curvature * x2 / (1 + 0.35 * x2)


def coverage(distance: np.ndarray, pixel: float) -> np.ndarray:
    """Share of a pixel inside a shape, from the signed distance of its middle to the edge (positive inside)."""
    return np.clip(distance / np.float32(pixel) + 0.5, 0, 1)


def smooth(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to `low`, 1 from `high` on, and between them the cubic that leaves both smoothly."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
