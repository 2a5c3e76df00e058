"""The options of each step: an option is a field of these records, and says in its annotation what its help is.

The command line offers them, and programs give them by name to the functions of `safe_dnn.api`, whose docstrings list
them. Numbers may be text. Nothing that takes long is imported for it.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

from safe_dnn.support.errors import Number, StrPath, path_of

SELECTION_FACTOR = 0.3
QUOTA = "size"


class Option(NamedTuple):
    """How the command line takes a field of a record.

    Attributes
    ----------
    sort : "path", "names", "text", "choice", "switch" or ""
        Empty if programs alone give it.
    help : str
    value : str
        What the help calls its value.
    choices : tuple of str
    """

    sort: str
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()


def path(value: str, help_: str) -> Option:
    """A file or folder."""
    return Option("path", help_, value)


def names(help_: str) -> Option:
    """Any number of names, each behind the flag."""
    return Option("names", help_, "NAME")


def text(value: str, help_: str) -> Option:
    """A text, or a number as text."""
    return Option("text", help_, value)


def choice(help_: str, *choices: str) -> Option:
    """One of some words."""
    return Option("choice", help_, choices=choices)


def switch(help_: str) -> Option:
    """On or off."""
    return Option("switch", help_)


def for_programs(help_: str) -> Option:
    """Not offered by the command line."""
    return Option("", help_)


def options_of(record: Any) -> dict[str, Option]:
    """The options that the fields of a record are, by name."""
    hints = get_type_hints(record, include_extras=True)
    return {name: hints[name].__metadata__[0] for name in record._fields}


def values_of(options: Any) -> dict[str, Any]:
    """The options in a record, and in the records inside it, that are not the defaults, by name and fit for JSON.

    Paths are absolute.
    """
    values, known = dict[str, Any](), options_of(type(options))
    for name, value in options._asdict().items():
        if hasattr(value, "_fields"):
            values |= values_of(value)
        elif value not in (options._field_defaults.get(name), None, ""):
            if known[name].sort == "path":
                value = os.fspath(path_of(value, f"a path ({name})").absolute())
            values[name] = [*value] if isinstance(value, tuple) else value
    return values


def path_names(record: Any) -> set[str]:
    """The names of the options that are files or folders, in a record and in the records inside it."""
    inner = (default for default in record._field_defaults.values() if hasattr(default, "_fields"))
    own = {name for name, option in options_of(record).items() if option.sort == "path"}
    return own.union(*(path_names(type(default)) for default in inner))


Record = TypeVar("Record", bound=type)


def described(record: Record) -> Record:
    """Give a record of options a docstring that lists them."""
    fields = (f"{name}\n    {option.help}" for name, option in options_of(record).items())
    record.__doc__ = "\n".join([record.__doc__ or "", "", "Attributes", "----------", *fields])
    return record


# --- The options of each step -------------------------------------------------------------------------------------


@described
class DnnOptions(NamedTuple):
    """What the engineer specifies about a DNN, since its file does not."""

    rescale: Annotated[
        str | None,
        text(
            "HOW",
            "pixels that the model expects: none (0 to 255), 1/255, signed (-1 to 1), imagenet (default: by the model)",
        ),
    ] = None
    trust_model: Annotated[bool, switch("load a model that contains code (a Lambda layer); the code is executed")] = (
        False
    )
    targets: Annotated[
        StrPath | None,
        path(
            "CSV",
            "regression only: image and a column of numbers for each output, or FILE:COLUMN in a table that has others",
        ),
    ] = None
    threshold: Annotated[float | None, text("E", "regression only: an error above it is a failure")] = None
    partial: Annotated[
        bool, switch("accept a table that lacks over a tenth of the images, or has as many rows of others")
    ] = False

    @property
    def task(self) -> str | None:
        """The task specified by the engineer; None if it is to be derived from the model."""
        return "regression" if self.targets else None


AS_IN_THE_FILE = DnnOptions()


@described
class TestSet(NamedTuple):
    """How the test images of a classifier or a regression are taken."""

    train: Annotated[
        StrPath | None, path("DIR", "the training folder, needed if the test folder lacks some of the classes")
    ] = None
    hold_out: Annotated[
        float | str | None,
        text(
            "SHARE",
            "hold out a share of the test images, such as 0.3, from all choices, so that they prove the gain of a "
            "retraining",
        ),
    ] = None
    group: Annotated[
        tuple[str, ...],
        names(
            "a column whose values are groups of images, such as persons: whole groups are held out (repeat it for "
            "several columns)"
        ),
    ] = ()
    parameters: Annotated[
        StrPath | None,
        path(
            "CSV",
            "with predictions: what is known of the images (default: parameters.csv beside the images or the "
            "predictions, or further columns of the predictions)",
        ),
    ] = None


@described
class DetectorFiles(NamedTuple):
    """The files of a detector's test, and which of its results count."""

    truth: Annotated[
        StrPath,
        for_programs(
            "As for `dnn.detection.detections.read_coco` or, with `yolo`, for `dnn.detection.detections.read_yolo`."
        ),
    ]
    results: Annotated[
        StrPath,
        for_programs(
            "As for `dnn.detection.detections.read_coco` or, with `yolo`, for `dnn.detection.detections.read_yolo`."
        ),
    ]
    images: Annotated[StrPath, for_programs("The folder of the images that the ground truth names.")]
    yolo: Annotated[bool, for_programs("")] = False
    iou: Annotated[
        Number,
        text(
            "U", "of a detector: least overlap (intersection over union) of a detection with an object (default: 0.5)"
        ),
    ] = 0.5
    score: Annotated[Number, text("S", "of a detector: detections with a lower score do not count (default: 0.5)")] = (
        0.5
    )


