"""The sections of `benchmarks/RESULTS.md`, one or more for each benchmark.

A section is enclosed by `<!-- NAME -->` and `<!-- /NAME -->`, each on a line of its own. A program replaces its own
sections and leaves every other line unchanged, so programs can be run in any order.
"""

import re
from pathlib import Path

from support.errors import SAFEError
from support.files import write_text

RESULTS_FILE = Path(__file__).with_name("RESULTS.md")
_HEADER = "# Results\n\nEach section is written by the program named in it; do not edit it by hand.\n"


def write_section(name: str, text: str, *, path: Path = RESULTS_FILE) -> None:
    """Replace a section of a file, or append it. The file is replaced atomically.

    Parameters
    ----------
    name : str
        Letters, digits and hyphens.
    text : str
        Markdown, with a heading, without the markers.
    path : Path
        Created if it does not exist.

    Raises
    ------
    SAFEError
        The name is invalid, the file cannot be read or written, or it has only one of the section's markers.
    """
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise SAFEError(f"The name of a section must consist of a-z, 0-9 and hyphens. Received: {name!r}")
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin in text or end in text:
        raise SAFEError(f"The text of the section {name} must not contain its markers, {begin} and {end}.")
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else _HEADER
    except (OSError, UnicodeDecodeError) as error:
        raise SAFEError(f"Could not read {path}: {error}.") from error
    section = f"{begin}\n{text.strip()}\n{end}\n"
    lines = old.splitlines(keepends=True)
    begins = [i for i, line in enumerate(lines) if line.strip() == begin]
    ends = [i for i, line in enumerate(lines) if line.strip() == end]
    if not begins and not ends:
        write_text(path, old.rstrip("\n") + "\n\n" + section)
        return
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise SAFEError(f"Expected the line {begin} once in {path}, and {end} once after it. Repair the file by hand.")
    write_text(path, "".join(lines[: begins[0]]) + section + "".join(lines[ends[0] + 1 :]))
