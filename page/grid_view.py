"""A grid of images to look at, page by page, each with a line below it; a click enlarges one."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import gradio as gr

from page.pictures import data_uri
from support.errors import SAFEError
from support.text import printable

HERE = Path(__file__).parent
PER_PAGE = 60


class GridView:
    """Lay out the grid; `outputs` are its widgets, `show` gives what they show.

    Parameters
    ----------
    name : str
        Begins the ids of the widgets.
    file_of : callable
        Gives the file of an image, by its index and by what the window shows (`key`, see `show`). It may raise a
        SAFEError, TypeError, ValueError, OverflowError or IndexError: scripts may send anything.
    root : Path, optional
        If given, only pictures of images in this folder are shown.
    """

    def __init__(self, name: str, file_of: Callable[[object, str], Path], root: Path | None):
        self._file_of, self._root = file_of, root

        def grid_picture(sent: list) -> str:
            return self._picture(sent)

        self.title = gr.HTML(elem_id=f"{name}-title")
        self.grid = gr.HTML(
            [],
            html_template=HERE.joinpath("grid.html").read_text(encoding="utf-8"),
            js_on_load=HERE.joinpath("scripts", "grid.js").read_text(encoding="utf-8"),
            server_functions=[grid_picture],
            tiles=[],
            seen="",
            looks=True,
            elem_id=f"{name}-grid",
            elem_classes="safe-looked-at",
        )
        with gr.Row(elem_classes="safe-pager"):
            self.back = gr.Button("Back", size="sm", min_width=80, elem_id=f"{name}-back")
            self.forth = gr.Button("Next", size="sm", min_width=80, elem_id=f"{name}-next")
        self.page = gr.State(0)
        self.outputs = [self.title, self.grid, self.back, self.forth, self.page]

    def _picture(self, sent: object) -> str:
        """Called by the script with a list of an image and the key of what the window shows.

        The answer is an image of these, decoded here, and never a file.
        """
        try:
            index, key = sent if isinstance(sent, list) else (None, None)
            return data_uri(self._file_of(index, str(key)), 720, self._root)
        except (SAFEError, TypeError, ValueError, OverflowError, IndexError):
            return ""

    def show(
        self,
        heading: str,
        rows: Sequence[int],
        page: int,
        told: Callable[[int], Mapping[str, str]],
        file: Callable[[int], Path],
        key: str,
    ) -> dict:
        """A page of images.

        Parameters
        ----------
        rows : sequence of int
            Their indices.
        page : int
            The nearest page that there is is shown.
        told : callable
            Of an index: `name` of the image and what is `told` of it.
        file : callable
            Of an index: the image.
        key : str
            By which later requests say what the window shows.
        """
        pages = max(1, -(-len(rows) // PER_PAGE))
        page = min(max(page, 0), pages - 1)
        tiles = [
            {"index": row, "picture": data_uri(file(row), 128, self._root), **told(row)}
            for row in rows[page * PER_PAGE : (page + 1) * PER_PAGE]
        ]
        where = f"<span>· page {page + 1} of {pages}</span>" if pages > 1 else ""
        return {
            self.title: f"<h3 class='safe-title'><span>{escape(printable(heading))}</span> {where}</h3>",
            # `looks` again: the browser loses it where an update arrives before the tab is first opened
            self.grid: gr.HTML([], tiles=tiles, seen=key, looks=True),
            self.back: gr.Button(interactive=page > 0, visible=pages > 1),
            self.forth: gr.Button(interactive=page < pages - 1, visible=pages > 1),
            self.page: page,
        }