@described
class GivenAnswers(NamedTuple):
    """The network's answers that the engineer gives, and groups of the images; by default none."""

    predictions: Annotated[
        StrPath,
        path(
            "CSV",
            "the network's answers to its whole test set: columns image, label, predicted and, if known, confidence "
            "(default: predictions.csv beside the image folder, written by failures, or those of the analysis)",
        ),
    ] = ""
    tested: Annotated[StrPath, path("DIR", "the folder of test images that predictions is about")] = ""
    partial: Annotated[
        bool, switch("accept a table that lacks over a tenth of the images, or has as many rows of others")
    ] = False
    group: Annotated[
        tuple[str, ...],
        names(
            "a column with the person, track or drive of each test image: images of one are not independent; "
            "prefix: the beginning of file names; folder: folders below those of classes; image: all images are "
            "independent (repeat it for several: their values together; default: as in the analysis)"
        ),
    ] = ()


NONE_GIVEN = GivenAnswers()


@described
class ClusteringSettings(NamedTuple):
    """How RCCs are generated. They do not depend on the groups of `answers`."""

    extractor: Annotated[
        str,
        choice(
            "auto (default): vgg16 if its weights are available, otherwise vgg16-conv; vgg16: the next two, joined; "
            "vgg16-fc2: the paper's; vgg16-conv: means of the convolutional layers, which come with a Python "
            "package",
            "auto",
            "vgg16",
            "vgg16-fc2",
            "vgg16-conv",
        ),
    ] = "auto"
    reducer: Annotated[
        str,
        choice(
            "pca: by appearance alone, as in the paper; umap: PCA, then UMAP, as the authors' study of 2024 "
            "recommends; auto (default): by contrast with correctly classified images, if these are known and it "
            "explains more; otherwise pca",
            "auto",
            "pca",
            "umap",
        ),
    ] = "auto"
    weights: Annotated[
        StrPath | None,
        path(
            "FILE", "VGG16's ImageNet weights, the .h5 file of Keras (default: the file that SAFE_VGG16_WEIGHTS names)"
        ),
    ] = None
    precision: Annotated[
        str,
        choice(
            "number format: auto (default), which is bfloat16 where that is fast, else float32",
            "auto",
            "bfloat16",
            "float32",
        ),
    ] = "auto"
    features: Annotated[
        StrPath | None,
        path(
            "FILE",
            "instead of an extractor: features of another network, an .npz or .parquet file (docs/other-frameworks.md)",
        ),
    ] = None
    parameters: Annotated[
        StrPath | None,
        path(
            "CSV",
            "known parameters of the images: columns image, and one for each (default: parameters.csv in or beside "
            "the image folder; of collected failures also of the test set)",
        ),
    ] = None
    answers: Annotated[
        GivenAnswers,
        for_programs("The DNN's answers to its test set; `partial` is about the table of parameters as well."),
    ] = NONE_GIVEN
    set_aside: Annotated[
        tuple[str, ...],
        names(
            "a nuisance variable among the recorded parameters, such as person: the mean of each of its values is "
            "subtracted from the features (repeat it for several)"
        ),
    ] = ()


