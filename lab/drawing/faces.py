"""Make docs/walkthroughs/faces.md: SAFE on a public face detector, by a table of its answers, and what it found.

    python -m lab.drawing.faces --faces DIR [--work .faces]

Needs the detector, `python -m pip install --no-deps mtcnn==1.0.0 lz4==4.4.5` (2 MB and 1 MB; it runs with the
TensorFlow that is there), and the photographs of the Extended Yale Face Database B, which no package brings: DIR has a
folder for each person, with the light in the names of the files, such as `A+035E+15`. The first run takes about ten
minutes on two cores; later ones find the answers and the results in place, and need no DIR. The photographs show
people, so that the picture is a chart.
"""

import importlib.util
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lab.drawing.method import FAINT, INK, ROOT, STYLE
from lab.drawing.walkthrough import made, parser_of, rows_of, run_commands, spots_table
from safe_dnn.casestudies.build import print_progress
from safe_dnn.dnn.tested import load_predictions
from safe_dnn.rccs.spots.rates import RATES_FILE
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE, read_conditions
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, replacing, write_text

PAGE = ROOT / "docs" / "walkthroughs" / "faces.md"
PICTURE = PAGE.with_suffix(".png")
TEMPLATE = Path(__file__).with_name("faces.md")

SIZE = (84, 96)  # width and height, half of the cropped photographs
MARGIN = 24  # black pixels on each side for the detector, since a cropped face leaves it no background
FACE, MISSED, ANSWERS = "face", "no face", "answers.csv"
AZIMUTH, ELEVATION = COLUMNS = ("light_azimuth", "light_elevation")
STEPS = (
    ("failures", "--predictions", ANSWERS, "test"),
    ("cluster", "out/failures", "--extractor", "vgg16-conv", "--group", "person"),
)


LIGHT = re.compile(r"A([+-]\d{3})E([+-]\d{2})$")  # of a lamp, at the end of a file's name; not of two or none


class Photograph(NamedTuple):
    path: Path
    person: str
    azimuth: int  # degrees, from the camera's axis; negative to the left
    elevation: int

    @property
    def place(self) -> str:
        """Where it lies in the test folder."""
        return f"{self.person}/A{self.azimuth:+04d}E{self.elevation:+03d}.png"


def photograph(path: Path) -> Photograph | None:
    """The person is the folder of a photograph, and the light is in its name."""
    light = LIGHT.search(path.stem)
    return Photograph(path, path.parent.name, int(light[1]), int(light[2])) if light else None


def photographs(folder: Path) -> list[Photograph]:
    """All with one lamp."""
    files = (path for path in sorted(folder.rglob("*")) if path.suffix in {".pgm", ".png"})
    found = [one for one in map(photograph, files) if one]
    if not found:
        raise SAFEError(
            f"Expected photographs whose names end in the light, such as A+035E+15.png, in a folder for each person. "
            f"Received: none in {folder}. Give the folder of the Extended Yale Face Database B by --faces."
        )
    return found


