"""Images on the page: small pictures, decoded here and never the files themselves, and grids of them.

A grid goes page by page, with a line below each image: to look at, where a click enlarges one, or to select. Counts of
images open them in such a grid.
"""

import base64
import contextlib
import hashlib
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from safe_dnn.page.assets import LATEST, VIEW, scripted
from safe_dnn.page.messages import warn
from safe_dnn.page.settings import PageSettings
from safe_dnn.report.markup import escaped, filled
from safe_dnn.support.errors import SAFEError, may_open
from safe_dnn.support.files import private_cache, replacing, state_of_file
from safe_dnn.support.images import thumbnail
from safe_dnn.support.text import printable

PICTURE_FOLDER = "pictures"
MOST_PICTURES = 10_000  # of a few kilobytes each
WEBP = {"quality": 82, "method": 2}  # twice as fast as the usual method, 4, for 1% more bytes


def served_folder() -> Path:
    """Where pictures lie, which the page serves: Gradio's folder or, of a service's visitor, his own."""
    return private_cache() or Path(get_upload_folder())


def thumbnails(
    root: Path, paths: list[str], side: int, captions: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Images for a gallery (see `picture_file`), each with its file name, which is what is cut off.

    Parameters
    ----------
    captions : mapping of str to str, optional
        By path, what stands instead of the name.
    """
    texts = [(captions or {}).get(path) or printable(Path(path).name) for path in paths]
    return [(picture_file(root / path, side), caption) for path, caption in zip(paths, texts, strict=True)]


def picture_file(path: Path, side: int) -> str:
    """A thumbnail as a file that the page serves; it never serves the images themselves.

    Written once and whole: a picture handed to Gradio is written again with every answer, also while it is being sent.
    """
    state = state_of_file(path) if may_open(path) else None
    shows = (os.fspath(path), *state, side) if state else (side,)
    file = Path(served_folder(), PICTURE_FOLDER, hashlib.sha256(repr(shows).encode()).hexdigest() + ".webp")
    if file.is_file():
        with contextlib.suppress(OSError):
            os.utime(file)  # so that it is not taken for one of the oldest
        return str(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        picture(path, side).save(temporary, "WEBP", **WEBP)
    if file.name.startswith("00"):  # of every 256 pictures or so, one looks at how many there are
        for old in oldest(file.parent, but=MOST_PICTURES):
            old.unlink(missing_ok=True)
    return str(file)


def oldest(folder: Path, *, but: int) -> list[Path]:
    """What lies in a folder, without the latest files or folders."""
    dated = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another window removes it too
            dated.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(dated)[: max(0, len(dated) - but)]]


def data_uri(path: Path, side: int) -> str:
    """A thumbnail as a data URI (see `thumbnails`)."""
    data = io.BytesIO()
    picture(path, side).save(data, "WEBP", **WEBP)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode("ascii")


def picture(path: Path, side: int) -> Image.Image:
    """A thumbnail; of a file outside the page's root, the tile that stands for one that cannot be read."""
    return thumbnail(path if may_open(path) else Path(os.devnull), side)


# --- Grids --------------------------------------------------------------------------------------------------------

PER_PAGE = 36
_SURE = re.compile(r" \(\d+%\)$")  # how sure the network was


class GridView:
    """Lay out the grid; `outputs` are its widgets, `show` gives what they show.

    Parameters
    ----------
    name : str
        Begins the ids of the widgets.
    file_of : callable
        Gives the file of an image, by its index and by what the window shows (`key`, see `show`). It may raise a
        SAFEError, TypeError, ValueError, OverflowError or IndexError: scripts may send anything.
    settings : PageSettings
        Only pictures of images below their root, if any, are shown.
    looks : bool
        Whether images are looked at; otherwise they are selected, and the grid itself has the name as its id.
    """

    def __init__(
        self, name: str, file_of: Callable[[object, str], Path], settings: PageSettings, *, looks: bool = True
    ):
        self._file_of, self._settings, self._looks = file_of, settings, looks
        self.title = gr.HTML(elem_id=f"{name}-title")
        self.grid = scripted(
            "widgets/grid", [], serves={"grid_picture": self.picture}, tiles="", seen="", looks=looks,
            elem_id=f"{name}-grid" if looks else name, elem_classes="safe-looked-at" if looks else None,
        )  # fmt: skip
        with gr.Row(elem_classes="safe-pager"):
            self.back = gr.Button("Back", size="sm", min_width=80, elem_id=f"{name}-back")
            self.forth = gr.Button("Next", size="sm", min_width=80, elem_id=f"{name}-next")
        self.page = gr.State(0)
        self.outputs = [self.title, self.grid, self.back, self.forth, self.page]

    def picture(self, sent: object, side: int = 720) -> str:
        """Called by a script with a list of an image and the key of what the window shows.

        The answer is an image of these, decoded here, and never a file.
        """
        try:
            index, key = sent if isinstance(sent, list) else (None, None)
            return data_uri(self._file_of(index, str(key)), side)
        except (SAFEError, TypeError, ValueError, OverflowError, IndexError):
            return ""

    def show(
        self, heading: str, rows: Sequence[int], page: int, caption: Callable[[int], Mapping[str, Any]],
        file: Callable[[int], Path], key: str, picked: Sequence[int] = (), above: str = "",
    ) -> dict:  # fmt: skip
        """A page of images.

        Parameters
        ----------
        rows : sequence of int
            Their indices.
        page : int
            The nearest page that there is is shown.
        caption : callable
            Of an index: what its tile says: `name` and `caption`; `hint` and `mark`, in the tooltip; `is` ("wrong" or
            "right", where both are shown); `known`, by name, where it is enlarged.
        file : callable
            Of an index: the image.
        key : str
            By which later requests say what the window shows.
        picked : sequence of int
            The images that are selected.
        above : str
            HTML above the heading.
        """
        pages = max(1, -(-len(rows) // PER_PAGE))
        page = min(max(page, 0), pages - 1)
        tiles = [
            {"index": row, "picture": data_uri(file(row), 128), **caption(row)}
            for row in rows[page * PER_PAGE : (page + 1) * PER_PAGE]
        ]
        for tile in tiles:
            tile["short"] = _SURE.sub("", tile["caption"])
        drawn = filled("page/widgets/tiles.html", tiles=tiles, looks=self._looks)
        where = f"<span>· page {page + 1} of {pages}</span>" if pages > 1 else ""
        pager = pages > 1 or not self._looks  # what is below a grid to select from stays in its place
        return {
            self.title: f"{above}<h3 class='safe-title'><span>{escaped(heading)}</span> {where}</h3>",
            self.grid: gr.HTML([*picked], tiles=drawn, seen=key),
            self.back: gr.Button(interactive=page > 0, visible=pager),
            self.forth: gr.Button(interactive=page < pages - 1, visible=pager),
            self.page: page,
        }


class Listed(NamedTuple):
    """Images to show.

    Attributes
    ----------
    heading : str
        What they are, in words.
    root : Path
    paths : sequence of str
        Below `root`.
    caption : callable
        The line below the image in a place.
    hints : sequence of str
        What the tooltip of each image, and the line below it once it is enlarged, say in addition; may be empty.
    wrong : sequence of bool
        Which are wrong, if they are shown beside right ones; or empty.
    above : str
        HTML above them.
    """

    heading: str
    root: Path
    paths: Sequence[str]
    caption: Callable[[int], str]
    hints: Sequence[str] = ()
    wrong: Sequence[bool] = ()
    above: str = ""


def beside(wrong: Sequence[int], right: Sequence[int]) -> list[int]:
    """Wrong images and right ones in an order in which each page has some of both, as long as there are any."""
    rows, i, j = list[int](), 0, 0
    while i < len(wrong) or j < len(right):
        n_right = min(len(right) - j, max(PER_PAGE // 3, PER_PAGE - (len(wrong) - i)))
        n_wrong = min(len(wrong) - i, PER_PAGE - n_right)
        rows += [*wrong[i : i + n_wrong], *right[j : j + n_right]]
        i, j = i + n_wrong, j + n_right
    return rows


class ListedView:
    """Lay out a grid of images that counts open; `show` gives what it shows.

    Parameters
    ----------
    name, settings
        As for `GridView`.
    images_of : callable
        The images of what a window shows (`key`) and of what was chosen there, which may be any text; a SAFEError if
        the folder holds something else by now.
    """

    def __init__(self, name: str, images_of: Callable[[str, str], Listed], settings: PageSettings):
        self._name, self._images_of = name, images_of
        self.grid = GridView(name, self._file_of, settings)
        self.key, self.chosen = gr.State(""), gr.State("")

    def _file_of(self, place: object, key_sent: str) -> Path:
        key, _, chosen = key_sent.rpartition(" ")
        listed = self._images_of(key, chosen)
        return listed.root / listed.paths[range(len(listed.paths))[int(place)]]  # type: ignore[call-overload]

    def show(self, key: str, listed: Listed, chosen: str = "", page: int = 0) -> dict:
        """A page of images, the nearest that there is; `images_of` gives the same ones for the key and the choice."""

        def caption(place: int) -> dict[str, str]:
            hint = listed.hints[place] if listed.hints else ""
            known = {"name": listed.paths[place], "caption": listed.caption(place), "hint": hint}
            return {**known, "is": "wrong" if listed.wrong[place] else "right"} if listed.wrong else known

        def file(place: int) -> Path:
            return listed.root / listed.paths[place]

        rows, above = range(len(listed.paths)), f"<div class='safe-curve'>{listed.above}</div>"
        updates = self.grid.show(listed.heading, rows, page, caption, file, f"{key} {chosen}", above=above)
        return {**updates, self.key: key, self.chosen: chosen}

    def wire(self, counts: Mapping[gr.HTML, str], outputs: list, at_first: str = "") -> None:
        """Connect the pager, and widgets whose counts open their images; the others then have none selected.

        No answer changes the widget that was clicked: it may have been clicked again by then, and that click is still
        to be sent.

        Parameters
        ----------
        counts : mapping
            Widgets, each with what its counts begin with in what is chosen.
        outputs : list
            Of the tab.
        at_first : str
            What is chosen in the first widget (its `first`) where a count is left.
        """

        def on_turn(key: str, chosen: str, page: int, by: int = 0) -> dict:
            try:
                return self.show(key, self._images_of(key, chosen), chosen, page + by)
            except SAFEError as error:
                warn("Out of date", error)
                return {self.key: gr.skip()}  # what is shown stays

        def on_count(widget: gr.HTML, key: str, count: object) -> dict:
            is_open = isinstance(count, str) and count != ""
            first, others = next(iter(counts)), [other for other in counts if other is not widget]
            marks = {other: gr.HTML(at_first if other is first and not is_open else "") for other in others}
            return {**marks, **on_turn(key, f"{counts[widget]}{count}" if is_open else at_first, 0)}

        listed = [self.key, self.chosen, self.grid.page]
        for button, by in ((self.grid.back, -1), (self.grid.forth, 1)):
            button.click(partial(on_turn, by=by), listed, outputs, **VIEW)
        to_images = f"() => document.querySelector('#{self._name}-title')?.scrollIntoView({{ block: 'nearest' }})"
        for widget in counts:
            opened = widget.select(partial(on_count, widget), [self.key, widget], outputs, **LATEST)
            opened.then(None, None, None, js=to_images)
