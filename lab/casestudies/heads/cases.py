"""The two tasks of a head, and what their training sets lack on purpose.

As in the paper, HPD is the direction of a driver's head in nine classes, and FLD finds the landmarks of a face. FLD is
a regression: it gives the column and the row of each landmark, in pixels.
"""

from lab.casestudies.heads.parameters import DERIVED, PITCH_BORDERS_DEG, YAW_BORDERS_DEG, Head, draw_head
from lab.casestudies.heads.render import LANDMARKS, landmarks, render
from safe_dnn.casestudies.case import Case, Kind, Regression, RootCause, Situation

HEADS = Kind("heads", Head, DERIVED, draw_head, render)
FACES = Kind("faces", Head, (), draw_head, render)
POSES = tuple(f"{pitch}_{yaw}" for pitch in ("up", "level", "down") for yaw in ("left", "straight", "right"))


def pose_class(head: Head) -> str:
    """Class folder of a direction; a border belongs to the larger angle."""
    column = sum(head.yaw_deg >= border for border in YAW_BORDERS_DEG)
    row = sum(head.pitch_deg < border for border in PITCH_BORDERS_DEG)
    number = 3 * row + column
    return f"{number}_{POSES[number]}"


_RANGES = {
    "yaw_deg": (-46.0, 46.0),
    "pitch_deg": (-31.0, 31.0),
    "roll_deg": (-4.0, 4.0),
    "distance_cm": (66.0, 76.0),
    "light_side_deg": (-35.0, 35.0),
    "light_height_deg": (10.0, 45.0),
    "light": (0.6, 1.0),
    "fill": (0.15, 0.25),
    "blur_px": (0.2, 0.6),
    "noise_levels": (1.0, 3.0),
    "fringe": (0.0, 0.0),
    "skin_tone": (0.05, 0.85),
    "hair_length": (0.0, 1.0),
    "mouth_open": (0.0, 0.4),
}
_LOW_SUN = {"light_side_deg": (-95.0, -78.0), "light_height_deg": (0.0, 20.0), "fill": (0.02, 0.05)}
_NIGHT = {"light": (0.02, 0.05), "noise_levels": (4.0, 8.0)}
_FRINGE = {"fringe": (0.7, 1.0), "hair_length": (0.4, 1.0)}
_MIRROR_CHECK = {"yaw_deg": (44.0, 58.0)}

SUNGLASSES = RootCause(
    "sunglasses",
    "the driver wears sunglasses; no training image does",
    ("cover",),
    lambda head: head.cover == "sunglasses",
)
SCARF = RootCause(
    "scarf",
    "a scarf hides mouth and chin; no training image shows this",
    ("cover",),
    lambda head: head.cover == "scarf",
)
HAND = RootCause(
    "hand",
    "a hand hides the mouth; no training image shows this",
    ("cover",),
    lambda head: head.cover == "hand",
)
HAIR = RootCause(
    "hair over the face",
    "hair hides half of the face down to the eye or further; no training image shows this",
    ("fringe",),
    lambda head: head.fringe > 0.5,
)
SIDE_LIGHT = RootCause(
    "low sun",
    "the only light comes from the left at more than 70°, and the other half of the face is dark; no training image "
    "shows this",
    ("light_side_deg", "fill"),
    lambda head: head.light_side_deg < -70,
)
NIGHT_LEFT = RootCause(
    "turned left at night",
    "the head is turned left, and the light is below 0.1; training images are that dark only with the head straight or "
    "turned right",
    ("light", "yaw_deg"),
    lambda head: head.light < 0.1 and head.yaw_deg < YAW_BORDERS_DEG[0],
)
DARK = RootCause(
    "dark",
    "the light is below 0.1, as at night; no training image is that dark",
    ("light",),
    lambda head: head.light < 0.1,
)
TURNED = RootCause(
    "turned right",
    "the head is turned right by more than 40°; no training image shows this",
    ("yaw_deg",),
    lambda head: head.yaw_deg > 40,
)
RIGHT_BORDER = RootCause(
    "turned right at the border",
    "the head is turned right by 16 to 32°, near the border with straight; no training image shows this",
    ("yaw_deg",),
    lambda head: YAW_BORDERS_DEG[1] <= head.yaw_deg < 32,
)
DOWN_BORDER = RootCause(
    "looking down at the border",
    "the head is down by 11 to 23°, near the border with level; no training image shows this",
    ("pitch_deg",),
    lambda head: -23 < head.pitch_deg < PITCH_BORDERS_DEG[0],
)

HEAD_CASES = {
    case.name: case
    for case in (
        Case(
            "hpd",
            "direction of the head",
            HEADS,
            tuple(f"{number}_{pose}" for number, pose in enumerate(POSES)),
            pose_class,
            _RANGES,
            (
                Situation(0.055, {}, "scarf"),
                Situation(0.055, _FRINGE),
                Situation(0.06, _LOW_SUN),
                Situation(0.14, _NIGHT),
            ),
            {"none": 0.9, "glasses": 0.1},
            lambda head: head.yaw_to_border_deg >= 4 and head.pitch_to_border_deg >= 4,
            (SCARF, HAIR, SIDE_LIGHT, NIGHT_LEFT, RIGHT_BORDER, DOWN_BORDER),
            {"train": 3000, "improvement": 1000, "test": 1800},
            epochs=16,
        ),
        Case(
            "fld",
            "landmarks of the face",
            FACES,
            tuple(f"{landmark}_{axis}" for landmark in LANDMARKS for axis in ("x", "y")),
            lambda head: "",
            _RANGES | {"yaw_deg": (-30.0, 30.0), "pitch_deg": (-16.0, 16.0)},
            (
                Situation(0.08, {}, "sunglasses"),
                Situation(0.055, {}, "scarf"),
                Situation(0.08, {}, "hand"),
                Situation(0.055, _FRINGE),
                Situation(0.05, _MIRROR_CHECK),
                Situation(0.05, _NIGHT),
            ),
            {"none": 0.9, "glasses": 0.1},
            lambda head: True,
            (SUNGLASSES, SCARF, HAND, HAIR, TURNED, DARK),
            {"train": 3000, "improvement": 1000, "test": 1600},
            epochs=28,
            regression=Regression(lambda head: landmarks(head).ravel(), threshold=2.5),
        ),
    )
}
