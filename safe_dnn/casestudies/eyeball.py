"""The eyeball between the lids: sclera, iris, pupil and the reflections in the wet cornea."""

import numpy as np

from safe_dnn.casestudies.camera import coverage, smooth
from safe_dnn.casestudies.face import Lids
from safe_dnn.casestudies.parameters import HALF_WIDTH_MM
from safe_dnn.casestudies.scene import Scene

_Normal = tuple[np.ndarray, np.ndarray, np.ndarray]

_IRIS_RADIUS = 0.40
# Linear colour near the pupil and near the edge.
_IRIS_COLOURS = {
    "brown": ((0.16, 0.065, 0.022), (0.075, 0.030, 0.012)),
    "hazel": ((0.24, 0.12, 0.030), (0.13, 0.10, 0.035)),
    "green": ((0.21, 0.18, 0.07), (0.11, 0.15, 0.09)),
    "blue": ((0.26, 0.30, 0.32), (0.12, 0.19, 0.27)),
    "grey": ((0.30, 0.31, 0.30), (0.16, 0.19, 0.21)),
}


def paint_eyeball(scene: Scene, lids: Lids, picture: np.ndarray) -> np.ndarray:
    """Paint the eyeball between the lids, with the wet rims of the lids."""
    camera = scene.camera
    u, v = camera.u, camera.v
    radius2 = np.minimum(u * u + v * v, 0.96)
    normal = (u, v, np.sqrt(1 - radius2))
    gaze = camera.rotation @ np.array(scene.eye.gaze_vector)
    iris, rho, phi = _polar(normal, gaze, camera.rotation[:, 1])

    colour = _sclera(scene, lids, u)
    inside = coverage((1 - rho) * _IRIS_RADIUS, 2.4 * camera.pixel)  # the limbus is soft
    colour = colour * (1 - inside) + _iris(scene, rho, phi, iris) * inside
    light = scene.to_light
    facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
    colour *= (0.26 + 0.90 * np.maximum((facing + 0.15) / 1.15, 0)) * _shadow_of_lids(lids)
    colour += _reflections(scene, normal, gaze)

    pixel = camera.pixel
    # The lids are thick: a wet, pinkish rim above the lower one, and a dark rim where the upper lashes grow.
    rim = np.exp(-(((lids.above_lower - 0.03) / 0.026) ** 2))
    flesh = picture.mean(axis=(1, 2))[:, None, None] * np.array([1.15, 0.86, 0.82], np.float32)[:, None, None]
    colour = colour * (1 - 0.62 * rim) + flesh * (0.62 * rim)
    open_share = coverage(lids.opening, pixel)
    dark = np.exp(-(((lids.below_upper + 0.012) / 0.03) ** 2)) * smooth(1.08 - np.abs(lids.x), 0.0, 0.25)
    dark += 0.35 * np.exp(-(((lids.above_lower + 0.02) / 0.03) ** 2)) * smooth(1.02 - np.abs(lids.x), 0.0, 0.3)
    picture = picture * (1 - open_share) + colour * open_share
    return picture * (1 - 0.78 * np.minimum(dark, 1))


