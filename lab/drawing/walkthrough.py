"""Make docs/walkthroughs/solar-cells.md: SAFE on public photographs, with its commands, what it found, and what not.

    python -m lab.drawing.walkthrough [--work .solar-cells]

Needs the images: `python -m pip install elpv-dataset==1.0.0.post1` (92 MB). The first run takes about ten
minutes on two cores; later ones find the network and the results in place. The images may not be copied into a document
under another licence (theirs is CC BY-NC-SA 4.0), so that the picture is a chart.
"""

import argparse
import csv
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from lab.benchmarks.paper.cases import trained_cnn
from lab.drawing.method import COLOURS, FAINT, ROOT, STYLE, TOOL
from safe_dnn.casestudies.build import print_progress
from safe_dnn.casestudies.sets import MODEL_FILE
from safe_dnn.dnn.tested import load_predictions
from safe_dnn.features.attributes import ATTRIBUTES, measured_images
from safe_dnn.rccs.spots.rates import RATES_FILE
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE, read_conditions
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, replacing, write_text
from safe_dnn.support.run_folder import ACCURACY_FILE

PAGE = ROOT / "docs" / "walkthroughs" / "solar-cells.md"
PICTURE = PAGE.with_suffix(".png")
TEMPLATE = Path(__file__).with_name("solar-cells.md")
DEFECT, SOUND = "defect", "ok"
TRAINED = 0.45  # the share of the images that the network learns
STEPS = (
    ("failures", MODEL_FILE, "test"),
    ("cluster", "out/failures", "--extractor", "vgg16-conv"),
)
BINS = np.arange(0.2, 0.95, 0.075)  # of the brightness
FEWEST = 8  # images of a bin


def lay_out_cells(work: Path) -> None:
    """The images in class folders, those to train on and those to test, and what experts said of the latter."""
    found = importlib.util.find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        raise SAFEError(
            "Expected the images of solar cells. Received: no package elpv_dataset. Install it: "
            "python -m pip install elpv-dataset==1.0.0.post1"
        )
    data = Path(found.submodule_search_locations[0], "data")
    rng, rows = np.random.default_rng(0), ["image,kind,probability"]
    for line in (data / "labels.csv").read_text(encoding="utf-8").splitlines():
        path, probability, kind = line.split()
        part = "train" if rng.random() < TRAINED else "test"
        place = f"{DEFECT if float(probability) >= 0.5 else SOUND}/{Path(path).name}"
        shutil.copyfile(data / path, prepare_folder((work / part / place).parent) / Path(path).name)
        rows += [f"{place},{kind},{probability}"] * (part == "test")
    write_text(work / "test" / "parameters.csv", "\n".join(rows) + "\n")


def run_steps(work: Path) -> None:
    """The commands of the page, in the work folder; what is there already is not made again."""
    if not (work / "test").is_dir():
        lay_out_cells(work)
    trained_cnn(work / "train", work, print_progress)
    run_commands(work, STEPS)


def run_commands(work: Path, steps: Iterable[tuple[str, ...]]) -> None:
    """Commands of SAFE, in the work folder, unless their results are there."""
    if not (work / "out" / WEAK_SPOTS_FILE).is_file():
        for step in steps:
            subprocess.run([sys.executable, TOOL, *step, "--out", "out"], cwd=work, check=True)


def rows_of(work: Path, name: str) -> list[dict[str, str]]:
    """The rows of a table that SAFE has written."""
    with (work / "out" / name).open(encoding="utf-8-sig", newline="") as file:
        return [*csv.DictReader(file)]


def spots_table(work: Path) -> str:
    """The weak spots as lines of a table: the condition, how many are wrong there, elsewhere, and what to expect."""
    lines = []
    for one in rows_of(work, WEAK_SPOTS_FILE):
        of_classes = f", {float(one['expected']):.0%} of such classes" if one["expected"] else ""
        lines.append(
            f"| `{one['where']}` | {one['wrong']} of {one['tested']} ({float(one['rate']):.0%}) | "
            f"{float(one['elsewhere']):.0%}{of_classes} | {float(one['new_low']):.0%} to {float(one['new_high']):.0%} |"
        )
    return "\n".join(lines)


def draw(work: Path) -> None:
    """How often each class is wrong, by the brightness of the cells, and where the weak spots begin."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    paths, answers, right = load_predictions(work / "out")
    bright = measured_images(work / "test", paths)[:, ATTRIBUTES.index("brightness")]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
        for name, words, colour in (
            (DEFECT, "defective cells taken for sound ones", COLOURS[4]),
            (SOUND, "sound cells taken for defective ones", COLOURS[0]),
        ):
            held = [(answers.label == name) & (bright >= low) & (bright < low + 0.075) for low in BINS]
            known = [
                (low + 0.0375, 1 - right[rows].mean())
                for low, rows in zip(BINS, held, strict=True)
                if rows.sum() >= FEWEST
            ]
            axis.plot(*zip(*known, strict=True), "o-", color=colour, label=words)
        for spot in rows_of(work, WEAK_SPOTS_FILE):
            for one in read_conditions(spot["conditions"]):
                if one.column == "brightness" and isinstance(one.value, float):
                    axis.axvline(one.value, color=FAINT, linestyle="--")
        axis.set(xlabel="brightness of the cell", ylabel="share that is wrong", ylim=(0, 1))
        axis.legend(frameon=False)
        with replacing(PICTURE) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
        plt.close(figure)


def write_page(work: Path) -> None:
    """Fill in the figures."""
    accuracy = json.loads((work / "out" / ACCURACY_FILE).read_text(encoding="utf-8"))
    rates = rows_of(work, RATES_FILE)
    more = sum(one["verdict"] == "more" for one in rates)
    text = TEMPLATE.read_text(encoding="utf-8").format(
        accuracy=f"{accuracy['test_accuracy']:.1%}", tested=f"{accuracy['test_size']:,}",
        failures=accuracy["failures"], rccs=len(rates), more=more, spots=spots_table(work),
    )  # fmt: skip
    write_text(PAGE, text)


def main(arguments: list[str] | None = None) -> int:
    work = parser_of(__doc__, ".solar-cells").parse_args(arguments).work
    return made("walkthrough", work, run_steps, draw, write_page)


def parser_of(doc: str | None, folder: str) -> argparse.ArgumentParser:
    """What each program of a page takes: the folder of images and results."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--work", default=folder, type=Path, metavar="DIR", help="where images and results are")
    return parser


def made(name: str, work: Path, *steps: Callable[[Path], object]) -> int:
    """Make a page as the program of this name does: step by step, each given the folder of images and results."""
    try:
        for step in steps:
            step(work.resolve())
    except SAFEError as error:
        print(f"lab.drawing.{name}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
