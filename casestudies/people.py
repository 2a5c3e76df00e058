"""The drivers of the cases with persons: 20 people who look different, and do not make the DNN fail differently.

A case without persons draws a new face for each image. In a case with persons each image shows one of `PEOPLE`, whose
skin, brow, lids, lashes, iris and frames stay the same in all images. Images of one person therefore look alike, while
the root causes of the failures are independent of the person: looks are not reasons.
"""

import dataclasses
from typing import Any, TypeVar

import numpy as np

from casestudies.parameters import Eye
from support.errors import SAFEError

_Choice = TypeVar("_Choice")
Colour = tuple[float, float, float]

SKIN_JITTER = 0.01
"""Half the range of a person's skin tone: a tan, a flush."""


@dataclasses.dataclass(frozen=True)
class Person:
    """What stays the same in all images of a person. The defaults are the face of the cases without persons.

    Attributes
    ----------
    name : str
        Empty for nobody in particular.
    seed : int or None
        Determines hairs, pores, freckles and the iris's fibres; None draws them anew for each image.
    skin_tint : tuple of float
        Factors on the linear colour of the skin: rosy, olive, golden.
    roughness : float
        Factor on pores and blotches.
    freckles, moles : int
        Number of spots around the eye.
    age : float
        0 to 1: bags below the eye, crow's feet.
    hair : tuple of float or None
        Linear colour of the brow; lashes are darker. None derives it from the skin.
    brow_height, brow_arch, brow_slope, brow_width : float
        Height of the brow above the eye, its curvature, its fall towards the nose, and a factor on its width.
    lid_tilt : float
        Fall of the eye towards the nose; negative if its corner at the temple is higher.
    crease_height, crease_depth : float
        Distance of the lid's fold from the lid, and a factor on its shadow.
    lash_length, lash_number : float
        Factors.
    eyeshadow : tuple of float or None
        Linear colour of the make-up on the lid.
    eyeliner : float
        Width of the line above the lashes, in half widths of the eye; 0 is none.
    iris_shade : float
        Factor on the colour of the iris.
    frame : tuple of float or None
        Linear colour of the person's glasses and sunglasses. None draws colour, size and form anew for each image.
    frame_half : tuple of float
        Half the width and height of a lens.
    frame_squareness, frame_thickness : float
    lens_colour : tuple of float
        Tint of the person's sunglasses.
    """

    name: str = ""
    seed: int | None = None
    skin_tone: float = 0.0
    skin_tint: Colour = (1.0, 1.0, 1.0)
    roughness: float = 1.0
    freckles: int = 0
    moles: int = 0
    age: float = 0.0
    hair: Colour | None = None
    brow_thickness: float = 0.0
    brow_height: float = 1.20
    brow_arch: float = 0.11
    brow_slope: float = 0.04
    brow_width: float = 1.0
    lid_tilt: float = -0.05
    crease_height: float = 0.09
    crease_depth: float = 1.0
    lash_length: float = 1.0
    lash_number: float = 1.0
    eyeshadow: Colour | None = None
    eyeliner: float = 0.0
    iris: str = ""
    iris_shade: float = 1.0
    frame: Colour | None = None
    frame_half: tuple[float, float] = (0.0, 0.0)
    frame_squareness: float = 0.0
    frame_thickness: float = 0.0
    lens_colour: Colour = (1.0, 1.0, 1.0)


NOBODY = Person()
_COUNT = 20

_BLACK, _BROWN, _AUBURN, _BLOND, _GREY = (
    (0.010, 0.008, 0.007),
    (0.055, 0.030, 0.017),
    (0.13, 0.045, 0.016),
    (0.25, 0.16, 0.075),
    (0.30, 0.29, 0.28),
)
# Hair and iris go with the skin, from the palest to the darkest, in four groups of five.
_HAIR = (
    (_BLOND, _AUBURN, _BROWN, _BLOND, _GREY),
    (_BROWN, _BLACK, _GREY, _AUBURN, _BLOND),
    (_BLACK, _BROWN, _GREY, _BLACK, _BROWN),
    (_BLACK, _BLACK, _GREY, _BLACK, _BLACK),
)
_IRIS = (
    ("blue", "green", "grey", "hazel", "blue"),
    ("brown", "blue", "grey", "green", "hazel"),
    ("brown", "hazel", "brown", "green", "brown"),
    ("brown", "brown", "hazel", "brown", "brown"),
)
_SKIN_TINTS = ((1.05, 0.76, 0.80), (0.90, 1.05, 0.74), (1.10, 0.96, 0.56), (0.94, 0.97, 1.18), (1.0, 1.0, 1.0))
_EYESHADOWS = (
    (0.22, 0.06, 0.30),
    (0.05, 0.16, 0.42),
    (0.05, 0.22, 0.14),
    (0.42, 0.15, 0.06),
    (0.48, 0.10, 0.16),
    (0.06, 0.06, 0.07),
)
_FRAMES = (
    (0.012, 0.012, 0.014),
    (0.10, 0.035, 0.012),
    (0.015, 0.03, 0.14),
    (0.30, 0.012, 0.018),
    (0.42, 0.30, 0.10),
    (0.36, 0.37, 0.38),
    (0.02, 0.12, 0.05),
    (0.55, 0.50, 0.44),
)
# Brighter than the tints of the other cases: fashionable rather than dark.
_LENSES = ((3.0, 3.5, 4.6), (5.6, 3.4, 1.7), (2.4, 4.6, 2.5), (4.4, 2.7, 4.4), (5.8, 2.1, 1.9))


