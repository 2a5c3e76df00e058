"""The cases for evaluating the paper's research questions: failing images, parameters and unsafe values.

`gd`, `oc`, `hpd`, `fld` and `od` are case studies built by `python -m lab.casestudies.build`; the images of `od`, a
detector, are crops of its objects and false detections. `gtsrb` are photographs of traffic signs (folders `train` and
`test`, and `parameters.csv`), for which a small CNN is trained here.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lab.casestudies.cases import CASES as CASE_STUDIES
from lab.casestudies.heads.parameters import PITCH_BORDERS_DEG, YAW_BORDERS_DEG
from lab.casestudies.signs.build import read_parts
from safe_dnn.casestudies.case import Case, Subject
from safe_dnn.casestudies.cases import OPEN_FROM
from safe_dnn.casestudies.causes import CAUSES_FILE
from safe_dnn.casestudies.parameters import BORDER_DEG
from safe_dnn.casestudies.sets import MODEL_FILE
from safe_dnn.dnn.predictions import interpolated
from safe_dnn.rccs.parameters import PARAMETERS_FILE, read_parameters
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import replacing
from safe_dnn.support.images import decode, find_images, read_bytes
from safe_dnn.support.progress import report_progress
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, OBJECTS
from tests.helpers.cases import read_subjects

CASES = ("gd", "oc", "hpd", "fld", "od", "gtsrb")
# Parameters whose borders between classes are unsafe, the borders, and the width of a class.
BORDERS = {
    "gd": {"gaze_deg": ([BORDER_DEG + 45 * k for k in range(8)], 45.0)},
    "oc": {"openness": ([OPEN_FROM], OPEN_FROM)},
    "hpd": {"yaw_deg": (list(YAW_BORDERS_DEG), 32.0), "pitch_deg": (list(PITCH_BORDERS_DEG), 22.0)},
    "fld": {},
    "od": {},
}
NO_PARAMETERS = ("seed", "label", "type", "confused_with", "full_image")  # columns that do not describe the image
PUPIL_MM = 4.25  # mean diameter of the pupil
EDGE = 0.2  # share of the test photographs at an edge of a parameter


class UnsafeValue(NamedTuple):
    """A value of a parameter near which the DNN is expected to fail.

    Attributes
    ----------
    source : "root cause", "other border", "edge" or "region middle"
        A region that the training set lacks; a border between two classes, as in the paper, without such a region; the
        lowest or highest fifth of the photographs; for the last, see `unsafe_values`.
    parameter : str
    value : float or str
        A str for a category.
    width : float
        Width of the value's sub-range; 0 for a category.
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
    """A case that is ready to be measured.

    Attributes
    ----------
    model, root : Path
        The DNN under test; the folder of the failing images.
    paths : tuple of str
        The failing images, relative to `root`, sorted.
    failing, reference : dict of str to ndarray
        Parameters of the failing images and of the whole test set: float64, or str for a category.
    causes : dict of str to ndarray of shape (n_images,), bool
        The known root causes, and which failing images have them; empty if none is known.
    values : tuple of UnsafeValue
    digest : str
        Hash of the model and of the paths of the failing images.
    classifier : bool
        Whether HUDD, which starts from the class that the DNN gave, can be run.
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
    classifier: bool = True


def load_paper_case(name: str, data: Path, work: Path) -> PaperCase:
    """Load a case; its missing parts are prepared in the folder `work`.

    Parameters
    ----------
    data : Path
        The built case study, or the photographs.

    Raises
    ------
    SAFEError
        The case does not exist, or is not in `data`.
    """
    if name not in CASES:
        raise SAFEError(f"Expected a case of {', '.join(CASES)}. Received: {name}")
    table = (data / OBJECTS if name == "od" else data) / PARAMETERS_FILE
    if not table.is_file():
        raise SAFEError(f"Expected the case {name} with its {PARAMETERS_FILE}. Received: {data}")
    folder = data
    model = data / MODEL_FILE
    if name == "gtsrb":
        folder = work
        model = trained_cnn(data / "train", work)
        _failures_of(model, data / "test", folder)
    listing = find_images(folder / FAILURES)
    test_root = data / (OBJECTS if name == "od" else "test")
    test_images = sorted(_test_images(table, test_root.name))
    reference = read_parameters(table, test_root, test_images).columns
    reference = {key: column for key, column in reference.items() if key not in NO_PARAMETERS}
    place = {image: i for i, image in enumerate(test_images)}
    missing = [path for path in listing.paths if path not in place]
    if missing:
        raise SAFEError(f"Expected a row of {missing[0]} in {table}. It is missing ({len(missing)} rows in all are).")
    rows = np.array([place[path] for path in listing.paths])
    failing = {key: column[rows] for key, column in reference.items()}
    subjects = {} if name == "gtsrb" else _test_subjects(name, table)
    return PaperCase(
        name,
        model,
        listing.root,
        listing.paths,
        failing,
        reference,
        _cause_masks(folder / CAUSES_FILE, listing.paths) if subjects else {},
        tuple(unsafe_values(name, reference, subjects.values())),
        _digest(model, listing.paths),
        name == "gtsrb" or _is_classifier(CASE_STUDIES[name]),
    )


def _is_classifier(case: Case) -> bool:
    return case.regression is None and case.parts is None


def _test_images(table: Path, folder: str) -> set[str]:
    """The test images with parameters, relative to their folder, whose name those of crops do not begin with."""
    start = "" if folder == OBJECTS else f"{folder}/"
    with table.open(encoding="utf-8", newline="") as file:
        return {row["image"].removeprefix(start) for row in csv.DictReader(file) if row["image"].startswith(start)}


def _test_subjects(name: str, table: Path) -> Mapping[str, Subject]:
    if name == "od":
        return read_parts(table)
    read = read_subjects(table, CASE_STUDIES[name].kind)
    return {image: subject for image, subject in read.items() if image.startswith("test/")}


def _cause_masks(path: Path, paths: tuple[str, ...]) -> dict[str, np.ndarray]:
    causes = json.loads(path.read_text(encoding="utf-8"))
    held = {cause["name"]: {image.removeprefix(f"{FAILURES}/") for image in cause["failing"]} for cause in causes}
    return {name: np.array([image in images for image in paths]) for name, images in held.items()}


def _digest(model: Path, paths: Iterable[str]) -> str:
    digest = hashlib.blake2b(model.read_bytes(), digest_size=6)
    digest.update("\n".join(paths).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


# --- Unsafe values ----------------------------------------------------------------------------------------------


def unsafe_values(name: str, reference: dict[str, np.ndarray], subjects: Iterable[Subject]) -> Iterator[UnsafeValue]:
    """The unsafe values of a case; they depend only on the test set, not on the clusters.

    For each parameter of each known root cause: the middle and the width of the range of the test images with that
    cause. If the region begins at borders between classes, and nothing else describes it, the border is the value, as
    in the paper, and the class is its sub-range; the middle of the region is listed as `region middle` but not counted
    (lab/notes.md).

    Other borders, as in the paper, are those where the training set lacks nothing: for `gd` the remaining six borders
    between directions, 45° apart; for `oc` the upper lid touching the pupil, with the size of a pupil as sub-range.

    For photographs, the fifth of the test set with the lowest values of each parameter, and for brightness also the
    fifth with the highest.

    Parameters
    ----------
    reference : dict of str to ndarray
        Parameters of the test set.
    subjects : iterable of Subject
        The test set of a case study.
    """
    if name == "gtsrb":
        for parameter, column in reference.items():
            yield _edge(parameter, *np.quantile(column, [0.02, EDGE]))
            if parameter == "brightness":
                yield _edge(parameter, *np.quantile(column, [1 - EDGE, 0.98]))
        return
    test, borders = list(subjects), BORDERS[name]
    used = set()
    for cause in CASE_STUDIES[name].root_causes:
        held = [subject for subject in test if cause.holds(subject)]
        for parameter in cause.parameters:
            values = [getattr(subject, parameter) for subject in held]
            if parameter in reference and reference[parameter].dtype.kind == "U":
                values = [str(value) for value in values]  # also a count that is only 0 or 1
            if values and isinstance(values[0], str):
                yield UnsafeValue("root cause", parameter, max(set(values), key=values.count), 0.0)
            elif values:
                low, high = min(values), max(values)
                bordered = set(cause.parameters) <= set(borders)
                if bordered:
                    at, width = borders[parameter]
                    border = min(at, key=lambda one: min(abs(one - low), abs(one - high)))
                    used.add((parameter, border))
                    yield UnsafeValue("root cause", parameter, border, width)
                source = "region middle" if bordered else "root cause"
                yield UnsafeValue(source, parameter, (low + high) / 2, high - low)
    for parameter, (at, width) in borders.items():
        for border in at:
            if (parameter, border) not in used:
                yield UnsafeValue("other border", parameter, border, width)
    if name == "oc":
        yield UnsafeValue("other border", "pupil_to_lid_mm", 0.0, PUPIL_MM)


def _edge(parameter: str, low: float, high: float) -> UnsafeValue:
    return UnsafeValue("edge", parameter, float(low + high) / 2, float(high - low))


# --- Preparation ------------------------------------------------------------------------------------------------


def _failures_of(model: Path, test: Path, out: Path) -> None:
    from safe_dnn.dnn.failures import find_failures

    if not (out / ACCURACY_FILE).is_file():
        find_failures(model, test, out)


def trained_cnn(train: Path, work: Path) -> Path:
    """A small CNN for photographs in class folders."""
    path = work / MODEL_FILE
    if path.is_file():
        return path
    import keras

    from safe_dnn.dnn.predictions import labelled_images

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
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: report_progress("Training", epoch + 1, epochs)
    )
    model.fit(pixels, np.asarray(images.labels), batch_size=64, epochs=epochs, verbose=0, callbacks=[report])
    with replacing(path) as temporary:
        model.save(temporary)
    return path


def _small(file: Path) -> np.ndarray:
    return interpolated(np.asarray(decode(read_bytes(file))), 32, 32)
