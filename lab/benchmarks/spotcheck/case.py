"""A setting with its network's answers to new scenes, and the features of these; all is computed once and kept."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lab.benchmarks.kept import key_of
from lab.benchmarks.spotcheck.network import taught_answers
from lab.benchmarks.spotcheck.scenes import Scenes, draw_scenes
from lab.benchmarks.spotcheck.settings import SQUARE, Setting, draw_setting
from safe_dnn.features.attributes import ATTRIBUTES, measure
from safe_dnn.features.batches import compute_rows, pixels_of
from safe_dnn.features.extractor import Extractor
from safe_dnn.features.vgg16 import BATCH_SIZE, Network, load_network
from safe_dnn.rccs.answers import LABEL
from safe_dnn.support.files import prepare_folder, replacing
from safe_dnn.support.progress import report_progress

TRAINED, TESTED, IN_TABLE = 6_000, 700, 4_000
LEAST_TRAINED, LEAST_TESTED = 600, 50  # of each blind spot; the paper has 400 and 50 of each combination of what varies
SEED = 0
SOURCES = tuple(f"lab/benchmarks/spotcheck/{name}.py" for name in ("settings", "scenes", "network"))
YES_NO = np.array(["no", "yes"])


class Answered(NamedTuple):
    """Scenes, and the probability of a square that the network gives to each: float32 of shape (n,)."""

    scenes: Scenes
    probabilities: np.ndarray

    def taken(self, rows: np.ndarray) -> "Answered":
        """Some of the scenes."""
        return Answered(self.scenes.taken(rows), self.probabilities[rows])

    @property
    def predicted(self) -> np.ndarray:
        """Whether the network sees a square."""
        return self.probabilities > 0.5

    @property
    def wrong(self) -> np.ndarray:
        """Which scenes the network gets wrong."""
        return self.predicted != self.scenes.square

    @property
    def answers(self) -> dict[str, np.ndarray]:
        """The true answers, as a column."""
        return {LABEL: YES_NO[self.scenes.square.astype(int)]}

    @property
    def metadata(self) -> dict[str, np.ndarray]:
        """What is known of the scenes, without the label."""
        return {name: column for name, column in self.scenes.columns.items() if name != SQUARE}


class Case(NamedTuple):
    """A setting, tested.

    Attributes
    ----------
    setting : Setting
    tested : Answered
        The test set.
    own : ndarray of shape (n, 128), float32
        The network's activations before its last layer.
    looks : ndarray of shape (n, 4224), float32
        SAFE's features.
    attributes : ndarray of shape (n, n_attributes), float32
        What SAFE measures in the images.
    extractor : Extractor
    table : Answered
        More scenes, drawn as the paper does, without any that were added; their images are only seen by the network.
    """

    setting: Setting
    tested: Answered
    own: np.ndarray
    looks: np.ndarray
    attributes: np.ndarray
    extractor: Extractor
    table: Answered

    def taken(self, rows: np.ndarray) -> "Case":
        """Some of the tested scenes."""
        return self._replace(
            tested=self.tested.taken(rows), own=self.own[rows], looks=self.looks[rows], attributes=self.attributes[rows]
        )

    @property
    def measured(self) -> dict[str, np.ndarray]:
        """What SAFE measures in them."""
        columns = dict(zip(ATTRIBUTES, self.attributes.T.astype(np.float64), strict=True))
        return {name: column for name, column in columns.items() if len(np.unique(column)) > 1}


def load_case(number: int, work: Path, extractor: Extractor) -> Case:
    """A setting by its number, which is its seed."""
    setting = draw_setting(np.random.default_rng([SEED, number]))
    tested = draw_scenes(setting, TESTED, LEAST_TESTED, np.random.default_rng([SEED, number, 1]))
    folder = prepare_folder(work / key_of(f"{TRAINED} {TESTED} {IN_TABLE}", *SOURCES))
    table = draw_scenes(setting, IN_TABLE, 0, np.random.default_rng([SEED, number, 3]))
    probabilities, own, of_table = _kept(folder / f"{number}-answers.npz") or _keep(
        folder / f"{number}-answers.npz",
        taught_answers(
            draw_scenes(setting, TRAINED, LEAST_TRAINED, np.random.default_rng([SEED, number, 2])),
            tested.pixels,
            table.pixels,
        ),
    )
    path = folder / f"{number}-{extractor.identity}.npz"
    looks, attributes = _kept(path) or _keep(path, _features(tested.pixels, load_network(extractor), extractor))
    answered = Answered(tested, probabilities), Answered(table, of_table)
    return Case(setting, answered[0], own, looks, attributes, extractor, answered[1])


def _features(pixels: np.ndarray, network: Network, extractor: Extractor) -> tuple[np.ndarray, np.ndarray]:
    """SAFE's features of images, and what it measures in them."""
    looks, attributes = [], []
    for begin in range(0, len(pixels), BATCH_SIZE):
        report_progress("Extracting", begin, len(pixels))
        images = [Image.fromarray(each) for each in pixels[begin : begin + BATCH_SIZE]]
        looks.append(compute_rows(network, [pixels_of(image) for image in images], extractor))
        attributes += [measure(image, image.size) for image in images]
    return np.concatenate(looks), np.stack(attributes)


def _kept(path: Path) -> tuple[np.ndarray, ...] | None:
    if not path.is_file():
        return None
    with np.load(path) as arrays:
        return tuple(arrays[name] for name in arrays.files)


def _keep(path: Path, arrays: Iterable[np.ndarray]) -> tuple[np.ndarray, ...]:
    every = tuple(arrays)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, *every)
    return every
