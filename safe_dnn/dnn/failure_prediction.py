"""Images that the DNN under test is likely to misclassify, predicted without their labels from its test set.

In: a labelled test set and the DNN, or tables of its answers to the test set and to the images. Out: for any image, the
share of failures among the test images with the most similar outputs. `selection.py` prefers likely failures if the
engineer gives the model.

Jiang et al., "To Trust Or Not To Trust A Classifier", NeurIPS 2018, found that neighbours predict failures better than
the network's own confidence. Their neighbours are training images of each class in the feature space of a layer; here
they are test images in the space of the outputs, which every classifier has. docs/decisions/040-likely-failures.md has
figures.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from safe_dnn.dnn.failures import examples_for
from safe_dnn.dnn.group_columns import held_out_among
from safe_dnn.dnn.model import sized_for
from safe_dnn.dnn.model_process import load_apart, predict_apart
from safe_dnn.dnn.predictions import Predictions, check_spelling, judge, undecided, without_copies
from safe_dnn.dnn.tested import AnsweredImages, match_images
from safe_dnn.options import AS_IN_THE_FILE, DnnOptions
from safe_dnn.rccs.answers import KNOWN_COLUMNS, class_columns, probabilities_in, read_answer_table
from safe_dnn.support.errors import SAFEError, StrPath, path_of
from safe_dnn.support.images import find_images
from safe_dnn.support.text import count, printable, some

NEIGHBOURS = 30  # test images; the prediction is about as good with 10 to 100
LEAST = 1e-6  # lower bound of a probability; differences between smaller ones carry no information


@dataclass(frozen=True)
class FailurePrediction:
    """A DNN's outputs for its test set, and its failures there.

    Attributes
    ----------
    source : Path
        The file of the DNN, or the table of its answers to other images.
    outputs : ndarray of shape (n_test, n_classes), float32
        Probabilities of the readable test images.
    wrong : ndarray of shape (n_test,), bool
        Whether the DNN misclassifies the image.
    classes : tuple of str
        In the order of the outputs.
    run : callable
        The outputs for other images, by a folder and paths in it: `predict_apart` of the DNN, or what a table has.
    notes : tuple of str
        Sentences on images whose outputs are not known.
    """

    source: Path
    outputs: np.ndarray
    wrong: np.ndarray
    classes: tuple[str, ...]
    run: Callable[..., Predictions]
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of the test set that the DNN classifies correctly."""
        return float(1 - self.wrong.mean())

    def of(self, root: Path, paths: Sequence[str]) -> np.ndarray:
        """How likely the DNN misclassifies each image: ndarray of shape (n_images,), float, from 0 to 1.

        An image whose outputs are not known, since it is unreadable, counts as correctly classified.

        Raises
        ------
        SAFEError
            No image is readable, or an output is NaN or infinite.
        """
        predictions = self.run(root, paths, what="Running the model on candidates")
        likelihood = np.zeros(len(paths))
        if len(predictions.indices):
            likelihood[predictions.indices] = likely_wrong(predictions.outputs, self.outputs, self.wrong)
        return likelihood


def predict_failures(
    model: StrPath, test: StrPath, *, options: DnnOptions = AS_IN_THE_FILE, failing: Path | None = None,
) -> FailurePrediction:  # fmt: skip
    """Run a classifier on its test set, in order to predict its failures on other images.

    Parameters
    ----------
    model : path
        As for `dnn.model.load_dnn`.
    test : path
        A folder of class folders.
    options : DnnOptions
        What the engineer specifies about the model.
    failing : Path, optional
        A folder of failures; it is not run on what was held out when they were collected.

    Raises
    ------
    SAFEError
        The model does not load, is a regression or does not fit the classes, or no image is readable.
    """
    dnn = load_apart(model, options)
    if dnn.task == "regression":
        raise SAFEError(
            "Expected a classifier, since its likely failures are to be predicted. Received a regression: "
            f"{dnn.path}. Select without the model."
        )
    images, _ = without_copies(examples_for(dnn, test)[0])
    if failing:
        images = images.taken(~held_out_among(failing, images.root, images.paths))
    dnn = sized_for(dnn, images.files)  # once, so that other images are compared at the same size
    what = "Running the model on test images"
    predictions = predict_apart(dnn, images.root, images.paths, what=what)
    wrong = ~judge(dnn, images, predictions).right
    run, notes = functools.partial(predict_apart, dnn), undecided(dnn, predictions)
    return FailurePrediction(dnn.path, predictions.outputs, wrong, images.classes, run, notes)


