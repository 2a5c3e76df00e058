"""Skin, lids, lashes and brow."""

import dataclasses
import functools

import numpy as np
from PIL import Image, ImageDraw

from safe_dnn.casestudies.camera import LID_DEPTH, SIDE, bent, coverage, smooth
from safe_dnn.casestudies.parameters import lid_heights
from safe_dnn.casestudies.people import Person
from safe_dnn.casestudies.scene import Scene

_Points = tuple[np.ndarray, np.ndarray]  # x and y

LID_CURVATURE = 0.3  # of the lids around the eyeball
_STROKE_SCALE = 3
_BRIDGE = (1.68, 1.10)  # x and z of the bridge of the nose
_SKIN = np.array([(0.95, 0.79, 0.70), (0.88, 0.68, 0.55), (0.74, 0.53, 0.40), (0.53, 0.36, 0.27), (0.36, 0.24, 0.19)])


@dataclasses.dataclass(frozen=True)
class Lids:
    """Positions of the pixels relative to the edges of the lids.

    Attributes
    ----------
    x, y : ndarray of shape (SIDE, SIDE), float32
        Head coordinates on the skin.
    below_upper, above_lower : ndarray of shape (SIDE, SIDE), float32
        Signed distances to the edges, positive towards the opening.
    """

    x: np.ndarray
    y: np.ndarray
    below_upper: np.ndarray
    above_lower: np.ndarray

    @property
    def opening(self) -> np.ndarray:
        """Signed distance to the edge of the opening, positive inside."""
        return np.minimum(self.below_upper, self.above_lower)


def upper_lid(x: np.ndarray, height: float, tilt: float) -> np.ndarray:
    """y of the upper lid's edge: an arch whose top is slightly towards the nose."""
    t = np.clip(x, -1, 1)
    arch = (1 - t * t) * (1 + 0.22 * t + 0.25 * t * t)
    return height * arch + tilt * x


def lower_lid(x: np.ndarray, height: float, tilt: float) -> np.ndarray:
    """y of the lower lid's edge: flatter, with its lowest point slightly towards the temple."""
    t = np.clip(x, -1, 1)
    arch = (1 - t * t) * (1 - 0.18 * t + 0.35 * t * t)
    return height * arch + tilt * x


def shape_lids(scene: Scene) -> Lids:
    """Measure each pixel's distance to the edges of the lids."""
    x, y = scene.camera.to_head(LID_DEPTH, curvature=LID_CURVATURE)
    upper, lower = lid_heights(scene.eye)
    tilt = scene.person.lid_tilt
    # Where the edge is steep, a height difference is not a distance: scale by the edge's slope.
    steep = 1 / np.sqrt(1 + (1.8 * np.clip(x, -1, 1) * upper) ** 2)
    flat = 1 / np.sqrt(1 + (1.8 * np.clip(x, -1, 1) * lower) ** 2)
    beside = np.maximum(np.abs(x) - 1, 0)  # there is no opening beyond the corners
    return Lids(x, y, (upper_lid(x, upper, tilt) - y) * steep - beside, (y - lower_lid(x, lower, tilt)) * flat - beside)


def paint_skin(scene: Scene, lids: Lids) -> np.ndarray:
    """Paint the skin with its folds, and the brow.

    Returns
    -------
    ndarray of shape (3, SIDE, SIDE), float32
    """
    x, y, rough = lids.x, lids.y, scene.person.roughness
    crease = _distance_to_crease(scene, x, y)
    height = _relief(scene, x, y, crease)
    pores = scene.details("pores")
    grains = {"fine": 0.0007 * rough, "middle": 0.0022 * rough, "coarse": 0.006}
    height += functools.reduce(np.add, [depth * scene.texture(grain, pores) for grain, depth in grains.items()])
    spacing = scene.camera.pixel
    down, right = np.gradient(height, np.float32(spacing))
    normal = _normalised(-right, down, np.ones_like(height))
    light = scene.camera.rotation.T.astype(np.float32) @ scene.to_light
    facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]

    colour = _skin_colour(scene, lids, crease)
    shade = np.empty_like(colour)
    hidden = _occlusion(scene, crease, lids)
    for channel, wrap in enumerate((0.50, 0.36, 0.30)):  # red light travels further under the skin
        lit = np.maximum((facing + wrap) / (1 + wrap), 0)
        shade[channel] = colour[channel] * (0.26 + 0.9 * lit) * (1 - (1 - hidden) * (1, 1.12, 1.2)[channel])
    halfway = light + scene.camera.rotation.T[:, 2].astype(np.float32)
    halfway /= np.linalg.norm(halfway)
    mirrored = normal[0] * halfway[0] + normal[1] * halfway[1] + normal[2] * halfway[2]
    gloss = np.exp(9 * (mirrored - 1))  # nearly the ninth power, and cheaper
    shade += 0.04 * gloss * hidden * (1 + 0.15 * scene.texture("fine", pores))
    return _paint_brow(scene, x, y, shade)


