"""The simulator: renders a driver's head, as seen by a camera in the dashboard, and knows where its landmarks are.

In: a `Head`. Out: 128 × 128 pixels, or the pixel coordinates of its landmarks.
"""

import numpy as np

from lab.casestudies.heads import shape
from lab.casestudies.heads.lenses import paint_lenses
from lab.casestudies.heads.looks import Looks, draw_looks
from lab.casestudies.heads.parameters import Head
from lab.casestudies.heads.shape import Points
from lab.casestudies.heads.surface import Seen, as_planes, paint_surface
from lab.casestudies.heads.view import HAND, SKIN, Solid, place_camera, trace
from safe_dnn.casestudies.camera import SIDE, smooth
from safe_dnn.casestudies.light import direction_of, expose
from safe_dnn.casestudies.scene import TEXTURE_SIDE, textures

LANDMARKS = ("left_brow", "right_brow", "left_eye", "right_eye", "nose", "left_mouth", "right_mouth", "chin")
"""Left and right as seen in the image."""
_STEP = 0.012  # for slopes
_NEAR = 0.16  # how far away something hides the light from everywhere
_TOWARDS_LIGHT = (0.05, 0.10, 0.17, 0.27, 0.42, 0.65, 1.0)
_LENS_BLUR = 0.55  # of the sharpest image, in pixels: softens edges


def render(head: Head) -> np.ndarray:
    """Render the image of a head.

    Returns
    -------
    ndarray of shape (SIDE, SIDE, 3), uint8
        Determined by the parameters, whatever was rendered before.
    """
    rng = np.random.default_rng(head.seed)
    looks = draw_looks(head, rng)
    view = place_camera(head, looks)
    solid = Solid(looks.build, view, head.cover, looks.side)
    depth = trace(solid)
    picture = _paint_background(looks, rng).reshape(3, -1)
    pixels = np.flatnonzero(np.isfinite(depth))
    camera, rays = view.camera.astype(np.float32), view.rays()
    x, y, z = (start + depth[pixels] * ray[pixels] for start, ray in zip(camera, rays, strict=True))
    picture[:, pixels] = _light_surface(head, looks, solid, (x, y, z), rng)
    if head.cover in ("glasses", "sunglasses"):
        picture = paint_lenses(picture, view, looks, depth, dark=head.cover == "sunglasses")
    return expose(_soften(picture.reshape(3, SIDE, SIDE)), head, rng)


def landmarks(head: Head) -> np.ndarray:
    """Column and row of each of `LANDMARKS`, hidden ones as well: float64 of shape (8, 2), in pixels."""
    looks = draw_looks(head, np.random.default_rng(head.seed))
    build = looks.build
    eye, brow, mouth = build.eyes_height, build.eyes_height + 0.19, build.mouth_height
    tip = 0.10 - 0.37 * build.nose
    x = np.array([-build.eyes_apart, build.eyes_apart, -build.eyes_apart, build.eyes_apart, 0, -0.24, 0.24, 0])
    y = np.array([brow, brow, eye, eye, tip, mouth, mouth, -0.93])
    z = np.full(8, 1.2)
    for _ in range(12):  # down to the skin, up to 0.01 pixels
        z -= shape.skin((x, y, z), build)
    return place_camera(head, looks).to_pixels(np.stack([x, y, z], axis=1))


def _light_surface(head: Head, looks: Looks, solid: Solid, points: Points, rng: np.random.Generator) -> np.ndarray:
    """The light that points of the world send to the camera: float32 of shape (3, n_points)."""
    parts = solid.parts(points)
    distances = np.stack([distance for _, distance in parts])
    material = np.array([number for number, _ in parts])[distances.argmin(axis=0)]
    normal = _normals(solid, points, distances.min(axis=0))
    light = direction_of(head)
    facing = _dot(normal, light)
    lit = _lit_share(solid, _moved(points, normal, 0.02), light)
    near = np.clip(solid.distance(_moved(points, normal, _NEAR)) / _NEAR, 0, 1)
    own = solid.view.to_head(points)
    colour, gloss = paint_surface(Seen(head, looks, points, own, material, rng))

    halfway = light + np.array([0, 0, 1], np.float32)
    shine = np.exp(22 * (_dot(normal, halfway / np.linalg.norm(halfway)) - 1)) * gloss * lit
    skin = (material == SKIN) | (material == HAND)
    ambient = np.float32(head.fill) * (0.75 + 0.25 * normal[1]) * (0.45 + 0.55 * near)
    # Light travels under the skin, red light further: shadows have soft, red edges.
    for channel, (wrap, through, tint) in enumerate(((0.35, 0.18, 0.97), (0.22, 0.08, 1.0), (0.17, 0.05, 1.07))):
        bent = np.where(skin, np.float32(wrap), np.float32(0.1))
        direct = np.maximum((facing + bent) / (1 + bent), 0) * (lit + (1 - lit) * through * skin)
        colour[channel] = colour[channel] * (tint * ambient + direct * (0.7 + 0.3 * near)) + shine
    return colour


