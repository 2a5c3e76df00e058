"""What the commands take: names, options and their help. Nothing of SAFE's steps is imported for it."""

import argparse
from collections.abc import Callable
from pathlib import Path

from cli.commands import run_cluster, run_export, run_failures, run_report, run_retrain, run_select, run_ui
from support.version import VERSION

EXAMPLE = Path(__file__).parents[1] / "example"  # where `make run` builds the case study


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="SAFE_Tool.py",
        description="Find the root causes of a DNN's failures, and the images worth labelling. "
        "Without a command: the web page.",
    )
    parser.add_argument("--version", action="version", version=f"SAFE {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable, what: str, vgg16: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        added.set_defaults(run=run)
        added.add_argument("--out", metavar="DIR", default=".", help="output folder (default: the current one)")
        if vgg16:
            added.add_argument(
                "--weights",
                metavar="FILE",
                help="a local copy of VGG16's ImageNet weights (default: SAFE_VGG16_WEIGHTS)",
            )
        return added

    ui = command("ui", run_ui, "serve the web page")
    ui.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="address to listen on (default: 127.0.0.1, this machine only)"
    )
    ui.add_argument("--port", type=int, default=7860, metavar="P", help="port (default: 7860)")
    ui.add_argument("--root", metavar="DIR", help="accept only image folders below this one")
    ui.add_argument(
        "--example",
        metavar="DIR",
        default=EXAMPLE,
        help="a case study of casestudies/ that the page offers to fill in (default: example beside SAFE_Tool.py)",
    )
    ui.add_argument("--auth", metavar="USER:PASSWORD", help="ask visitors for these")

    cluster = command("cluster", run_cluster, "group failing images into root cause clusters (RCCs)")
    cluster.add_argument("images", metavar="IMAGES", help="folder of failing images, or a .txt file that lists them")
    cluster.add_argument(
        "--extractor",
        choices=("auto", "vgg16-fc2", "vgg16-conv"),
        default="auto",
        help="auto (the default) is vgg16-fc2, the paper's, where its weights can be had, otherwise vgg16-conv",
    )
    cluster.add_argument(
        "--precision", choices=("float32", "bfloat16", "auto"), default="float32",
        help="what the network computes in: float32 (the default); bfloat16, twice as fast on processors that have it "
        "(with AMX five times), with RCCs that may differ; auto, bfloat16 on such processors. select follows",
    )  # fmt: skip
    cluster.add_argument(
        "--reducer",
        choices=("pca", "umap"),
        default="pca",
        help="pca (the default) is the paper's; umap adds UMAP to it, as the authors' study of 2024 recommends",
    )
    cluster.add_argument(
        "--parameters",
        metavar="CSV",
        help="what is known of the images (column image, then a column per parameter), to describe each RCC by "
        "(default: parameters.csv in the image folder or beside it)",
    )
    _add_dask_options(cluster)

    select = command("select", run_select, "select the unsafe set, the improvement images worth labelling")
    select.add_argument("improvement", metavar="IMPROVEMENT", help="folder of improvement images, or a .txt list")
    select.add_argument("--test-accuracy", metavar="A", help="the DNN's accuracy on its test set, 0 to 1")
    select.add_argument(
        "--test-size", metavar="N", help="images in the test set (default: failing images / (1 - accuracy))"
    )
    select.add_argument("--factor", default="0.3", help="selection factor (default: 0.3)")
    select.add_argument("--size", metavar="N", help="number of images, instead of factor · test size · accuracy")
    select.add_argument(
        "--quota", choices=("equal", "size"), default="equal",
        help="images of each RCC: the same number, as in the paper, or in proportion to its failing images (default: "
        "equal)",
    )  # fmt: skip
    select.add_argument(
        "--leave-out-safe", action="store_true", help="no images for RCCs that were marked as safe on the page"
    )
    select.add_argument(
        "--model", metavar="MODEL",
        help="the Keras classifier, with --test: half of the images are chosen as ones that it is likely to get wrong, "
        "and --test-accuracy need not be given",
    )  # fmt: skip
    select.add_argument("--test", metavar="DIR", help="its test images, in a folder for each class")
    _add_loading_options(select)
    _add_dask_options(select)

    what = "run a Keras model on a labelled test set, collect what it gets wrong"
    failures = command("failures", run_failures, what, vgg16=False)
    failures.add_argument("model", metavar="MODEL", help="a Keras model, .keras or .h5")
    failures.add_argument("test", metavar="TEST", help="folder of test images, in a folder for each class")
    failures.add_argument(
        "--train", metavar="DIR", help="the training folder, where the test folder lacks some of the classes"
    )
    _add_model_options(failures)

    what = "label the unsafe set and fine-tune the Keras model with it"
    retrain = command("retrain", run_retrain, what, vgg16=False)
    retrain.add_argument("model", metavar="MODEL", help="a Keras model, .keras or .h5; it is only read")
    retrain.add_argument("--train", metavar="DIR", required=True, help="training images, in a folder for each class")
    retrain.add_argument("--test", metavar="DIR", required=True, help="test images, in a folder for each class")
    labels = retrain.add_mutually_exclusive_group()
    labels.add_argument(
        "--improvement", metavar="DIR", help="improvement images in class folders, which are the unsafe set's labels"
    )
    labels.add_argument(
        "--labels", metavar="CSV", help="the unsafe set's labels: columns image (in the improvement folder) and label"
    )
    retrain.add_argument(
        "--only-labelled", action="store_true", help="leave out images of the unsafe set that have no label"
    )
    _add_model_options(retrain)
    retrain.add_argument(
        "--learning-rate", metavar="R", help="default: 0.7 of the rate that the model was compiled with, or 7e-4"
    )
    retrain.add_argument("--epochs", metavar="N", help="passes over the training images (default: 8)")
    retrain.add_argument("--batch-size", metavar="N", help="images for each step (default: 32)")
    retrain.add_argument("--seed", metavar="N", help="fixes the images drawn and their order (default: 0)")

    command("report", run_report, "write one self-contained HTML report of all results, for the safety case")

    export = command("export", run_export, "copy the images to a folder for each RCC, with a table and the report")
    export.add_argument(
        "--to", metavar="FOLDER", help="where to; a name that ends in .zip is one file (default: export in --out)"
    )
    export.add_argument("--rcc", metavar="N", type=int, action="append", help="this RCC alone (-1: no cluster)")
    return parser


def _add_model_options(command: argparse.ArgumentParser) -> None:
    _add_loading_options(command)
    command.add_argument(
        "--targets", metavar="CSV", help="of a regression: the column image and a numeric one for each output"
    )
    command.add_argument("--threshold", metavar="E", help="of a regression: an error above it is a failure")


def _add_loading_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--rescale",
        metavar="HOW",
        help="what the model takes: none (pixels from 0 to 255), 1/255, or signed (-1 to 1); default: seen from it",
    )
    command.add_argument(
        "--trust-model", action="store_true", help="load a model that holds code (a Lambda layer), which is executed"
    )


def _add_dask_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dask", metavar="ADDRESS", help="extract features on the Dask cluster of this scheduler (docs/scaling.md)"
    )
    command.add_argument(
        "--dask-images", metavar="PLACE", default="",
        help="where its workers find the image folder: a path or an fsspec URL (default: the same path)",
    )  # fmt: skip