def _invent_people() -> tuple[Person, ...]:
    """Spread each trait evenly over the people, in an order of its own, so that no two look alike."""
    rng = np.random.default_rng(20)

    def spread(low: float, high: float) -> list[float]:
        places = (rng.permutation(_COUNT) + rng.uniform(0.2, 0.8, _COUNT)) / _COUNT
        return [round(float(low + (high - low) * place), 4) for place in places]

    def shuffled(choices: tuple[_Choice, ...]) -> list[_Choice]:
        return [choices[i % len(choices)] for i in rng.permutation(_COUNT).tolist()]

    tones = [(i + 0.5) / _COUNT for i in rng.permutation(_COUNT).tolist()]
    groups = [int(4 * tone) for tone in tones]
    traits: dict[str, list[Any]] = {
        "skin_tint": shuffled(_SKIN_TINTS),
        "roughness": spread(0.2, 2.6),
        "age": spread(-0.5, 1.0),
        "brow_thickness": spread(0.0, 1.0),
        "brow_height": spread(1.02, 1.42),
        "brow_arch": spread(0.02, 0.26),
        "brow_slope": spread(-0.14, 0.16),
        "brow_width": spread(0.6, 1.7),
        "lid_tilt": spread(-0.15, 0.06),
        "crease_height": spread(-0.02, 0.24),
        "crease_depth": spread(0.25, 1.5),
        "lash_length": spread(0.5, 1.6),
        "lash_number": spread(0.4, 1.6),
        "iris_shade": spread(0.75, 1.35),
        "frame": shuffled(_FRAMES),
        "frame_squareness": spread(0.1, 0.95),
        "frame_thickness": spread(0.03, 0.11),
        "lens_colour": shuffled(_LENSES),
        "eyeshadow": shuffled((*_EYESHADOWS, *(None,) * 14)),
        "eyeliner": shuffled((0.05, 0.09, 0.0, 0.0, 0.0)),
        "freckles": shuffled((160, 60, 0, 0, 0)),
        "moles": shuffled((0, 1, 0, 2, 0)),
    }
    widths, heights = spread(1.22, 1.50), spread(0.70, 1.00)
    return tuple(
        Person(
            name=f"person_{i + 1:02d}",
            seed=i,
            skin_tone=round(tones[i], 4),
            hair=_HAIR[groups[i]][int(20 * tones[i]) % 5],
            iris=_IRIS[groups[i]][int(20 * tones[i]) % 5],
            frame_half=(widths[i], heights[i]),
            **{name: values[i] for name, values in traits.items()},
        )
        for i in range(_COUNT)
    )


PEOPLE = _invent_people()
_BY_NAME = {person.name: person for person in (NOBODY, *PEOPLE)}


def find_person(name: str) -> Person:
    """The person with this name; nobody in particular if it is empty.

    Raises
    ------
    SAFEError
        There is no such person.
    """
    if name not in _BY_NAME:
        raise SAFEError(f"Expected a person from {PEOPLE[0].name} to {PEOPLE[-1].name}. Received: {name}")
    return _BY_NAME[name]


def cast(rng: np.random.Generator, eye: Eye) -> Eye:
    """Let one of the people, all equally likely, take the place of a face drawn at random."""
    person = PEOPLE[rng.integers(_COUNT)]
    tone = person.skin_tone + rng.uniform(-SKIN_JITTER, SKIN_JITTER)
    return dataclasses.replace(
        eye,
        person=person.name,
        skin_tone=round(float(np.clip(tone, 0, 1)), 3),
        iris=person.iris,
        brow_thickness=person.brow_thickness,
    )
