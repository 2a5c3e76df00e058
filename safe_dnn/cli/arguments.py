"""What each command accepts: its options and their help; and what comes before each, as the engineer's name.

None of the code that the commands run is imported for it.
"""

import argparse
import contextlib
import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safe_dnn.cli import commands as work
from safe_dnn.features.extractors import EXTRACTORS
from safe_dnn.support.errors import SAFEError, path_of
from safe_dnn.support.version import CLONE, PROGRAM, VERSION

EXAMPLE = (CLONE or Path()) / "example"  # where `make run` builds the case study


class TypedPath(str):
    """An argument that is a path, as it was typed."""


class Command(argparse.ArgumentParser):
    """A command, or all of them. An option is a flag, what its value is called, and its help."""

    def text(self, flag: str, value: str, what: str, **options: Any) -> None:
        self.add_argument(flag, metavar=value, help=what, **options)

    def path(self, flag: str, value: str, what: str, **options: Any) -> None:
        self.text(flag, value, what, type=TypedPath, **options)

    def choice(self, flag: str, choices: tuple[str, ...], what: str) -> None:
        """One of several values; the first is the default."""
        self.add_argument(flag, choices=choices, default=choices[0], help=what)

    def names(self, flag: str, what: str) -> None:
        """Any number of names, each behind the flag."""
        self.text(flag, "NAME", what, action="append", default=[])

    def switch(self, flag: str, what: str) -> None:
        """On, or not given."""
        self.add_argument(flag, action="store_true", default=None, help=what)


