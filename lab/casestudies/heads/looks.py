"""Who is seen, and before what: proportions and colours that are drawn for each image and are no parameters."""

import dataclasses

import numpy as np

from lab.casestudies.heads.parameters import Head
from lab.casestudies.heads.shape import Build

Colour = tuple[float, float, float]  # linear light

_IRISES: tuple[Colour, ...] = ((0.09, 0.04, 0.018), (0.05, 0.025, 0.012), (0.10, 0.14, 0.20), (0.09, 0.11, 0.05))
_DARK_IRISES = _IRISES[:2]
_CLOTHES: tuple[Colour, ...] = (
    (0.05, 0.07, 0.14),
    (0.25, 0.05, 0.05),
    (0.30, 0.30, 0.31),
    (0.04, 0.04, 0.045),
    (0.10, 0.16, 0.10),
    (0.50, 0.48, 0.44),
)
_SCARVES: tuple[Colour, ...] = (
    (0.45, 0.04, 0.05),
    (0.05, 0.11, 0.33),
    (0.33, 0.33, 0.35),
    (0.50, 0.36, 0.08),
    (0.06, 0.22, 0.13),
)
_SEATS: tuple[Colour, ...] = ((0.030, 0.031, 0.034), (0.055, 0.056, 0.060), (0.085, 0.070, 0.055), (0.05, 0.04, 0.035))
_FRAMES: tuple[Colour, ...] = ((0.012, 0.012, 0.014), (0.07, 0.03, 0.015), (0.02, 0.03, 0.09), (0.20, 0.19, 0.18))
_TINTS: tuple[Colour, ...] = ((0.05, 0.055, 0.06), (0.09, 0.06, 0.035), (0.04, 0.06, 0.045))


@dataclasses.dataclass(frozen=True)
class Looks:
    """Somebody's looks, the seat, and where the camera is.

    Attributes
    ----------
    side : float
        −1 or 1: the side of the hand that covers the mouth, and of the window.
    gaze : tuple of float
        How far the irises are from the middle of the eyes, in units of 10 cm.
    beard : float
        Density of the stubble, 0 to 1.
    lens_half : tuple of float
        Half the width and height of a lens, in units of 10 cm.
    lens_squareness, mirrored : float
        0 to 1. Sunglasses mirror this share of the sky.
    offset : tuple of float
        How far the camera is to the right of the head and above it, in units of 10 cm.
    """

    build: Build
    side: float
    gaze: tuple[float, float]
    beard: float
    iris: Colour
    cloth: Colour
    scarf: Colour
    seat: Colour
    frame: Colour
    tint: Colour
    lens_half: tuple[float, float]
    lens_squareness: float
    mirrored: float
    offset: tuple[float, float]


def draw_looks(head: Head, rng: np.random.Generator) -> Looks:
    """Draw the looks of a head, always in the same order, so that a parameter changes only what it stands for."""
    uniform = rng.uniform
    build = Build(
        width=uniform(0.93, 1.05),
        jaw=uniform(0.85, 1.2),
        nose=uniform(0.85, 1.12),
        lips=uniform(0.8, 1.35),
        eyes_apart=uniform(0.29, 0.33),
        eyes_height=uniform(0.02, 0.07),
        mouth_height=uniform(-0.57, -0.51),
        mouth_open=head.mouth_open,
        hair_length=head.hair_length,
        hairline=uniform(0.55, 0.7),
        fringe=head.fringe,
        fringe_side=float(rng.choice([-1, 1])),
    )

    def pick(colours: tuple[Colour, ...]) -> Colour:
        return colours[rng.integers(len(colours))]

    return Looks(
        build,
        side=float(rng.choice([-1, 1])),
        gaze=(uniform(-0.02, 0.02), uniform(-0.01, 0.01)),
        beard=uniform(0.1, 0.5) if rng.random() < 0.35 else 0.0,
        iris=pick(_IRISES if head.skin_tone < 0.5 else _DARK_IRISES),
        cloth=pick(_CLOTHES),
        scarf=pick(_SCARVES),
        seat=pick(_SEATS),
        frame=pick(_FRAMES),
        tint=pick(_TINTS),
        lens_half=(uniform(0.25, 0.28), uniform(0.14, 0.18)),
        lens_squareness=uniform(0.1, 0.7),
        mirrored=uniform(0.05, 0.5),
        offset=(uniform(-0.18, 0.18), uniform(-0.18, 0.18)),
    )
