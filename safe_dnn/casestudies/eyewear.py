"""Glasses and sunglasses: the frame, its shadow, and tinted, reflecting lenses."""

import numpy as np

from safe_dnn.casestudies.camera import coverage, smooth
from safe_dnn.casestudies.scene import Scene

_DEPTH = 1.35  # of the lens, in front of the centre of the eyeball
_FRAMES = np.array([(0.012, 0.012, 0.014), (0.05, 0.022, 0.012), (0.03, 0.035, 0.06), (0.16, 0.15, 0.14)], np.float32)
_TINTS = np.array([(0.9, 0.95, 1.0), (1.0, 0.78, 0.55), (0.8, 1.0, 0.82)], np.float32)


def paint_eyewear(scene: Scene, picture: np.ndarray) -> np.ndarray:
    """Paint the eyewear named in `eye.eyewear`."""
    if scene.eye.eyewear == "none":
        return picture
    camera, rng = scene.camera, scene.rng
    x, y = camera.to_head(_DEPTH)
    person, own = scene.person, scene.person.frame is not None
    half = np.array(person.frame_half) if own else rng.uniform([1.42, 0.98], [1.62, 1.16])
    squareness = person.frame_squareness if own else rng.uniform(0.35, 0.75)
    rim = _distance_to_rim(x - 0.02, y + 0.12, half, squareness)
    dark = scene.eye.eyewear == "sunglasses"
    thickness = person.frame_thickness if own else rng.uniform(*((0.07, 0.12) if dark else (0.045, 0.09)))

    picture = picture * _shadow(scene, half, squareness, thickness, dark)
    inside = coverage(rim, camera.pixel)
    picture = picture * (1 - inside) + _through_lens(scene, picture, x, y, half, rim, dark) * inside
    return _paint_frame(scene, picture, x, y, rim, thickness, half)


def _distance_to_rim(x: np.ndarray, y: np.ndarray, half: np.ndarray, squareness: float) -> np.ndarray:
    """Signed distance to a rounded rectangle that is narrower at the bottom, positive inside."""
    corner = half.min() * (1 - 0.75 * squareness)
    narrowing = 1 - 0.07 * (y / half[1])
    qx = np.abs(x) / (2 - narrowing) - (half[0] - corner)
    qy = np.abs(y) - (half[1] - corner)
    outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
    return corner - outside - np.minimum(np.maximum(qx, qy), 0)


def _shadow(scene: Scene, half: np.ndarray, squareness: float, thickness: float, dark: bool) -> np.ndarray:
    """The frame's shadow on the skin, cast away from the light, and the lens's shadow if it is dark."""
    x, y = scene.camera.to_head(0.85)
    light = scene.camera.rotation.T @ scene.to_light
    reach = 0.45 / max(float(light[2]), 0.35)
    rim = _distance_to_rim(x - 0.02 + reach * light[0], y + 0.12 + reach * light[1], half, squareness)
    shadow = 0.45 * np.exp(-((np.maximum(np.abs(rim + thickness / 2) - thickness / 2, 0) / 0.07) ** 2))
    if dark:
        shadow = np.maximum(shadow, 0.35 * smooth(rim, -0.1, 0.1))
    return 1 - shadow.astype(np.float32)


def _through_lens(
    scene: Scene, picture: np.ndarray, x: np.ndarray, y: np.ndarray, half: np.ndarray, rim: np.ndarray, dark: bool
) -> np.ndarray:
    """What is visible through the lens, plus the lens's reflections."""
    eye, rng = scene.eye, scene.rng
    if dark:
        own = scene.person.frame is not None
        tint = np.array(scene.person.lens_colour, np.float32) if own else _TINTS[rng.integers(len(_TINTS))]
        tint = tint[:, None, None]
        clear = 0.11 - 0.08 * eye.lens_tint
        seen = picture * tint * (clear * (1 - 0.45 * smooth(y, -0.9, 0.9)))
    else:
        seen = picture * np.array([0.93, 0.96, 0.95], np.float32)[:, None, None]
    veil, sheen = _mirrored(scene, x, y, half)
    edge = smooth(rim, 0, 0.05)
    if dark:  # anti-reflective coating
        return seen + 0.12 * sheen * edge
    return seen * (1 - 0.8 * veil * edge) + sheen * edge


def _mirrored(scene: Scene, x: np.ndarray, y: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The reflected windscreen as a slanted bright patch, sometimes with a bar, and a faint sky above a horizon.

    Returns
    -------
    veil : ndarray of shape (SIDE, SIDE)
        How far the patch outshines what lies behind.
    sheen : ndarray of shape (3, SIDE, SIDE)
        The light that it adds.
    """
    eye, rng = scene.eye, scene.rng
    strength = eye.lens_reflection
    # A strong reflection comes from something large and near: it spreads over the centre of the lens.
    at = rng.uniform([-0.5, -0.25], [0.5, 0.35]) * (1 - 0.75 * strength)
    slant, tilt = rng.uniform(-0.6, 0.6), rng.uniform(-0.2, 0.2)
    across = (x - at[0]) - slant * (y - at[1]) + 0.10 * y * y
    upright = (y - at[1]) + tilt * x + 0.06 * x * x
    spread = rng.uniform(0.85, 1.15)
    width, height = (0.22 + 0.7 * strength**2) * half[0] / 1.2 / spread, (0.3 + 0.5 * strength) * half[1] * spread
    patch = smooth(width - np.abs(across), -0.11, 0.11) * smooth(height - np.abs(upright), -0.2, 0.2)
    if rng.random() < 0.5:  # a bar, as between a windscreen and its vent window
        patch *= 1 - 0.6 * smooth(0.05 - np.abs(across - 0.3 * width), -0.05, 0.05)
    patch *= 0.8 + 0.2 * smooth(upright, -height, height)
    sky = smooth(y + 0.12 * x, 0.1, 0.9) * 0.07
    veil = np.float32(strength**2) * patch
    sheen = 0.95 * veil + (0.25 + 0.75 * strength) * sky
    return veil, sheen * np.array([0.92, 0.98, 1.06], np.float32)[:, None, None]


def _paint_frame(
    scene: Scene,
    picture: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    rim: np.ndarray,
    thickness: float,
    half: np.ndarray,
) -> np.ndarray:
    """Rim, bridge and temple: a rounded bar, lit along the upper side."""
    pixel = scene.camera.pixel
    bar = thickness / 2 - np.abs(rim + thickness / 2)
    bridge = np.minimum(0.075 - np.abs(y - 0.22 - 0.12 * (x - half[0] - 0.3) ** 2), x - half[0] + 0.02)
    temple = np.minimum(0.10 - np.abs(y - 0.38), -x - half[0] + 0.06)
    shape = np.maximum(np.maximum(bar, bridge), temple)
    cover = coverage(shape, pixel)
    own = scene.person.frame
    colour = _FRAMES[scene.rng.integers(len(_FRAMES))] if own is None else np.array(own, np.float32)
    colour = colour[:, None, None]
    # Height of the rounded bar, and its slope in the direction of the light.
    height = np.sqrt(np.clip(shape / (thickness / 2), 0, 1))
    down, right = np.gradient(height)
    facing = -right * scene.to_light[0] + down * scene.to_light[1]
    lit = 0.5 + 0.6 * scene.to_light[2] + 1.2 * np.clip(facing, -0.3, 1)
    frame = colour * lit + 0.35 * np.clip(facing - 0.25, 0, 1) ** 1.5
    return picture * (1 - cover) + frame * cover
