"""The drivers of the cases with persons: 20 people who look different, and do not make the DNN fail differently.

A case without persons draws a new face for each image. In a case with persons each image shows one of `PEOPLE`, whose
skin, brow, lids, lashes, iris and frames stay the same in all images. Images of one person therefore look alike, while
the root causes of the failures are independent of the person: looks are not reasons.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from safe_dnn.casestudies import eyes
from safe_dnn.casestudies.case import Ranges
from safe_dnn.casestudies.cases import EYES
from safe_dnn.casestudies.parameters import Eye, draw_eye
from safe_dnn.casestudies.people import Person
from safe_dnn.support.errors import SAFEError

_Choice = TypeVar("_Choice")

SKIN_JITTER = 0.01
"""Half the range of a person's skin tone: a tan, a flush."""
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
_BY_NAME = {person.name: person for person in PEOPLE}


def find_person(name: str) -> Person:
    """The person with this name.

    Raises
    ------
    SAFEError
        There is no such person.
    """
    if name not in _BY_NAME:
        raise SAFEError(f"Expected a person from {PEOPLE[0].name} to {PEOPLE[-1].name}. Received: {name}")
    return _BY_NAME[name]


@dataclasses.dataclass(frozen=True)
class EyeOfPerson(Eye):
    """The parameters of an image of one of `PEOPLE`, with the person's name."""

    person: str


def cast(rng: np.random.Generator, eye: Eye) -> EyeOfPerson:
    """Let one of the people, all equally likely, take the place of a face drawn at random."""
    person = PEOPLE[rng.integers(_COUNT)]
    tone = person.skin_tone + rng.uniform(-SKIN_JITTER, SKIN_JITTER)
    own: dict[str, Any] = {
        "person": person.name,
        "skin_tone": round(float(np.clip(tone, 0, 1)), 3),
        "iris": person.iris,
        "brow_thickness": person.brow_thickness,
    }
    return EyeOfPerson(**dataclasses.asdict(eye) | own)


def draw(rng: np.random.Generator, ranges: Ranges, covers: Mapping[str, float]) -> EyeOfPerson:
    """An eye of one of the people."""
    return cast(rng, draw_eye(rng, ranges, covers))


def render(eye: EyeOfPerson) -> np.ndarray:
    """The image of an eye, as `eyes.render` gives it, with the person's face."""
    return eyes.render(eye, find_person(eye.person))


PERSONS = EYES._replace(type=EyeOfPerson, draw=draw, render=render)
