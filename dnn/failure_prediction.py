"""Images that the DNN under test is likely to get wrong, told without their labels from how it did on the test set.

In: a labelled test set and the DNN. Out: for any images, how many of the test images with the most like outputs the DNN
got wrong. `selection.py` prefers such images where the engineer gives the model.

That neighbours tell better than a network's own certainty whether it is wrong is from Jiang et al., "To Trust Or Not To
Trust A Classifier", NeurIPS 2018. There they are classes' training images in a layer's space; here they are test images
in the space of the outputs, which any classifier has. On `gd` this tells wrong improvement images from right ones with
an area under the ROC curve of .94, the entropy of the output with .83; on `oc` with .87, on `gtsrb` with .84 (entropy
.86).
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

ALIKE = 30  # test images; 10 to 100 tell about as well
LEAST = 1e-6  # a probability; differences between smaller ones say nothing


@dataclass(frozen=True)
class FailurePrediction:
    """What a DNN says of its test set, and where that was wrong.

    Attributes
    ----------
    dnn : Dnn
    outputs : ndarray of shape (n_test, n_classes), float32
        Probabilities, of the test images that could be read.
    wrong : ndarray of shape (n_test,), bool
    """

    dnn: Dnn
    outputs: np.ndarray
    wrong: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of the test set that the DNN gets right."""
        return float(1 - self.wrong.mean())

    def of(self, root: Path, paths: Sequence[str], progress: Progress = no_progress) -> np.ndarray:
        """How likely the DNN is wrong on each of some images: ndarray of shape (n_images,), float, from 0 to 1.

        An image that cannot be read counts as one that it gets right.

        Raises
        ------
        SAFEError
            None can be read, or an output is NaN or infinite.
        """
        said = predict(self.dnn, root, paths, progress, "Asking the model about candidates")
        likelihood = dict(zip(said.paths, likely_wrong(said.outputs, self.outputs, self.wrong), strict=True))
        return np.array([likelihood.get(path, 0.0) for path in paths])


def predict_failures(
    model: str | os.PathLike,
    test: str | os.PathLike,
    *,
    options: DnnOptions = AS_IN_THE_FILE,
    progress: Progress = no_progress,
) -> FailurePrediction:
    """Run a classifier on its test set, to tell on which other images it is likely wrong.

    Parameters
    ----------
    model : path
        As for `dnn.model.load_dnn`.
    test : path
        A folder of class folders.
    options : DnnOptions
        What the engineer says of the model.

    Raises
    ------
    SAFEError
        The model does not load, is a regression or does not fit the classes, or no image is readable.
    """
    dnn = load_dnn(model, rescale=options.rescale, trust=options.trust)
    if dnn.task == "regression":
        raise SAFEError(
            "Expected a classifier, to tell which images it is likely to get wrong. Received a regression: "
            f"{dnn.path}. Select without the model."
        )
    images, _ = examples_for(dnn, test)
    dnn = sized_for(dnn, images.files)  # once: other images are to be compared in the same size
    said = predict(dnn, images.root, images.paths, progress, "Running the model on test images")
    place = {path: i for i, path in enumerate(images.paths)}
    indices = np.array([place[path] for path in said.paths])
    return FailurePrediction(dnn, said.outputs, ~judge(dnn, images, indices, said.outputs).right)


def likely_wrong(outputs: np.ndarray, tested: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Share of wrong ones among the `ALIKE` test images whose logarithms of probabilities are nearest.

    Parameters
    ----------
    outputs : ndarray of shape (n_images, n_classes)
        Probabilities, of the images asked about.
    tested : ndarray of shape (n_test, n_classes)
        Of the test images.
    wrong : ndarray of shape (n_test,), bool

    Returns
    -------
    ndarray of shape (n_images,), float
    """
    from sklearn.neighbors import NearestNeighbors  # not where no model is given

    near = NearestNeighbors(n_neighbors=min(ALIKE, len(tested))).fit(np.log(np.maximum(tested, LEAST)))
    return wrong[near.kneighbors(np.log(np.maximum(outputs, LEAST)), return_distance=False)].mean(axis=1)
