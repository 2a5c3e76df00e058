"""The cases: a DNN with its answers to its whole test set, what is known of the images, and their features."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lab.benchmarks.kept import key_of
from lab.benchmarks.paper.cases import trained_cnn
from safe_dnn.casestudies.build import TARGETS_FILE
from safe_dnn.casestudies.causes import CAUSES_FILE
from safe_dnn.casestudies.sets import MODEL_FILE
from safe_dnn.dnn.failures import find_failures
from safe_dnn.dnn.tested import AnsweredImages, read_predictions
from safe_dnn.FE import ImageFeatures, extract_features
from safe_dnn.features.extractor import Extractor
from safe_dnn.options import AS_IN_THE_FILE, DnnOptions
from safe_dnn.rccs.dbscan.contrast import RightImages
from safe_dnn.reasons.known import Known, class_names, known_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, OBJECTS, PREDICTIONS_FILE

TEST = "test"
ANSWER_SOURCES = (
    "safe_dnn/dnn/predictions.py",
    "safe_dnn/dnn/model.py",
    "safe_dnn/support/images.py",
)  # how images reach the DNN


class ReasonsCase(NamedTuple):
    """A case that is ready to be measured.

    Attributes
    ----------
    tested : AnsweredImages
    known : Known
    features : ndarray of shape (n_images, dimension), float32
        In the order of `tested.paths`.
    extractor : Extractor
    causes : dict of str to ndarray of shape (n_images,), bool
        The known root causes, and which failing images have them; empty if none is known.
    parameters : dict of str to list of str
        The columns by which an engineer would know each cause.
    detector : bool
        Whether the images are crops of a detector's objects and false detections.
    """

    name: str
    tested: AnsweredImages
    known: Known
    features: np.ndarray
    extractor: Extractor
    causes: dict[str, np.ndarray]
    parameters: dict[str, list[str]]
    detector: bool = False

    @property
    def wrong(self) -> np.ndarray:
        """Which test images the DNN gets wrong."""
        return ~self.tested.right


def failing_images(case: ReasonsCase) -> ImageFeatures:
    """The features of the images that the DNN gets wrong."""
    paths = tuple(np.array(case.tested.paths)[case.wrong].tolist())
    return ImageFeatures(case.tested.root, paths, case.features[case.wrong], case.extractor, ())


def images_beside(case: ReasonsCase, units: np.ndarray | None = None) -> RightImages:
    """The images that it gets right, beside the failing ones; `units` are of all images, in the order of the case."""
    order = np.argsort(~case.wrong, kind="stable")
    units = np.arange(len(order)) if units is None else units
    names = tuple(case.tested.paths[row] for row in order.tolist())
    return RightImages(case.features[~case.wrong], class_names(case.tested)[order], names, units[order])


def load_reasons_case(
    name: str, data: Path, work: Path, extractor: Extractor, *, model: Path | None = None
) -> ReasonsCase:
    """Load a case; what it lacks is prepared in the folder `work`.

    Parameters
    ----------
    data : path
        A case study of `lab.casestudies.build`, or a folder with `test/` and, if there is no model, `train/`: class
        folders of photographs.
    model : path, optional
        By default `model.keras` in `data`; if there is none, a small CNN is trained.

    Raises
    ------
    SAFEError
        The folder is no case, or a test image cannot be read.
    """
    if not (data / TEST).is_dir():
        raise SAFEError(f"Expected the case {name} with a folder {TEST}. Received: {data}")
    tested = answered_test(data, work, model)
    images = extract_features(tested.root, extractor)
    row_of = {path: row for row, path in enumerate(images.paths)}
    if missing := [path for path in tested.paths if path not in row_of]:
        raise SAFEError(
            f"Expected the {len(tested.paths):,} images of {tested.source} in {images.root}. Received none that can be "
            f"read for {missing[0]}. Remove {tested.source.parent} to run the DNN again."
        )
    features = images.features[[row_of[path] for path in tested.paths]]  # without copies, for example
    causes, parameters = _causes(data / CAUSES_FILE, tested)
    known = known_of(tested)
    detector = (data / OBJECTS).is_dir()
    return ReasonsCase(name, tested, known, features, extractor, causes, parameters, detector)


def answered_test(data: Path, work: Path, model: Path | None) -> AnsweredImages:
    """The test set with the DNN's answers; of a detector, its objects and false detections, as the case has them."""
    if (data / OBJECTS).is_dir():
        return read_predictions(data / PREDICTIONS_FILE, data / OBJECTS)
    model = model or data / MODEL_FILE
    if not model.is_file():
        model = trained_cnn(data / "train", work)
    of_model = hashlib.blake2b(model.read_bytes(), digest_size=6).hexdigest()
    out = prepare_folder(work / f"failures-{key_of(of_model, *ANSWER_SOURCES)}")
    if not (out / PREDICTIONS_FILE).is_file():
        find_failures(model, data / TEST, out, options=_options(data))
    return read_predictions(out / PREDICTIONS_FILE, data / TEST)


def _options(data: Path) -> DnnOptions:
    """The targets and the threshold of a regression."""
    targets = data / TARGETS_FILE
    if not targets.is_file():
        return AS_IN_THE_FILE
    accuracy = json.loads((data / ACCURACY_FILE).read_text(encoding="utf-8"))
    return DnnOptions(targets=targets, threshold=accuracy["threshold"])


def _causes(path: Path, tested: AnsweredImages) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    if not path.is_file():
        return {}, {}
    described = json.loads(path.read_text(encoding="utf-8"))
    held = {one["name"]: {image.removeprefix(f"{FAILURES}/") for image in one["failing"]} for one in described}
    known = {name: np.isin(tested.paths, sorted(images)) & ~tested.right for name, images in held.items()}
    return known, {one["name"]: one["parameters"] for one in described}
