"""What each pixel sees: rays of a perspective camera, followed to the nearest surface.

A ray advances by the distance to the nearest surface until that is nearly zero (sphere tracing, The Visual
Computer 12(10), 1996). World coordinates are those of a head that looks straight at the camera, in units of 10 cm.
"""

import dataclasses
import math

import numpy as np

from lab.casestudies.heads import shape
from lab.casestudies.heads.looks import Looks
from lab.casestudies.heads.parameters import Head
from lab.casestudies.heads.shape import Build, Points
from safe_dnn.casestudies.camera import SIDE

PIVOT = (0.0, -0.45, -0.25)
"""Where the head turns on the neck."""
MIDDLE = -0.22  # y of the world in the middle of the image
SPAN = 3.1 / 7.0  # width of the image, over the distance
PIXEL = SPAN * 7 / SIDE
"""Side of a pixel on a head 70 cm away."""
_STEPS = 28
_HIT, _NEARLY = 0.004, 0.02
SKIN, HAIR, CLOTH, FRAME, SCARF, HAND = range(6)
"""What a surface is made of."""


@dataclasses.dataclass(frozen=True)
class View:
    """A camera that looks at a head.

    Attributes
    ----------
    camera : ndarray of shape (3,)
        Where it is in the world; it looks along −z.
    rotation : ndarray of shape (3, 3), float32
        From head to world coordinates.
    """

    camera: np.ndarray
    rotation: np.ndarray

    def rays(self) -> Points:
        """Unit vectors from the camera to the pixels, row by row."""
        at = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) / SIDE - np.float32(0.5)
        u, v = (plane.ravel() * np.float32(SPAN) for plane in np.meshgrid(at, -at))
        length = np.sqrt(u * u + v * v + 1)
        return u / length, v / length, -1 / length

    def to_head(self, points: Points) -> Points:
        """Head coordinates of points of the world."""
        x, y, z = self.turned((points[0] - PIVOT[0], points[1] - PIVOT[1], points[2] - PIVOT[2]))
        return x + PIVOT[0], y + PIVOT[1], z + PIVOT[2]

    def turned(self, vectors: Points) -> Points:
        """Head coordinates of directions."""
        (x, y, z), r = vectors, self.rotation
        return (
            r[0, 0] * x + r[1, 0] * y + r[2, 0] * z,
            r[0, 1] * x + r[1, 1] * y + r[2, 1] * z,
            r[0, 2] * x + r[1, 2] * y + r[2, 2] * z,
        )

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Column and row of points of the head, in Pillow's coordinates: (0, 0) is the corner of the image.

        Parameters
        ----------
        points : ndarray of shape (n, 3)

        Returns
        -------
        ndarray of shape (n, 2)
        """
        x, y, z = ((points - PIVOT) @ self.rotation.T + PIVOT - self.camera).T
        return SIDE * np.stack([0.5 - x / z / SPAN, 0.5 + y / z / SPAN], axis=1)


def place_camera(head: Head, looks: Looks) -> View:
    """Place the camera before a head, a little beside the middle."""
    yaw, pitch, roll = (math.radians(angle) for angle in (head.yaw_deg, head.pitch_deg, head.roll_deg))
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]])
    tilt = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    right, up = looks.offset
    return View(np.array([right, MIDDLE + up, head.distance_cm / 10]), (tilt @ turn @ nod).astype(np.float32))


@dataclasses.dataclass(frozen=True)
class Solid:
    """All that the camera sees of somebody: head, neck, shoulders, hair, and what covers the face."""

    build: Build
    view: View
    cover: str
    side: float

    def parts(self, points: Points) -> list[tuple[int, np.ndarray]]:
        """Material and distance of each part, from points of the world."""
        own, build = self.view.to_head(points), self.build
        parts = [
            (SKIN, shape.join(shape.skin(own, build), shape.neck(points), 0.12)),
            (CLOTH, shape.shoulders(points)),
            (HAIR, shape.carve(shape.hair(own, build), shape.throat(points), 0.05)),
        ]
        if self.cover in ("glasses", "sunglasses"):
            parts.append((FRAME, shape.temples(own, build)))
        elif self.cover == "scarf":
            parts.append((SCARF, shape.scarf(own, build)))
        elif self.cover == "hand":
            parts.append((HAND, shape.hand(own, build, self.side)))
        return parts

    def distance(self, points: Points) -> np.ndarray:
        """Distance of points of the world to the nearest part."""
        (_, nearest), *others = self.parts(points)
        for _, distance in others:
            nearest = np.minimum(nearest, distance)
        return nearest


def trace(solid: Solid) -> np.ndarray:
    """Follow the ray of each pixel.

    Returns
    -------
    ndarray of shape (SIDE * SIDE,), float32
        Distance from the camera to what the pixel sees; infinite if it sees nobody.
    """
    origin, rays = solid.view.camera.astype(np.float32), solid.view.rays()
    depth = np.full(SIDE * SIDE, np.inf, np.float32)
    active = np.arange(SIDE * SIDE)
    far = np.full(len(active), origin[2] - 1.75, np.float32)
    for _ in range(_STEPS):
        x, y, z = (start + far * ray[active] for start, ray in zip(origin, rays, strict=True))
        distance = solid.distance((x, y, z))
        hit = distance < _HIT
        depth[active[hit]] = far[hit]
        going = ~hit & (far < origin[2] + 1.5)
        active, far, distance = active[going], (far + distance)[going], distance[going]
    # Rays that graze a surface come near it in ever smaller steps.
    near = distance < _NEARLY
    depth[active[near]] = far[near]
    return depth
