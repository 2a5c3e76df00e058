"""The cases on which the paper's research questions are measured again: failing images, parameters, unsafe values.

`gd` and `oc` are built case studies (`python -m casestudies.build`); `gd-large` and `oc-large` are their DNNs on test
sets several times as large, which give failures of the order of the paper's; `gtsrb` are photographs of traffic signs
(folders `train` and `test`, and `parameters.csv`), for which a small CNN is trained here.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from casestudies.build import MODEL_FILE, lay_out, render_images
from casestudies.cases import OPEN_FROM, find_case
from casestudies.causes import FILE as CAUSES_FILE
from casestudies.causes import describe_causes
from casestudies.parameters import BORDER_DEG, Eye, write_parameters
from casestudies.parameters import FILE as PARAMETERS_FILE
from casestudies.parameters import read_parameters as read_eyes
from rccs.parameters import read_parameters
from support.errors import SAFEError
from support.files import replacing, write_text
from support.images import decode, find_images, read_bytes
from support.progress import Progress, no_progress

CASES = ("gd", "oc", "gtsrb", "gd-large", "oc-large")
BUILT_FROM = {"gd": "gd", "oc": "oc", "gtsrb": "gtsrb", "gd-large": "gd", "oc-large": "oc"}
LARGE_TEST_SETS = {"gd-large": 12_000, "oc-large": 13_500}
LARGE_SEED = 1  # other images than those of `gd` and `oc`
NO_PARAMETERS = ("seed", "label")  # columns that say nothing of what is seen
PUPIL_MM = 4.25  # the mean pupil
EDGE = 0.2  # of the test set's photographs, the share at an edge of a parameter


class UnsafeValue(NamedTuple):
    """A value of a parameter near which the DNN is to be expected to fail.

    Attributes
    ----------
    source : "root cause", "other border", "edge" or "region middle"
        Of a region that the training set lacks; a border between two classes, as in the paper, where no such region
        is; the lowest or highest fifth of photographs; see `unsafe_values` for the last.
    parameter : str
    value : float or str
        A category where it is one.
    width : float
        Of its sub-range; 0 for a category.
    """

    source: str
    parameter: str
    value: float | str
    width: float

    @property
    def text(self) -> str:
        """For example `gaze_deg 112.5` or `eyewear sunglasses`."""
        return f"{self.parameter} {self.value if isinstance(self.value, str) else f'{self.value:.4g}'}"


class PaperCase(NamedTuple):
    """A case, ready to be measured.

    Attributes
    ----------
    model, root : Path
        The DNN under test; the folder of the failing images.
    paths : tuple of str
        The failing images, relative to `root`, sorted.
    failing, reference : dict of str to ndarray
        Parameters of the failing images and of the whole test set: float64, or str for a category.
    causes : dict of str to ndarray of shape (n_images,), bool
        The known root causes and which failing images have them; empty where none is known.
    values : tuple of UnsafeValue
    digest : str
        Stands for the model and the failing images.
    """

    name: str
    model: Path
    root: Path
    paths: tuple[str, ...]
    failing: dict[str, np.ndarray]
    reference: dict[str, np.ndarray]
    causes: dict[str, np.ndarray]
    values: tuple[UnsafeValue, ...]
    digest: str


def load_case(name: str, data: Path, work: Path, progress: Progress = no_progress) -> PaperCase:
    """Load a case; prepare what is missing of it in the folder `work`.

    Parameters
    ----------
    data : Path
        The built case study, or the photographs.

    Raises
    ------
    SAFEError
        No such case, or `data` does not hold it.
    """
    if name not in CASES:
        raise SAFEError(f"Expected a case of {', '.join(CASES)}. Received: {name}")
    table = data / PARAMETERS_FILE
    if not table.is_file():
        raise SAFEError(f"Expected the case {name} with its {PARAMETERS_FILE}. Received: {data}")
    folder = data
    model = data / MODEL_FILE
    if name == "gtsrb":
        folder = work
        model = _trained(data / "train", work, progress)
        _failures_of(model, data / "test", folder, progress)
    elif name in LARGE_TEST_SETS:
        folder = _enlarged(name, data, work, progress)
        table = folder / PARAMETERS_FILE
    listing = find_images(folder / "failures")
    test_images = sorted(_test_images(table))
    reference = read_parameters(table, table.parent, [f"test/{image}" for image in test_images]).columns
    reference = {key: column for key, column in reference.items() if key not in NO_PARAMETERS}
    place = {image: i for i, image in enumerate(test_images)}
    missing = [path for path in listing.paths if path not in place]
    if missing:
        raise SAFEError(f"Expected a row test/{missing[0]} in {table}. Received none ({len(missing)} are missing).")
    rows = np.array([place[path] for path in listing.paths])
    failing = {key: column[rows] for key, column in reference.items()}
    eyes = {} if name == "gtsrb" else _test_eyes(table)
    return PaperCase(
        name,
        model,
        listing.root,
        listing.paths,
        failing,
        reference,
        _cause_masks(folder / CAUSES_FILE, listing.paths) if eyes else {},
        tuple(unsafe_values(BUILT_FROM[name], reference, eyes.values())),
        _digest(model, listing.paths),
    )


def _test_images(table: Path) -> set[str]:
    with table.open(encoding="utf-8", newline="") as file:
        return {row["image"][5:] for row in csv.DictReader(file) if row["image"].startswith("test/")}


def _test_eyes(table: Path) -> dict[str, Eye]:
    return {image: eye for image, eye in read_eyes(table).items() if image.startswith("test/")}


def _cause_masks(path: Path, paths: tuple[str, ...]) -> dict[str, np.ndarray]:
    causes = json.loads(path.read_text(encoding="utf-8"))
    held = {cause["name"]: {image.removeprefix("failures/") for image in cause["failing"]} for cause in causes}
    return {name: np.array([image in images for image in paths]) for name, images in held.items()}


def _digest(model: Path, paths: Iterable[str]) -> str:
    digest = hashlib.blake2b(model.read_bytes(), digest_size=6)
    digest.update("\n".join(paths).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


# --- Unsafe values ----------------------------------------------------------------------------------------------


def unsafe_values(name: str, reference: dict[str, np.ndarray], eyes: Iterable[Eye]) -> Iterator[UnsafeValue]:
    """The unsafe values of a case; they depend on the test set alone, not on what is clustered how.

    Of each known root cause and each of its parameters: the middle of the range that the test images with that cause
    span, and the range's width. But where such a region begins at a border between two classes, the border is the
    value, as in the paper, and the class its sub-range: the DNN fails there the more, the nearer to the border an image
    is, and the middle of the region is only listed beside (`region middle`), not counted.

    Other borders, as in the paper, lie where the training set lacks nothing: of `gd` the remaining six borders between
    directions, 45° apart; of `oc` the upper lid touching the pupil, with the size of a pupil for the sub-range.

    Of photographs, the ends of each parameter at which a fifth of the test set lies: the low end, and for brightness
    the high one too.

    Parameters
    ----------
    reference : dict of str to ndarray
        Parameters of the test set.
    eyes : iterable of Eye
        The test set of a case study.
    """
    if name == "gtsrb":
        for parameter, column in reference.items():
            yield _edge(parameter, *np.quantile(column, [0.02, EDGE]))
            if parameter == "brightness":
                yield _edge(parameter, *np.quantile(column, [1 - EDGE, 0.98]))
        return
    eyes = list(eyes)
    borders = {
        "gd": ("gaze_deg", [BORDER_DEG + 45 * k for k in range(8)], 45.0),
        "oc": ("openness", [OPEN_FROM], OPEN_FROM),
    }
    bordered, at, width = borders[name]
    used = set()
    for cause in find_case(name).root_causes:
        held = [eye for eye in eyes if cause.holds(eye)]
        for parameter in cause.parameters:
            values = [getattr(eye, parameter) for eye in held]
            if values and isinstance(values[0], str):
                yield UnsafeValue("root cause", parameter, max(set(values), key=values.count), 0.0)
            elif values:
                low, high = min(values), max(values)
                if parameter == bordered:
                    border = min(at, key=lambda one: min(abs(one - low), abs(one - high)))
                    used.add(border)
                    yield UnsafeValue("root cause", parameter, border, width)
                source = "region middle" if parameter == bordered else "root cause"
                yield UnsafeValue(source, parameter, (low + high) / 2, high - low)
    for border in at:
        if border not in used:
            yield UnsafeValue("other border", bordered, border, width)
    if name == "oc":
        yield UnsafeValue("other border", "pupil_to_lid_mm", 0.0, PUPIL_MM)


def _edge(parameter: str, low: float, high: float) -> UnsafeValue:
    return UnsafeValue("edge", parameter, float(low + high) / 2, float(high - low))


# --- What has to be prepared ------------------------------------------------------------------------------------


def _failures_of(model: Path, test: Path, out: Path, progress: Progress) -> None:
    from dnn.failures import find_failures
    from support.run_folder import ACCURACY_FILE

    if not (out / ACCURACY_FILE).is_file():
        find_failures(model, test, out, progress=progress)


def _trained(train: Path, work: Path, progress: Progress) -> Path:
    """A small CNN for photographs in class folders."""
    path = work / MODEL_FILE
    if path.is_file():
        return path
    import keras

    from dnn.predictions import labelled_images

    images = labelled_images(train)
    pixels = np.stack([_small(file) for file in images.files])
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 255)])
    for width in (32, 64, 128):
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    for layer in (layers.Flatten(), layers.Dropout(0.3), layers.Dense(64, "relu")):
        model.add(layer)
    model.add(layers.Dense(len(images.classes), "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    epochs = 16
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: progress("Training", epoch + 1, epochs))
    model.fit(pixels, np.asarray(images.labels), batch_size=64, epochs=epochs, verbose=0, callbacks=[told])
    with replacing(path) as temporary:
        model.save(temporary)
    return path


def _small(file: Path) -> np.ndarray:
    return np.asarray(decode(read_bytes(file)).resize((32, 32), resample=2))


def _enlarged(name: str, data: Path, work: Path, progress: Progress) -> Path:
    """Failures of the DNN of a case study on a larger test set."""
    done = work / PARAMETERS_FILE  # written last
    if done.is_file():
        return work
    case = find_case(BUILT_FROM[name])
    rows = list(lay_out(case, "test", LARGE_TEST_SETS[name], LARGE_SEED))
    for _ in render_images(work, rows, progress):
        pass
    _failures_of(data / MODEL_FILE, work / "test", work, progress)
    failing = set(find_images(work / "failures").paths)
    wrong = [i for i, (path, _, _) in enumerate(rows) if path.removeprefix("test/") in failing]
    write_text(work / CAUSES_FILE, json.dumps(describe_causes(case, rows, wrong), ensure_ascii=False))
    write_parameters(done, rows)
    return work
