"""SAFE: why an image-processing DNN fails, and which images to label to repair it.

    python SAFE_Tool.py                      the page on http://127.0.0.1:7860
    python SAFE_Tool.py cluster IMAGES       steps 1 and 2: root cause clusters, as GIFs
    python SAFE_Tool.py select IMPROVEMENT   steps 3 and 4: the unsafe set

The page (in `page/`) and the command line (here) call the same functions and write the same files; the output folder
is all that they share. Whatever takes long to import is imported where it is needed: `--help` answers at once.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from errors import SAFEError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 with one line on stderr for what the engineer can put right."""
    # Results are written when they are printed: a name that the terminal cannot show must not end in a traceback.
    sys.stdout.reconfigure(errors="replace")
    # SAFE itself names the images that are damaged.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    options = _parser().parse_args(arguments if arguments is not None else (sys.argv[1:] or ["ui"]))
    try:
        options.run(options)
    except SAFEError as error:
        print(f"safe: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "safe: stopped. Features that were extracted are kept; the same command goes on from there.",
            file=sys.stderr,
        )
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="SAFE_Tool.py",
        description="Find the root causes of a DNN's failures, and the images worth labelling. "
        "Without a command: the web page.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable, what: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        added.set_defaults(run=run)
        added.add_argument("--out", metavar="DIR", default=".", help="output folder (default: the current one)")
        added.add_argument(
            "--weights", metavar="FILE", help="a local copy of VGG16's ImageNet weights (default: SAFE_VGG16_WEIGHTS)"
        )
        return added

    ui = command("ui", _run_ui, "serve the web page")
    ui.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="address to listen on (default: 127.0.0.1, this machine only)"
    )
    ui.add_argument("--port", type=int, default=7860, metavar="P", help="port (default: 7860)")
    ui.add_argument("--root", metavar="DIR", help="accept only image folders below this one")
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

    select = command("select", _run_select, "select the unsafe set, the improvement images worth labelling")
    select.add_argument("improvement", metavar="IMPROVEMENT", help="folder of improvement images, or a .txt list")
    select.add_argument("--test-accuracy", metavar="A", help="the DNN's accuracy on its test set, 0 to 1")
    select.add_argument(
        "--test-size", metavar="N", help="images in the test set (default: failing images / (1 - accuracy))"
    )
    select.add_argument("--factor", default="0.3", help="selection factor (default: 0.3)")
    select.add_argument("--size", metavar="N", help="number of images, instead of factor · test size · accuracy")
    return parser


def _run_cluster(options: argparse.Namespace) -> None:
    out = Path(options.out).absolute()
    from profiles import load_profiles
    from runs import cluster_summary, count, generate_clusters, parameter_notes

    with _terminal() as progress:
        clusters = generate_clusters(
            options.images, out, progress, options.extractor, options.reducer, options.weights, options.parameters
        )
    if clusters.notice:
        print(f"safe: {clusters.notice}", file=sys.stderr)
    _print_skipped(clusters.skipped)
    for note in parameter_notes(out):
        print(f"safe: parameters: {note}", file=sys.stderr)
    print(cluster_summary(clusters))
    texts = {profile.rcc: f": {profile.text}" for profile in load_profiles(out)}
    for rcc, size in enumerate(clusters.sizes.tolist()):
        print(f"  RCC {rcc} ({count(size, 'image')}, {size / len(clusters.paths):.1%}){texts.get(rcc, '')}")
    print(f"Written: labels.txt, clusters.npz, run.json, gifs/{', rcc_profiles.csv' if texts else ''} in {out}")


def _run_select(options: argparse.Namespace) -> None:
    out = Path(options.out).absolute()
    from runs import select_images, selection_summary

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
        )
    _print_skipped(unsafe.skipped)
    print(selection_summary(unsafe))
    print(unsafe.formula)
    print(f"Written: IS_filenames.txt, unsafe_set.csv, unsafe_set.json in {out}")


def _run_ui(options: argparse.Namespace) -> None:
    from page.app import serve

    serve(options.out, options.host, options.port, options.root, options.auth, options.weights)


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
    from inspection import printable

    for path, reason in skipped:
        print(f"safe: skipped {printable(path)!r}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
