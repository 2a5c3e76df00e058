"""All case studies: the eyes of `casestudies`, eyes of 20 persons, heads, and traffic signs.

`gd-people` and `oc-people` are the tasks of an eye with 20 persons (see `people`). Light, pose and focus vary less, and
the root causes change the looks of an image less than the person does: dusk instead of night, a soft instead of a
missed focus. Failing images that look alike are mostly those of one person, and the person is never the reason.
"""

import dataclasses

from lab.casestudies.heads.cases import HEAD_CASES
from lab.casestudies.people import PERSONS
from lab.casestudies.signs.cases import SIGN_CASES
from safe_dnn.casestudies.case import Situation
from safe_dnn.casestudies.cases import CASES as EYE_CASES
from safe_dnn.casestudies.cases import DARK

_RANGES = {
    "head_yaw_deg": (-5.0, 5.0),
    "head_pitch_deg": (-3.0, 3.0),
    "distance_cm": (58.0, 60.0),
    "light_side_deg": (-8.0, 8.0),
    "light_height_deg": (22.0, 32.0),
    "light": (0.78, 0.92),
    "blur_px": (0.2, 0.6),
    "noise_levels": (1.0, 2.0),
    "lens_tint": (0.0, 0.4),
}
_SOFT_FOCUS = {"blur_px": (2.4, 3.0)}
_LIGHT_GLARE = {"lens_reflection": (0.65, 0.8)}
_MIRROR_CHECK = {"head_yaw_deg": (36.0, 44.0)}
_DIM = dataclasses.replace(
    DARK,
    description="the light is below 0.3, as at dusk; no training image is that dark",
    holds=lambda eye: eye.light < 0.3,
)
PEOPLE_CASES = {
    case.name: case
    for case in (
        dataclasses.replace(
            EYE_CASES["gd"],
            name="gd-people",
            kind=PERSONS,
            title="direction of gaze of 20 persons",
            ranges={**EYE_CASES["gd"].ranges, **_RANGES},
            situations=(
                Situation(0.04, {}, "sunglasses"),
                Situation(0.03, _LIGHT_GLARE, "glasses"),
                Situation(0.045, {"light": (0.14, 0.22)}),
                Situation(0.1, _SOFT_FOCUS),
                Situation(0.05, _MIRROR_CHECK),
            ),
            root_causes=tuple(_DIM if cause is DARK else cause for cause in EYE_CASES["gd"].root_causes),
            sizes={**EYE_CASES["gd"].sizes, "test": 3000},
        ),
        dataclasses.replace(
            EYE_CASES["oc"],
            name="oc-people",
            kind=PERSONS,
            title="eye of 20 persons open or closed",
            ranges={**EYE_CASES["oc"].ranges, **_RANGES, "openness": (0.2, 0.75)},
            situations=(
                Situation(0.03, {}, "sunglasses"),
                Situation(0.05, _LIGHT_GLARE, "glasses"),
                Situation(0.035, {"light": (0.2, 0.28)}),
                Situation(0.07, _SOFT_FOCUS),
            ),
            root_causes=tuple(_DIM if cause is DARK else cause for cause in EYE_CASES["oc"].root_causes),
            sizes={**EYE_CASES["oc"].sizes, "test": 3000},
        ),
    )
}
CASES = EYE_CASES | PEOPLE_CASES | HEAD_CASES | SIGN_CASES
