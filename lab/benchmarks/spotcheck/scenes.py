"""Scenes of a setting, drawn in 64 x 64 pixels where the paper has 224 x 224, and what is known of each of them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lab.benchmarks.spotcheck.settings import SQUARE, UPPER, Setting, presence_of

SIDE = 64
GAP = 2  # pixels between things
STRIPE = 2  # pixels
SPECKS = 0.1  # of a textured background
SIZES = {"square": ((14, 14), (8, 8)), "rectangle": ((18, 11), (11, 6)), "circle": ((14, 14), (8, 8))}  # plain, changed
TEXT_SIZES = (10, 15)
COLOURS = np.array([[30, 120, 180], [250, 130, 20]], np.uint8)
GREYS, SPECK, BLACK = (255, 200), 100, 0


class Scenes(NamedTuple):
    """Drawn scenes.

    Attributes
    ----------
    pixels : ndarray of shape (n, 64, 64, 3), uint8
    columns : dict of str to ndarray of shape (n,), str
        "yes", "no", or empty for attributes of what is not there.
    square : ndarray of shape (n,), bool
        The label.
    blind : ndarray of shape (n_blind, n), bool
        Which scenes are in each blind spot.
    """

    pixels: np.ndarray
    columns: dict[str, np.ndarray]
    square: np.ndarray
    blind: np.ndarray

    @property
    def taught(self) -> np.ndarray:
        """The label that the network is taught: wrong in blind spots."""
        return self.square & ~self.blind.any(axis=0)

    def taken(self, rows: np.ndarray) -> "Scenes":
        """Some of the scenes."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Scenes(self.pixels[rows], columns, self.square[rows], self.blind[:, rows])


def draw_scenes(setting: Setting, n: int, least: int, rng: np.random.Generator) -> Scenes:
    """Random scenes: `n` of them, and further ones until each blind spot has at least `least`."""
    masks = {(thing, changed): mask_of(thing, changed) for thing in (*SIZES, "text") for changed in (False, True)}
    drawn = [_draw({}, setting, masks, rng) for _ in range(n)]
    for spot in setting.blind:
        missing = least - sum(_is_in(spot, values) for values, _ in drawn)
        drawn += [_draw(spot, setting, masks, rng) for _ in range(max(0, missing))]
    every = [values for values, _ in drawn]
    columns = {}
    for name in setting.varied:
        there = presence_of(name)
        columns[name] = np.array([_word(values[name], there is None or values[there]) for values in every])
    blind = np.array([[_is_in(spot, values) for values in every] for spot in setting.blind])
    return Scenes(np.stack([pixels for _, pixels in drawn]), columns, columns[SQUARE] == "yes", blind)


def _word(value: bool, known: bool) -> str:
    return ("yes" if value else "no") if known else ""


def _is_in(spot: Mapping[str, bool], values: Mapping[str, bool]) -> bool:
    return all(values[name] == value for name, value in spot.items())


def _draw(
    forced: Mapping[str, bool],
    setting: Setting,
    every_mask: Mapping[tuple[str, bool], np.ndarray],
    rng: np.random.Generator,
) -> tuple[dict[str, bool], np.ndarray]:
    """A scene for which all of `forced` holds."""
    values: list[bool] = (rng.random(len(setting.varied)) < 0.5).tolist()
    chosen = {**dict(zip(setting.varied, values, strict=True)), **forced}
    things = [name.partition("_")[0] for name, value in chosen.items() if name.endswith("_presence") and value]
    masks = {thing: every_mask[thing, chosen.get(f"{thing}_size", False)] for thing in things}
    wanted = [*things, *["square"] * (chosen[SQUARE] and chosen.get("square_number", False))]
    while True:
        places = _places([masks[thing] for thing in wanted], rng)
        squares = [
            row + masks[thing].shape[0] / 2 for thing, (row, _) in zip(wanted, places, strict=True) if thing == "square"
        ]
        chosen[UPPER] = min(squares, default=SIDE) < SIDE / 2
        if not chosen[SQUARE] or UPPER not in forced or chosen[UPPER] == forced[UPPER]:
            break
    pixels = np.full((SIDE, SIDE, 3), GREYS[chosen.get("background_colour", False)], np.uint8)
    if chosen.get("background_texture", False):
        pixels[rng.random((SIDE, SIDE)) < SPECKS] = SPECK
    for thing, (row, column) in zip(wanted, places, strict=True):
        mask = masks[thing]
        window = pixels[row : row + mask.shape[0], column : column + mask.shape[1]]
        window[mask] = COLOURS[int(chosen.get(f"{thing}_colour", False))]
        if chosen.get(f"{thing}_texture", False):
            striped = np.arange(mask.shape[1]) // STRIPE % 2 == 1
            window[mask & striped] = BLACK
    return chosen, pixels


def _places(masks: list[np.ndarray], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Random places (row, column) that do not collide."""
    while True:
        taken: list[tuple[int, int, int, int]] = []
        for mask in masks:
            height, width = mask.shape
            row, column = int(rng.integers(SIDE - height + 1)), int(rng.integers(SIDE - width + 1))
            box = (row, column, row + height, column + width)
            if any(_collide(box, other) for other in taken):
                break
            taken.append(box)
        else:
            return [(row, column) for row, column, _, _ in taken]


def _collide(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] + GAP and other[0] < one[2] + GAP and one[1] < other[3] + GAP and other[1] < one[3] + GAP


def mask_of(thing: str, changed: bool) -> np.ndarray:
    """The pixels of a thing: bool of shape (height, width)."""
    if thing == "text":
        font = ImageFont.load_default(TEXT_SIZES[changed])
        left, top, right, bottom = map(int, font.getbbox("text"))
        image = Image.new("1", (right - left, bottom - top))
        ImageDraw.Draw(image).text((-left, -top), "text", fill=1, font=font)
        return np.array(image)
    width, height = SIZES[thing][changed]
    if thing != "circle":
        return np.ones((height, width), bool)
    rows, columns = (np.arange(length) - (length - 1) / 2 for length in (height, width))
    return rows[:, np.newaxis] ** 2 + columns**2 <= (width / 2) ** 2