def _polar(normal: _Normal, gaze: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Polar coordinates around the gaze: cosine to the gaze, distance in radii of the iris, and angle."""
    gaze = gaze.astype(np.float32)
    axis2 = (up - (up @ gaze) * gaze).astype(np.float32)
    axis2 /= np.linalg.norm(axis2)
    axis1 = np.cross(axis2, gaze)
    cosine = normal[0] * gaze[0] + normal[1] * gaze[1] + normal[2] * gaze[2]
    a = normal[0] * axis1[0] + normal[1] * axis1[1] + normal[2] * axis1[2]
    b = normal[0] * axis2[0] + normal[1] * axis2[1] + normal[2] * axis2[2]
    rho = np.where(cosine > 0, np.sqrt(a * a + b * b) / np.float32(_IRIS_RADIUS), np.float32(9))
    return cosine, rho, np.arctan2(b, a)


def _sclera(scene: Scene, lids: Lids, u: np.ndarray) -> np.ndarray:
    """White, warmer towards the corners, with faint veins and the pink corner at the nose."""
    edge = smooth(np.abs(lids.x), 0.35, 1.05)
    rng = scene.details("sclera")
    ridges = np.abs(scene.texture("middle", rng) + 0.35 * scene.texture("fine", rng))
    veins = np.exp(-((ridges / 0.14) ** 2)) * (0.06 + 0.34 * edge)
    warm = 0.16 * edge
    corner = smooth(lids.x, 0.74, 0.92)
    white = np.stack([0.80 - 0.02 * warm - 0.1 * veins, 0.76 - warm - 0.75 * veins, 0.72 - warm - 0.7 * veins])
    pink = np.array([0.50, 0.20, 0.17], np.float32)[:, None, None]
    return white * (1 - 0.75 * corner) + pink * (0.75 * corner)


def _iris(scene: Scene, rho: np.ndarray, phi: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Fibres running outwards from the pupil, a lighter collar around it, a dark ring at the edge, and the pupil."""
    eye, rng = scene.eye, scene.details("iris")
    inner, outer = (np.array(colour, np.float32)[:, None, None] for colour in _IRIS_COLOURS[eye.iris])
    fibres = rng.standard_normal((2, 90)).astype(np.float32)
    turn = phi / np.float32(2 * np.pi)
    strand = (
        fibres[0][(turn * 90).astype(np.int32) % 90] * 0.16 + fibres[1][(turn * 37 + 2 * rho).astype(np.int32)] * 0.16
    )
    pupil = eye.pupil_mm / 2 / HALF_WIDTH_MM / _IRIS_RADIUS
    outwards = smooth(rho, pupil, 0.95)
    colour = inner + (outer - inner) * outwards
    collar = 0.45 * np.exp(-(((rho - pupil - 0.18) / 0.10) ** 2))
    ring = 1 - 0.72 * smooth(rho, 0.76, 1.0)
    colour = colour * ((1 + strand + collar) * ring)
    # The cornea focuses light on the side of the iris away from the lamp.
    side = np.cos(phi - np.arctan2(scene.to_light[1], scene.to_light[0]))
    colour *= 1 - 0.35 * side * np.minimum(rho, 1)
    dark = coverage((pupil - rho) * _IRIS_RADIUS, 1.3 * scene.camera.pixel)
    return 1.25 * scene.person.iris_shade * colour * (1 - dark) + 0.006 * dark


def _shadow_of_lids(lids: Lids) -> np.ndarray:
    upper = 1 - 0.62 * np.exp(-np.maximum(lids.below_upper, 0) / 0.13)
    lower = 1 - 0.22 * np.exp(-np.maximum(lids.above_lower, 0) / 0.08)
    corners = 1 - 0.55 * smooth(np.abs(lids.x), 0.55, 1.05)
    return upper * lower * corners


def _reflections(scene: Scene, normal: _Normal, gaze: np.ndarray) -> np.ndarray:
    """The lamp reflected in the cornea, a weaker window beside it, and a glint on the wet sclera."""
    u, v, pixel = scene.camera.u, scene.camera.v, scene.camera.pixel
    light = scene.to_light
    halfway = light + np.array([0, 0, 1], np.float32)
    halfway /= np.linalg.norm(halfway)
    # The cornea is a smaller sphere (radius 0.55) whose centre lies on the line of gaze.
    centre = 0.5 * gaze + 0.55 * halfway
    lamp = coverage(0.068 - np.hypot(u - centre[0], v - centre[1]), 1.6 * pixel)
    second = 0.5 * gaze + 0.55 * np.array([-0.45 * np.sign(light[0] or 1), 0.30, 0.8])
    window = coverage(0.05 - np.maximum(np.abs(u - second[0]), 0.8 * np.abs(v - second[1])), 2 * pixel)
    mirrored = normal[0] * halfway[0] + normal[1] * halfway[1] + normal[2] * halfway[2]
    glint = np.exp(45 * (mirrored - 1))
    return 1.1 * lamp + 0.12 * window + 0.16 * glint
