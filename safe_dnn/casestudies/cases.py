"""The case studies: the two tasks of an eye.

As in the paper, GD is the direction of a driver's gaze in eight classes, and OC is whether the eye is open or closed.
"""

from collections.abc import Mapping

from safe_dnn.casestudies.case import Case, Kind, RootCause, Situation
from safe_dnn.casestudies.eyes import render
from safe_dnn.casestudies.parameters import DERIVED, Eye, draw_eye
from safe_dnn.support.errors import SAFEError

DIRECTIONS = ("right", "up_right", "up", "up_left", "left", "down_left", "down", "down_right")
OPEN_FROM = 0.4
"""Smallest openness at which an eye counts as open."""
EYES = Kind("eyes", Eye, DERIVED, draw_eye, render)


def gaze_class(eye: Eye) -> str:
    """Class folder of a direction: each spans 45° around a multiple of 45°, and a border belongs to the next."""
    number = int((eye.gaze_deg + 22.5) % 360 // 45)
    return f"{number}_{DIRECTIONS[number]}"


def openness_class(eye: Eye) -> str:
    """Class folder of an openness; the border counts as open."""
    return "1_open" if eye.openness >= OPEN_FROM else "0_closed"


_RANGES = {
    "gaze_deg": (0.0, 360.0),
    "eccentricity_deg": (25.0, 32.0),
    "openness": (0.8, 1.0),
    "head_yaw_deg": (-12.0, 12.0),
    "head_pitch_deg": (-6.0, 6.0),
    "distance_cm": (55.0, 61.0),
    "light_side_deg": (-25.0, 25.0),
    "light_height_deg": (10.0, 40.0),
    "light": (0.6, 1.0),
    "blur_px": (0.2, 1.0),
    "noise_levels": (1.0, 4.0),
    "lens_reflection": (0.0, 0.4),
    "lens_tint": (0.0, 1.0),
    "skin_tone": (0.25, 0.6),
    "pupil_mm": (2.5, 6.0),
    "brow_thickness": (0.0, 1.0),
}
_LOW_SUN = {"lens_reflection": (0.8, 1.0)}
_NIGHT = {"light": (0.008, 0.04), "noise_levels": (4.0, 9.0)}
_MISSED_FOCUS = {"blur_px": (6.0, 9.0)}
_SHOULDER_CHECK = {"head_yaw_deg": (50.0, 62.0)}

SUNGLASSES = RootCause(
    "sunglasses",
    "the driver wears sunglasses; no training image does",
    ("eyewear",),
    lambda eye: eye.eyewear == "sunglasses",
)
GLARE = RootCause(
    "glare",
    "the lenses reflect more than 0.6 of the surroundings; no training image shows this",
    ("eyewear", "lens_reflection"),
    lambda eye: eye.eyewear == "glasses" and eye.lens_reflection > 0.6,
)
DARK = RootCause(
    "dark",
    "the light is below 0.1, as at night; no training image is that dark",
    ("light",),
    lambda eye: eye.light < 0.1,
)
BLURRED = RootCause(
    "out of focus",
    "the defocus is above 2 pixels; no training image is that blurred",
    ("blur_px",),
    lambda eye: eye.blur_px > 2,
)
TURNED = RootCause(
    "head turned right",
    "the head is turned right by more than 35°; no training image shows this",
    ("head_yaw_deg",),
    lambda eye: eye.head_yaw_deg > 35,
)
UP_LEFT_BORDER = RootCause(
    "looking up-left at the border",
    "the gaze is at 112.5 to 147.5°, up-left but near the border with up; no training image shows this",
    ("gaze_deg",),
    lambda eye: 112.5 <= eye.gaze_deg < 147.5,
)
DOWN_RIGHT_BORDER = RootCause(
    "looking down-right at the border",
    "the gaze is at 292.5 to 327.5°, down-right but near the border with down; no training image shows this",
    ("gaze_deg",),
    lambda eye: 292.5 <= eye.gaze_deg < 327.5,
)
HALF_OPEN = RootCause(
    "half open",
    "the openness is 0.4 to 0.55, just open; no training image shows this",
    ("openness",),
    lambda eye: OPEN_FROM <= eye.openness < 0.55,
)

CASES = {
    case.name: case
    for case in (
        Case(
            "gd",
            "direction of gaze",
            EYES,
            tuple(f"{number}_{direction}" for number, direction in enumerate(DIRECTIONS)),
            gaze_class,
            _RANGES,
            (
                Situation(0.055, {}, "sunglasses"),
                Situation(0.055, _LOW_SUN, "glasses"),
                Situation(0.055, _NIGHT),
                Situation(0.1, _MISSED_FOCUS),
                Situation(0.09, _SHOULDER_CHECK),
            ),
            {"none": 0.9, "glasses": 0.1},
            lambda eye: eye.gaze_to_border_deg >= 3,
            (SUNGLASSES, GLARE, DARK, BLURRED, TURNED, UP_LEFT_BORDER, DOWN_RIGHT_BORDER),
            {"train": 4000, "improvement": 1500, "test": 1800},
            epochs=16,
        ),
        Case(
            "oc",
            "eye open or closed",
            EYES,
            ("0_closed", "1_open"),
            openness_class,
            _RANGES | {"openness": (0.0, 1.0), "eccentricity_deg": (0.0, 30.0)},
            (
                Situation(0.10, {}, "sunglasses"),
                Situation(0.08, _LOW_SUN, "glasses"),
                Situation(0.12, _NIGHT),
                Situation(0.08, _MISSED_FOCUS),
            ),
            {"none": 0.9, "glasses": 0.1},
            lambda eye: abs(eye.openness - OPEN_FROM) >= 0.02,
            (SUNGLASSES, GLARE, DARK, BLURRED, HALF_OPEN),
            {"train": 2500, "improvement": 1500, "test": 1600},
            epochs=8,
        ),
    )
}


def find_case(name: str, cases: Mapping[str, Case] = CASES) -> Case:
    """The case with this name, of a table of them.

    Raises
    ------
    SAFEError
        There is no such case.
    """
    if name not in cases:
        *others, last = cases
        raise SAFEError(f"Expected a case study: {', '.join(others)} or {last}. Received: {name}")
    return cases[name]