Run = Callable[[Path, argparse.Namespace], int | None]
Commands = argparse._SubParsersAction  # what `add_subparsers` returns has no public name


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `options.run` is the function of the command that was given."""
    parser = Command(
        prog=PROGRAM.split()[-1],
        description="Find the root causes of a DNN's failures, and the images to label to repair it. "
        "Without a command, serve the web page.",
    )
    parser.add_argument("--version", action="version", version=f"SAFE {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    options_of: dict[Run, tuple[Callable[[Command], None], ...]] = {
        work.run_ui: (_ui, _weights),
        work.run_failures: (_failures, _loading, _regression, _partial),
        work.run_reasons: (_reasons, _partial),
        work.run_cluster: (_cluster, _features, _partial, _weights, _dask),
        work.run_probe: (_asking, _loading),
        work.run_heatmaps: (_asking, _loading),
        work.run_crops: (_crops,),
        work.run_select: (_select, _features_of_others, _partial, _weights, _loading, _dask),
        work.run_retrain: (_retrain, _labels, _loading, _regression, _partial),
        work.run_compare: (_compare, _regression, _partial),
        work.run_confirm: (_confirm, _features_of_others, _partial, _weights),
        work.run_word: (_word, _features_of_others, _weights),
        work.run_check: (_check, _partial),
        work.run_register: (_register,),
        work.run_report: (),
        work.run_export: (_export, _labels),
        work.run_evidence: (),
        work.run_verify: (),
        work.run_moved: (_moved,),
        work.run_weights: (),
    }
    for run, options in options_of.items():
        command = _command(commands, run)
        for add in options:
            add(command)
    return parser


def _command(commands: Commands, run: Run) -> Command:
    """A command, called as the function that it runs, whose docstring is its help; with the options that all have."""
    what = " ".join((run.__doc__ or "").split())
    name = run.__name__.removeprefix("run_").replace("_", "-")
    command: Command = commands.add_parser(name, help=what[:1].lower() + what[1:].rstrip("."), description=what)
    without = run is work.run_weights  # an analysis
    command.set_defaults(run=run, out=Path(), changes_nothing=without or run is work.run_verify)
    if run is not work.run_ui and not without:  # on the page, each browser has a name
        user = "your name, kept with what this command changes (default: SAFE_USER, or the name of the login)"
        command.text("--user", "NAME", user)
    if not without:
        several = ", or a folder of several, which the page lists" if run is work.run_ui else ""
        command.path("--out", "DIR", f"output folder{several} (default: the current folder)", default=".")
    return command


def _ui(ui: Command) -> None:
    ui.text("--host", "H", "address to listen on (default: 127.0.0.1, this machine only)", default="127.0.0.1")
    ui.text("--port", "P", "port (default: 7860)", type=int, default=7860)
    ui.path("--root", "DIR", "accept only image folders inside this one")
    example = (
        "a case study that the page offers as an example (default: the folder example, in a clone beside SAFE_Tool.py)"
    )
    ui.path("--example", "DIR", example, default=str(EXAMPLE))
    ui.text("--auth", "USER:PASSWORD", "require this user name and password (default: the variable SAFE_AUTH)")
    ui.path("--password-file", "FILE", "read USER:PASSWORD from a file, which no list of processes shows")
    address = "where the page is reached: a path, as /safe, or all of the address, as https://example.org/safe"
    ui.text("--root-path", "PATH", address, default="")
    proxy = "trust what the proxy at this address says about a visitor (default: the variable FORWARDED_ALLOW_IPS)"
    ui.text("--proxy", "ADDRESS", proxy)
    ui.add_argument("--uploads", action="store_true", help="let images be brought with the browser, into the analysis")
    ui.path("--service", "DIR", "serve strangers: a workspace in this folder for each visitor, and --uploads")
    ui.text("--days", "N", "of a service: delete a workspace that nobody used for so long (default: 7)", type=float)
    ui.text("--gigabytes", "N", "of a service: what each visitor may bring and keep (default: 2)", type=float)
    ui.text("--minutes", "N", "of a service: the longest that work may take (default: 60)", type=float)
    ui.path("--certificate", "FILE", "encrypt with this certificate (TLS), a PEM file")
    ui.path("--key", "FILE", "the certificate's private key, a PEM file without a password")


def _cluster(cluster: Command) -> None:
    cluster.path("images", "IMAGES", "folder of failing images, or a .txt file that lists them")
    extractors = "; ".join(f"{name}: {kind.summary}" for name, kind in EXTRACTORS.items())
    cluster.choice("--extractor", tuple(EXTRACTORS), extractors.replace("auto:", "auto (default):"))
    formats = "number format: auto (default), which is bfloat16 where that is fast, else float32"
    cluster.choice("--precision", ("auto", "bfloat16", "float32"), formats)
    reducers = (
        "pca: by appearance alone, as in the paper; umap: PCA, then UMAP, as the authors' study of 2024 recommends; "
        "auto (default): by contrast with correctly classified images, if these are known and it explains more; "
        "otherwise pca"
    )
    cluster.choice("--reducer", ("auto", "pca", "umap"), reducers)
    cluster.path(
        "--parameters", "CSV",
        "known parameters of the images: columns image, and one for each (default: parameters.csv in or beside the "
        "image folder; of collected failures also of the test set)",
    )  # fmt: skip
    cluster.path(
        "--predictions", "CSV",
        "the network's answers to its whole test set: columns image, label, predicted and, if known, confidence "
        "(default: predictions.csv beside the image folder, written by failures)",
    )  # fmt: skip
    cluster.path("--tested", "DIR", "the folder of test images that --predictions is about")
    aside = (
        "a nuisance variable among the recorded parameters, such as person: the mean of each of its values is "
        "subtracted from the features (may be given several times)"
    )
    cluster.names("--set-aside", aside)
    groups = (
        "a column that says which test images are of one person, track or drive, and thus not independent; prefix: "
        "what files' names begin with; folder: folders below those of classes; image: images are independent, whatever "
        "they are named like (may be given several times: their values together)"
    )
    cluster.names("--group", groups)


def _reasons(reasons: Command) -> None:
    answers = "the network's answers to its test set, as for cluster; labels are needed where no folder has them"
    reasons.path("--predictions", "CSV", answers, required=True)
    _recorded(reasons)
    images = "the test images, which are measured, collected and shown (default: none are needed)"
    reasons.path("--tested", "DIR", images)
    reasons.names("--group", "groups of images, as for cluster")


def _recorded(command: Command) -> None:
    where = "parameters.csv beside the images or the predictions, or further columns of the predictions"
    command.path("--parameters", "CSV", f"with --predictions: what is known of the images (default: {where})")


def _confirm(confirm: Command) -> None:
    confirm.path("--predictions", "CSV", "the network's answers to the fresh images, as for cluster", required=True)
    confirm.path("--tested", "DIR", "the fresh images", required=True)
    confirm.path("--after", "CSV", "a later model's answers to the same images, to see which reasons it has closed")
    confirm.names("--group", "groups of fresh images, as for cluster (default: as the RCCs were found)")


def _asking(command: Command) -> None:
    """Whom to ask again, and about what."""
    model = "the network, as for failures (default: the one whose failures were collected)"
    command.path("model", "MODEL", model, nargs="?")
    reasons = "a reason, such as “weak spot 1” or “RCC 0” (default: all; of probe: those that fail more often)"
    command.names("--reason", reasons)


def _word(word: Command) -> None:
    name = "a word for what you see, such as baby; --next and --tags create it (default: print the rates of all words)"
    word.text("word", "NAME", name, nargs="?")
    word.text("--next", "N", "print a table of N images, to fill in its column answer: yes, no or unsure", type=int)
    word.path("--tags", "CSV", "read the answers from such a table")
    likely = "print the images of this folder or .txt list, sorted by predicted probability"
    word.path("--likely", "IMAGES", likely)


def _check(check: Command) -> None:
    check.path("requirements", "YAML", "a file of lines such as “light < 0.4: at most 5 %% wrong at 95 %%”")
    check.path("--predictions", "CSV", "the network's answers, as for cluster (default: those of the analysis)")
    check.path("--tested", "DIR", "the folder of test images that --predictions is about")
    learned = "training images: SAFE refuses test images that are among them, and names near-duplicates"
    check.path("--learned", "DIR", learned)
    check.names("--group", "groups of images, as for cluster (default: as in the analysis)")
    before = "an earlier model's answers to the same images; it must not be significantly better for a reason or class"
    check.path("--no-worse", "CSV", before)
    check.path("--junit", "FILE", "write the results as JUnit XML, which CI servers show")


def _select(select: Command) -> None:
    select.path("improvement", "IMPROVEMENT", "folder of improvement images, or a .txt list")
    accuracy = "accuracy on the test set, from 0 to 1; of a detector, the share found (default: by the predictions)"
    select.text("--test-accuracy", "A", accuracy)
    select.text("--test-size", "N", "images in the test set (default: failing images / (1 - accuracy))")
    select.text("--factor", "F", "how many to select, as a share of test size · accuracy (default: 0.3)", default="0.3")
    select.text("--size", "N", "number of images, instead of factor · test size · accuracy")
    quotas = "images per RCC: in proportion to its failing images (default), or equal, the same number, as in the paper"
    select.choice("--quota", ("size", "equal"), quotas)
    left_out = "no images for RCCs judged safe on the page (default)"
    select.add_argument("--leave-out-safe", action=argparse.BooleanOptionalAction, default=True, help=left_out)
    likely = "half of the images are chosen among those that it is likely to get wrong"
    select.path("--model", "MODEL", f"the Keras or ONNX classifier, given with --test: {likely}")
    select.path("--test", "DIR", "its test images, in a folder per class")
    answers = "in place of --model: probabilities for the improvement images, a column image and one for each class"
    select.path("--improvement-predictions", "CSV", answers)
    same = "the same for the test images in --test (default: the predictions that the clusters were found with)"
    select.path("--predictions", "CSV", same)


def _failures(failures: Command) -> None:
    failures.path("model", "MODEL", "a Keras model, .keras or .h5, or an ONNX model, .onnx", nargs="?")
    failures.path("test", "TEST", "folder of test images, in a folder per class (of a regression, as it is)", nargs="?")
    table = "in place of MODEL, the answers of a network in any framework, as docs/other-frameworks.md describes"
    failures.path("--predictions", "CSV", table)
    _recorded(failures)
    share = "hold out a share of the test images, such as 0.3, from all choices, so that they prove the gain of retrain"
    failures.text("--hold-out", "SHARE", share)
    failures.names("--group", "hold out whole groups, by a column as for cluster --group (may be given several times)")
    failures.path("--train", "DIR", "the training folder, needed if the test folder lacks some of the classes")
    after = "output folder of the earlier analysis: take over its notes and labels, and compare both networks"
    failures.path("--after", "OUT", after)
    coco = "of a detector, instead of MODEL and TEST: ground truth and results in COCO's format, and the images"
    failures.add_argument("--coco", nargs=3, metavar=("TRUTH", "RESULTS", "IMAGES"), help=coco)
    yolo = "the same, with labels and results as folders of YOLO's text files"
    failures.add_argument("--yolo", nargs=3, metavar=("LABELS", "RESULTS", "IMAGES"), help=yolo)
    overlap = "least overlap (intersection over union) of a detection with an object"
    failures.text("--iou", "U", f"of a detector: {overlap} (default: 0.5)")
    failures.text("--score", "S", "of a detector: detections with a lower score do not count (default: 0.5)")


def _crops(crops: Command) -> None:
    crops.path("info", "INFO", "the lists of images and categories in COCO's format")
    crops.path("results", "RESULTS", "the detector's results for these images, in COCO's format")
    crops.path("images", "IMAGES", "the folder of images")
    crops.text("--score", "S", "detections with a lower score do not count (default: 0.05)", default="0.05")


def _retrain(retrain: Command) -> None:
    retrain.path("model", "MODEL", "a Keras model, .keras or .h5; it is not changed")
    retrain.path("--train", "DIR", "training images, in a folder per class", required=True)
    retrain.path("--test", "DIR", "test images, in a folder per class", required=True)
    proof = "a test set looked at once, after the training, to prove the gain (default: what failures --hold-out held)"
    retrain.path("--final-test", "DIR", proof)
    retrain.switch("--only-labelled", "leave out unlabelled images of the unsafe set")
    aims = (
        "what matters more: balance (default); accuracy, at the cost of more correct images that become wrong; or "
        "keep, to keep them, by unlabelled improvement images, at the cost of fewer corrected failures (as balance "
        "without them)"
    )
    retrain.choice("--aim", ("balance", "accuracy", "keep"), aims)
    retrain.text("--learning-rate", "R", "default: 0.7 times the rate that the model was compiled with, or 7e-4")
    retrain.text("--epochs", "N", "passes over the training images (default: 8, or up to 40 if they are few)")
    one_pass = "learn from labelled images only: half the time, but more that was right gets wrong"
    retrain.add_argument("--one-pass", dest="unlabelled", action="store_const", const=0, help=one_pass)
    retrain.text("--batch-size", "N", "images per training step (default: 32)")
    retrain.text("--seed", "N", "determines the images drawn and their order (default: 0)")


def _compare(compare: Command) -> None:
    table = "table of the network's answers to the test images, as for failures --predictions"
    compare.path("--before", "CSV", table, required=True)
    compare.path("--after", "CSV", "the same of the retrained network", required=True)
    compare.path("--test", "DIR", "folder of test images, in a folder per class", required=True)


def _register(register: Command) -> None:
    missing = "write nothing, but list what a safety case would still ask for; exit status 3 if anything, or else 0"
    register.switch("--missing", missing)
    register.path("--read", "CSV", "show what was changed in this table, which register has written")
    register.switch("--apply", "take over what --read shows")


def _export(export: Command) -> None:
    export.path("--to", "FOLDER", "a new folder, or a new ZIP file whose name ends in .zip (default: export in --out)")
    export.text("--rcc", "N", "only this RCC, or several (-1: images in no cluster)", type=int, action="append")
    labelled = "export the labelled images of the unsafe set instead, in a folder for each class with a table"
    export.path("--labelled", "FOLDER", labelled)


def _moved(moved: Command) -> None:
    moved.path("old", "OLD", "the folder that they were in, or one above it")
    moved.path("new", "NEW", "what is now in its place")


def _labels(command: Command) -> None:
    labels = command.add_mutually_exclusive_group()
    folder = "improvement images in class folders, which label the unsafe set"
    labels.add_argument("--improvement", metavar="DIR", type=TypedPath, help=folder)
    table = "labels of the unsafe set: columns image (in the improvement folder) and label"
    labels.add_argument("--labels", metavar="CSV", type=TypedPath, help=table)


def _features(command: Command) -> None:
    own = "instead of --extractor: features of another network, an .npz or .parquet file (docs/other-frameworks.md)"
    command.path("--features", "FILE", own)


def _features_of_others(command: Command) -> None:
    command.path("--features", "FILE", "features of these images, if those that cluster was given do not have them")


def _weights(command: Command) -> None:
    weights = "VGG16's ImageNet weights, the .h5 file of Keras (default: the file that SAFE_VGG16_WEIGHTS names)"
    command.path("--weights", "FILE", weights)


def _regression(command: Command) -> None:
    table = "regression only: image and a column of numbers for each output, or FILE:COLUMN in a table that has others"
    command.path("--targets", "CSV", table)
    command.text("--threshold", "E", "regression only: an error above it is a failure")


def _partial(command: Command) -> None:
    command.switch("--partial", "accept a table that lacks over a tenth of the images, or has as many rows of others")


def _loading(command: Command) -> None:
    pixels = "pixels that the model expects: none (0 to 255), 1/255, signed (-1 to 1), imagenet (default: by the model)"
    command.text("--rescale", "HOW", pixels)
    trust = "load a model that contains code (a Lambda layer); the code is executed"
    command.switch("--trust-model", trust)


def _dask(command: Command) -> None:
    command.text("--dask", "ADDRESS", "extract features on the Dask cluster with this scheduler (docs/scaling.md)")
    place = "where the workers find the image folder: a path or an fsspec URL (default: the same path)"
    command.text("--dask-images", "PLACE", place, default="")


# --- Before a command ---------------------------------------------------------------------------------------------


def read_paths(options: argparse.Namespace) -> None:
    """Convert the arguments that are paths to paths; a SAFEError if one is invalid."""
    for name, typed in vars(options).items():
        if isinstance(typed, TypedPath):
            setattr(options, name, path_of(typed, f"a path ({name.replace('_', ' ')})"))


def speaking_of(options: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    """What the command writes has the engineer's name."""
    from safe_dnn.store.database import LONGEST_ENGINEER, speaking

    user = getattr(options, "user", None)
    if user is not None and not 0 < len(user.strip()) <= LONGEST_ENGINEER:
        raise SAFEError(f"Expected a name of 1 to {LONGEST_ENGINEER} characters (--user). Received {len(user)}.")
    name = user or os.environ.get("SAFE_USER", "")
    with contextlib.suppress(OSError, KeyError, ImportError):  # a container may have no login
        name = name or getpass.getuser()
    return speaking(name)


def check_analysis(folder: Path) -> None:
    """Make sure that the database of the analysis that a command opens can be read, if there is one."""
    from safe_dnn.store.database import check_database

    check_database(folder)
