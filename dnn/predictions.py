"""Images with labels, and what the DNN under test says of them.

In: class folders. Out: the images with their classes, and the model's outputs. Images are streamed from disk; training
(`retrain.py`) uses the same pipeline.

TensorFlow is imported only inside the functions that need it.
"""

import dataclasses
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dnn.model import SCALINGS, Dnn, sized_for
from support.entries import path_of
from support.errors import SAFEError
from support.images import UNREADABLE, Skipped, decode, find_images, read_bytes, reason_for
from support.progress import Progress, no_progress
from support.run_folder import EXPORT_MARK
from support.text import printable, some

BATCH_SIZE = 128  # of running, not of training
CACHE_BYTES = 2**30


# --- The records ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelledImages:
    """Images and what the DNN should say of them.

    Attributes
    ----------
    root : Path
    paths : tuple of str
        Relative to `root`, sorted.
    classes : tuple of str
        Names of the outputs, in their order: class names or, of a regression, the names of the targets.
    labels : ndarray of shape (n_images,), int
        Index into `classes`. Of a regression, shape (n_images, n_targets), float32.
    skipped : tuple of Skipped
        Files that have no label or cannot be used.
    empty : tuple of str
        Classes without an image.
    """

    root: Path
    paths: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    skipped: tuple[Skipped, ...] = ()
    empty: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """The image files, in the order of `paths`."""
        return [self.root / path for path in self.paths]


class Predictions(NamedTuple):
    """What the DNN says of images.

    Attributes
    ----------
    paths : tuple of str
        Those that could be read, in the order given.
    outputs : ndarray of shape (n_images, n_classes), float32
        Probabilities (of several sigmoids: each by itself). Of a regression, the outputs, shape (n_images, n_outputs).
    skipped : tuple of Skipped
    """

    paths: tuple[str, ...]
    outputs: np.ndarray
    skipped: tuple[Skipped, ...]


