"""SAFE: why an image-processing DNN fails, and which images to label to repair it.

    python SAFE_Tool.py                      the page on http://127.0.0.1:7860
    python SAFE_Tool.py failures MODEL TEST  before step 1: the images that a Keras model gets wrong
    python SAFE_Tool.py cluster IMAGES       steps 1 and 2: root cause clusters, as GIFs
    python SAFE_Tool.py select IMPROVEMENT   steps 3 and 4: the unsafe set
    python SAFE_Tool.py retrain MODEL        steps 5 and 6: the model fine-tuned with the labelled unsafe set
    python SAFE_Tool.py report               one HTML file of all results, for the safety case
    python SAFE_Tool.py export               the images in a folder for each RCC, with a table and the report

The page (in `page/`) and the command line (here) call the same functions and write the same files; the output folder
is all that they share. Whatever takes long to import is imported where it is needed: `--help` answers at once.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from errors import SAFEError

EXAMPLE = Path(__file__).with_name("example")  # where `make run` builds the case study
PATHS = {
    "out": "an output folder",
    "images": "an image folder",
    "improvement": "a folder of improvement images",
    "model": "a Keras model",
    "test": "a test folder",
    "train": "a training folder",
    "weights": "a file with VGG16's weights",
    "parameters": "parameters as a CSV file",
    "labels": "a table of labels (CSV)",
    "targets": "a table of targets (CSV)",
    "to": "a place to export to",
    "root": "a folder (--root)",
    "example": "a case study (--example)",
}
"""The arguments that are paths on this machine, and what each is."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 on success; 2, with one line on stderr, for what the engineer can put right; 1, with one line as well, for a
        defect of SAFE, whose traceback is logged (see `defects.py`); 130 where it was interrupted.
    """
    _replace_closed_streams()
    # Results are written when they are printed: a name that the terminal cannot show must not end in a traceback.
    sys.stdout.reconfigure(errors="replace")
    # SAFE itself names the images that are damaged.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    options = _parser().parse_args(arguments if arguments is not None else (sys.argv[1:] or ["ui"]))
    try:
        _read_paths(options)
        options.run(options)
        sys.stdout.flush()
    except SAFEError as error:
        from images import printable

        print(f"safe: {printable(str(error))}".replace("\n", " "), file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output, `head` for instance, has read enough; the files are written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(
            "safe: stopped. Features that were extracted are kept; the same command goes on from there.",
            file=sys.stderr,
        )
        return 130
    except Exception as error:  # noqa: BLE001, the door: whatever it is, the engineer gets a line and no traceback
        from defects import describe_defect

        print(f"safe: {describe_defect(error)}", file=sys.stderr)
        return 1
    return 0


def _replace_closed_streams() -> None:
    """What is printed to a stream that the shell has closed (`>&-`) is lost.

    Left closed, its number would go to the next file that is opened, and libraries in C would print into that.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123, as long as the process


def _read_paths(options: argparse.Namespace) -> None:
    """Make paths of the arguments that are some; a SAFEError where one can lead nowhere."""
    from entries import path_of

    for name, what in PATHS.items():
        if (typed := getattr(options, name, None)) is not None:
            setattr(options, name, path_of(typed, what))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="SAFE_Tool.py",
        description="Find the root causes of a DNN's failures, and the images worth labelling. "
        "Without a command: the web page.",
    )
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

    ui = command("ui", _run_ui, "serve the web page")
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

    cluster = command("cluster", _run_cluster, "group failing images into root cause clusters (RCCs)")
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

    select = command("select", _run_select, "select the unsafe set, the improvement images worth labelling")
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
    failures = command("failures", _run_failures, what, vgg16=False)
    failures.add_argument("model", metavar="MODEL", help="a Keras model, .keras or .h5")
    failures.add_argument("test", metavar="TEST", help="folder of test images, in a folder for each class")
    failures.add_argument(
        "--train", metavar="DIR", help="the training folder, where the test folder lacks some of the classes"
    )
    _add_model_options(failures)

    what = "label the unsafe set and fine-tune the Keras model with it"
    retrain = command("retrain", _run_retrain, what, vgg16=False)
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

    command("report", _run_report, "write one self-contained HTML report of all results, for the safety case")

    export = command("export", _run_export, "copy the images to a folder for each RCC, with a table and the report")
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


def _stream(options: argparse.Namespace):
    """What extracts features: None for this machine."""
    if not options.dask:
        if options.dask_images:
            raise SAFEError(f"--dask-images expects --dask. Received alone: {options.dask_images}")
        return None
    from distributed_extraction import on_cluster

    return on_cluster(options.dask, options.dask_images)


def _run_cluster(options: argparse.Namespace) -> None:
    out = options.out
    from images import printable
    from inspection import gif_notes
    from profiles import load_profiles
    from runs import cluster_summary, count, generate_clusters, parameter_notes

    with _terminal() as progress:
        clusters = generate_clusters(
            options.images,
            out,
            progress,
            options.extractor,
            options.reducer,
            options.weights,
            options.parameters,
            precision=options.precision,
            stream=_stream(options),
        )
    if clusters.notice:
        print(f"safe: {printable(clusters.notice)}", file=sys.stderr)
    _print_skipped(clusters.skipped)
    for note in parameter_notes(out):
        print(f"safe: parameters: {printable(note)}", file=sys.stderr)
    for note in gif_notes(clusters):
        print(f"safe: {note}", file=sys.stderr)
    print(cluster_summary(clusters))
    texts = {profile.rcc: f": {printable(profile.text)}" for profile in load_profiles(out)}
    for rcc, size in enumerate(clusters.sizes.tolist()):
        if not size:
            continue  # merged into another by the engineer
        print(f"  RCC {rcc} ({count(size, 'image')}, {size / len(clusters.paths):.1%}){texts.get(rcc, '')}")
    print(f"Written: labels.txt, clusters.npz, run.json, gifs/{', rcc_profiles.csv' if texts else ''} in {out}")


