"""The parameters of a scene with traffic signs, and where its signs are.

Lengths are in pixels of the image, from its top left corner.
"""

import dataclasses
import math
import typing
from collections.abc import Iterator, Mapping

import numpy as np

from safe_dnn.casestudies.camera import SIDE

CLASSES = ("danger", "mandatory", "prohibitory")
"""The groups of signs of the German Traffic Sign Detection Benchmark (Houben et al., IJCNN 2013)."""
PICTURES = 4  # of each class
MOST_SIGNS = 3
_EDGE = 4.0  # free pixels between a whole sign and the image's border
_TRIES = 40  # to find a free place for a sign

_OF_SCENE = ("light", "haze", "blur_px", "noise_levels")

Box = tuple[float, float, float, float]
"""Left, top, width and height."""
Ranges = Mapping[str, tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Sign:
    """A traffic sign.

    Attributes
    ----------
    name : str
        One of `CLASSES`.
    picture : int
        Which of the class, from 0.
    x, y : float
        Its centre.
    size : float
        Width, if it faces the camera.
    turned_deg : float
        How far it is turned away.
    """

    name: str
    picture: int
    x: float
    y: float
    size: float
    turned_deg: float

    @property
    def width(self) -> float:
        return self.size * math.cos(math.radians(self.turned_deg))

    @property
    def height(self) -> float:
        """A triangle is less high than wide."""
        return self.size * (0.9 if self.name == "danger" else 1.0)

    @property
    def box(self) -> Box:
        """What of it is inside the image."""
        left, right = (min(max(self.x + side * self.width / 2, 0.0), SIDE) for side in (-1, 1))
        top, bottom = (min(max(self.y + side * self.height / 2, 0.0), SIDE) for side in (-1, 1))
        return left, top, right - left, bottom - top


@dataclasses.dataclass(frozen=True)
class Scene:
    """The parameters of one image; with `seed` and the signs, they determine every pixel.

    Attributes
    ----------
    surroundings : str
        What is behind the signs: country, motorway, town or shops.
    light : float
        Brightness of all light as exposed by the camera, 0 to 1, linear.
    haze : float
        Share of what is far away that fades into the sky.
    blur_px : float
        Standard deviation of the defocus, in pixels of the image.
    noise_levels : float
        Standard deviation of the sensor noise, in grey levels (0 to 255).
    signs : tuple of Sign
        From back to front. They are in the ground truth, not in `parameters.csv`.
    """

    seed: int
    surroundings: str
    light: float
    haze: float
    blur_px: float
    noise_levels: float
    signs: tuple[Sign, ...] = ()


class Part(typing.NamedTuple):
    """A box in a scene, an object or a false detection, as `parameters.csv` of the crops describes it.

    Attributes
    ----------
    object_px : float
        Root of the area.
    object_aspect : float
        Width divided by height.
    truncated : str
        Whether the image's border cuts it off, `yes` or `no`.
    near_by : int
        Other signs in the crop.
    """

    object_px: float
    object_aspect: float
    truncated: str
    near_by: int
    light: float
    surroundings: str


def parts_of(scene: Scene) -> Iterator[Part]:
    """The signs of a scene."""
    for sign in scene.signs:
        _, _, width, height = sign.box
        others = sum(_near(sign, other) for other in scene.signs if other is not sign)
        cut = "no" if _whole(sign) else "yes"
        yield Part(math.sqrt(width * height), width / height, cut, others, scene.light, scene.surroundings)


def draw_scene(rng: np.random.Generator, ranges: Ranges, surroundings: Mapping[str, float]) -> Scene:
    """Draw a scene: numbers uniformly from their ranges, surroundings with the given shares, and one to three signs.

    Parameters
    ----------
    ranges : mapping
        Bounds of the scene's numbers, of `size` and `turned_deg` of its signs, and of the shares of a sign that the
        image's border (`cut`) or another sign (`hidden`) hides; at 0 none does.
    """
    numbers = {name: round(float(rng.uniform(*ranges[name])), 3) for name in _OF_SCENE}
    return Scene(
        seed=int(rng.integers(2**31)),
        surroundings=str(rng.choice(list(surroundings), p=list(surroundings.values()))),
        signs=_draw_pair(rng, ranges) if max(ranges["hidden"]) > 0 else _draw_signs(rng, ranges),
        **numbers,
    )


def _draw_signs(rng: np.random.Generator, ranges: Ranges) -> tuple[Sign, ...]:
    """Signs that are not near each other."""
    signs: list[Sign] = []
    for _ in range(int(rng.integers(1, MOST_SIGNS + 1))):
        for _ in range(_TRIES):
            sign = _draw_sign(rng, ranges)
            if not any(_near(sign, other) or _near(other, sign) for other in signs):
                signs.append(sign)
                break
    return tuple(signs)


def _draw_pair(rng: np.random.Generator, ranges: Ranges) -> tuple[Sign, ...]:
    """A sign, and one of the same size in front of it that hides a part of it from the left or the right."""
    while True:
        behind, before = (_draw_sign(rng, ranges) for _ in range(2))
        shift = behind.width * (1 - rng.uniform(*ranges["hidden"])) * rng.choice([-1, 1])
        place = {"x": behind.x + shift, "y": behind.y + behind.size * rng.uniform(-0.2, 0.2)}
        before = dataclasses.replace(before, size=behind.size, **place)
        if _whole(before):
            return behind, before


def _draw_sign(rng: np.random.Generator, ranges: Ranges) -> Sign:
    size, turned_deg, cut = (float(rng.uniform(*ranges[name])) for name in ("size", "turned_deg", "cut"))
    sign = Sign(str(rng.choice(CLASSES)), int(rng.integers(PICTURES)), 0.0, 0.0, size, turned_deg)
    half = sign.width / 2, sign.height / 2
    x, y = (float(rng.uniform(each + _EDGE, SIDE - each - _EDGE)) for each in half)
    if cut > 0:
        side = int(rng.integers(4))  # left, top, right, bottom
        visible = (1 - 2 * cut) * half[side % 2]  # from the border to the centre
        at = visible if side < 2 else SIDE - visible
        x, y = (at, y) if side % 2 == 0 else (x, at)
    return dataclasses.replace(sign, x=x, y=y)


def _whole(sign: Sign) -> bool:
    """Whether no border cuts a sign off."""
    across, down = (SIDE - side / 2 for side in (sign.width, sign.height))
    return sign.width / 2 + 1 < sign.x < across - 1 and sign.height / 2 + 1 < sign.y < down - 1


def _near(sign: Sign, other: Sign) -> bool:
    """Whether another sign is in the crop of a sign (see `safe_dnn.dnn.detection.converter.window_of`)."""
    _, _, width, height = sign.box
    margin = max(9.0, 0.25 * max(width, height) + 1)
    across, down = (sign.width + other.width) / 2, (sign.height + other.height) / 2
    return abs(sign.x - other.x) < across + margin and abs(sign.y - other.y) < down + margin
