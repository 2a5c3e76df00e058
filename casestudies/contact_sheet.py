"""A picture of what the simulator draws: `python -m casestudies.contact_sheet FILE`.

A row of eyes outside of every known root cause, then a row for each of them.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from casestudies.camera import SIDE
from casestudies.cases import CASES
from casestudies.eyes import render
from casestudies.parameters import Eye
from support.errors import SAFEError
from support.files import replacing

COLUMNS = 9
_DRAWN = 1500  # test images among which the rows are filled


def contact_sheet(columns: int = COLUMNS, seed: int = 1) -> np.ndarray:
    """Eyes of both cases, arranged by root cause.

    Returns
    -------
    ndarray of shape (rows * SIDE, columns * SIDE, 3), uint8
    """
    rows: dict[str, list[Eye]] = {"": []}
    for case in CASES.values():
        new = {cause.name for cause in case.root_causes} - set(rows)
        rows |= {cause.name: [] for cause in case.root_causes if cause.name in new}
        for _, eye in case.draw("test", _DRAWN, seed):
            causes = [cause.name for cause in case.root_causes if cause.holds(eye)]
            # Only what shows one cause alone.
            name = causes[0] if causes else ""
            if len(causes) < 2 and (name in new or not name) and len(rows[name]) < columns:
                rows[name].append(eye)
    sheet = np.zeros((len(rows) * SIDE, columns * SIDE, 3), np.uint8)
    for row, eyes in enumerate(rows.values()):
        for column, eye in enumerate(eyes):
            sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = render(eye)
    return sheet


def main(arguments: Iterable[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 with one line on stderr for what the user can put right."""
    parser = argparse.ArgumentParser(prog="python -m casestudies.contact_sheet", description="Draw a sheet of eyes.")
    parser.add_argument("file", metavar="FILE", type=Path, help="a .jpg or .png")
    options = parser.parse_args(arguments)
    if options.file.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        print(f"casestudies: Expected a .jpg or .png. Received: {options.file}", file=sys.stderr)
        return 2
    try:
        with replacing(options.file.absolute()) as temporary:
            Image.fromarray(contact_sheet()).save(temporary, quality=85)
    except SAFEError as error:
        print(f"casestudies: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
