"""The shape of a head as a signed distance: negative inside, positive outside, in units of 10 cm.

Ellipsoids and capsules, joined smoothly (Quilez, "Distance functions", https://iquilezles.org/articles/distfunctions/).
Head coordinates: x to the right of the image when the head looks at the camera, y up, z out of the face; the origin is
between the ears. Most of a face is symmetric, so its parts are given for x >= 0.
"""

import dataclasses

import numpy as np

Triple = tuple[float, float, float]
Points = tuple[np.ndarray, np.ndarray, np.ndarray]
"""x, y and z, float32 arrays of the same shape."""


@dataclasses.dataclass(frozen=True)
class Build:
    """How somebody's head differs from others; the defaults are an average one.

    Attributes
    ----------
    width, jaw, nose, lips : float
        Factors on the width of the head and of the jaw, the length of the nose and the thickness of the lips.
    eyes_apart, eyes_height, mouth_height : float
        Where eyes and mouth are, in units of 10 cm.
    mouth_open : float
        0 to 1.
    hair_length : float
        0 is cropped, 1 reaches the shoulders.
    hairline : float
        Height of the forehead.
    fringe : float
        How far hair hangs over the face: 0 is not at all, 1 to the mouth.
    fringe_side : float
        −1 or 1: the side of the face that the hair hides.
    """

    width: float = 1.0
    jaw: float = 1.0
    nose: float = 1.0
    lips: float = 1.0
    eyes_apart: float = 0.31
    eyes_height: float = 0.04
    mouth_height: float = -0.54
    mouth_open: float = 0.0
    hair_length: float = 0.3
    hairline: float = 0.62
    fringe: float = 0.0
    fringe_side: float = 1.0


def ellipsoid(points: Points, centre: Triple, radii: Triple) -> np.ndarray:
    """Distance to an ellipsoid: exact near its surface."""
    x, y, z = ((p - np.float32(c)) / np.float32(r) for p, c, r in zip(points, centre, radii, strict=True))
    scaled = x * x + y * y + z * z
    x, y, z = (p / np.float32(r) for p, r in zip((x, y, z), radii, strict=True))
    k = np.sqrt(scaled)
    return k * (k - 1) / np.sqrt(x * x + y * y + z * z + np.float32(1e-9))


def capsule(points: Points, start: Triple, end: Triple, radius: float, radius_end: float | None = None) -> np.ndarray:
    """Distance to a rod with round ends, whose radius changes linearly."""
    axis = [b - a for a, b in zip(start, end, strict=True)]
    x, y, z = (p - np.float32(a) for p, a in zip(points, start, strict=True))
    along = np.clip((x * axis[0] + y * axis[1] + z * axis[2]) / np.float32(sum(a * a for a in axis)), 0, 1)
    x, y, z = x - along * axis[0], y - along * axis[1], z - along * axis[2]
    grown = 0.0 if radius_end is None else radius_end - radius
    return np.sqrt(x * x + y * y + z * z) - (radius + grown * along)


def join(a: np.ndarray, b: np.ndarray, smoothness: float) -> np.ndarray:
    """Distance to a union whose seam is rounded over `smoothness`."""
    blend = np.maximum(smoothness - np.abs(a - b), 0)
    return np.minimum(a, b) - blend * blend * np.float32(0.25 / smoothness)


def intersect(a: np.ndarray, b: np.ndarray, smoothness: float) -> np.ndarray:
    """Distance to what lies in both, whose edge is rounded over `smoothness`."""
    return -join(-a, -b, smoothness)


def carve(a: np.ndarray, b: np.ndarray, smoothness: float) -> np.ndarray:
    """Distance to `a` without `b`, whose edge is rounded over `smoothness`."""
    return intersect(a, -b, smoothness)


def skin(points: Points, build: Build) -> np.ndarray:
    """Distance to the skin of the head and to the eyeballs behind their lids."""
    x, y, z = points
    half = (np.abs(x), y, z)
    w, j = build.width, build.jaw
    eye = (build.eyes_apart, build.eyes_height)
    mouth = build.mouth_height
    head = ellipsoid(points, (0, 0.30, -0.14), (0.74 * w, 0.80, 0.92))
    face = ellipsoid(points, (0, -0.22, 0.22), (0.60 * w, 0.84, 0.63))
    head = join(head, face, 0.25)
    head = join(head, ellipsoid(half, (0.0, -0.84, 0.44), (0.26 * j, 0.19, 0.26)), 0.25)  # chin
    head = join(head, ellipsoid(half, (0.36 * w, -0.55, 0.18), (0.20 * j, 0.28, 0.34)), 0.22)  # jaw
    head = join(head, ellipsoid(half, (0.37 * w, -0.17, 0.54), (0.17, 0.14, 0.17)), 0.18)  # cheekbone
    head = join(head, ellipsoid(half, (0.25, 0.21, 0.71), (0.26, 0.075, 0.10)), 0.14)  # bone under the brow
    head = carve(head, ellipsoid(half, (eye[0], eye[1] - 0.01, 0.90), (0.17, 0.105, 0.17)), 0.14)  # socket
    head = join(head, ellipsoid(half, (eye[0], eye[1], 0.66), (0.14, 0.13, 0.13)), 0.03)  # eyeball and lids
    tip = 0.10 - 0.37 * build.nose
    nose = capsule(points, (0, 0.10, 0.79), (0, tip + 0.03, 1.01), 0.055, 0.085)
    nose = join(nose, ellipsoid(half, (0.095, tip - 0.02, 0.90), (0.075, 0.065, 0.10)), 0.06)
    head = join(head, nose, 0.11)
    head = carve(head, ellipsoid(half, (0.05, tip - 0.085, 0.93), (0.028, 0.03, 0.05)), 0.03)  # nostril
    gap = 0.09 * build.mouth_open
    thick = 0.055 * build.lips
    head = join(head, ellipsoid(points, (0, mouth + 0.2 * gap + 0.6 * thick, 0.80), (0.24, thick, 0.085)), 0.05)
    head = join(head, ellipsoid(points, (0, mouth - gap - 0.8 * thick, 0.785), (0.20, 1.15 * thick, 0.085)), 0.05)
    opening = ellipsoid(points, (0, mouth - 0.4 * gap, 0.86), (0.20, 0.012 + 0.6 * gap, 0.08))
    head = carve(head, opening, 0.03)
    ear = ellipsoid(half, (0.735 * w, -0.03, -0.10), (0.075, 0.22, 0.13))
    return join(head, ear, 0.05)


