"""The parameters of an image of a driver's head."""

import dataclasses
import typing
from collections.abc import Mapping

import numpy as np

HAIRS = ("black", "brown", "auburn", "blond", "grey")
YAW_BORDERS_DEG = (-16.0, 16.0)
PITCH_BORDERS_DEG = (-11.0, 11.0)
DARK_SKIN = 0.55  # from this tone on, hair is black, brown or grey


@dataclasses.dataclass(frozen=True)
class Head:
    """The parameters of one image; including `seed`, they determine every pixel.

    Attributes
    ----------
    yaw_deg, pitch_deg, roll_deg : float
        Where the nose points, positive to the right of the image and upwards; roll is positive if the top of the head
        leans to the left of the image.
    light_side_deg, light_height_deg : float
        Direction of the lamp as seen from the head: positive from the right and from above.
    light : float
        Brightness of all light as exposed by the camera, 0 to 1, linear.
    fill : float
        Brightness of the light from everywhere, relative to the lamp; the less there is, the darker are shadows.
    blur_px : float
        Standard deviation of the defocus, in pixels of the image.
    noise_levels : float
        Standard deviation of the sensor noise, in grey levels (0 to 255).
    cover : str
        What covers part of the face: none, glasses, sunglasses, scarf or hand.
    fringe : float
        How far hair hangs over one half of the face: 0 is not at all, 1 is down to the mouth.
    skin_tone : float
        0 is the palest, 1 the darkest.
    hair_length : float
        0 is cropped, 1 reaches the shoulders.
    mouth_open : float
        0 is closed, 1 is wide open.
    """

    seed: int
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    distance_cm: float
    light_side_deg: float
    light_height_deg: float
    light: float
    fill: float
    blur_px: float
    noise_levels: float
    cover: str
    fringe: float
    skin_tone: float
    hair: str
    hair_length: float
    mouth_open: float

    @property
    def yaw_to_border_deg(self) -> float:
        """Angle between the yaw and the nearest border of the directions."""
        return min(abs(self.yaw_deg - border) for border in YAW_BORDERS_DEG)

    @property
    def pitch_to_border_deg(self) -> float:
        """Angle between the pitch and the nearest border of the directions."""
        return min(abs(self.pitch_deg - border) for border in PITCH_BORDERS_DEG)


# Recorded with the drawn parameters of the direction, since the class borders are described with them.
DERIVED = ("yaw_to_border_deg", "pitch_to_border_deg")


def draw_head(rng: np.random.Generator, ranges: Mapping[str, tuple[float, float]], covers: Mapping[str, float]) -> Head:
    """Draw a head: numbers uniformly from their ranges, covers with the given shares, hair that goes with the skin."""
    values: dict[str, typing.Any] = {name: round(float(rng.uniform(*bounds)), 3) for name, bounds in ranges.items()}
    hairs = HAIRS if values["skin_tone"] < DARK_SKIN else ("black", "black", "black", "brown", "grey")
    return Head(
        seed=int(rng.integers(2**31)),
        cover=str(rng.choice(list(covers), p=list(covers.values()))),
        hair=str(rng.choice(hairs)),
        **values,
    )
