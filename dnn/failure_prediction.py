"""Images that the DNN under test is likely to misclassify, predicted without their labels from its test set.

In: a labelled test set and the DNN. Out: for any image, the share of failures among the test images with the most
similar outputs. `selection.py` prefers likely failures if the engineer gives the model.

Jiang et al., "To Trust Or Not To Trust A Classifier", NeurIPS 2018, found that neighbours predict failures better than
the network's own confidence. Their neighbours are training images of each class in the feature space of a layer; here
they are test images in the space of the outputs, which every classifier has. docs/decisions/040-likely-failures.md has
figures.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnn.failures import examples_for
from dnn.model import AS_IN_THE_FILE, Dnn, DnnOptions, load_dnn, sized_for
from dnn.predictions import judge, predict
from support.errors import SAFEError
from support.progress import Progress, no_progress

NEIGHBOURS = 30  # test images; the prediction is about as good with 10 to 100
LEAST = 1e-6  # lower bound of a probability; differences between smaller ones carry no information


@dataclass(frozen=True)
class FailurePrediction:
    """A DNN's outputs for its test set, and its failures there.

    Attributes
    ----------
    dnn : Dnn
    outputs : ndarray of shape (n_test, n_classes), float32
        Probabilities of the readable test images.
    wrong : ndarray of shape (n_test,), bool
        Whether the DNN misclassifies the image.
    classes : tuple of str
        In the order of the outputs.
    """

    dnn: Dnn
    outputs: np.ndarray
    wrong: np.ndarray
    classes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of the test set that the DNN classifies correctly."""
        return float(1 - self.wrong.mean())

    def of(self, root: Path, paths: Sequence[str], *, progress: Progress = no_progress) -> np.ndarray:
        """How likely the DNN misclassifies each image: ndarray of shape (n_images,), float, from 0 to 1.

        An unreadable image counts as correctly classified.

        Raises
        ------
        SAFEError
            No image is readable, or an output is NaN or infinite.
        """
        predictions = predict(self.dnn, root, paths, progress=progress, what="Running the model on candidates")
        shares = likely_wrong(predictions.outputs, self.outputs, self.wrong)
        likelihood = dict(zip(predictions.paths, shares, strict=True))
        return np.array([likelihood.get(path, 0.0) for path in paths])

    def predicted(self, root: Path, paths: Sequence[str]) -> np.ndarray:
        """The predicted class of each image: ndarray of shape (n_images,), str, empty if the image is unreadable.

        Raises
        ------
        SAFEError
            As for `of`.
        """
        predictions = predict(self.dnn, root, paths)
        names = [self.classes[i] for i in predictions.outputs.argmax(axis=1).tolist()]
        of_path = dict(zip(predictions.paths, names, strict=True))
        return np.array([of_path.get(path, "") for path in paths], str)


def predict_failures(
    model: str | os.PathLike,
    test: str | os.PathLike,
    *,
    options: DnnOptions = AS_IN_THE_FILE,
    progress: Progress = no_progress,
) -> FailurePrediction:
    """Run a classifier on its test set, in order to predict its failures on other images.

    Parameters
    ----------
    model : path
        As for `dnn.model.load_dnn`.
    test : path
        A folder of class folders.
    options : DnnOptions
        What the engineer specifies about the model.

    Raises
    ------
    SAFEError
        The model does not load, is a regression or does not fit the classes, or no image is readable.
    """
    dnn = load_dnn(model, rescale=options.rescale, trust=options.trust)
    if dnn.task == "regression":
        raise SAFEError(
            "Expected a classifier, since its likely failures are to be predicted. Received a regression: "
            f"{dnn.path}. Select without the model."
        )
    images, _ = examples_for(dnn, test)
    dnn = sized_for(dnn, images.files)  # once, so that other images are compared at the same size
    predictions = predict(dnn, images.root, images.paths, progress=progress, what="Running the model on test images")
    place = {path: i for i, path in enumerate(images.paths)}
    indices = np.array([place[path] for path in predictions.paths])
    wrong = ~judge(dnn, images, indices, predictions.outputs).right
    return FailurePrediction(dnn, predictions.outputs, wrong, images.classes)


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
