"""Settings of SpotCheck: what varies in the scenes, and in which of them the network is taught the wrong label.

Written from the description in Plumb, Johnson, Cabrera & Talwalkar, "Towards a More Rigorous Science of Blindspot
Discovery in Image Classification Models", TMLR 2023 (arXiv 2207.04104). A scene has a background and a square, or none;
that is the label. One to three of a rectangle, a circle and a text may be there as well. Each can be of a second size,
colour or texture, the square can be doubled, and the background can be of a second colour or texture; five to seven of
all these vary in a setting, each in half of the scenes. A blind spot has four to six clauses about what varies, and
about whether the square is in the upper half; there is a square in each, and two of them contradict each other in at
least two clauses.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

OBJECTS = ("rectangle", "circle", "text")
OWN = {  # attributes of each thing
    "background": ("colour", "texture"),
    "square": ("size", "colour", "texture", "number"),
    "rectangle": ("size", "colour", "texture"),
    "circle": ("size", "colour", "texture"),
    "text": ("size", "colour", "texture"),
}
SQUARE, UPPER = "square_presence", "square_upper"
N_VARIED = (5, 6, 7)
N_CLAUSES = (4, 5, 6)
N_BLIND = (1, 2, 3)
LEAST_CONTRADICTED = 2
ATTEMPTS = 10_000


class Setting(NamedTuple):
    """What varies, and the blind spots.

    Attributes
    ----------
    varied : tuple of str
        Columns such as `circle_presence`, `square_presence` first; the last, `square_upper`, follows from the places.
    blind : tuple of mapping of str to bool
        The clauses of each blind spot.
    """

    varied: tuple[str, ...]
    blind: tuple[Mapping[str, bool], ...]


def presence_of(column: str) -> str | None:
    """The column that says whether the thing is there of which another column is an attribute; None if it always is."""
    thing, _, attribute = column.partition("_")
    return None if attribute == "presence" or thing == "background" else f"{thing}_presence"


def draw_setting(rng: np.random.Generator) -> Setting:
    """A random setting."""
    objects = rng.choice(OBJECTS, rng.integers(1, len(OBJECTS) + 1), replace=False).tolist()
    varied = [f"{thing}_presence" for thing in objects]
    for _ in range(int(rng.choice(N_VARIED)) - len(objects)):
        left = {
            thing: [name for one in OWN[thing] if (name := f"{thing}_{one}") not in varied]
            for thing in ("background", "square", *objects)
        }
        names = left[str(rng.choice([thing for thing, names in left.items() if names]))]
        varied.append(str(rng.choice(names)))
    columns = (SQUARE, *varied, UPPER)
    sizes = sorted(rng.choice(N_CLAUSES, rng.choice(N_BLIND)).tolist())
    while True:
        blind: list[dict[str, bool]] = []
        for _ in range(ATTEMPTS):
            spot = _draw_blind_spot(columns, sizes[len(blind)], rng)
            if all(
                sum(spot[name] != other[name] for name in spot.keys() & other) >= LEAST_CONTRADICTED for other in blind
            ):
                blind.append(spot)
            if len(blind) == len(sizes):
                return Setting(columns, tuple(blind))


def _draw_blind_spot(columns: tuple[str, ...], n_clauses: int, rng: np.random.Generator) -> dict[str, bool]:
    """Clauses are added one after the other, an attribute only of what is there or already has a clause."""
    chosen = [SQUARE]
    for _ in range(n_clauses):
        free = [name for name in columns if name not in chosen and presence_of(name) in (None, *chosen)]
        chosen.append(str(rng.choice(free)))
    needed = {SQUARE, *map(presence_of, chosen)}
    return {name: bool(name in needed or rng.integers(2)) for name in chosen}
