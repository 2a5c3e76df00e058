"""An overview of the simulators' images: `python -m lab.casestudies.contact_sheet [--people | --heads | --signs] FILE`.

The first row has eyes without any known root cause, each further row eyes with one of them; with `--heads`, heads, and
with `--signs`, traffic signs. With `--people` each row has the images of one person: eyes without any root cause, then
one with each of them.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lab.casestudies.cases import PEOPLE_CASES
from lab.casestudies.heads.cases import HEAD_CASES
from lab.casestudies.people import PEOPLE, EyeOfPerson
from lab.casestudies.signs.cases import SIGN_CASES
from safe_dnn.casestudies.camera import SIDE
from safe_dnn.casestudies.case import Case, Subject
from safe_dnn.casestudies.cases import CASES as EYE_CASES
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import replacing

COLUMNS = 9
_DRAWN = 1500  # number of test images from which the rows are filled


def contact_sheet(
    cases: Sequence[Case] = tuple(EYE_CASES.values()), *, columns: int = COLUMNS, seed: int = 1
) -> np.ndarray:
    """Images of cases without persons, arranged by root cause.

    Returns
    -------
    ndarray of shape (rows * SIDE, columns * SIDE, 3), uint8
    """
    rows: dict[str, list[Subject]] = {"": []}
    for case in cases:
        new = {cause.name for cause in case.root_causes} - set(rows)
        rows |= {cause.name: [] for cause in case.root_causes if cause.name in new}
        for _, subject in case.draw("test", _DRAWN, seed):
            causes = sorted({cause.name for cause in case.causes_of(subject)})
            # Only images with at most one cause.
            name = causes[0] if causes else ""
            if len(causes) < 2 and (name in new or not name) and len(rows[name]) < columns:
                rows[name].append(subject)
    return _draw(list(rows.values()), columns, cases[0].kind.render)


def sheet_of_people(*, columns: int = COLUMNS, seed: int = 1) -> np.ndarray:
    """Eyes of the cases with persons, arranged by person.

    Returns
    -------
    ndarray of shape (n_people * SIDE, columns * SIDE, 3), uint8
        The last columns show the root causes: a person's face is the same whatever the cause.
    """
    case = PEOPLE_CASES["gd-people"]
    causes = case.root_causes
    plain: dict[str, list[EyeOfPerson]] = {person.name: [] for person in PEOPLE}
    special: dict[str, dict[str, EyeOfPerson]] = {person.name: {} for person in PEOPLE}
    for _, eye in case.draw("test", 3 * _DRAWN, seed):
        held = [cause.name for cause in causes if cause.holds(eye)]
        if not held:
            plain[eye.person].append(eye)
        elif len(held) == 1:
            special[eye.person].setdefault(held[0], eye)
    rows = []
    for name, eyes in plain.items():
        with_cause = [special[name][cause.name] for cause in causes if cause.name in special[name]]
        rows.append((eyes[: max(1, columns - len(causes))] + with_cause)[:columns])
    return _draw(rows, columns, case.kind.render)


def _draw(rows: Sequence[Sequence[Subject]], columns: int, render: Callable[[Subject], np.ndarray]) -> np.ndarray:
    sheet = np.zeros((len(rows) * SIDE, columns * SIDE, 3), np.uint8)
    for row, subjects in enumerate(rows):
        for column, subject in enumerate(subjects):
            sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = render(subject)
    return sheet


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 on success, 2 after an error that the user can correct (one line on stderr)."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.casestudies.contact_sheet", description="Draw a sheet of images."
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="output file, .jpg or .png")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--people", action="store_true", help="a row for each person of the cases with persons")
    what.add_argument("--heads", action="store_true", help="heads instead of eyes")
    what.add_argument("--signs", action="store_true", help="traffic signs instead of eyes")
    options = parser.parse_args(arguments)
    if options.file.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        print(f"casestudies: Expected a .jpg or .png. Received: {options.file}", file=sys.stderr)
        return 2
    cases = HEAD_CASES if options.heads else SIGN_CASES if options.signs else EYE_CASES
    sheet = sheet_of_people() if options.people else contact_sheet(tuple(cases.values()))
    try:
        with replacing(options.file.absolute()) as temporary:
            Image.fromarray(sheet).save(temporary, quality=85)
    except SAFEError as error:
        print(f"casestudies: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