class Judgement(NamedTuple):
    """What the DNN says of labelled images, compared with their labels.

    Attributes
    ----------
    indices : ndarray of shape (n,), int64
        The images that could be read, as indices into `LabelledImages.paths`; entry i of the others belongs to them.
    predicted : ndarray of shape (n,), int
        Index of the class; of a regression, the outputs, shape (n, n_targets), float32.
    score : ndarray of shape (n,), float32
        Probability of that class; of a regression, the error (see `errors_of`).
    right : ndarray of shape (n,), bool
    """

    indices: np.ndarray
    predicted: np.ndarray
    score: np.ndarray
    right: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of right predictions; 0 of no images."""
        return float(self.right.mean()) if len(self.right) else 0.0


# --- Labelled images --------------------------------------------------------------------------------------------


def class_folders(folder: Path) -> list[str]:
    """The classes that a folder has folders for, sorted; hidden folders, and those that SAFE exported, are none.

    Raises
    ------
    SAFEError
        A name cannot stand in a table, which an engineer may edit in any program: as a label it would come back as
        another one.
    OSError
        The folder cannot be read.
    """
    folders = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    names = sorted(entry.name for entry in folders if not (entry / EXPORT_MARK).is_file())
    odd = [name for name in names if name != printable(name) or name != name.strip() or "\n" in name]
    if odd:
        raise SAFEError(
            "Expected class folders whose names are text (UTF-8) that neither begins nor ends with a space. "
            f"Received {printable(some(map(repr, odd)))} in {folder}. Rename {'it' if len(odd) == 1 else 'them'}."
        )
    return names


def labelled_images(folder: str | os.PathLike, classes: Sequence[str] | None = None) -> LabelledImages:
    """List the images of a folder of class folders.

    The class of an image is the first folder of its path. Sorted class names are the DNN's outputs in their order, as
    in `keras.utils.image_dataset_from_directory`; a class folder without images counts.

    Parameters
    ----------
    classes : sequence of str, optional
        The names in the order of the outputs, for instance of the training folder: matched by name.

    Raises
    ------
    SAFEError
        No class folders, no images in them, names that no label can have, or a class that is not among `classes`.
    """
    listing = find_images(folder)
    if not path_of(folder, "a folder with a folder for each class").is_dir():
        raise SAFEError(f"Expected a folder with a folder for each class. Received the file: {folder}")
    pairs = [(path, path.split("/", 1)[0]) for path in listing.paths if "/" in path]
    loose = [Skipped(path, "in no class folder") for path in listing.paths if "/" not in path]
    if not pairs:
        raise SAFEError(
            f"Expected a folder for each class in {listing.root}. Received {len(loose)} images in none. "
            "Move each image into a folder named after its class."
        )
    found = class_folders(listing.root)
    names = tuple(found if classes is None else classes)
    unknown = [name for name in found if name not in names and any(label == name for _, label in pairs)]
    if unknown:
        raise SAFEError(
            f"Expected class folders named as in training ({some(names)}). Received {some(unknown)} in "
            f"{listing.root}. Rename or remove {'it' if len(unknown) == 1 else 'them'}."
        )
    index = {name: i for i, name in enumerate(names)}
    labels = np.array([index[label] for _, label in pairs])
    empty = tuple(name for i, name in enumerate(names) if not (labels == i).any())
    return LabelledImages(
        listing.root, tuple(path for path, _ in pairs), names, labels, (*listing.skipped, *loose), empty
    )


def check_classes(dnn: Dnn, images: LabelledImages) -> str:
    """Make sure that there is a class for each output; what was assumed, in words.

    Raises
    ------
    SAFEError
        The numbers differ.
    """
    if len(images.classes) != dnn.n_classes:
        raise SAFEError(
            f"Expected a class folder for each of the model's {dnn.n_classes} classes. Received "
            f"{len(images.classes)} ({some(images.classes)}) in {images.root}. Is it the folder of this model? "
            "A class without images needs a folder too."
        )
    told = [f"output {i} is {name}" for i, name in enumerate(images.classes)]
    if len(told) > 10:
        told[3:-1] = ["…"]
    return f"Classes: sorted by name, {', '.join(told)}."


def doubts(dnn: Dnn, accuracy: float, what: str) -> tuple[str, ...]:
    """What is to be said, if anything, of a classifier that is hardly better than guessing."""
    if dnn.task == "regression" or accuracy > 1 / dnn.n_classes + 0.1:
        return ()
    return (
        f"Doubtful: the model is right on {accuracy:.0%} of {what}, hardly more than by guessing. Are its classes in "
        "another order, or its pixels scaled in another way (--rescale)?",
    )


# --- Running ----------------------------------------------------------------------------------------------------


class Pixels:
    """Images as the DNN takes them, read when they are needed and kept in memory where all of them fit.

    Parameters
    ----------
    files : sequence of Path
    cache_bytes : int
        Bound on what is kept; if the images need more, they are read anew each time.

    Attributes
    ----------
    unreadable : dict of int to str
        Index of each image that could not be read, and why; filled as they are met.
    """

    def __init__(self, dnn: Dnn, files: Sequence[Path], cache_bytes: int = CACHE_BYTES):
        self.shape = (dnn.height, dnn.width, dnn.channels)
        self.unreadable: dict[int, str] = {}
        self._files = files
        fits = len(files) * int(np.prod(self.shape)) <= cache_bytes
        self._cache = np.empty((len(files), *self.shape), np.uint8) if fits else None
        self._known = np.zeros(len(files), bool)

    @classmethod
    def of_array(cls, dnn: Dnn, images: np.ndarray) -> "Pixels":
        """Images that are in memory already: uint8 of shape (n, height, width, channels)."""
        pixels = cls(dataclasses.replace(dnn, height=images.shape[1], width=images.shape[2]), (), 0)
        pixels._files, pixels._cache, pixels._known = range(len(images)), images, np.ones(len(images), bool)
        return pixels

    @property
    def files(self) -> Sequence[Path]:
        """The images; of an array, their indices."""
        return self._files

    def __len__(self) -> int:
        return len(self._files)

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of `indices` that can be read.

        Returns
        -------
        pixels : ndarray of shape (n, height, width, channels), uint8
        kept : ndarray of shape (n,), int64
            Their indices.
        """
        pixels, kept = [], []
        for i in indices.tolist():
            image = self._one(i)
            if image is not None:
                pixels.append(image)
                kept.append(i)
        return np.stack(pixels) if pixels else np.empty((0, *self.shape), np.uint8), np.array(kept, np.int64)

    def _one(self, i: int) -> np.ndarray | None:
        if i in self.unreadable:
            return None
        if self._cache is not None and self._known[i]:
            return self._cache[i]
        try:
            image = self._decode(self._files[i])
        except UNREADABLE as error:
            self.unreadable[i] = reason_for(error)
            return None
        if self._cache is not None:
            # Several threads may do this for the same image; they write the same.
            self._cache[i] = image
            self._known[i] = True
        return image

    def _decode(self, file: Path) -> np.ndarray:
        height, width, channels = self.shape
        image = decode(read_bytes(file), at_least=(width, height))
        if channels == 1:
            image = image.convert("L")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(self.shape)


def batches(dnn: Dnn, pixels: Pixels, order: np.ndarray, batch_size: int) -> Any:
    """A `tf.data` pipeline over images in the given order, read by several threads ahead of the model.

    Whoever goes through it holds on to `pixels` meanwhile.

    Returns
    -------
    tf.data.Dataset
        Of (input, indices): float32 of shape (n, height, width, channels), scaled as the model expects it, and int64
        of shape (n,). Images that cannot be read are left out.
    """
    import tensorflow as tf

    factor, offset = SCALINGS[dnn.scaling]
    of_image = pixels.shape
    shape = (None, *(of_image if len(dnn.model.inputs[0].shape) == 4 else of_image[:2]))
    # TensorFlow keeps the function for as long as the process lives; by it, it would keep the images.
    take = weakref.WeakMethod(pixels.take)

    # AutoGraph has nothing to convert here; under Python 3.13 it fails, warns, and keeps the images.
    @tf.autograph.experimental.do_not_convert
    def read(indices: Any) -> tuple:
        taken, kept = tf.numpy_function(lambda which: take()(which), [indices], (tf.uint8, tf.int64))
        kept.set_shape((None,))
        taken.set_shape((None, *of_image))
        scaled = tf.cast(taken, tf.float32) * factor + offset
        return (scaled if len(shape) == 4 else tf.squeeze(scaled, -1)), kept

    indices = tf.data.Dataset.from_tensor_slices(np.asarray(order, np.int64)).batch(batch_size)
    return indices.map(read, num_parallel_calls=os.cpu_count() or 1, deterministic=True).prefetch(2)


