"""An analysis whose DNN is asked again: the DNN, its reasons, and the truth of its images."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.model import AS_IN_THE_FILE, KERAS_SUFFIXES, ONNX_SUFFIX, Dnn, DnnOptions
from safe_dnn.dnn.model_process import load_apart
from safe_dnn.dnn.predictions import class_folders
from safe_dnn.dnn.tested import AnsweredImages, has_objects
from safe_dnn.pipeline.run_answers import answers_of_run
from safe_dnn.rccs.answers import ERROR
from safe_dnn.rccs.profiles import Profile
from safe_dnn.rccs.review.review import Review, load_review
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.reasons.listed import Reason, chosen, reasons_of
from safe_dnn.store.places import absolute
from safe_dnn.support.entries import StrPath, is_within, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import read_record
from safe_dnn.support.progress import Progress
from safe_dnn.support.run_folder import ACCURACY_FILE
from safe_dnn.support.text import printable


def model_at_hand(image_root: Path, within: Path | None = None) -> Path | None:
    """The file of the DNN whose failures are in a folder, as it was recorded, or `model.keras` beside them.

    None if it cannot be asked again: it is not there any more, or a detector, or was a table of answers.
    """
    record = read_record(image_root.parent / ACCURACY_FILE)
    file = Path(absolute(str(record.get("model") or "model.keras"), image_root.parent))  # the latter of a case study
    known = file.suffix.lower() in (*KERAS_SUFFIXES, ONNX_SUFFIX) and file.is_file() and is_within(file, within)
    return file if record and known and not has_objects(image_root.parent) else None


class Asking(NamedTuple):
    """Whom to ask, and about what.

    Attributes
    ----------
    review : Review
    listed, reasons : list of Reason
        All of the analysis, and those to ask about.
    tested : AnsweredImages
        The test set, with the answers that the DNN has given.
    model : Path
    options : DnnOptions
    record : dict
        Of the failures that were collected; empty if there is none.
    """

    review: Review
    listed: list[Reason]
    reasons: list[Reason]
    tested: AnsweredImages
    model: Path
    options: DnnOptions
    record: dict

    @property
    def regression(self) -> bool:
        return self.tested.answers.kind == ERROR

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the model's outputs."""
        return tuple(self.record.get("classes") or class_folders(self.tested.root))

    def load(self, progress: Progress) -> Dnn:
        """The DNN, in a process of its own.

        Raises
        ------
        SAFEError
            It has other classes, or another number of outputs.
        """
        dnn = load_apart(self.model, self.options, task="regression" if self.regression else None, progress=progress)
        expected = len(self.tested.answers.label[0].split() if self.regression else self.classes)
        if expected != (received := dnn.n_classes or dnn.n_outputs):
            raise SAFEError(
                f"Expected {expected} classes or outputs. Received: {self.model}, with {received}. Name another model."
            )
        return dnn

    def failing(self, reason: Reason) -> np.ndarray:
        """The failing images of a reason that are in the test set, as rows of it."""
        rows = self.tested.rows_of(self.review.clusters.image_root, reason.images)
        return rows[(rows >= 0) & ~self.tested.right[rows]]

    def truth(self, rows: Sequence[int]) -> list:
        """Of images: the index of the true class; of a regression, the true numbers.

        Raises
        ------
        SAFEError
            The model does not have such a class.
        """
        labels, classes = self.tested.answers.label[rows].tolist(), () if self.regression else self.classes
        if unknown := [label for label in labels if not (label if self.regression else label in classes)]:
            raise SAFEError(
                f"Expected the true {'numbers' if self.regression else 'class'} of each image as the model has them. "
                f"Received: {printable(unknown[0]) or 'none'}. Is it the model of this analysis?"
            )
        return [[*map(float, label.split())] if self.regression else classes.index(label) for label in labels]


def asking(
    out: Path, names: Collection[str], *, model: StrPath | None = None, options: DnnOptions = AS_IN_THE_FILE,
    within: Path | None = None, profiles: Sequence[Profile] = (),
) -> Asking:  # fmt: skip
    """The DNN of an analysis and what it can be asked about.

    Parameters
    ----------
    names : collection of str
        As for `reasons.listed.chosen`; by default all reasons.
    model : path, optional
        By default what `model_at_hand` gives.
    options : DnnOptions
        What the engineer specifies about the model; by default pixels are scaled as they were for its answers.
    within : path, optional
        Images and models are only read inside this folder.
    profiles : sequence of Profile
        As for `reasons.listed.reasons_of`.

    Raises
    ------
    SAFEError
        There is no such reason, the model is not at hand, or its answers are not known.
    """
    review = load_review(out)
    root, listed = review.clusters.image_root, reasons_of(review, load_reasons(out, review.original), out, profiles)
    tested, record = answers_of_run(out, review.original, within), read_record(root.parent / ACCURACY_FILE)
    file = path_of(model, "a model") if model else model_at_hand(root, within)
    detector = tested is not None and tested.answers.detector
    if file is None or tested is None or detector:
        lacking = "without answers" if tested is None else "without a model (name it)"
        raise SAFEError(
            "Expected the answers of a classifier or regression to its test set, and the model itself. Received: "
            f"{out}, {'of a detector, which SAFE does not run' if detector else lacking}. Collect the failures with a "
            "model and cluster them."
        )
    options = options._replace(rescale=options.rescale or record.get("rescale"))
    return Asking(review, listed, chosen(listed, names) if names else listed, tested, file, options, record)
