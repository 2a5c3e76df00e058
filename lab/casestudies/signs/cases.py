"""The task of finding traffic signs, and what its training set lacks on purpose.

As in the paper, OD finds objects; there, cars in a simulator and on photographs, here, traffic signs of three classes.
"""

from lab.casestudies.signs.parameters import CLASSES, Scene, draw_scene, parts_of
from lab.casestudies.signs.render import render
from safe_dnn.casestudies.case import Case, Kind, RootCause, Situation

SCENES = Kind("scenes", Scene, (), draw_scene, render)

_RANGES = {
    "light": (0.6, 1.0),
    "haze": (0.0, 0.4),
    "blur_px": (0.2, 0.7),
    "noise_levels": (1.0, 3.0),
    "size": (22.0, 38.0),
    "turned_deg": (0.0, 20.0),
    "cut": (0.0, 0.0),
    "hidden": (0.0, 0.0),
}
_FAR = {"size": (11.0, 17.0)}
_AT_BORDER = {"cut": (0.35, 0.6)}
_BEHIND = {"hidden": (0.45, 0.7)}
_FROM_THE_SIDE = {"turned_deg": (58.0, 66.0), "size": (30.0, 38.0)}
_NIGHT = {"light": (0.04, 0.12), "noise_levels": (3.0, 7.0)}

SMALL = RootCause(
    "small",
    "the sign is smaller than 18 pixels; no training image shows this",
    ("object_px",),
    lambda part: part.object_px < 18 and part.truncated == "no",
)
CUT_OFF = RootCause(
    "cut off",
    "the image's border cuts the sign off; no training image shows this",
    ("truncated",),
    lambda part: part.truncated == "yes",
)
OVERLAPPING = RootCause(
    "overlapping",
    "another sign is in front of it, or behind it; in training images signs are apart",
    ("near_by",),
    lambda part: part.near_by > 0,
)
TURNED = RootCause(
    "turned away",
    "the sign is seen from the side, less than 0.6 times as wide as high; no training image shows this",
    ("object_aspect",),
    lambda part: part.object_aspect < 0.6 and part.truncated == "no",
)
DARK = RootCause(
    "dark",
    "the light is below 0.2, as at night; no training image is that dark",
    ("light",),
    lambda part: part.light < 0.2,
)
SHOPS = RootCause(
    "shops",
    "boards of shops look like signs; no training image shows shops",
    ("surroundings",),
    lambda part: part.surroundings == "shops",
)

SIGN_CASES = {
    case.name: case
    for case in (
        Case(
            "od",
            "detector of traffic signs",
            SCENES,
            CLASSES,
            lambda scene: "",
            _RANGES,
            (
                Situation(0.07, _FAR),
                Situation(0.08, _AT_BORDER),
                Situation(0.10, _BEHIND),
                Situation(0.08, _FROM_THE_SIDE),
                Situation(0.07, _NIGHT),
                Situation(0.08, {}, "shops"),
            ),
            {"country": 0.4, "motorway": 0.2, "town": 0.4},
            lambda scene: True,
            (SMALL, CUT_OFF, OVERLAPPING, TURNED, DARK, SHOPS),
            {"train": 2000, "improvement": 600, "test": 1000},
            epochs=24,
            parts=parts_of,
        ),
    )
}
