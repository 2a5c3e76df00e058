"""The two tasks, and what their training sets lack on purpose.

GD is the direction of a driver's gaze in eight classes, OC whether the eye is open or closed, as in the paper. The
improvement and the test set are drawn uniformly from the space of parameters; from the training set most of what a
`RootCause` describes is taken out. A DNN trained without it fails there: these are the root causes SAFE should find.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from casestudies.parameters import Eye, draw_eye
from errors import SAFEError

DIRECTIONS = ("right", "up_right", "up", "up_left", "left", "down_left", "down", "down_right")
OPEN_FROM = 0.4
"""Openness from which on an eye counts as open."""


@dataclasses.dataclass(frozen=True)
class RootCause:
    """A region of the parameters that the training set lacks.

    Attributes
    ----------
    parameters : tuple of str
        The columns of `parameters.csv` by which an engineer would recognise it.
    holds : callable
        From an Eye to whether it lies in the region.
    kept : float
        Share of the region's images that the training set keeps; 0 is none.
    """

    name: str
    description: str
    parameters: tuple[str, ...]
    holds: Callable[[Eye], bool]
    kept: float


@dataclasses.dataclass(frozen=True)
class Case:
    """A task, its space of parameters and its known root causes.

    Attributes
    ----------
    classes : tuple of str
        Names of the class folders, sorted: the order of the DNN's outputs.
    label : callable
        From an Eye to its class.
    ranges : mapping
        Bounds of each numeric parameter, drawn uniformly.
    rare : tuple of (share, bounds)
        Situations in which other bounds hold, and how often: night, a missed focus.
    eyewear : mapping
        Share of each kind of eyewear.
    sizes : mapping
        Images in the training, improvement and test set.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    label: Callable[[Eye], str]
    ranges: Mapping[str, tuple[float, float]]
    rare: tuple[tuple[float, Mapping[str, tuple[float, float]]], ...]
    eyewear: Mapping[str, float]
    root_causes: tuple[RootCause, ...]
    sizes: Mapping[str, int]
    epochs: int

    def draw(self, part: str, count: int, seed: int) -> Iterator[tuple[str, Eye]]:
        """Draw labels and parameters of a part: `train` (without most of the root causes), `improvement` or `test`."""
        rng = np.random.default_rng([seed, sorted(self.sizes).index(part)])
        while count:
            eye = draw_eye(rng, self.ranges, self.rare, self.eyewear)
            if part == "train" and any(rng.random() >= cause.kept for cause in self.root_causes if cause.holds(eye)):
                continue
            yield self.label(eye), eye
            count -= 1


def gaze_class(eye: Eye) -> str:
    """Class folder of a direction: each spans 45° around a multiple of 45°; a border belongs to the next one."""
    number = int((eye.gaze_deg + 22.5) % 360 // 45)
    return f"{number}_{DIRECTIONS[number]}"


def openness_class(eye: Eye) -> str:
    """Class folder of an openness; the border counts as open."""
    return "1_open" if eye.openness >= OPEN_FROM else "0_closed"


_RANGES = {
    "gaze_deg": (0.0, 360.0),
    "eccentricity_deg": (18.0, 30.0),
    "openness": (0.55, 1.0),
    "head_yaw_deg": (-42.0, 42.0),
    "head_pitch_deg": (-12.0, 12.0),
    "distance_cm": (50.0, 66.0),
    "light_side_deg": (-60.0, 60.0),
    "light_height_deg": (-5.0, 60.0),
    "light": (0.25, 1.0),
    "blur_px": (0.2, 1.2),
    "noise_levels": (1.0, 5.0),
    "lens_reflection": (0.0, 1.0),
    "lens_tint": (0.0, 1.0),
    "skin_tone": (0.0, 1.0),
    "pupil_mm": (2.5, 6.0),
    "brow_thickness": (0.0, 1.0),
}
_NIGHT = {"light": (0.015, 0.06), "noise_levels": (3.0, 8.0)}
_MISSED_FOCUS = {"blur_px": (3.0, 4.8)}

SUNGLASSES = RootCause(
    "sunglasses",
    "the driver wears sunglasses; no training image does",
    ("eyewear",),
    lambda eye: eye.eyewear == "sunglasses",
    kept=0.0,
)
DARK = RootCause(
    "dark",
    "the light is below 0.1, as at night; hardly any training image is that dark",
    ("light",),
    lambda eye: eye.light < 0.1,
    kept=0.03,
)
GLARE = RootCause(
    "glare",
    "glasses mirror more than 0.6 of the surroundings; no training image shows that",
    ("eyewear", "lens_reflection"),
    lambda eye: eye.eyewear == "glasses" and eye.lens_reflection > 0.6,
    kept=0.0,
)
TURNED = RootCause(
    "head turned right",
    "the head is turned right by more than 27°; no training image shows that",
    ("head_yaw_deg",),
    lambda eye: eye.head_yaw_deg > 27,
    kept=0.0,
)
BLURRED = RootCause(
    "out of focus",
    "the defocus is above 2 pixels; no training image is that blurred",
    ("blur_px",),
    lambda eye: eye.blur_px > 2,
    kept=0.0,
)
AT_BORDER = RootCause(
    "gaze at a border",
    "the gaze is within 3.5° of a border of two directions; few training images are",
    ("gaze_to_border_deg",),
    lambda eye: eye.gaze_to_border_deg < 3.5,
    kept=0.15,
)
HALF_OPEN = RootCause(
    "half open",
    "the openness is within 0.1 of the border of open and closed; no training image is",
    ("openness",),
    lambda eye: abs(eye.openness - OPEN_FROM) < 0.1,
    kept=0.0,
)
LOOKING_DOWN = RootCause(
    "looking far down",
    "the gaze is turned down by more than 14°, so that the lids hang; no training image shows that",
    ("gaze_deg", "eccentricity_deg"),
    lambda eye: eye.gaze_vector[1] < -0.242,
    kept=0.0,
)

CASES = {
    case.name: case
    for case in (
        Case(
            "gd",
            "direction of gaze",
            tuple(f"{number}_{direction}" for number, direction in enumerate(DIRECTIONS)),
            gaze_class,
            _RANGES,
            ((0.09, _NIGHT), (0.09, _MISSED_FOCUS)),
            {"none": 0.66, "glasses": 0.24, "sunglasses": 0.10},
            (SUNGLASSES, DARK, GLARE, TURNED, BLURRED, AT_BORDER),
            {"train": 5000, "improvement": 1600, "test": 2400},
            epochs=14,
        ),
        Case(
            "oc",
            "eye open or closed",
            ("0_closed", "1_open"),
            openness_class,
            _RANGES | {"openness": (0.0, 1.0), "eccentricity_deg": (0.0, 30.0)},
            ((0.14, _NIGHT), (0.14, _MISSED_FOCUS)),
            {"none": 0.57, "glasses": 0.25, "sunglasses": 0.18},
            (SUNGLASSES, DARK, BLURRED, HALF_OPEN, LOOKING_DOWN),
            {"train": 3000, "improvement": 1600, "test": 2400},
            epochs=8,
        ),
    )
}
KNOWN_ROOT_CAUSES = {name: case.root_causes for name, case in CASES.items()}


def find_case(name: str) -> Case:
    """The case of a name.

    Raises
    ------
    SAFEError
        There is none.
    """
    if name not in CASES:
        raise SAFEError(f"Expected a case study: {' or '.join(CASES)}. Received: {name}")
    return CASES[name]