def _run_select(options: argparse.Namespace) -> None:
    out = options.out
    from images import printable
    from runs import select_images, selection_summary
    from selection import chosen_by_model

    with _terminal() as progress:
        unsafe = select_images(
            options.improvement,
            out,
            progress,
            options.weights,
            test_accuracy=options.test_accuracy,
            test_size=options.test_size,
            factor=options.factor,
            size=options.size,
            leave_out_safe=options.leave_out_safe,
            quota=options.quota,
            model=options.model,
            test=options.test,
            rescale=options.rescale,
            trust=options.trust_model,
            stream=_stream(options),
        )
    _print_skipped(unsafe.skipped)
    print(selection_summary(unsafe))
    print(unsafe.formula)
    if unsafe.model:
        print(printable(chosen_by_model(unsafe)))
    print(f"Written: IS_filenames.txt, unsafe_set.csv, unsafe_set.json in {out}")


def _run_failures(options: argparse.Namespace) -> None:
    out = options.out
    from failures import find_failures
    from runs import failures_summary

    with _terminal() as progress:
        failures = find_failures(
            options.model,
            options.test,
            out,
            options.rescale,
            options.trust_model,
            options.targets,
            options.threshold,
            options.train,
            progress,
        )
    _print_skipped(failures.skipped)
    _print_assumptions(failures.assumptions)
    print(failures_summary(failures))
    print(f"Written: failures/, failures.csv, accuracy.json in {out}")


def _run_retrain(options: argparse.Namespace) -> None:
    out = options.out
    from retrain import retrain
    from runs import retraining_summary

    with _terminal() as progress, _stoppable() as stopping:
        result = retrain(
            options.model,
            options.train,
            options.test,
            out,
            improvement=options.improvement,
            labels=options.labels,
            only_labelled=options.only_labelled,
            rescale=options.rescale,
            trust=options.trust_model,
            targets=options.targets,
            threshold=options.threshold,
            progress=progress,
            on_epoch=stopping.on_epoch,
            should_stop=stopping.should_stop,
            learning_rate=options.learning_rate,
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=options.seed,
        )
    _print_skipped(result.skipped)
    _print_assumptions(result.assumptions)
    print(retraining_summary(result))
    for share in result.per_rcc:
        name = "in no cluster" if share.name == "-1" else f"RCC {share.name}"
        print(f"  {name}: {share.after} of {share.images} failing images now right")
    print(f"Written: retrained.keras, retraining.json in {out}")


def _run_report(options: argparse.Namespace) -> None:
    out = options.out
    from report import write_report

    with _terminal() as progress:
        print(f"Written: {write_report(out, progress)}")


def _run_export(options: argparse.Namespace) -> None:
    out = options.out
    from runs import count, export_results

    with _terminal() as progress:
        done = export_results(out, options.to or out / "export", progress, options.rcc)
    _print_skipped(done.missing)
    print(f"{count(done.images, 'image')} exported")
    print(f"Written: {done.path}")


def _print_assumptions(assumptions) -> None:
    from images import printable

    for line in assumptions:
        print(f"  {printable(line)}")


def _run_ui(options: argparse.Namespace) -> None:
    from holding import held

    # Only on this machine: elsewhere nothing may be answered before it is known that a password is asked for.
    local = options.host == "127.0.0.1"
    with held(options.host, options.port) if local else contextlib.nullcontext(lambda: None) as free:
        from page.app import serve

        serve(
            options.out, options.host, options.port, options.root, options.auth, options.weights, options.example, free
        )


class _stoppable:  # noqa: N801, used as a function
    """Ctrl-C once an epoch of the training is over: training stops, and the best epoch so far is kept."""

    def __enter__(self) -> "_stoppable":
        self._epochs, self._asked = 0, False
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def on_epoch(self, history: tuple) -> None:
        self._epochs = len(history) - 1

    def should_stop(self) -> bool:
        return self._asked

    def _interrupt(self, *_) -> None:
        if self._asked or not self._epochs:
            raise KeyboardInterrupt
        self._asked = True

    def __exit__(self, *_) -> None:
        signal.signal(signal.SIGINT, self._before)


class _terminal:  # noqa: N801, used as a function
    """Progress on stderr: one line that is rewritten on a terminal, a line for each tenth elsewhere."""

    def __enter__(self) -> Callable[[str, int, int], None]:
        from runs import Pace

        self._pace = Pace()
        self._last = ("", -1)
        self._shown = 0.0
        return self._show

    def _show(self, what: str, done: int, total: int) -> None:
        text = self._pace.describe(what, done, total)
        tenth = (what, 10 * done // max(total, 1))
        with contextlib.suppress(OSError):  # that nobody reads the progress is no reason to stop
            if sys.stderr.isatty():
                if done == total or time.monotonic() - self._shown > 0.1:
                    self._shown = time.monotonic()
                    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            elif tenth != self._last:
                print(text, file=sys.stderr, flush=True)
        self._last = tenth

    def __exit__(self, *_) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _print_skipped(skipped) -> None:
    from images import printable

    for path, reason in skipped:
        print(f"safe: skipped {printable(path)!r}: {printable(reason)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
