"""The parameters of an image of an eye.

Lengths on the face are in half widths of the eye, about 15 mm: its corners are at x = −1 (temple) and x = 1 (nose), and
y points to the brow. It is the driver's right eye, so the nose is on the right.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping

import numpy as np

IRISES = ("brown", "hazel", "green", "blue", "grey")
HALF_WIDTH_MM = 15.0
BORDER_DEG = 22.5  # the first border between two directions of gaze; the others follow every 45°


@dataclasses.dataclass(frozen=True)
class Eye:
    """The parameters of one image; including `seed`, they determine every pixel.

    Attributes
    ----------
    gaze_deg : float
        Direction of gaze relative to the head, as seen in the image: 0 is right, 90 is up, 180 is left.
    eccentricity_deg : float
        Angle between the gaze and straight ahead.
    openness : float
        0 is closed, 1 is as open as the gaze allows (the lids follow it up and down).
    head_yaw_deg, head_pitch_deg : float
        Positive to the right of the image and upwards.
    light_side_deg, light_height_deg : float
        Direction of the light as seen from the eye: positive from the right and from above.
    light : float
        Brightness of the light as exposed by the camera, 0 to 1, linear.
    blur_px : float
        Standard deviation of the defocus, in pixels of the image.
    noise_levels : float
        Standard deviation of the sensor noise, in grey levels (0 to 255).
    lens_reflection : float
        Share of the surroundings reflected by the lenses, 0 to 1; without effect if there is no eyewear.
    lens_tint : float
        Darkness of sunglasses, 0 to 1; without effect on other eyewear.
    skin_tone : float
        0 is the palest, 1 the darkest.
    """

    seed: int
    gaze_deg: float
    eccentricity_deg: float
    openness: float
    head_yaw_deg: float
    head_pitch_deg: float
    distance_cm: float
    light_side_deg: float
    light_height_deg: float
    light: float
    blur_px: float
    noise_levels: float
    eyewear: str
    lens_reflection: float
    lens_tint: float
    skin_tone: float
    iris: str
    pupil_mm: float
    brow_thickness: float

    @property
    def gaze_vector(self) -> tuple[float, float, float]:
        """Unit vector of the gaze relative to the head: right, up, out of the face."""
        angle, eccentricity = math.radians(self.gaze_deg), math.radians(self.eccentricity_deg)
        return (
            math.sin(eccentricity) * math.cos(angle),
            math.sin(eccentricity) * math.sin(angle),
            math.cos(eccentricity),
        )

    @property
    def gaze_to_border_deg(self) -> float:
        """Angle between the gaze and the nearest border of the eight directions, 0 to 22.5."""
        return abs((self.gaze_deg - BORDER_DEG + 22.5) % 45.0 - 22.5)

    @property
    def pupil_to_lid_mm(self) -> float:
        """Distance from the pupil's upper edge to the upper lid; negative where the lid covers it."""
        upper, _ = lid_heights(self)
        gap = upper - self.gaze_vector[1]
        return gap * HALF_WIDTH_MM - self.pupil_mm / 2


# Recorded with the drawn parameters, since the class borders are described with them.
DERIVED = ("gaze_to_border_deg", "pupil_to_lid_mm")


def lid_heights(eye: Eye) -> tuple[float, float]:
    """Heights of the upper and the lower lid at the centre of the eye, in half widths; equal when it is closed.

    The lids follow the gaze: the upper lid moves more than half as far as the pupil, the lower lid less.
    """
    y = eye.gaze_vector[1]
    closed = -0.24 + 0.15 * y
    highest = 0.41 + (0.72 if y < 0 else 0.6) * y
    lowest = -0.31 + (0.3 if y < 0 else 0.1) * y
    return closed + eye.openness * (highest - closed), closed + min(1.0, 1.6 * eye.openness) * (lowest - closed)


def draw_eye(rng: np.random.Generator, ranges: Mapping[str, tuple[float, float]], eyewear: Mapping[str, float]) -> Eye:
    """Draw an eye: numbers uniformly from their ranges, eyewear with the given shares, iris colour uniformly."""
    values: dict[str, typing.Any] = {name: round(float(rng.uniform(*bounds)), 3) for name, bounds in ranges.items()}
    return Eye(
        seed=int(rng.integers(2**31)),
        eyewear=str(rng.choice(list(eyewear), p=list(eyewear.values()))),
        iris=str(rng.choice(IRISES)),
        **values,
    )
