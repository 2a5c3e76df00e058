"""What each command accepts: its options and their help. None of the code that the commands run is imported for it."""

import argparse
from collections.abc import Callable
from pathlib import Path

from cli.commands import (
    run_beside,
    run_cluster,
    run_compare,
    run_crops,
    run_export,
    run_failures,
    run_report,
    run_retrain,
    run_select,
    run_ui,
)
from support.version import VERSION

EXAMPLE = Path(__file__).parents[1] / "example"  # where `make run` builds the case study

Commands = argparse._SubParsersAction  # what `add_subparsers` returns has no public name


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `options.run` is the function of the command that was given."""
    parser = argparse.ArgumentParser(
        prog="SAFE_Tool.py",
        description="Find the root causes of a DNN's failures, and the images to label to repair it. "
        "Without a command, serve the web page.",
    )
    parser.add_argument("--version", action="version", version=f"SAFE {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_ui(commands)
    _add_cluster(commands)
    _add_select(commands)
    _add_failures(commands)
    _add_crops(commands)
    _add_retrain(commands)
    _add_compare(commands)
    _add_beside(commands)
    _add_report(commands)
    _add_export(commands)
    return parser


def _add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], None], what: str, out: str = "output folder"
) -> argparse.ArgumentParser:
    """A command with the options that all commands have."""
    command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    command.set_defaults(run=run)
    command.add_argument("--out", metavar="DIR", default=".", help=f"{out} (default: the current folder)")
    return command


def _add_ui(commands: Commands) -> None:
    out = "output folder, or a folder of several, which the page lists"
    ui = _add_command(commands, "ui", run_ui, "serve the web page", out)
    _add_weights(ui)
    ui.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="address to listen on (default: 127.0.0.1, this machine only)"
    )
    ui.add_argument("--port", type=int, default=7860, metavar="P", help="port (default: 7860)")
    ui.add_argument("--root", metavar="DIR", help="accept only image folders inside this one")
    ui.add_argument(
        "--example",
        metavar="DIR",
        default=EXAMPLE,
        help="a case study of casestudies/ that the page offers as an example (default: example beside SAFE_Tool.py)",
    )
    ui.add_argument("--auth", metavar="USER:PASSWORD", help="require this user name and password")


def _add_cluster(commands: Commands) -> None:
    cluster = _add_command(commands, "cluster", run_cluster, "group failing images into root cause clusters (RCCs)")
    _add_weights(cluster)
    cluster.add_argument("images", metavar="IMAGES", help="folder of failing images, or a .txt file that lists them")
    cluster.add_argument(
        "--extractor",
        choices=("auto", "vgg16", "vgg16-fc2", "vgg16-conv"),
        default="auto",
        help="auto (default): vgg16 if its weights are available, otherwise vgg16-conv; vgg16: the features of the "
        "next two, joined; vgg16-fc2: those of the paper alone, from the layer fc2; vgg16-conv: the mean of each "
        "channel of the convolutional layers, whose weights come with a Python package",
    )
    cluster.add_argument(
        "--precision",
        choices=("auto", "bfloat16", "float32"),
        default="auto",
        help="number format of the network: auto (default), bfloat16 on processors that multiply it, on which it is "
        "twice as fast (five times with AMX), and float32 on others; or one of the two. select uses the same",
    )
    cluster.add_argument(
        "--reducer",
        choices=("pca", "umap"),
        default="pca",
        help="pca (default), as in the paper, or umap: PCA, then UMAP, as the authors' study of 2024 recommends",
    )
    cluster.add_argument(
        "--parameters",
        metavar="CSV",
        help="known parameters of the images (a column named image, and one for each parameter) to describe the RCCs "
        "with (default: parameters.csv in the image folder or beside it)",
    )
    cluster.add_argument(
        "--predictions",
        metavar="CSV",
        help="the DNN's answers to its whole test set: columns image, label, predicted and, if known, confidence "
        "(default: predictions.csv beside the image folder, written by failures)",
    )
    cluster.add_argument("--tested", metavar="DIR", help="the folder of test images that --predictions is about")
    cluster.add_argument(
        "--set-aside",
        metavar="NAME",
        action="append",
        default=[],
        help="a parameter, measured attribute or label that does not matter, such as person: what it explains is "
        "removed from the features, to find what else failures have in common (may be given several times); or looks: "
        "what images that the network gets right look like as well, where it is not known what does not matter",
    )
    _add_dask_options(cluster)


def _add_select(commands: Commands) -> None:
    select = _add_command(commands, "select", run_select, "select the images to label (the unsafe set)")
    _add_weights(select)
    select.add_argument("improvement", metavar="IMPROVEMENT", help="folder of improvement images, or a .txt list")
    select.add_argument(
        "--test-accuracy",
        metavar="A",
        help="the DNN's accuracy on its test set, from 0 to 1; of a detector, the share that is found (default: by the "
        "predictions that the clusters were found with)",
    )
    select.add_argument(
        "--test-size", metavar="N", help="images in the test set (default: failing images / (1 - accuracy))"
    )
    select.add_argument("--factor", default="0.3", help="selection factor (default: 0.3)")
    select.add_argument("--size", metavar="N", help="number of images, instead of factor · test size · accuracy")
    select.add_argument(
        "--quota", choices=("equal", "size"), default="size",
        help="images per RCC: size (default), in proportion to its failing images; equal, the same number, as in the "
        "paper",
    )  # fmt: skip
    select.add_argument(
        "--spread-over", metavar="NAME", default="",
        help="a column of parameters.csv in or beside IMPROVEMENT, such as the drive or the person: an RCC's images "
        "are taken from its values in turn, rather than twenty from one drive",
    )  # fmt: skip
    select.add_argument("--leave-out-safe", action="store_true", help="no images for RCCs judged safe on the page")
    select.add_argument(
        "--reasons", action="store_true",
        help="half of the images by weak spots instead of RCCs, as far as their conditions can be checked: with "
        "parameters.csv in or beside IMPROVEMENT, what SAFE measures, and the predicted class if --model is given",
    )  # fmt: skip
    select.add_argument(
        "--model", metavar="MODEL",
        help="the Keras or ONNX classifier, given with --test: half of the images are chosen among those that it is "
        "likely to get wrong",
    )  # fmt: skip
    select.add_argument("--test", metavar="DIR", help="its test images, in a folder per class")
    select.add_argument(
        "--improvement-predictions", metavar="CSV",
        help="in place of --model: the network's probabilities for the improvement images, a column image and one for "
        "each class",
    )  # fmt: skip
    select.add_argument(
        "--predictions", metavar="CSV",
        help="the same for the test images in --test (default: the predictions that the clusters were found with)",
    )  # fmt: skip
    _add_loading_options(select)
    _add_dask_options(select)


def _add_failures(commands: Commands) -> None:
    what = "run a Keras or ONNX model on a labelled test set and collect the images that it gets wrong"
    failures = _add_command(commands, "failures", run_failures, what)
    failures.add_argument(
        "model", metavar="MODEL", nargs="?", help="a Keras model, .keras or .h5, or an ONNX model, .onnx"
    )
    failures.add_argument("test", metavar="TEST", nargs="?", help="folder of test images, in a folder per class")
    failures.add_argument(
        "--predictions", metavar="CSV",
        help="a table of the answers of a network in any framework, in place of MODEL: columns image and predicted, or "
        "image and the probability of each class; for a regression, image and the predicted value of each target",
    )  # fmt: skip
    failures.add_argument(
        "--train", metavar="DIR", help="the training folder, needed if the test folder lacks some of the classes"
    )
    _add_model_options(failures)
    _add_detector_options(failures)


def _add_detector_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--coco",
        nargs=3,
        metavar=("TRUTH", "RESULTS", "IMAGES"),
        help="of a detector, instead of MODEL and TEST: the ground truth and the results in COCO's format, and the "
        "folder of images; missed objects and false detections are cut out",
    )
    command.add_argument(
        "--yolo",
        nargs=3,
        metavar=("LABELS", "RESULTS", "IMAGES"),
        help="the same, with labels and results as folders of YOLO's text files",
    )
    command.add_argument(
        "--iou",
        metavar="U",
        help="of a detector: least overlap (intersection over union) of a detection with an object (default: 0.5)",
    )
    command.add_argument(
        "--score", metavar="S", help="of a detector: detections with a lower score do not count (default: 0.5)"
    )


def _add_crops(commands: Commands) -> None:
    what = "cut out what a detector sees in improvement images, to select from"
    crops = _add_command(commands, "crops", run_crops, what)
    crops.add_argument("info", metavar="INFO", help="the lists of images and categories in COCO's format")
    crops.add_argument("results", metavar="RESULTS", help="the detector's results for these images, in COCO's format")
    crops.add_argument("images", metavar="IMAGES", help="the folder of images")
    crops.add_argument(
        "--score", metavar="S", default="0.05", help="detections with a lower score do not count (default: 0.05)"
    )


def _add_retrain(commands: Commands) -> None:
    what = "label the unsafe set and fine-tune the Keras model with it"
    retrain = _add_command(commands, "retrain", run_retrain, what)
    retrain.add_argument("model", metavar="MODEL", help="a Keras model, .keras or .h5; it is not changed")
    retrain.add_argument("--train", metavar="DIR", required=True, help="training images, in a folder per class")
    retrain.add_argument("--test", metavar="DIR", required=True, help="test images, in a folder per class")
    _add_label_options(retrain)
    retrain.add_argument("--only-labelled", action="store_true", help="leave out unlabelled images of the unsafe set")
    _add_model_options(retrain)
    retrain.add_argument(
        "--aim", metavar="AIM", choices=("balance", "accuracy", "keep"), default="balance",
        help="what matters more: balance (default); accuracy, although more images that were right get wrong; or keep, "
        "that as few as possible do: the model then holds the original network as well, and takes twice as long",
    )  # fmt: skip
    retrain.add_argument(
        "--learning-rate", metavar="R", help="default: 0.7 times the rate that the model was compiled with, or 7e-4"
    )
    retrain.add_argument(
        "--epochs", metavar="N", help="passes over the training images (default: 8, or up to 40 if they are few)"
    )
    retrain.add_argument(
        "--one-pass", action="store_true",
        help="learn from labelled images only, without a second pass with the other improvement images: half the time, "
        "but more images that were right get wrong",
    )  # fmt: skip
    retrain.add_argument("--batch-size", metavar="N", help="images per training step (default: 32)")
    retrain.add_argument("--seed", metavar="N", help="determines the images drawn and their order (default: 0)")
    retrain.add_argument(
        "--seeds",
        metavar="N",
        help="fine-tune N times, with the seeds from --seed on, and keep the model whose test accuracy is the median "
        "(default: 1)",
    )


def _add_compare(commands: Commands) -> None:
    what = "compare a network before and after it was retrained elsewhere, by tables of its answers"
    compare = _add_command(commands, "compare", run_compare, what)
    table = "table of the network's answers to the test images, as for failures --predictions"
    compare.add_argument("--before", metavar="CSV", required=True, help=table)
    compare.add_argument("--after", metavar="CSV", required=True, help="the same of the retrained network")
    compare.add_argument("--test", metavar="DIR", required=True, help="folder of test images, in a folder per class")
    _add_regression_options(compare)


def _add_beside(commands: Commands) -> None:
    what = "set a model of an analysis beside one of another, or of the same: what each gets right on the same images"
    beside = _add_command(commands, "beside", run_beside, what)
    beside.add_argument("other", metavar="OTHER", help="output folder of the other analysis, or the same one again")
    beside.add_argument(
        "--model-a", metavar="NAME", default="",
        help="the model of --out (default: the one that was tested last; a NAME that there is not lists all)",
    )  # fmt: skip
    beside.add_argument("--model-b", metavar="NAME", default="", help="the model of OTHER, likewise")


def _add_report(commands: Commands) -> None:
    what = "write all results to one HTML file, for the safety case"
    _add_weights(_add_command(commands, "report", run_report, what))


def _add_export(commands: Commands) -> None:
    what = "copy the images to a folder per RCC, with a table and the report"
    export = _add_command(commands, "export", run_export, what)
    _add_weights(export)
    export.add_argument(
        "--to", metavar="FOLDER", help="destination; a name ending in .zip makes a ZIP file (default: export in --out)"
    )
    export.add_argument(
        "--rcc", metavar="N", type=int, action="append", help="export only this RCC (-1: the images in no cluster)"
    )
    export.add_argument(
        "--labelled", metavar="FOLDER",
        help="export the labelled images of the unsafe set instead, for training with another framework: a folder for "
        "each class and a table",
    )  # fmt: skip
    _add_label_options(export)


def _add_label_options(command: argparse.ArgumentParser) -> None:
    labels = command.add_mutually_exclusive_group()
    labels.add_argument(
        "--improvement", metavar="DIR", help="improvement images in class folders, which label the unsafe set"
    )
    labels.add_argument(
        "--labels", metavar="CSV", help="labels of the unsafe set: columns image (in the improvement folder) and label"
    )


def _add_weights(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--weights",
        metavar="FILE",
        help="a local copy of VGG16's ImageNet weights: a .h5, .weights.h5 or .keras file (default: the file named by "
        "SAFE_VGG16_WEIGHTS)",
    )


def _add_model_options(command: argparse.ArgumentParser) -> None:
    _add_loading_options(command)
    _add_regression_options(command)


def _add_regression_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--targets", metavar="CSV", help="regression only: the column image and a numeric column for each output"
    )
    command.add_argument("--threshold", metavar="E", help="regression only: an error above it is a failure")


def _add_loading_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--rescale",
        metavar="HOW",
        help="pixel values that the model expects: none (0 to 255), 1/255 (0 to 1), signed (-1 to 1) or imagenet (as "
        "most models of torchvision and timm); default: determined from the model",
    )
    command.add_argument(
        "--trust-model",
        action="store_true",
        help="load a model that contains code (a Lambda layer); the code is executed",
    )


def _add_dask_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="extract features on the Dask cluster with this scheduler (docs/scaling.md)",
    )
    command.add_argument(
        "--dask-images", metavar="PLACE", default="",
        help="where the workers find the image folder: a path or an fsspec URL (default: the same path)",
    )  # fmt: skip