def lay_out(faces: Path | None, work: Path) -> None:
    """The test images with their light, and what the detector answers to each."""
    if importlib.util.find_spec("mtcnn") is None:
        raise SAFEError(
            "Expected a face detector. Received: no package mtcnn. Install it: "
            "python -m pip install --no-deps mtcnn==1.0.0 lz4==4.4.5"
        )
    if faces is None:
        raise SAFEError("Expected photographs of faces. Received: no --faces. Give the folder of the database by it.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of TensorFlow, about images without a face
    from mtcnn import MTCNN

    detector, found = MTCNN(), photographs(faces)
    parameters, answers = [("image", *COLUMNS, "person")], [("image", "label", "predicted")]
    for number, one in enumerate(found, 1):
        image = Image.open(one.path).convert("L").resize(SIZE, Image.Resampling.BOX)
        image.save(prepare_folder((work / "test" / one.place).parent) / Path(one.place).name)
        seen = detector.detect_faces(np.pad(np.asarray(image.convert("RGB")), ((MARGIN,) * 2, (MARGIN,) * 2, (0, 0))))
        parameters.append((one.place, str(one.azimuth), str(one.elevation), one.person))
        answers.append((one.place, FACE, FACE if seen else MISSED))
        print_progress("Detecting faces", number, len(found))
    for path, rows in ((work / "test" / "parameters.csv", parameters), (work / ANSWERS, answers)):
        write_text(path, "".join(",".join(row) + "\n" for row in rows))


def run_steps(faces: Path | None, work: Path) -> None:
    """The commands of the page, in the work folder; what is there already is not made again."""
    if not (work / ANSWERS).is_file():
        lay_out(faces, work)
    run_commands(work, STEPS)


class Asked(NamedTuple):
    """Of each photograph, in order of their paths, the person, the light and the answer."""

    person: np.ndarray
    light: np.ndarray  # int of shape (n_photographs, 2), degrees
    missed: np.ndarray
    named: np.ndarray  # whether a weak spot is about this light


def asked(work: Path) -> Asked:
    paths, _, right = load_predictions(work / "out")
    known = [one for one in map(photograph, map(Path, paths)) if one]
    light = np.array([(one.azimuth, one.elevation) for one in known])
    columns = dict(zip(COLUMNS, light.T, strict=True))
    named = np.zeros(len(light), bool)
    for literals in (read_conditions(spot["conditions"]) for spot in rows_of(work, WEAK_SPOTS_FILE)):
        if {one.column for one in literals} <= set(COLUMNS):
            named |= np.all([one.holds(columns[one.column]) for one in literals], axis=0)
    return Asked(np.array([one.person for one in known]), light, ~right, named)


def share_by(of: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """For which share of each group's photographs something holds; groups in order."""
    group = np.unique(of, axis=0, return_inverse=True)[1]
    return np.bincount(group, holds) / np.bincount(group)


def draw(work: Path) -> None:
    """The share of missed faces by the direction of light, and which directions the weak spots are about."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    found = asked(work)
    azimuth, elevation = np.unique(found.light, axis=0).T
    missed = share_by(found.light, found.missed)
    edges = [INK if named else FAINT for named in share_by(found.light, found.named)]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.6, 3.6), layout="constrained")
        dots = axis.scatter(
            azimuth, elevation, s=110, c=missed, cmap="cividis", vmin=0, vmax=1, edgecolors=edges, linewidths=1.8
        )
        figure.colorbar(dots, label="share of faces that are missed")
        axis.set(xlabel="light from the person's left (−) or right, degrees", ylabel="from below (−) or above, degrees")
        with replacing(PICTURE) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
        plt.close(figure)


def write_page(work: Path) -> None:
    """Fill in the figures."""
    found, rates = asked(work), rows_of(work, RATES_FILE)
    missed, by_person = found.missed, share_by(found.person, found.missed)
    of_one = [row["verdict"] for row in rates if row["groups"] == "1"]
    text = TEMPLATE.read_text(encoding="utf-8").format(
        photographs=f"{len(missed):,}", persons=len(by_person), lamps=len(np.unique(found.light, axis=0)),
        missed=f"{missed.sum():,}", share=f"{missed.mean():.0%}", others=f"{missed[~found.named].mean():.0%}",
        spots=spots_table(work), least=f"{by_person.min():.0%}", most=f"{by_person.max():.0%}",
        rccs=len(rates), more=sum(row["verdict"] == "more" for row in rates),
        one_person=len(of_one), one_person_more=of_one.count("more") or "none",
    )  # fmt: skip
    write_text(PAGE, text)


def main(arguments: list[str] | None = None) -> int:
    parser = parser_of(__doc__, ".faces")
    parser.add_argument("--faces", type=Path, metavar="DIR", help="the photographs, in a folder for each person")
    given = parser.parse_args(arguments)
    return made("faces", given.work, partial(run_steps, given.faces), draw, write_page)


if __name__ == "__main__":
    sys.exit(main())
