"""Labelled images, and the predictions of the DNN under test.

In: class folders. Out: the images with their classes, and the model's outputs. Images are streamed from disk; training
(`retrain.py`) uses the same pipeline.

TensorFlow is imported only inside the functions that need it.
"""

import contextlib
import dataclasses
import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from safe_dnn.dnn.model import ONNX_SUFFIX, SCALINGS, Dnn, sized_for
from safe_dnn.features.batches import load_ahead
from safe_dnn.rccs.parameters import ANGLE_SUFFIX
from safe_dnn.support.errors import SAFEError, StrPath, existing_folder
from safe_dnn.support.images import UNREADABLE, Skipped, copies_in, decode, find_images, read_bytes, reason_for
from safe_dnn.support.progress import report_progress
from safe_dnn.support.tables import number_in
from safe_dnn.support.text import count, printable, some, visible_text

BATCH_SIZE = 128  # for inference, not for training
CACHE_BYTES = 2**30
FINER = 10  # times, at least, that the steps of a number format must be smaller than the threshold on an error
BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}  # binary digits of a number
UNDECIDED_OF = 10  # of so many images, a model may be undecided on one
ALONE = 4  # images that a model is asked alone as well as in a batch
ROUNDING = 0.02  # the share of the largest output by which two answers to an image may differ


# --- The records ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelledImages:
    """Images and the expected predictions.

    Attributes
    ----------
    root : Path
    paths : tuple of str
        Relative to `root`, sorted.
    classes : tuple of str
        Names of the outputs, in their order: class names or, for a regression, names of the targets.
    labels : ndarray of shape (n_images,), int
        Index into `classes`. For a regression, shape (n_images, n_targets), float64.
    skipped : tuple of Skipped
        Files that have no label or cannot be used.
    empty : tuple of str
        Classes without any image.
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

    def taken(self, rows: np.ndarray) -> "LabelledImages":
        """Some of the images, for which the array of shape (n_images,), bool, is true."""
        paths = tuple(path for path, taken in zip(self.paths, rows.tolist(), strict=True) if taken)
        return dataclasses.replace(self, paths=paths, labels=self.labels[rows])

    def text_of(self, value: np.ndarray | np.integer) -> str:
        """A label or prediction as text: the name of the class or, for a regression, the numbers."""
        if isinstance(value, np.ndarray):
            return " ".join(f"{number:.12g}" for number in value)
        return self.classes[int(value)]


class Predictions(NamedTuple):
    """The DNN's outputs for images.

    Attributes
    ----------
    indices : ndarray of shape (n_images,), int64
        The readable images among those given, in their order.
    outputs : ndarray of shape (n_images, n_classes), float32
        Probabilities (of several sigmoids: each on its own). For a regression, outputs of shape (n_images, n_outputs).
    skipped : tuple of Skipped
        The unreadable ones, as in `predict`.
    """

    indices: np.ndarray
    outputs: np.ndarray
    skipped: tuple[Skipped, ...] = ()


class Judgement(NamedTuple):
    """The DNN's predictions for labelled images, compared with the labels.

    Attributes
    ----------
    indices : ndarray of shape (n,), int64
        The readable images, as indices into `LabelledImages.paths`; entry i of the other arrays belongs to entry i.
    predicted : ndarray of shape (n,), int
        Index of the class; for a regression, the outputs, shape (n, n_targets).
    score : ndarray of shape (n,)
        Probability of that class; for a regression, the error (see `errors_of`).
    right : ndarray of shape (n,), bool
        Whether the prediction is correct.
    """

    indices: np.ndarray
    predicted: np.ndarray
    score: np.ndarray
    right: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of correct predictions; 0 if there are no images."""
        return float(self.right.mean()) if len(self.right) else 0.0


# --- Labelled images --------------------------------------------------------------------------------------------


