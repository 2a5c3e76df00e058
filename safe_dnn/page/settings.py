"""What the page was started with, and which paths it accepts."""

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from safe_dnn.page.analyses import TOP, Where, address_of, title_of
from safe_dnn.page.jobs import Jobs
from safe_dnn.page.results import Results
from safe_dnn.support.errors import SAFEError, is_within, path_of, quoted
from safe_dnn.support.files import DAMAGED
from safe_dnn.support.run_folder import ACCURACY_FILE
from safe_dnn.support.uploads import MODELS, Limits


class Example(NamedTuple):
    """A case study that the page offers to a newcomer (see `casestudies/`)."""

    folder: Path
    accuracy: str
    test_size: str


class PageSettings(NamedTuple):
    """What the page was started with.

    Attributes
    ----------
    out : Path
        The output folder, the one thing that tabs, visitors and restarts share.
    jobs : Jobs
    results : Results
    weights : str or None
        As for `features.weights.choose_extractor`.
    root : Path or None
        Where given, only folders below it are accepted.
    example : Example or None
    home : Path or None
        The folder of the analyses, of which `out` is one; None if that is `out` itself.
    login : str
        The user name that the page asks for; empty if it asks for none.
    uploads : Limits or None
        Of images that may be brought with the browser; None if none may.
    hosted : bool
        Whether it is the page of a service's visitor, who knows no folders of this machine.
    """

    out: Path
    jobs: Jobs
    results: Results
    weights: str | None = None
    root: Path | None = None
    example: Example | None = None
    home: Path | None = None
    login: str = ""
    uploads: Limits | None = None
    hosted: bool = False

    @property
    def where(self) -> Where:
        """The page of this analysis."""
        name = self.out.name if self.home else TOP
        return Where("../.." if self.home else ".", address_of(name), title_of(self.out, name))

    @property
    def takes_models(self) -> bool:
        """Whether a network can be given: a service takes none unless its operator says so."""
        return not self.hosted or bool(self.uploads and self.uploads.suffixes >= MODELS)

    def accept(self, source: str | None) -> str:
        """The path that was typed, absolute.

        A folder is walked: links in it may lead elsewhere. So may the lines of a list of images.

        Raises
        ------
        SAFEError
            It can lead nowhere (see `support.errors.path_of`), or it or an image that it leads to is outside the root.
        """
        source = (source or "").strip()
        if self.root is None:
            return os.fspath(path_of(source, "a path")) if source else ""  # the work says what it expects
        refused = f"Expected a path below {self.root}. Received: {quoted(source)}"
        try:
            path = path_of(source, "a path")
            reached = itertools.chain([path], _led_to(path))
            outside = next((place for place in reached if not is_within(place, self.root)), None)
        except (OSError, ValueError, RuntimeError) as error:
            raise SAFEError(refused) from error  # whether or not there is one
        if outside is not None:
            raise SAFEError(refused if outside == path else f"{refused}, which leads to {outside}")
        return os.fspath(path)


def _led_to(path: Path) -> Iterator[Path]:
    """What a folder's links and a list's lines name."""
    if path.is_dir():
        for folder, subfolders, names in os.walk(path):
            yield from (inner for name in (*subfolders, *names) if (inner := Path(folder, name)).is_symlink())
    elif path.suffix.lower() == ".txt" and path.is_file():
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        yield from (path.parent / line.strip() for line in text.split("\n") if line.strip())


def find_example(folder: Path) -> Example | None:
    """The case study in a folder; None where there is none."""
    try:
        record = json.loads((folder / ACCURACY_FILE).read_text(encoding="utf-8"))
        return Example(folder, f"{float(record['test_accuracy']):.4f}", str(int(record["test_size"])))
    except DAMAGED:
        return None