def run_model(
    dnn: Dnn, model: Any, pixels: Pixels, order: np.ndarray, progress: Progress = no_progress, what: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Run a model that takes and gives what `dnn.model` does.

    Returns
    -------
    indices : ndarray of shape (n,), int64
        Those of `order` that could be read.
    outputs : ndarray of shape (n, n_classes or n_outputs), float32
        As in `Predictions`; not necessarily finite.
    """
    indices, outputs = [np.empty(0, np.int64)], [np.empty((0, dnn.n_classes or dnn.n_outputs), np.float32)]
    done = 0
    progress(what, 0, len(order))
    for inputs, kept in batches(dnn, pixels, order, BATCH_SIZE):
        if len(kept):
            raw = np.asarray(model.predict_on_batch(inputs), np.float32)
            outputs.append(as_probabilities(raw, dnn.task, dnn.activation))
            indices.append(kept.numpy())
        done = min(done + BATCH_SIZE, len(order))
        progress(what, done, len(order))
    return np.concatenate(indices), np.concatenate(outputs)


def as_probabilities(outputs: np.ndarray, task: str, activation: str) -> np.ndarray:
    """Outputs of shape (n, n_outputs) as probabilities of shape (n, n_classes); those of a regression as they are."""
    if task == "regression":
        return outputs
    if outputs.shape[1] == 1:
        # A logit and tanh: what 1 / (1 + exp(-x)) is, without its overflow.
        second = outputs if activation == "sigmoid" else (1 + np.tanh(outputs / 2)) / 2
        return np.hstack([1 - second, second])
    if activation != "logits":
        return outputs
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def predict(
    dnn: Dnn, root: Path, paths: Sequence[str], progress: Progress = no_progress, what: str = "Running the model"
) -> Predictions:
    """Run the DNN on images, streaming them from disk.

    Raises
    ------
    SAFEError
        None can be read, or an output is NaN or infinite.
    """
    files = [root / path for path in paths]
    dnn = sized_for(dnn, files)
    pixels = Pixels(dnn, files, cache_bytes=0)
    indices, outputs = run_model(dnn, dnn.model, pixels, np.arange(len(files)), progress, what)
    skipped = skipped_of(pixels, paths)
    check_outputs(outputs, dnn, root, skipped)
    return Predictions(tuple(paths[i] for i in indices), outputs, skipped)


def skipped_of(pixels: Pixels, paths: Sequence[str]) -> tuple[Skipped, ...]:
    """The images that turned out to be unreadable, by name."""
    return tuple(Skipped(paths[i], reason) for i, reason in sorted(pixels.unreadable.items()))


def check_outputs(outputs: np.ndarray, dnn: Dnn, root: Path, skipped: Sequence[Skipped]) -> None:
    """Make sure that there are outputs and that they are numbers.

    Raises
    ------
    SAFEError
        They are not.
    """
    if not len(outputs):
        first = f"; the first, {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise SAFEError(f"Expected readable images in {root}. Received {len(skipped)}, none of them readable{first}")
    if not np.isfinite(outputs).all():
        raise SAFEError(f"The model's outputs must be finite. Received NaN or infinity; is {dnn.path} damaged?")


def judge(
    dnn: Dnn, images: LabelledImages, indices: np.ndarray, outputs: np.ndarray, threshold: float | None = None
) -> Judgement:
    """Compare outputs (see `run_model`) with the labels of those images.

    Parameters
    ----------
    threshold : float, optional
        Of a regression: a prediction is right where its error is at most this.
    """
    labels = images.labels[indices]
    if dnn.task == "regression":
        error = errors_of(outputs, labels)
        # NaN is not right
        return Judgement(indices, outputs, error, error <= threshold)
    predicted = outputs.argmax(axis=1)
    return Judgement(indices, predicted, outputs.max(axis=1), predicted == labels)


def errors_of(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Error of each image of a regression: root mean square over its targets, in their unit.

    For landmarks (x and y of each) it grows with the root mean square distance of the landmarks, by a fixed factor of
    the square root of two.

    Parameters
    ----------
    outputs, targets : ndarray of shape (n_images, n_targets), float32

    Returns
    -------
    ndarray of shape (n_images,), float32
    """
    return np.sqrt(np.mean((outputs - targets) ** 2, axis=1))