def class_folders(folder: Path) -> list[str]:
    """The class folders in a folder, sorted by name, without hidden folders.

    Raises
    ------
    SAFEError
        A name would not survive in a table that an engineer edits in another program: as a label it would come back
        as a different one.
    OSError
        The folder cannot be read.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    odd = [name for name in names if name != printable(name) or name != name.strip() or "\n" in name]
    if odd:
        raise SAFEError(
            "Expected class folders whose names are text (UTF-8) and neither begin nor end with a space. "
            f"Received {printable(some(map(repr, odd)))} in {folder}. Rename {'it' if len(odd) == 1 else 'them'}."
        )
    check_spelling(names, [names], folder)
    return names


def check_spelling(names: Iterable[str], together: Iterable[Collection[str]], source: Path) -> None:
    """Make sure that no class has two spellings.

    Parameters
    ----------
    names : iterable of str
        Of classes, wherever they stand.
    together : iterable of collections of str
        Lists of classes. Names that stand together in one of them are of two classes if their difference can be seen.

    Raises
    ------
    SAFEError
        Two names look the same, or differ in upper case, blanks, hyphens, quotation marks or leading zeros and never
        stand together.
    """
    first: dict[str, str] = {}
    for name in sorted(names):
        other = first.setdefault(_spelt(name), name)
        is_unseen = visible_text(name) == visible_text(other)
        if other != name and (is_unseen or not any({name, other} <= {*those} for those in together)):
            received = " and ".join(map(ascii if is_unseen else printable, (other, name)))
            raise SAFEError(
                f"Expected one spelling of each class. Received: {received} in {source}. Use one of them or, if these "
                "are two classes, add an empty class folder for each to the test folder."
            )


def _spelt(name: str) -> str:
    """A class in the spelling that others are compared in."""
    looks = visible_text(name)
    if abs(number := number_in(looks)) < 2**53:  # above, it may be another one
        return repr(number)
    text = unicodedata.normalize("NFKC", looks).casefold()
    return re.sub(r'[\s_"“”„]|(?<=\w)-(?=\w)|(?<!\d)0+(?=\d)', "", text) or looks


def labelled_images(folder: StrPath, *, classes: Sequence[str] | None = None) -> LabelledImages:
    """List the images of a folder of class folders.

    The class of an image is the first folder of its path. The sorted class names are in the order of the DNN's outputs,
    as in `keras.utils.image_dataset_from_directory`; a class folder without images counts as well.

    Parameters
    ----------
    classes : sequence of str, optional
        The names in the order of the outputs, for example those of the training folder. Classes are matched by name.

    Raises
    ------
    SAFEError
        There are no class folders or no images in them, a name is not valid as a label, or a class is not among
        `classes`.
    """
    listing = find_images(folder)
    existing_folder(folder, "a folder with a folder for each class")
    pairs = [(path, path.split("/", 1)[0]) for path in listing.paths if "/" in path]
    loose = [Skipped(path, "not in a class folder") for path in listing.paths if "/" not in path]
    if not pairs:
        raise SAFEError(
            f"Expected a folder for each class in {listing.root}. Received {len(loose)} images outside such folders. "
            "Move each image into a folder named after its class; a regression needs targets."
        )
    folders = class_folders(listing.root)
    names = tuple(folders if classes is None else classes)
    check_spelling({*names, *folders}, [names, folders], listing.root)
    unknown = [name for name in folders if name not in names and any(label == name for _, label in pairs)]
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
    """Make sure that there is a class for each output; return the assumption about their order as a sentence.

    Raises
    ------
    SAFEError
        The numbers differ.
    """
    if len(images.classes) != dnn.n_classes:
        raise SAFEError(
            f"Expected a class folder for each of the model's {dnn.n_classes} classes. Received "
            f"{len(images.classes)} ({some(images.classes)}) in {images.root}. Is this the right folder for the model? "
            "A class without images needs a folder as well; a regression needs targets."
        )
    outputs = [f"output {i} is {name}" for i, name in enumerate(images.classes)]
    if len(outputs) > 10:
        outputs[3:-1] = ["…"]
    return f"Classes: sorted by name, {', '.join(outputs)}."


def check_precision(precision: str, images: LabelledImages, threshold: float) -> None:
    """Make sure that numbers in a format can be as close to the targets of a regression as the threshold demands.

    Raises
    ------
    SAFEError
        The steps of their number format, at the largest target, are more than a `FINER`th of the threshold.
    """
    largest = np.abs(images.labels).max(initial=0)
    step = 2.0 ** (np.frexp(largest)[1] - BITS[precision])
    if step * FINER > threshold:
        raise SAFEError(
            f"Expected targets at which the steps of {precision}, the number format of the outputs, are at most a "
            f"tenth of the threshold {threshold:g}. Received targets up to {largest:.12g}, where they are {step:g}. "
            "Subtract a constant from the targets, such as their mean, and train the model with that."
        )


def is_decided(probabilities: np.ndarray) -> np.ndarray:
    """Whether one class of each row is the likeliest, not several or none: ndarray of shape (n_rows,), bool."""
    return (probabilities == probabilities.max(axis=1, keepdims=True)).sum(axis=1) == 1


def undecided(dnn: Dnn, predictions: Predictions) -> tuple[str, ...]:
    """A sentence on images for which a classifier has several largest outputs; empty if there are none.

    Raises
    ------
    SAFEError
        There are more than one of `UNDECIDED_OF`.
    """
    tied = 0 if dnn.task == "regression" else int((~is_decided(predictions.outputs)).sum())
    text = f"several classes have the largest output for {tied:,} of {count(len(predictions.outputs), 'image')}"
    if tied * UNDECIDED_OF > len(predictions.outputs):
        raise SAFEError(
            f"Expected a model that decides on a class. Received: {dnn.path}, where {text}. Is it trained, and are its "
            "pixels scaled as in training?"
        ).about("rescale")
    return (f"Undecided: {text}; the first counts.",) if tied else ()


# --- Copies -----------------------------------------------------------------------------------------------------


def counted_once(
    paths: Sequence[str], copies: Mapping[str, str], known: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which images count, and sentences on the others: of several that are the same byte for byte, the first counts, or
    rates and intervals would be of more images.

    Where what is known of them differs, none counts: at least one label, target or answer is wrong, and nobody knows
    which.

    Parameters
    ----------
    copies : mapping of str to str
        As of `support.images.copies_in`, also of images that are not among `paths`.
    known : sequence of str
        What is known of each image, in words.

    Returns
    -------
    counts : ndarray of shape (n_images,), bool
    sentences : tuple of str
    """
    first_of: dict[str, int] = {}
    firsts = [first_of.setdefault(copies.get(path, path), row) for row, path in enumerate(paths)]
    pairs = [(first, row) for row, first in enumerate(firsts) if first != row]
    contrary = [pair for pair in pairs if known[pair[0]] != known[pair[1]]]
    counts = np.array(firsts, int) == np.arange(len(paths))
    counts[[first for first, _ in contrary]] = False
    sentences = []
    if pairs:
        first, row = (printable(paths[at]) for at in pairs[0])
        of = f"{len(pairs):,} of {count(len(paths), 'image')}, the first {row} of {first}"
        sentences.append(f"Left out, since they are copies of others byte for byte: {of}.")
    if contrary:
        both = " and ".join(printable(f"{paths[at]} ({known[at]})") for at in contrary[0])
        of = f"{count(len({first for first, _ in contrary}), 'image')}, the first {both}"
        sentences.append(f"Left out with their copies, which have other labels or answers, so that one is wrong: {of}.")
    return counts, tuple(sentences)


