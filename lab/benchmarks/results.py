"""The pages of `lab/results/`, one for each benchmark, their sections and tables.

A section is enclosed by `<!-- NAME -->` and `<!-- /NAME -->`, each on a line of its own. A program replaces its own
sections and leaves every other line unchanged, so programs can be run in any order.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, write_text

RESULTS = Path(__file__).parents[1] / "results"
PLOTS = RESULTS / "plots"


def tell(name: str, text: str, *, write: bool) -> None:
    """Write a section and say where, or print its text."""
    print(f"Written: {write_section(name, text)}" if write else text)


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, texts: int = 1) -> str:
    """A table in Markdown, without a line break at its end; all columns but the first `texts` are aligned right."""
    lines = [header, ["---"] * texts + ["---:"] * (len(header) - texts), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def write_section(name: str, text: str, *, folder: Path = RESULTS) -> Path:
    """Replace a section of its page, or append it. The page is replaced atomically.

    Parameters
    ----------
    name : str
        Letters, digits, underscores and hyphens. The page is named after what precedes the first hyphen: that of
        `speed-growth` is `speed.md`.
    text : str
        Markdown, with a heading, without the markers.
    folder : Path
        With the pages; created if it does not exist, as is the page.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    SAFEError
        The name is invalid, the page cannot be read or written, or it has only one of the section's markers.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise SAFEError(f"The name of a section must consist of a-z, 0-9, underscores and hyphens. Received: {name!r}")
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin in text or end in text:
        raise SAFEError(f"The text of the section {name} must not contain its markers, {begin} and {end}.")
    topic = name.partition("-")[0]
    page = prepare_folder(folder) / f"{topic}.md"
    header = f"# Results: {topic}\n\nEach section is written by the program named in it; do not edit it by hand.\n"
    try:
        old = page.read_text(encoding="utf-8") if page.exists() else header
    except (OSError, UnicodeDecodeError) as error:
        raise SAFEError(f"Could not read {page}: {error}.") from error
    section = f"{begin}\n{text.strip()}\n{end}\n"
    lines = old.splitlines(keepends=True)
    begins = [i for i, line in enumerate(lines) if line.strip() == begin]
    ends = [i for i, line in enumerate(lines) if line.strip() == end]
    if not begins and not ends:
        write_text(page, old.rstrip("\n") + "\n\n" + section)
    elif len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise SAFEError(f"Expected the line {begin} once in {page}, and {end} once after it. Repair the file by hand.")
    else:
        write_text(page, "".join(lines[: begins[0]]) + section + "".join(lines[ends[0] + 1 :]))
    return page
