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
from safe_dnn.options import (
    ClusteringSettings,
    DetectorFiles,
    DnnOptions,
    GivenAnswers,
    ImageSets,
    Labelling,
    Likely,
    SelectionSettings,
    TestSet,
    Wishes,
    options_of,
)
from safe_dnn.support.errors import SAFEError, path_of
from safe_dnn.support.version import CLONE, PROGRAM, VERSION

EXAMPLE = (CLONE or Path()) / "example"  # where `make run` builds the case study


class TypedPath(str):
    """An argument that is a path, as it was typed."""


SORTS: dict[str, dict[str, Any]] = {
    "path": {"type": TypedPath},
    "names": {"action": "append", "metavar": "NAME"},
    "switch": {"action": "store_true"},
}
"""How the values of options are read, by their sort (see `options.Option`); others are text."""


class Command(argparse.ArgumentParser):
    """A command, or all of them. An option is a flag, what its value is called, and its help."""

    def text(self, flag: str, value: str, what: str, **options: Any) -> None:
        self.add_argument(flag, metavar=value, help=what, **options)

    def path(self, flag: str, value: str, what: str, **options: Any) -> None:
        self.text(flag, value, what, type=TypedPath, **options)

    def names(self, flag: str, what: str) -> None:
        """Any number of names, each behind the flag."""
        self.text(flag, "NAME", what, action="append")

    def switch(self, flag: str, what: str) -> None:
        """On, or not given."""
        self.add_argument(flag, action="store_true", help=what)

    def fields(self, record: Any, *some: str, required: tuple[str, ...] = ()) -> None:
        """Options that are fields of a record, all or some of them (see `options.py`)."""
        for name, option in options_of(record).items():
            if not option.sort or (some and name not in some):
                continue
            how: dict[str, Any] = {**SORTS.get(option.sort, {})}
            how |= {"choices": option.choices} if option.choices else {}
            how |= {"metavar": option.value} if option.value and option.sort != "names" else {}
            if record._field_defaults.get(name) is True:
                how["action"] = argparse.BooleanOptionalAction
            needed = name in required or name not in record._field_defaults
            how |= {"required": needed, "help": option.help.replace("%", "%%")}
            self.add_argument(f"--{name.replace('_', '-')}", default=None, **how)


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
    parts_of: dict[Run, tuple[Callable[[Command], None], ...]] = {
        work.run_ui: (_ui, _weights),
        work.run_failures: (_failures,),
        work.run_reasons: (_reasons,),
        work.run_cluster: (_cluster, _dask),
        work.run_probe: (_asking,),
        work.run_heatmaps: (_asking,),
        work.run_crops: (_crops,),
        work.run_select: (_select, _dask),
        work.run_retrain: (_retrain,),
        work.run_compare: (_compare,),
        work.run_confirm: (_confirm, _features_of_others, _weights),
        work.run_word: (_word, _features_of_others, _weights),
        work.run_check: (_check,),
        work.run_register: (_register,),
        work.run_report: (),
        work.run_export: (_export,),
        work.run_evidence: (),
        work.run_verify: (),
        work.run_moved: (_moved,),
        work.run_weights: (),
    }
    for run, parts in parts_of.items():
        command = _command(commands, run)
        for add in parts:
            add(command)
    return parser


def _command(commands: Commands, run: Run) -> Command:
    """Add a command that is called as the function that it runs, with its help and the options that all have."""
    what = work.HELP[run]
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


def _failures(failures: Command) -> None:
    failures.path("model", "MODEL", "a Keras model, .keras or .h5, or an ONNX model, .onnx", nargs="?")
    failures.path("test", "TEST", "folder of test images, in a folder per class (of a regression, as it is)", nargs="?")
    table = "in place of MODEL, the answers of a network in any framework, as docs/other-frameworks.md describes"
    failures.path("--predictions", "CSV", table)
    failures.fields(TestSet)
    after = "output folder of the earlier analysis: take over its notes and labels, and compare both networks"
    failures.path("--after", "OUT", after)
    failures.fields(DnnOptions)
    coco = "of a detector, instead of MODEL and TEST: ground truth and results in COCO's format, and the images"
    failures.add_argument("--coco", nargs=3, metavar=("TRUTH", "RESULTS", "IMAGES"), help=coco)
    yolo = "the same, with labels and results as folders of YOLO's text files"
    failures.add_argument("--yolo", nargs=3, metavar=("LABELS", "RESULTS", "IMAGES"), help=yolo)
    failures.fields(DetectorFiles, "iou", "score")