def without_copies(images: LabelledImages) -> tuple[LabelledImages, tuple[str, ...]]:
    """The images that count (see `counted_once`), and sentences on the others."""
    known = [images.text_of(label) for label in images.labels]
    counts, sentences = counted_once(images.paths, copies_in(images.root, images.paths), known)
    return images.taken(counts), sentences


# --- Running ----------------------------------------------------------------------------------------------------


class Pixels:
    """Images as inputs of the DNN, read on demand and kept in memory if all of them fit.

    Those of another size are scaled as is usual for such models: for Keras as in `interpolated`, for ONNX bilinear with
    smoothing, as by torchvision's transforms of Pillow images.

    Parameters
    ----------
    dnn : Dnn
        With a known input size (see `sized_for`).
    files : sequence of Path
    cache_bytes : int
        Limit of the memory for images; if they need more, they are read again each time.

    Attributes
    ----------
    files : sequence of Path
    unreadable : dict of int to str
        Index of each unreadable image, and the reason; filled as the images are read.
    """

    def __init__(self, dnn: Dnn, files: Sequence[Path], *, cache_bytes: int = CACHE_BYTES):
        if dnn.height is None or dnn.width is None:
            raise ValueError("expected a DNN with a known input size, see sized_for")
        self.shape = (dnn.height, dnn.width, dnn.channels)
        self._smooth = dnn.path.suffix.lower() == ONNX_SUFFIX
        self.unreadable: dict[int, str] = {}
        self.files = files
        self._fits = len(files) * math.prod(self.shape) <= cache_bytes
        self._decoded: dict[int, np.ndarray] = {}

    def one(self, i: int) -> np.ndarray | None:
        """An image, uint8 of shape (height, width, channels); None if it is unreadable."""
        if i in self.unreadable or i in self._decoded:
            return self._decoded.get(i)
        try:
            image = self._decode(self.files[i])
        except UNREADABLE as error:
            self.unreadable[i] = reason_for(error)
            return None
        if self._fits:
            self._decoded[i] = image
        return image

    def _decode(self, file: Path) -> np.ndarray:
        height, width, channels = self.shape
        image = decode(read_bytes(file), at_least=(width, height) if self._smooth else None)
        if channels == 1:
            image = image.convert("L")
        if self._smooth and image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return interpolated(np.asarray(image), height, width).reshape(self.shape)