def predict_failures_from_tables(
    tested: AnsweredImages, table: StrPath, improvement: StrPath, *, partial: bool = False
) -> FailurePrediction:
    """Do the same as `predict_failures` with tables of the DNN's probabilities in place of the DNN.

    Parameters
    ----------
    tested : AnsweredImages
        The answers to the test set, with probabilities.
    table : path
        A CSV file with the column `image` and a column of probabilities for each class (see `class_columns`).
    improvement : path
        The images that the table is about, and perhaps others: a folder, or a `.txt` file that lists them.
    partial : bool
        Whether more than a tenth of the images may be without a row.

    Raises
    ------
    SAFEError
        Probabilities are missing or invalid, or the table has none of the images.
    """
    if tested.probabilities is None:
        raise SAFEError(
            "Expected the probability of each class, since images that are likely wrong are found by it. Received only "
            f"the predicted classes in {tested.source}. Add a column for each class, or select without tables."
        )
    listing = find_images(improvement)
    cells = read_answer_table(path_of(table, "predictions for the improvement images as a CSV file"))
    columns = class_columns(cells, tested.classes)
    matched = match_images(cells, listing.root, listing.paths, partial=partial, about_others=True)
    place, missing = {path: row for row, path in enumerate(matched.paths)}, matched.without_row
    classes, outputs, uneven = probabilities_in(matched.rows, columns) if columns else ((), None, [])
    if outputs is None or {*classes} != {*tested.classes}:
        check_spelling({*cells.header, *columns, *tested.classes} - KNOWN_COLUMNS, [tested.classes], cells.source)
        raise SAFEError(
            f"Expected a column of probabilities for each class of {tested.source.name} "
            f"({printable(some(tested.classes))}). Received in {cells.source}: {printable(some(classes)) or 'none'}. "
            "Write both tables with the same classes."
        )
    outputs = outputs[:, [classes.index(name) for name in tested.classes]]
    notes = [*matched.notes, *uneven]
    if missing:
        of = count(len(listing.paths), "improvement image")
        notes.append(f"Without a row in {cells.source.name}: {len(missing):,} of {of}. They count as right.")

    def look_up(root: Path, paths: Sequence[str], **_: object) -> Predictions:
        known = np.array([i for i, path in enumerate(paths) if path in place], np.int64)
        return Predictions(known, outputs[[place[paths[i]] for i in known.tolist()]])

    return FailurePrediction(cells.source, tested.probabilities, ~tested.right, tested.classes, look_up, tuple(notes))


def likely_wrong(outputs: np.ndarray, tested: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Share of failures among the `NEIGHBOURS` test images with the nearest log probabilities.

    Parameters
    ----------
    outputs : ndarray of shape (n_images, n_classes)
        Probabilities of the images in question.
    tested : ndarray of shape (n_test, n_classes)
        Probabilities of the test images.
    wrong : ndarray of shape (n_test,), bool
        Whether the DNN misclassifies the test image.

    Returns
    -------
    ndarray of shape (n_images,), float
    """
    from sklearn.neighbors import NearestNeighbors  # loaded only if a model is given

    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(tested))).fit(np.log(np.maximum(tested, LEAST)))
    return wrong[near.kneighbors(np.log(np.maximum(outputs, LEAST)), return_distance=False)].mean(axis=1)