def _reasons(reasons: Command) -> None:
    reasons.fields(GivenAnswers, required=("predictions",))
    reasons.fields(TestSet, "parameters")


def _cluster(cluster: Command) -> None:
    cluster.path("images", "IMAGES", "folder of failing images, or a .txt file that lists them")
    cluster.fields(ClusteringSettings)
    cluster.fields(GivenAnswers)


def _asking(command: Command) -> None:
    """Whom to ask again, and about what."""
    model = "the network, as for failures (default: the one whose failures were collected)"
    command.path("model", "MODEL", model, nargs="?")
    reasons = "a reason, such as “weak spot 1” or “RCC 0” (default: all; of probe: those that fail more often)"
    command.names("--reason", reasons)
    command.fields(DnnOptions, "rescale", "trust_model")


def _word(word: Command) -> None:
    name = "a word for what you see, such as baby; --next and --tags create it (default: print the rates of all words)"
    word.text("word", "NAME", name, nargs="?")
    word.text("--next", "N", "print a table of N images, to fill in its column answer: yes, no or unsure", type=int)
    word.path("--tags", "CSV", "read the answers from such a table")
    likely = "print the images of this folder or .txt list, sorted by predicted probability"
    word.path("--likely", "IMAGES", likely)


def _crops(crops: Command) -> None:
    crops.path("info", "INFO", "the lists of images and categories in COCO's format")
    crops.path("results", "RESULTS", "the detector's results for these images, in COCO's format")
    crops.path("images", "IMAGES", "the folder of images")
    crops.text("--score", "S", "detections with a lower score do not count (default: 0.05)", default="0.05")


def _select(select: Command) -> None:
    select.path("improvement", "IMPROVEMENT", "folder of improvement images, or a .txt list")
    select.fields(SelectionSettings)
    select.fields(Likely)
    select.fields(DnnOptions, "rescale", "trust_model", "partial")


def _retrain(retrain: Command) -> None:
    retrain.path("model", "MODEL", "a Keras model, .keras or .h5; it is not changed")
    retrain.fields(ImageSets)
    retrain.fields(Labelling)
    retrain.fields(Wishes)
    one_pass = "learn from labelled images only: half the time, but more that was right gets wrong"
    retrain.add_argument("--one-pass", dest="unlabelled", action="store_const", const=0, help=one_pass)
    retrain.fields(DnnOptions)


def _compare(compare: Command) -> None:
    table = "table of the network's answers to the test images, as for failures --predictions"
    compare.path("--before", "CSV", table, required=True)
    compare.path("--after", "CSV", "the same of the retrained network", required=True)
    compare.fields(ImageSets, "test")
    compare.fields(DnnOptions, "targets", "threshold", "partial")


def _confirm(confirm: Command) -> None:
    confirm.fields(GivenAnswers, required=("predictions", "tested"))
    confirm.path("--after", "CSV", "a later model's answers to the same images, to see which reasons it has closed")


def _check(check: Command) -> None:
    check.path("requirements", "YAML", "a file of lines such as “light < 0.4: at most 5 %% wrong at 95 %%”")
    check.fields(GivenAnswers)
    learned = "training images: SAFE refuses test images that are among them, and names near-duplicates"
    check.path("--learned", "DIR", learned)
    before = "an earlier model's answers to the same images; it must not be significantly better for a reason or class"
    check.path("--no-worse", "CSV", before)
    check.path("--junit", "FILE", "write the results as JUnit XML, which CI servers show")


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
    export.fields(Labelling, "improvement", "labels")


def _moved(moved: Command) -> None:
    moved.path("old", "OLD", "the folder that they were in, or one above it")
    moved.path("new", "NEW", "what is now in its place")


def _features_of_others(command: Command) -> None:
    command.fields(SelectionSettings, "features")


def _weights(command: Command) -> None:
    command.fields(ClusteringSettings, "weights")


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