@described
class SelectionSettings(NamedTuple):
    """How many images to select, and for which RCCs."""

    test_accuracy: Annotated[
        Number | None,
        text(
            "A", "accuracy on the test set, from 0 to 1; of a detector, the share found (default: by the predictions)"
        ),
    ] = None
    test_size: Annotated[
        Number | None, text("N", "images in the test set (default: failing images / (1 - accuracy))")
    ] = None
    factor: Annotated[Number, text("F", "how many to select, as a share of test size · accuracy (default: 0.3)")] = (
        SELECTION_FACTOR
    )
    size: Annotated[Number | None, text("N", "number of images, instead of factor · test size · accuracy")] = None
    quota: Annotated[
        str,
        choice(
            "images per RCC: in proportion to its failing images (default), or equal, the same number, as in the paper",
            "size",
            "equal",
        ),
    ] = QUOTA
    leave_out: Annotated[
        Collection[int],
        for_programs(
            "RCCs to select no images for, for example because their failures are no hazard. Their candidates are "
            "not selected for another RCC either."
        ),
    ] = ()
    leave_out_safe: Annotated[bool, switch("no images for RCCs judged safe on the page (default)")] = True
    learned: Annotated[
        Collection[Path], for_programs("Files that the DNN has learned already, and which are left out.")
    ] = ()
    weights: Annotated[
        StrPath | None, path("FILE", "VGG16's ImageNet weights, as for cluster (default: those of the clustering)")
    ] = None
    features: Annotated[
        StrPath | None, path("FILE", "features of these images, if those that cluster was given do not have them")
    ] = None


@described
class Likely(NamedTuple):
    """What the images that a DNN is likely to get wrong are predicted from: the DNN, or tables of its probabilities."""

    model: Annotated[
        StrPath | None,
        path(
            "MODEL",
            "the Keras or ONNX classifier, given with test: half of the images are chosen among those that it is "
            "likely to get wrong",
        ),
    ] = None
    test: Annotated[StrPath | None, path("DIR", "its test images, in a folder per class")] = None
    improvement_predictions: Annotated[
        StrPath | None,
        path(
            "CSV", "instead of model: probabilities for the improvement images, a column image and one for each class"
        ),
    ] = None
    predictions: Annotated[
        StrPath | None,
        path(
            "CSV", "the same for the test images in test (default: the predictions that the clusters were found with)"
        ),
    ] = None
    loading: Annotated[DnnOptions, for_programs("`partial` is about the tables.")] = AS_IN_THE_FILE


@described
class Labelling(NamedTuple):
    """The sources of an unsafe set's labels: the table takes precedence, then existing labels, then class folders."""

    improvement: Annotated[
        StrPath | None, path("DIR", "improvement images in class folders, which label the unsafe set")
    ] = None
    labels: Annotated[
        StrPath | None, path("CSV", "labels of the unsafe set: columns image (in the improvement folder) and label")
    ] = None
    only_labelled: Annotated[bool, switch("leave out unlabelled images of the unsafe set")] = False


AS_LABELLED = Labelling()


@described
class ImageSets(NamedTuple):
    """Where the images of a retraining are, and their labels."""

    train: Annotated[StrPath, path("DIR", "training images, in a folder per class")]
    test: Annotated[StrPath, path("DIR", "test images, in a folder per class")]
    final_test: Annotated[
        StrPath | None,
        path(
            "DIR",
            "a test set used once, after the training, to prove the gain (default: images that failures held out)",
        ),
    ] = None
    labelling: Annotated[Labelling, for_programs("The labels are saved in `unsafe_set.csv`.")] = AS_LABELLED


@described
class Wishes(NamedTuple):
    """The settings of a retraining that the engineer requests; None for the default."""

    learning_rate: Annotated[
        Number | None, text("R", "default: 0.7 times the rate that the model was compiled with, or 7e-4")
    ] = None
    epochs: Annotated[
        Number | None, text("N", "passes over the training images (default: 8, or up to 40 if they are few)")
    ] = None
    batch_size: Annotated[Number | None, text("N", "images per training step (default: 32)")] = None
    seed: Annotated[Number | None, text("N", "determines the images drawn and their order (default: 0)")] = None
    unlabelled: Annotated[float | None, for_programs("As of `training.settings.Settings`.")] = None
    aim: Annotated[
        str | None,
        choice(
            "what matters more: balance (default); accuracy, at the cost of more correct images that become wrong; "
            "or keep, to keep them, by unlabelled improvement images, at the cost of fewer corrected failures (as "
            "balance without them)",
            "balance",
            "accuracy",
            "keep",
        ),
    ] = None


NO_WISHES = Wishes()
