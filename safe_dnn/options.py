"""What each step can be told beside its inputs: an option is a field of these records, and its description is its help.

The command line offers them, and programs give them by name to the functions of `safe_dnn.api`. After the type stands
what the command line calls the value; a field without that, unless it is on or off, is none of its options. Numbers may
be text. Nothing that takes long is imported for it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from safe_dnn.support.errors import Number, StrPath

SELECTION_FACTOR = 0.3
QUOTA = "size"


class DnnOptions(NamedTuple):
    """What the engineer specifies about a DNN, since its file does not.

    Attributes
    ----------
    rescale : text, HOW
        pixels that the model expects: none (0 to 255), 1/255, signed (-1 to 1), imagenet (default: by the model)
    trust_model : bool
        load a model that contains code (a Lambda layer); the code is executed
    targets : path, CSV
        regression only: image and a column of numbers for each output, or FILE:COLUMN in a table that has others
    threshold : number, E
        regression only: an error above it is a failure
    partial : bool
        accept a table that lacks over a tenth of the images, or has as many rows of others
    """

    rescale: str | None = None
    trust_model: bool = False
    targets: StrPath | None = None
    threshold: float | None = None
    partial: bool = False

    @property
    def task(self) -> str | None:
        """The task specified by the engineer; None if it is to be derived from the model."""
        return "regression" if self.targets else None


AS_IN_THE_FILE = DnnOptions()


class TestSet(NamedTuple):
    """How the test images of a classifier or a regression are taken.

    Attributes
    ----------
    train : path, DIR
        the training folder, needed if the test folder lacks some of the classes
    hold_out : number, SHARE
        hold out a share of the test images, such as 0.3, from all choices, so that they prove the gain of a retraining
    group : names, NAME
        hold out whole groups, by a column, as group of cluster (may be given several times)
    parameters : path, CSV
        with predictions: what is known of the images (default: parameters.csv beside the images or the predictions,
        or further columns of the predictions)
    """

    train: StrPath | None = None
    hold_out: float | str | None = None
    group: tuple[str, ...] = ()
    parameters: StrPath | None = None


class DetectorFiles(NamedTuple):
    """The files of a detector's test, and which of its results count.

    Attributes
    ----------
    truth, results : path
        As for `dnn.detection.detections.read_coco` or, with `yolo`, for `dnn.detection.detections.read_yolo`.
    images : path
        The folder of the images that the ground truth names.
    yolo : bool
    iou : number, U
        of a detector: least overlap (intersection over union) of a detection with an object (default: 0.5)
    score : number, S
        of a detector: detections with a lower score do not count (default: 0.5)
    """

    truth: StrPath
    results: StrPath
    images: StrPath
    yolo: bool = False
    iou: Number = 0.5
    score: Number = 0.5


class GivenAnswers(NamedTuple):
    """The network's answers that the engineer gives, and groups of the images; by default none.

    Attributes
    ----------
    predictions : path, CSV
        the network's answers to its whole test set: columns image, label, predicted and, if known, confidence
        (default: predictions.csv beside the image folder, written by failures, or those of the analysis)
    tested : path, DIR
        the folder of test images that predictions is about
    partial : bool
        accept a table that lacks over a tenth of the images, or has as many rows of others
    group : names, NAME
        a column that says which test images are of one person, track or drive, and thus not independent; prefix: what
        files' names begin with; folder: folders below those of classes; image: images are independent, whatever they
        are named like (may be given several times: their values together; default: as in the analysis)
    """

    predictions: StrPath = ""
    tested: StrPath = ""
    partial: bool = False
    group: tuple[str, ...] = ()


NONE_GIVEN = GivenAnswers()


class ClusteringSettings(NamedTuple):
    """How RCCs are generated. They do not depend on the groups of `answers`.

    Attributes
    ----------
    extractor : "auto", "vgg16", "vgg16-fc2" or "vgg16-conv"
        auto (default): vgg16 if its weights are available, otherwise vgg16-conv; vgg16: the next two, joined;
        vgg16-fc2: the paper's; vgg16-conv: means of the convolutional layers, which come with a Python package
    reducer : "auto", "pca" or "umap"
        pca: by appearance alone, as in the paper; umap: PCA, then UMAP, as the authors' study of 2024 recommends; auto
        (default): by contrast with correctly classified images, if these are known and it explains more; otherwise pca
    weights : path, FILE
        VGG16's ImageNet weights, the .h5 file of Keras (default: the file that SAFE_VGG16_WEIGHTS names)
    precision : "auto", "bfloat16" or "float32"
        number format: auto (default), which is bfloat16 where that is fast, else float32
    features : path, FILE
        instead of an extractor: features of another network, an .npz or .parquet file (docs/other-frameworks.md)
    parameters : path, CSV
        known parameters of the images: columns image, and one for each (default: parameters.csv in or beside the image
        folder; of collected failures also of the test set)
    answers : GivenAnswers
        The DNN's answers to its test set; `partial` is about the table of parameters as well.
    set_aside : names, NAME
        a nuisance variable among the recorded parameters, such as person: the mean of each of its values is subtracted
        from the features (may be given several times)
    """

    extractor: str = "auto"
    reducer: str = "auto"
    weights: StrPath | None = None
    precision: str = "auto"
    features: StrPath | None = None
    parameters: StrPath | None = None
    answers: GivenAnswers = NONE_GIVEN
    set_aside: tuple[str, ...] = ()


class SelectionSettings(NamedTuple):
    """How many images to select, and for which RCCs.

    Attributes
    ----------
    test_accuracy : number, A
        accuracy on the test set, from 0 to 1; of a detector, the share found (default: by the predictions)
    test_size : number, N
        images in the test set (default: failing images / (1 - accuracy))
    factor : number, F
        how many to select, as a share of test size · accuracy (default: 0.3)
    size : number, N
        number of images, instead of factor · test size · accuracy
    quota : "size" or "equal"
        images per RCC: in proportion to its failing images (default), or equal, the same number, as in the paper
    leave_out : collection of int
        RCCs to select no images for, for example because their failures are no hazard. Their candidates are not
        selected for another RCC either.
    leave_out_safe : bool
        no images for RCCs judged safe on the page (default)
    learned : collection of Path
        Files that the DNN has learned already, and which are left out.
    weights : path, FILE
        VGG16's ImageNet weights, as for cluster (default: those of the clustering)
    features : path, FILE
        features of these images, if those that cluster was given do not have them
    """

    test_accuracy: Number | None = None
    test_size: Number | None = None
    factor: Number = SELECTION_FACTOR
    size: Number | None = None
    quota: str = QUOTA
    leave_out: Collection[int] = ()
    leave_out_safe: bool = True
    learned: Collection[Path] = ()
    weights: StrPath | None = None
    features: StrPath | None = None


class Likely(NamedTuple):
    """What the images that a DNN is likely to get wrong are predicted from: the DNN, or tables of its probabilities.

    Attributes
    ----------
    model : path, MODEL
        the Keras or ONNX classifier, given with test: half of the images are chosen among those that it is likely to
        get wrong
    test : path, DIR
        its test images, in a folder per class
    improvement_predictions : path, CSV
        in place of model: probabilities for the improvement images, a column image and one for each class
    predictions : path, CSV
        the same for the test images in test (default: the predictions that the clusters were found with)
    loading : DnnOptions
        `partial` is about the tables.
    """

    model: StrPath | None = None
    test: StrPath | None = None
    improvement_predictions: StrPath | None = None
    predictions: StrPath | None = None
    loading: DnnOptions = AS_IN_THE_FILE


class Labelling(NamedTuple):
    """The sources of an unsafe set's labels: the table takes precedence, then existing labels, then class folders.

    Attributes
    ----------
    improvement : path, DIR
        improvement images in class folders, which label the unsafe set
    labels : path, CSV
        labels of the unsafe set: columns image (in the improvement folder) and label
    only_labelled : bool
        leave out unlabelled images of the unsafe set
    """

    improvement: StrPath | None = None
    labels: StrPath | None = None
    only_labelled: bool = False


AS_LABELLED = Labelling()


class ImageSets(NamedTuple):
    """Where the images of a retraining are, and their labels.

    Attributes
    ----------
    train : path, DIR
        training images, in a folder per class
    test : path, DIR
        test images, in a folder per class
    final_test : path, DIR
        a test set looked at once, after the training, to prove the gain (default: images that failures held out)
    labelling : Labelling
        The labels are saved in `unsafe_set.csv`.
    """

    train: StrPath
    test: StrPath
    final_test: StrPath | None = None
    labelling: Labelling = AS_LABELLED


class Wishes(NamedTuple):
    """The settings of a retraining that the engineer requests; None for the default.

    Attributes
    ----------
    learning_rate : number, R
        default: 0.7 times the rate that the model was compiled with, or 7e-4
    epochs : number, N
        passes over the training images (default: 8, or up to 40 if they are few)
    batch_size : number, N
        images per training step (default: 32)
    seed : number, N
        determines the images drawn and their order (default: 0)
    unlabelled : float
        As of `training.settings.Settings`.
    aim : "balance", "accuracy" or "keep"
        what matters more: balance (default); accuracy, at the cost of more correct images that become wrong; or keep,
        to keep them, by unlabelled improvement images, at the cost of fewer corrected failures (as balance without
        them)
    """

    learning_rate: Number | None = None
    epochs: Number | None = None
    batch_size: Number | None = None
    seed: Number | None = None
    unlabelled: float | None = None
    aim: str | None = None


NO_WISHES = Wishes()