def interpolated(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels of another size as `keras.utils.image_dataset_from_directory` gives them: bilinear, without smoothing.

    Parameters
    ----------
    pixels : ndarray of shape (any_height, any_width), or (any_height, any_width, n_channels), uint8
    """
    from scipy.ndimage import zoom  # type: ignore[attr-defined]

    factors = [height / pixels.shape[0], width / pixels.shape[1], 1][: pixels.ndim]
    return zoom(pixels, factors, order=1, mode="nearest", grid_mode=True)


def batches(dnn: Dnn, pixels: Pixels, order: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images in the given order as inputs of the DNN, read ahead of it by several threads.

    Yields
    ------
    inputs : ndarray of shape (n, height, width, channels), float32
        Scaled as the model expects it. Unreadable images are left out.
    indices : ndarray of shape (n,), int64
    """
    (factor, offset), flat = SCALINGS[dnn.scaling], len(dnn.model.inputs[0].shape) == 3
    with contextlib.closing(load_ahead(order.tolist(), pixels.one, batch_size)) as loaded:
        for number, images in enumerate(loaded):
            part = order[number * batch_size :][: len(images)]
            kept = [image is not None for image in images]
            inputs = np.array([image for image in images if image is not None], np.float32).reshape(-1, *pixels.shape)
            inputs = inputs * np.float32(factor) + np.float32(offset)
            yield (inputs[..., 0] if flat else inputs), part[kept].astype(np.int64)


def run_model(dnn: Dnn, model: Any, pixels: Pixels, order: np.ndarray, *, what: str = "") -> Predictions:
    """Run a model with the same inputs and outputs as `dnn.model`; what it gives is not necessarily finite.

    Parameters
    ----------
    order : ndarray of shape (n_images,), int
        Indices of the images.
    what : str, optional
        Description of the step; without one, its progress is not reported.

    Raises
    ------
    SAFEError
        An answer depends on the other images in the batch.
    """
    indices, outputs = [np.empty(0, np.int64)], [np.empty((0, dnn.n_classes or dnn.n_outputs), np.float32)]
    done = 0
    report = report_progress if what else lambda *_: None
    report(what, 0, len(order))
    for inputs, rows in batches(dnn, pixels, order, BATCH_SIZE):
        if len(rows):
            answers = _run_batch(dnn, model, inputs)
            if len(outputs) == 1:
                _check_alone(dnn, model, inputs, answers)
            outputs.append(answers)
            indices.append(rows)
        done = min(done + BATCH_SIZE, len(order))
        report(what, done, len(order))
    return Predictions(np.concatenate(indices), np.concatenate(outputs))


def _run_batch(dnn: Dnn, model: Any, inputs: Any) -> np.ndarray:
    return as_probabilities(np.asarray(model.predict_on_batch(inputs), np.float32), dnn.task, dnn.activation)


def _check_alone(dnn: Dnn, model: Any, inputs: Any, outputs: np.ndarray) -> None:
    """Make sure that a model gives the same for an image alone as in a batch."""
    for i in range(0, len(outputs), -(-len(outputs) // ALONE)):
        alone = _run_batch(dnn, model, inputs[i : i + 1])
        if (np.abs(alone - outputs[i]) > ROUNDING * np.abs(outputs).max()).any():
            raise SAFEError(
                f"Expected a model whose answer to an image does not depend on others. Received: {dnn.path}, which "
                "answers otherwise to an image alone than in a batch. Is a layer in training mode, or a softmax along "
                "the batch?"
            )


def as_probabilities(outputs: np.ndarray, task: str, activation: str) -> np.ndarray:
    """Convert outputs of shape (n, n_outputs) to probabilities of shape (n, n_classes); not those of a regression."""
    from scipy.special import expit, softmax

    if task == "regression":
        return outputs
    if outputs.shape[1] == 1:
        second = outputs if activation == "sigmoid" else expit(outputs)
        return np.hstack([1 - second, second])
    return softmax(outputs, axis=1) if activation == "logits" else outputs


def predict(dnn: Dnn, root: Path, paths: Sequence[str], *, what: str = "Running the model") -> Predictions:
    """Run the DNN on images streamed from disk.

    Raises
    ------
    SAFEError
        No image is readable, or an output is NaN or infinite.
    """
    files = [root / path for path in paths]
    dnn = sized_for(dnn, files)
    pixels = Pixels(dnn, files, cache_bytes=0)
    predictions = run_model(dnn, dnn.model, pixels, np.arange(len(files)), what=what)
    skipped = skipped_of(pixels, paths)
    if not len(predictions.outputs):
        first = f". The first, {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise SAFEError(f"Expected readable images in {root}. Received {len(skipped)}, all of them unreadable{first}")
    if not np.isfinite(predictions.outputs).all():
        raise SAFEError(f"The model's outputs must be finite. Received NaN or infinity; is {dnn.path} damaged?")
    return predictions._replace(skipped=skipped)


def skipped_of(pixels: Pixels, paths: Sequence[str]) -> tuple[Skipped, ...]:
    """The unreadable images found so far, by name."""
    return tuple(Skipped(paths[i], reason) for i, reason in sorted(pixels.unreadable.items()))


def judge(dnn: Dnn, images: LabelledImages, predictions: Predictions, *, threshold: float | None = None) -> Judgement:
    """Compare outputs with the labels of the images.

    Parameters
    ----------
    threshold : float
        Required for a regression: a prediction is correct if its error is at most this.
    """
    indices, outputs, _ = predictions
    if dnn.task == "regression":
        return judge_regression(images, indices, outputs, threshold)
    predicted = outputs.argmax(axis=1)
    return Judgement(indices, predicted, outputs.max(axis=1), predicted == images.labels[indices])


def judge_regression(
    images: LabelledImages, indices: np.ndarray, outputs: np.ndarray, threshold: float | None
) -> Judgement:
    """Compare the outputs of a regression with its targets."""
    if threshold is None:
        raise ValueError("expected a threshold on the error of a regression")
    error = errors_of(outputs, images.labels[indices], images.classes)
    rounding = 4 * np.spacing(np.abs(images.labels).max(initial=0))  # by a threshold of 0.1, 0.3 is right for 0.4
    return Judgement(indices, outputs, error, error <= threshold + rounding)


def errors_of(outputs: np.ndarray, targets: np.ndarray, names: Sequence[str] = ()) -> np.ndarray:
    """Error of each image of a regression: root mean square over its targets, in their unit; of angles the smaller way.

    For landmarks (x and y of each) this is the root mean square distance of the landmarks divided by the square root
    of two.

    Parameters
    ----------
    outputs, targets : ndarray of shape (n_images, n_targets), float
    names : sequence of str
        Of the targets: angles in degrees are named `…_deg`.

    Returns
    -------
    ndarray of shape (n_images,), float64
    """
    apart = np.asarray(outputs, np.float64) - targets
    angles = [column for column, name in enumerate(names) if name.endswith(ANGLE_SUFFIX)]
    apart[:, angles] = (apart[:, angles] + 180) % 360 - 180
    return np.sqrt(np.mean(apart**2, axis=1))