def hair(points: Points, build: Build) -> np.ndarray:
    """Distance to the hair: a cap behind the hairline, longer at the sides, and what hangs over the face."""
    x, y, z = points
    half = (np.abs(x), y, z)
    w, long = build.width, build.hair_length
    cap = ellipsoid(points, (0, 0.34, -0.17), (0.80 * w, 0.87, 0.98))
    # It ends at a surface that rises from the ears to the forehead.
    front = (z - 0.10) * 0.9 + (build.hairline - y) * 0.9 - 0.55 * half[0]
    front = np.maximum(front * np.float32(0.72), -(y + 0.32))
    cap = intersect(cap, front, 0.08)
    if long > 0.35:
        bottom = -0.1 - 1.0 * long
        curtain = ellipsoid(half, (0.62 * w, bottom / 2 + 0.1, -0.18), (0.22, 0.75 * (0.35 + long), 0.42))
        back = ellipsoid(points, (0, bottom / 2, -0.5), (0.68 * w, 0.9 * (0.35 + long), 0.40))
        cap = join(cap, join(curtain, back, 0.2), 0.12)
    return join(cap, _fringe(points, build), 0.06) if build.fringe > 0 else cap


def _fringe(points: Points, build: Build) -> np.ndarray:
    """Distance to a lock over one half of the face, from the parting down."""
    x, y, z = points
    side = x * np.float32(build.fringe_side)
    shell = ellipsoid(points, (0, 0.05, 0.10), (0.76 * build.width, 1.0, 0.90))
    # Its lower edge rises towards the parting, and its inner edge falls away from the middle.
    lower = (0.62 - 1.25 * build.fringe) - y - 0.25 * side + 0.04 * np.sin(23 * x)
    inner = -side - np.float32(0.30) + 0.42 * np.maximum(0.75 - y, 0)
    lock = np.maximum(np.maximum(lower, inner) * np.float32(0.7), 0.1 - z)
    return intersect(shell, lock, 0.04)


def neck(points: Points) -> np.ndarray:
    """Distance to the neck, in coordinates that do not turn with the head."""
    return capsule(points, (0, -0.55, -0.18), (0, -1.6, -0.34), 0.40, 0.44)


def throat(points: Points) -> np.ndarray:
    """Where no hair falls, in coordinates that do not turn with the head."""
    return capsule(points, (0, -0.75, 0.12), (0, -1.8, 0.1), 0.46)


def shoulders(points: Points) -> np.ndarray:
    """Distance to the clothes, in coordinates that do not turn with the head."""
    half = (np.abs(points[0]), points[1], points[2])
    across = capsule(half, (0.0, -1.86, -0.36), (1.25, -2.06, -0.36), 0.42, 0.34)
    return join(across, ellipsoid(points, (0, -2.5, -0.3), (1.4, 1.0, 0.55)), 0.3)


def scarf(points: Points, build: Build) -> np.ndarray:
    """Distance to a scarf over nose and mouth, with folds."""
    x, y, z = points
    around = ellipsoid(points, (0, -0.62, 0.12), (0.68 * build.width, 0.92, 0.88))
    around = around - np.float32(0.015) * np.sin(26 * y + 6 * x * x + 3 * z)
    top = 0.72 * (y - (build.eyes_height - 0.24) - 0.10 * np.abs(x) + 0.25 * np.maximum(0.3 - z, 0))
    return intersect(around, top, 0.04)


def hand(points: Points, build: Build, side: float) -> np.ndarray:
    """Distance to a hand in front of the mouth: palm, four fingers and a thumb, and the forearm below."""
    x, y, z = points
    m = build.mouth_height
    mirrored = (x * np.float32(side), y, z)
    found = ellipsoid(mirrored, (0.44, m - 0.13, 0.93), (0.24, 0.26, 0.10))
    for number, (reach, width) in enumerate(((-0.22, 0.072), (-0.30, 0.075), (-0.26, 0.072), (-0.14, 0.062))):
        height = m + 0.13 - 0.14 * number
        finger = capsule(mirrored, (0.42, height, 0.94), (reach, height + 0.03, 1.02), width, 0.9 * width)
        found = join(found, finger, 0.03)
    found = join(found, capsule(mirrored, (0.50, m - 0.05, 0.92), (0.44, m + 0.36, 0.84), 0.085, 0.065), 0.06)
    return join(found, capsule(mirrored, (0.52, m - 0.25, 0.86), (0.85, m - 1.6, 0.75), 0.15, 0.22), 0.10)


def temples(points: Points, build: Build) -> np.ndarray:
    """Distance to the temples of glasses, from the lenses to the ears."""
    half = (np.abs(points[0]), points[1], points[2])
    at = 0.64 * build.width
    y = build.eyes_height + 0.07
    return capsule(half, (at, y, 0.84), (0.80 * build.width, y, -0.10), 0.026)
