"""The map of all failing images and, beside it, images to look at closely and to move: those of the RCC at hand, or
those selected on the map."""

import html
import threading
import time
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import numpy as np

from dbscan.outcome import NOISE
from page.jobs import EDITS, IN_TURN, LATEST, VIEW, PageSettings, warn
from page.pictures import data_uri
from page.results import Shown
from page.visitors import Window
from rccs.clusters import rccs_of
from rccs.image_map import map_record, map_shades, stored_map
from rccs.nearness import by_closeness
from rccs.notes import title
from rccs.review import Maker, move_images
from rccs.search import example_for, matching_images
from support.errors import SAFEError
from support.text import count, printable

HERE = Path(__file__).parent
PER_PAGE = 60
BY_RCC = ("RCC", "")


class ImagesView:
    """Lay out the pane; `outputs` are its widgets, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._drawing = threading.Lock()
        results = settings.results

        # Called by the scripts in map.html and grid.html with one value, a list. What they answer is an image of the
        # run, decoded here, and never a file.
        def picture(sent: object, side: int) -> str:
            try:
                index, run = list(sent) if isinstance(sent, list) else (None, None)
                clusters = results.shown(str(run)).clusters
                path = clusters.paths[range(len(clusters.paths))[int(index)]]
                return data_uri(clusters.image_root / path, side, settings.root)
            except (SAFEError, TypeError, ValueError, OverflowError, IndexError):
                return ""

        def map_picture(sent: list) -> str:
            return picture(sent, 128)

        def grid_picture(sent: list) -> str:
            return picture(sent, 720)

        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=380):
                gr.HTML("<h3 class='safe-title'>Map: similar images lie close together</h3>")
                self.map = gr.HTML(
                    [],  # the images selected, by row of the clusters
                    html_template=HERE.joinpath("map.html").read_text(encoding="utf-8"),
                    js_on_load=HERE.joinpath("scripts", "map.js").read_text(encoding="utf-8"),
                    server_functions=[map_picture],
                    record=None,
                    chosen=None,
                    shade=None,
                    found=None,
                    seen="",
                    elem_id="map",
                )
                with gr.Row(equal_height=True):
                    self.colour = gr.Dropdown(
                        [BY_RCC], value="", label="Colour by", info="The RCC, or a parameter", scale=1,
                        min_width=150, elem_id="colour-by",
                    )  # fmt: skip
                    self.find = gr.Textbox(
                        label="Find images", info="Part of a name, then Enter",
                        placeholder="night_", max_length=200, scale=2, min_width=200, elem_id="find",
                    )  # fmt: skip
            with gr.Column(scale=1, min_width=380):
                self.title = gr.HTML(elem_id="grid-title")
                self.grid = gr.HTML(
                    [],  # the images selected
                    html_template=HERE.joinpath("grid.html").read_text(encoding="utf-8"),
                    js_on_load=HERE.joinpath("scripts", "grid.js").read_text(encoding="utf-8"),
                    server_functions=[grid_picture],
                    tiles=[],
                    seen="",
                    elem_id="grid",
                )
                with gr.Row(elem_classes="safe-pager"):
                    self.back = gr.Button("Back", size="sm", min_width=80, elem_id="grid-back")
                    self.forth = gr.Button("Next", size="sm", min_width=80, elem_id="grid-next")
                with gr.Row(equal_height=True, elem_classes="safe-form"):
                    self.to = gr.Dropdown(
                        label="Move the selected images to", info="None selected", choices=[], scale=3,
                        min_width=220, elem_id="move-to",
                    )  # fmt: skip
                    self.move = gr.Button("Move", scale=1, min_width=130, interactive=False, elem_id="move")
        self.listed = gr.State([])  # rows of the clusters that the grid goes through
        self.page = gr.State(0)
        self.told = gr.State("")
        self.map_outputs = [self.map, self.colour, self.find]
        self.outputs = [*self.map_outputs, self.title, self.grid, self.back, self.forth, self.to, self.move,
                        self.listed, self.page, self.told]  # fmt: skip

    def show(self, shown: Shown, rcc: int) -> dict:
        """The images of an RCC, those nearest to its core first."""
        clusters = shown.clusters
        row_of = {path: row for row, path in enumerate(clusters.paths)}
        rows = [row_of[path] for path, _ in by_closeness(clusters, rcc)]
        order = "those nearest to an RCC first" if rcc == NOISE else "the most typical first"
        targets = [(title(other, shown.notes), other) for other in (*rccs_of(clusters), NOISE) if other != rcc]
        return {
            self.map: gr.HTML(chosen=rcc),
            self.to: gr.Dropdown(choices=targets, value=None, info="None selected"),
            **self._list(shown, rows, f"{title(rcc)}: {count(len(rows), 'image')}, {order}"),
        }

    def no_map(self, rcc: int) -> gr.HTML:
        """A map that is yet to be drawn."""
        return gr.HTML(record=None, shade=None, chosen=rcc)

    def show_map(self, shown: Shown, by: str | None = None, **more: object) -> dict:
        """The map; drawn and stored if it is not yet, which takes seconds.

        Parameters
        ----------
        by : str, optional
            The parameter that the window colours it by, "" if by RCC: it goes on so. Without it, by RCC.
        **more
            Which RCC is `chosen`, if that is to be said: it may be another by the time that the map is there.
        """
        with self._drawing:  # two windows that open at once must not both draw it
            positions = stored_map(self._settings.out, shown.review.original)
        record = map_record(shown.clusters, positions, shown.notes)
        columns = self._settings.results.parameters()
        value, example = {}, example_for(columns)
        if by is not None and by in columns:
            more["shade"] = map_shades(by, columns[by])
        elif by != "":  # otherwise left alone: it may be another by the time that the map is there
            more["shade"], value = None, {"value": ""}
        return {
            self.map: gr.HTML(record=record, seen=shown.run, **more),
            self.colour: gr.Dropdown(choices=[BY_RCC, *((printable(name), name) for name in columns)], **value),
            self.find: gr.Textbox(info=f"Part of a name{f', or {printable(example)}' if example else ''}, then Enter"),
        }

    def _list(self, shown: Shown, rows: list[int], told: str, page: int = 0, picked: list[int] | None = None) -> dict:
        picked = picked or []
        pages = max(1, -(-len(rows) // PER_PAGE))
        page = min(max(page, 0), pages - 1)
        clusters = shown.clusters
        tiles = [
            {
                "index": row,
                "name": printable(clusters.paths[row]),
                "picture": data_uri(clusters.image_root / clusters.paths[row], 128, self._settings.root),
                "mark": "" if clusters.is_core[row] else "no core point",
            }
            for row in rows[page * PER_PAGE : (page + 1) * PER_PAGE]
        ]
        where = f"<span>· page {page + 1} of {pages}</span>" if pages > 1 else ""
        return {
            self.title: f"<h3 class='safe-title'><span>{html.escape(printable(told))}</span> {where}</h3>",
            self.told: told,
            self.grid: gr.HTML(picked, tiles=tiles, seen=shown.run),
            self.back: gr.Button(interactive=page > 0),
            self.forth: gr.Button(interactive=page < pages - 1),
            self.listed: rows,
            self.page: page,
            self.move: gr.Button(interactive=bool(picked)),
        }

    def wire(self, rcc: gr.State, window: Window, outputs: list, changed: Callable, choose: Callable) -> None:
        """Connect the widgets (see `RccView.wire`).

        Parameters
        ----------
        choose : callable
            From what is shown and an RCC to the page's updates where that RCC is at hand.
        """
        settings, run = self._settings, window.run

        def on_pick_in_map(sent: object, rcc: int, run: str) -> dict:
            try:
                shown = settings.results.shown(run)
                rows = _rows(sent, len(shown.clusters.paths))
            except SAFEError as error:
                warn("Out of date", error)
                return gr.skip()
            if not rows:
                return {name: value for name, value in self.show(shown, rcc).items() if name is not self.map}
            if len(rows) == 1:
                [row] = rows
                updates = choose(shown, int(shown.clusters.labels[row]))
                listed = [row, *(other for other in updates[self.listed] if other != row)]
                told = f"{printable(shown.clusters.paths[row])}, then the others of its group"
                return {
                    **updates,
                    **self._list(shown, listed, told, picked=rows),
                    self.to: gr.Dropdown(info="1 image selected"),
                }
            return selected(shown, rows, "selected on the map")

        def selected(shown: Shown, rows: list[int], how: str) -> dict:
            counts = np.unique(shown.clusters.labels[rows], return_counts=True)
            groups = ", ".join(
                f"{n} of {title(int(k))}" for k, n in sorted(zip(*counts, strict=True), key=lambda x: -x[1])
            )
            told = f"{count(len(rows), 'image')} {how}: {groups}"
            return {
                **self._list(shown, rows, told, picked=rows),
                self.to: gr.Dropdown(info=f"{count(len(rows), 'image')} selected"),
            }

        def on_find(text: str | None, run: str) -> dict:
            try:
                shown = settings.results.shown(run)
                found = matching_images(text or "", shown.clusters.paths, settings.results.parameters()).tolist()
            except SAFEError as error:
                warn("Nothing looked for", error)
                return gr.skip()
            if not found:
                warn("Nothing found", f"No failing image fits {text}")
                return gr.skip()
            return {**selected(shown, found, "found"), self.map: gr.HTML(found={"rows": found, "at": time.monotonic()})}

        def on_colour(name: str | None, run: str) -> dict:
            try:
                settings.results.shown(run)
                column = settings.results.parameters().get(name or "")
            except SAFEError as error:
                warn("Out of date", error)
                return gr.skip()
            return {self.map: gr.HTML(shade=None if column is None else map_shades(name, column))}

        def on_pick_in_grid(sent: object, run: str) -> dict:
            try:
                rows = _rows(sent, len(settings.results.shown(run).clusters.paths))
            except SAFEError as error:
                warn("Out of date", error)
                return gr.skip()
            return {
                self.move: gr.Button(interactive=bool(rows)),
                self.to: gr.Dropdown(info=f"{count(len(rows), 'image')} selected" if rows else "None selected"),
            }

        def turn(by: int) -> Callable[..., dict]:
            def on_turn(rows: list[int], page: int, sent: object, told: str, run: str) -> dict:
                try:
                    shown = settings.results.shown(run)
                    picked = _rows(sent, len(shown.clusters.paths))
                except SAFEError as error:
                    warn("Out of date", error)
                    return gr.skip()
                return self._list(shown, rows, told, page + by, picked)

            return on_turn

        def on_move(rcc: int, sent: object, to: int | None, *parts: object) -> dict:
            if to is None:
                warn("Not moved", "Choose where the images belong.")
                return gr.skip()

            def edit(maker: Maker) -> None:
                clusters = settings.results.shown(maker.run).clusters
                rows = _rows(sent, len(clusters.paths))
                paths = [clusters.paths[row] for row in rows if clusters.labels[row] != to]
                move_images(settings.out, paths, int(to), maker=maker)

            return changed(rcc, parts, edit)

        self.colour.input(on_colour, [self.colour, run], self.map, **LATEST)
        self.find.submit(on_find, [self.find, run], self.outputs, **LATEST, **IN_TURN)
        self.map.select(on_pick_in_map, [self.map, rcc, run], outputs, **LATEST, **IN_TURN)
        self.grid.select(on_pick_in_grid, [self.grid, run], [self.move, self.to], **LATEST)
        for button, by in ((self.back, -1), (self.forth, 1)):
            given = [self.listed, self.page, self.grid, self.told, run]
            button.click(turn(by), given, self.outputs, **VIEW, **IN_TURN)
        self.move.click(on_move, [rcc, self.grid, self.to, *window.parts], outputs, **VIEW, **EDITS)


def _rows(sent: object, n: int) -> list[int]:
    """The images that a script says are selected; what is no image is dropped."""
    sent = sent if isinstance(sent, list) else []
    return sorted({row for row in sent if isinstance(row, int) and 0 <= row < n})