def _normals(solid: Solid, points: Points, distance: np.ndarray) -> Points:
    """Unit vectors out of the surface: the slope of the distance."""
    x, y, z = points
    slopes = [solid.distance(moved) - distance for moved in ((x + _STEP, y, z), (x, y + _STEP, z), (x, y, z + _STEP))]
    length = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2) + np.float32(1e-9)
    return slopes[0] / length, slopes[1] / length, slopes[2] / length


def _lit_share(solid: Solid, points: Points, light: np.ndarray) -> np.ndarray:
    """Share of the lamp's light that reaches points: less the nearer its way passes by something, none through it."""
    lit = np.ones_like(points[0])
    for far in _TOWARDS_LIGHT:
        lit = np.minimum(lit, solid.distance(_moved(points, light, far)) * np.float32(9 / far) + np.float32(0.25))
    return smooth(lit, 0, 1)


def _moved(points: Points, direction: Points | np.ndarray, far: float) -> Points:
    x, y, z = (p + np.float32(far) * d for p, d in zip(points, direction, strict=True))
    return x, y, z


def _dot(a: Points, b: np.ndarray) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _paint_background(looks: Looks, rng: np.random.Generator) -> np.ndarray:
    """The inside of a car out of focus: a side window, and the seat with its headrest."""
    at = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) / SIDE - np.float32(0.5)
    u, v = np.meshgrid(at, -at)
    light, tint = rng.uniform(0.7, 1.3), as_planes(rng.uniform(0.9, 1.1, 3))[:, :, None]
    picture = np.maximum(light * (0.11 + 0.05 * v + 0.03 * _crop("coarse", rng)), 0.015) * tint
    edge, bottom = rng.uniform(0.18, 0.40), rng.uniform(-0.28, -0.12)
    window = smooth(looks.side * u + 0.12 * v, edge - 0.015, edge + 0.015) * smooth(v, bottom - 0.015, bottom + 0.015)
    sky = (
        rng.uniform(0.6, 1.2)
        * (0.45 + 0.35 * v + 0.05 * _crop("coarse", rng))
        * as_planes((0.86, 0.97, 1.10))[:, :, None]
    )
    picture = picture + (sky - picture) * window
    middle, width, top = rng.uniform([-0.05, 0.19, 0.15], [0.05, 0.25, 0.34])
    seat = np.maximum(_rounded(u - middle, v + 0.5, 0.40, 0.55), _rounded(u - middle, v - top + 0.16, width, 0.16))
    inside = np.clip(seat, -1, 0.15)
    leather = as_planes(looks.seat)[:, :, None] * (1 + 3 * np.maximum(inside, 0) + 0.12 * _crop("fine", rng))
    return (picture + (leather - picture) * smooth(inside, -0.012, 0.02)).astype(np.float32)


def _rounded(u: np.ndarray, v: np.ndarray, width: float, height: float) -> np.ndarray:
    """About the signed distance to a rounded rectangle of these half sides, positive inside."""
    return height * (1 - ((u / width) ** 4 + (v / height) ** 4) ** 0.25)


def _crop(grain: str, rng: np.random.Generator) -> np.ndarray:
    top, left = rng.integers(TEXTURE_SIDE - SIDE, size=2).tolist()
    return textures()[grain][top : top + SIDE, left : left + SIDE]


def _soften(picture: np.ndarray) -> np.ndarray:
    """Blur by the lens: a Gaussian over five pixels in each direction."""
    weights = np.exp(-0.5 * (np.arange(-2, 3) / _LENS_BLUR) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    padded = np.pad(picture, ((0, 0), (2, 2), (0, 0)), mode="edge")
    picture = np.sum([weight * padded[:, i : i + SIDE] for i, weight in enumerate(weights)], axis=0)
    padded = np.pad(picture, ((0, 0), (0, 0), (2, 2)), mode="edge")
    return np.sum([weight * padded[:, :, i : i + SIDE] for i, weight in enumerate(weights)], axis=0)