def _distance_to_crease(scene: Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height above the fold of the upper lid, which moves a third as far as the lid."""
    upper, _ = lid_heights(scene.eye)
    person = scene.person
    t = 1.25 * np.tanh(x / 1.25)
    return y - (0.36 + 0.30 * upper) * (1 - 0.55 * t * t + 0.12 * t) - person.crease_height - person.lid_tilt * x


def _relief(scene: Scene, x: np.ndarray, y: np.ndarray, crease: np.ndarray) -> np.ndarray:
    """Height map of the face, in half widths."""
    _, lower = lid_heights(scene.eye)
    x2 = x * x
    relief = 0.30 * np.exp(-((y - 1.25 + 0.1 * x2) ** 2) / 0.22)  # the bone under the brow
    relief += 0.34 * np.exp(-(x2 / 1.1 + (y - 0.02) ** 2 / 0.34))  # the eyeball under the lids
    relief += 0.10 * smooth(crease, -0.05, 0.22) * np.exp(-x2 / 1.6 - (y - 0.6) ** 2 / 0.1)  # the fold hangs over
    below = y - lower_lid(x, lower, scene.person.lid_tilt)
    relief += 0.055 * np.exp(-((below + 0.16) ** 2) / 0.012 - x2 / 0.9)  # the roll under the lower lid
    relief -= 0.05 * np.exp(-((y + 0.78 + 0.12 * x + 0.1 * x2) ** 2) / 0.03 - (x - 0.4) ** 2 / 1.2)
    relief += 0.13 * _ramp((x - 1.45) / 0.24) + 0.10 * _ramp((-y - 1.1) / 0.3)  # nose and cheek
    relief -= 0.12 * _ramp((-x - 1.3) / 0.3)  # temple
    return relief


def _ramp(values: np.ndarray) -> np.ndarray:
    """Softplus: 0 far below 0, the value itself far above it, smooth in between."""
    return np.log1p(np.exp(np.minimum(values, 20)))


def _skin_colour(scene: Scene, lids: Lids, crease: np.ndarray) -> np.ndarray:
    """Unlit colour of the skin: its tone, redder near the lids, slightly bluish in the hollow, blotchy."""
    base = colour_of_skin(scene.eye.skin_tone)
    x2 = lids.x * lids.x
    near = np.exp(np.minimum(lids.opening, 0) * 6)
    rng, rough = scene.details("blotches"), scene.person.roughness
    blotches = 1 + 0.05 * rough * scene.texture("coarse", rng) + 0.035 * rough * scene.texture("middle", rng)
    blotches = blotches + 0.02 * rough * scene.texture("fine", rng)
    ring = np.exp(-x2 / 0.9 - (lids.y + 0.45) ** 2 / 0.09) + 0.6 * np.exp(
        -((lids.x - 0.9) ** 2) / 0.2 - (lids.y - 0.35) ** 2 / 0.1
    )
    red, green, blue = (np.float32(value) for value in base * scene.person.skin_tint)
    colour = np.stack(
        [
            red * blotches * (1 - 0.08 * ring),
            green * (blotches - 0.16 * near - 0.11 * ring),
            blue * (blotches - 0.13 * near - 0.06 * ring),
        ]
    )
    return _paint_own_skin(scene, lids, crease, colour) if scene.person.name else colour


def colour_of_skin(tone: float) -> np.ndarray:
    """Linear colour of skin, from the palest (0) to the darkest (1)."""
    place = tone * (len(_SKIN) - 1)
    row = min(int(place), len(_SKIN) - 2)
    colour: np.ndarray = (_SKIN[row] + (place - row) * (_SKIN[row + 1] - _SKIN[row])) ** 2.2
    return colour


def _paint_own_skin(scene: Scene, lids: Lids, crease: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Paint what some people have on their skin: shadows below the eye, make-up, freckles, moles, crow's feet."""
    person, x = scene.person, lids.x
    if person.age > 0:
        ring = np.exp(-((lids.above_lower + 0.30) ** 2) / 0.03 - x * x / 0.8)
        colour = colour * (1 - person.age * ring * np.array([0.30, 0.38, 0.30], np.float32)[:, None, None])
        colour = colour * (1 - 0.6 * person.age * _crows_feet(scene))
    if person.eyeshadow:
        # From the lashes to a little above the fold.
        cover = 0.75 * smooth(-crease, -0.22, 0.06) * smooth(-lids.below_upper, -0.05, 0.0)
        cover = cover * smooth(1.35 - np.abs(x), 0.0, 0.5)
        colour = colour * (1 - cover) + np.array(person.eyeshadow, np.float32)[:, None, None] * cover
    spots = np.maximum(_spots(scene, "freckles", person.freckles, (0.016, 0.034)) * 0.55, 0)
    spots = np.maximum(spots, _spots(scene, "moles", person.moles, (0.06, 0.09)) * 0.85)
    return colour * (1 - spots * np.array([0.55, 0.75, 0.85], np.float32)[:, None, None])


def _crows_feet(scene: Scene) -> np.ndarray:
    """Coverage by the wrinkles that fan out from the corner at the temple, and by those below the eye."""
    rng = scene.details("wrinkles")
    n = 9
    angle = np.radians(180 + np.linspace(-48, 48, n) + rng.normal(0, 4, n))
    start, length = rng.uniform(0.15, 0.3, n), rng.uniform(0.35, 0.7, n)
    root = (-1.0 + start * np.cos(angle), 0.05 + start * np.sin(angle))
    tip = (root[0] + length * np.cos(angle), root[1] + length * np.sin(angle))
    middle = ((root[0] + tip[0]) / 2, (root[1] + tip[1]) / 2 + rng.normal(0.03, 0.03, n))
    fan = _draw_strokes(scene, root, middle, tip, rng.uniform(0.02, 0.04, n), 0.1)
    m = 4
    left, height = rng.uniform(-0.8, -0.3, m), -0.5 - 0.13 * np.arange(m) - rng.uniform(0, 0.06, m)
    right = left + rng.uniform(0.6, 1.1, m)
    below = _draw_strokes(
        scene, (left, height), ((left + right) / 2, height - 0.12), (right, height + 0.02), np.full(m, 0.028), 0.1
    )
    return np.maximum(fan, below)


def _spots(scene: Scene, part: str, count: int, radii: tuple[float, float]) -> np.ndarray:
    """Coverage by round spots around the eye."""
    mask = Image.new("L", (SIDE * _STROKE_SCALE, SIDE * _STROKE_SCALE))
    if count:
        rng = scene.details(part)
        x, y = rng.uniform(-1.9, 1.5, count), rng.uniform(-1.7, 1.0, count)
        away = np.hypot(x / 1.1, y / 0.5) > 1  # not on the eye
        column, row = scene.camera.to_pixels(x, y, bent(LID_DEPTH, LID_CURVATURE, x))
        radius = rng.uniform(*radii, count) / scene.camera.pixel
        draw = ImageDraw.Draw(mask)
        for place in np.stack([column - radius, row - radius, column + radius, row + radius], axis=1)[away].tolist():
            draw.ellipse([_STROKE_SCALE * value for value in place], fill=255)
    return np.asarray(mask.reduce(_STROKE_SCALE), np.float32) / 255


def _occlusion(scene: Scene, crease: np.ndarray, lids: Lids) -> np.ndarray:
    """Share of the light that reaches a point: less in folds and hollows."""
    eye, x, y = scene.eye, lids.x, lids.y
    x2 = x * x
    across = np.exp(-x2 * x2 * x2 / 1.9)
    # Sharp below the fold, soft above it.
    fold = np.exp(-np.where(crease < 0, (crease / 0.035) ** 2, (crease / 0.085) ** 2)) * across
    open_eye = smooth(np.asarray(eye.openness, np.float32), 0.0, 0.35)
    hidden = 1 - np.minimum((0.28 + 0.3 * open_eye) * scene.person.crease_depth, 0.9) * fold
    hidden *= 1 - 0.22 * np.exp(-((crease - 0.16) ** 2) / 0.03) * np.exp(-((x - 0.5) ** 2) / 0.5)
    under = lids.above_lower
    hidden *= 1 - 0.20 * np.exp(-((under + 0.27) ** 2) / 0.004) * np.exp(-x2 / 0.6)  # below the roll
    hidden *= 1 - 0.35 * np.exp(-((x - 1.06) ** 2 + (y - 0.02) ** 2) / 0.02)  # the corners
    hidden *= 1 - 0.35 * np.exp(-((x + 1.05) ** 2 + (y - 0.05) ** 2) / 0.015)
    return hidden.astype(np.float32)


def _normalised(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    length = np.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


def _paint_brow(scene: Scene, x: np.ndarray, y: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Paint 190 to 320 hairs leaning towards the temple, over a soft shadow of the finer ones."""
    rng, thick, person = scene.details("brow"), scene.eye.brow_thickness, scene.person
    n = int(190 + 130 * thick)
    along = rng.beta(1.25, 1.1, n)  # 0 at the nose, 1 at the temple
    root_x = 1.12 - 2.55 * along
    width = (
        person.brow_width
        * (0.08 + 0.11 * thick)
        * np.sqrt(np.clip(1.15 - along, 0.05, 1))
        * np.sqrt(np.clip(0.35 + 5 * along, 0, 1))
    )
    root_y = _brow_line(person, root_x) + width * rng.uniform(-1, 1, n)
    # Hairs stand upright at the nose and lie flat towards the temple; the upper ones point down.
    lean = np.radians(
        75 + 95 * np.sqrt(along) + 18 * (root_y - _brow_line(person, root_x)) / width + rng.normal(0, 14, n)
    )
    length = rng.uniform(0.13, 0.30, n)
    tip_x, tip_y = root_x + length * np.cos(lean), root_y + length * np.sin(lean)
    bend = rng.normal(0.012, 0.012, n)
    hairs = _draw_strokes(
        scene, (root_x, root_y), (root_x - bend, root_y + 2 * bend), (tip_x, tip_y), rng.uniform(0.010, 0.019, n), 0.2
    )
    centre = _brow_line(person, x)
    patch = (
        np.exp(-(((y - centre) / (person.brow_width * (0.10 + 0.12 * thick))) ** 2))
        * smooth(x, -1.75, -0.9)
        * smooth(-x, -1.3, -0.9)
    )
    density = 1 - (1 - (0.40 + 0.2 * thick) * patch) * (1 - (0.55 + 0.25 * thick) * hairs)
    return picture * (1 - density) + _hair_colour(scene) * density


def _brow_line(person: Person, x: np.ndarray) -> np.ndarray:
    return person.brow_height - person.brow_arch * (x + 0.45) ** 2 - person.brow_slope * x


def _hair_colour(scene: Scene) -> np.ndarray:
    if scene.person.hair:
        return np.array(scene.person.hair, np.float32)[:, None, None]
    pale, dark = np.array([0.10, 0.062, 0.036], np.float32), np.array([0.016, 0.012, 0.010], np.float32)
    share = min(1.0, 0.35 + 1.1 * scene.eye.skin_tone)
    return (pale + share * (dark - pale))[:, None, None]


def paint_lashes(scene: Scene, picture: np.ndarray) -> np.ndarray:
    """Paint the lashes over everything but eyewear: the upper ones curl up when the eye is open, else hang down."""
    upper, lower = lid_heights(scene.eye)
    rng, person = scene.details("lashes"), scene.person
    tilt = person.lid_tilt
    n = int(78 * person.lash_number)
    x = np.sort(rng.uniform(-1.0, 0.86, n))
    y = upper_lid(x, upper, tilt)
    raised = np.clip((upper + 0.15) / 0.45, 0, 1)
    length = person.lash_length * rng.uniform(0.7, 1.15, n) * (0.17 + 0.13 * np.clip(0.55 - x, 0, 1.3))
    outward = -0.12 + 0.95 * x + rng.normal(0, 0.14, n)
    # Neighbouring lashes stick together at the tips.
    outward = 0.5 * outward + 0.5 * outward[np.minimum(np.arange(n) // 3 * 3 + 1, n - 1)]
    rise = -0.75 + 1.45 * raised
    tip = (x + length * outward, y + length * rise)
    middle = (x + 0.6 * length * outward, y + length * (0.4 * rise - 0.22))
    strokes = _draw_strokes(scene, (x, y), middle, tip, rng.uniform(0.013, 0.027, n), 0.05)

    m = int(34 * person.lash_number)
    x = np.sort(rng.uniform(-0.95, 0.7, m))
    y = lower_lid(x, lower, tilt) - 0.015
    length = person.lash_length * rng.uniform(0.05, 0.12, m)
    tip = (x + length * (0.9 * x - 0.1 + rng.normal(0, 0.15, m)), y - length)
    middle = (x + 0.2 * length * x, y - 0.6 * length)
    fine = _draw_strokes(scene, (x, y), middle, tip, rng.uniform(0.008, 0.014, m), 0.2)
    density = 1 - (1 - 0.88 * strokes) * (1 - 0.55 * fine)
    return picture * (1 - density) + 0.5 * _hair_colour(scene) * density


def paint_profile(scene: Scene, picture: np.ndarray) -> np.ndarray:
    """Paint the background behind the bridge of the nose, which hides the far side of a strongly turned head."""
    far = float(smooth(np.asarray(scene.eye.head_yaw_deg, np.float32), 25, 45))
    if not far:
        return picture
    camera, rotation = scene.camera, scene.camera.rotation
    x, z = _BRIDGE
    y = camera.v - np.float32(rotation[1, 2] * z)
    # The bridge is lowest between the eyes; forehead and nose protrude.
    depth = z + 0.25 * smooth(y, 0.2, 1.5) + 0.25 * _ramp((-0.35 - y) / 0.25)
    edge = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * depth + (1 - far)
    inside = (edge - camera.u).astype(np.float32)
    picture = picture * (0.62 + 0.38 * smooth(inside, 0.0, 0.4))
    grey = 0.10 + 0.05 * scene.texture("coarse") + 0.10 * smooth(camera.v, -0.5, 1.5)
    behind = np.maximum(grey, 0.01) * np.array([0.9, 1.0, 1.12], np.float32)[:, None, None]
    cover = coverage(inside, 1.5 * camera.pixel)
    return picture * cover + behind * (1 - cover)


def _draw_strokes(
    scene: Scene, root: _Points, middle: _Points, tip: _Points, width: np.ndarray, tapered: float
) -> np.ndarray:
    """Draw tapering strokes, quadratic Bézier curves from root to tip with one control point; return their coverage."""
    t = np.linspace(0, 1, 5)[:, None]
    points = [(1 - t) ** 2 * root[i] + 2 * t * (1 - t) * middle[i] + t * t * tip[i] for i in (0, 1)]
    depth = bent(LID_DEPTH, LID_CURVATURE, points[0]) + 0.02
    column, row = scene.camera.to_pixels(points[0], points[1], depth)
    column, row = column * _STROKE_SCALE, row * _STROKE_SCALE
    along, across = np.gradient(column, axis=0), np.gradient(row, axis=0)
    norm = np.hypot(along, across) + 1e-6
    half = 0.5 * width / scene.camera.pixel * _STROKE_SCALE * (1 - (1 - tapered) * t)
    side = np.stack([-across / norm * half, along / norm * half], axis=-1)
    line = np.stack([column, row], axis=-1)
    outlines = np.concatenate([line + side, (line - side)[::-1]]).transpose(1, 0, 2)
    mask = Image.new("L", (SIDE * _STROKE_SCALE, SIDE * _STROKE_SCALE))
    draw = ImageDraw.Draw(mask)
    for outline in outlines.reshape(len(outlines), -1).tolist():
        draw.polygon(outline, fill=255)
    return np.asarray(mask.reduce(_STROKE_SCALE), np.float32) / 255
