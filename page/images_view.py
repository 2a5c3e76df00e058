"""The map of all failing images and, beside it, images to look at closely and to move: those of the RCC at hand, or
those selected on the map."""

import html
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from dbscan.outcome import NOISE
from page.jobs import EDITS, IN_TURN, LATEST, VIEW, PageSettings, warn
from page.pictures import data_uri
from page.results import Shown
from page.similar_images import SimilarImages
from page.texts import as_news, as_text
from page.visitors import Window
from rccs.clusters import RootCauseClusters, rccs_of
from rccs.confidence import near_rcc, place_text
from rccs.edits import Maker, move_images, new_rcc
from rccs.image_map import MapPositions, load_map, map_record, map_shades, rcc_words, stored_map
from rccs.map_filters import map_filters
from rccs.nearness import by_closeness, most_similar
from rccs.notes import title
from rccs.search import example_for, matching_images
from support.errors import SAFEError
from support.text import count, printable

HERE = Path(__file__).parent
PER_PAGE = 60
MOST_AT_ONCE = 60  # pictures that the map asks for
# They share their names; the last one connects them.
MAP_SCRIPTS = ("parts.js", "map_colours.js", "map_drawing.js", "map_filters.js", "map_keys.js", "map.js")
GRID_SCRIPTS = ("parts.js", "grid.js", "similar.js")
BY_RCC = ("RCC", "")
A_NEW_RCC = NOISE - 1  # among the RCCs that images can be moved to
NO_CORE_POINT = "no core point: fewer than min_samples images lie within eps of it"


class ImagesView:
    """Lay out the map and, elsewhere, the grid; `outputs` are the widgets, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._drawing = threading.Lock()

    @property
    def map_outputs(self) -> list:
        return [self.map, self.colour, self.find]

    @property
    def outputs(self) -> list:
        return [*self.map_outputs, self.title, self.grid, self.similar, self.back, self.forth, self.to, self.move,
                self.listed, self.page, self.heading]  # fmt: skip

    def lay_out_map(self) -> None:
        def map_pictures(sent: list) -> list[str]:
            rows, run = sent if isinstance(sent, list) and len(sent) == 2 else (None, None)
            rows = rows if isinstance(rows, list) else []
            return [self._picture([row, run], 128) for row in rows[:MOST_AT_ONCE]]

        self.map = gr.HTML(
            [],  # the images selected, by row of the clusters
            html_template=HERE.joinpath("map.html").read_text(encoding="utf-8"),
            js_on_load="".join(HERE.joinpath("scripts", name).read_text(encoding="utf-8") for name in MAP_SCRIPTS),
            server_functions=[map_pictures],
            record="",
            filters="",
            named="",
            chosen=None,
            shade="",
            found="",
            seen="",
            elem_id="map",
        )
        with gr.Row(equal_height=True):
            self.colour = gr.Dropdown(
                [BY_RCC], value="", label="Colour by", info="The RCC, or a parameter", scale=1,
                min_width=150, elem_id="colour-by",
            )  # fmt: skip
            self.find = gr.Textbox(
                label="Find images", placeholder="Part of a name", max_length=200, scale=2, min_width=200,
                elem_id="find",
            )  # fmt: skip

    def lay_out_grid(self) -> None:
        def grid_picture(sent: list) -> str:
            return self._picture(sent, 720)

        similar = SimilarImages(self._settings)

        def similar_to(sent: list) -> dict[str, Any]:
            return similar.ask(sent)

        def similar_picture(sent: list) -> str:
            return similar.picture(sent)

        self.title = gr.HTML(elem_id="grid-title")
        self.grid = gr.HTML(
            [],  # the images selected
            html_template=HERE.joinpath("grid.html").read_text(encoding="utf-8"),
            js_on_load="".join(HERE.joinpath("scripts", name).read_text(encoding="utf-8") for name in GRID_SCRIPTS),
            server_functions=[grid_picture, similar_to, similar_picture],
            tiles=[],
            seen="",
            elem_id="grid",
        )
        with gr.Row(elem_classes="safe-pager"):
            self.similar = gr.Button(
                "Similar images", size="sm", min_width=130, interactive=False, elem_id="grid-similar"
            )
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
        self.heading = gr.State("")  # of the list

    def _picture(self, sent: object, side: int) -> str:
        """Called by the scripts of the map and the grid with a list of an image and a run.

        The answer is an image of that run, decoded here, and never a file.
        """
        try:
            index, run = sent if isinstance(sent, list) else (None, None)
            clusters = self._settings.results.shown(str(run)).clusters
            path = clusters.paths[range(len(clusters.paths))[int(index)]]  # type: ignore[arg-type]  # see the except
            return data_uri(clusters.image_root / path, side, self._settings.root)
        except (SAFEError, TypeError, ValueError, OverflowError, IndexError):
            return ""

    def show(self, results: Shown, rcc: int) -> dict:
        """The images of an RCC, those nearest to its core first."""
        clusters = results.clusters
        row_of = {path: row for row, path in enumerate(clusters.paths)}
        rows = [row_of[path] for path, _ in by_closeness(clusters, rcc)]
        order = "those nearest to an RCC first" if rcc == NOISE and clusters.n_rccs else "the most typical first"
        targets = [(title(other, results.notes), other) for other in (*rccs_of(clusters), NOISE) if other != rcc]
        targets.append(("A new RCC", A_NEW_RCC))
        return {
            self.map: gr.HTML(chosen=rcc),
            self.to: gr.Dropdown(choices=targets, value=None, info="None selected"),
            **self._list(results, rows, f"{title(rcc)}: {count(len(rows), 'image')}, {order}"),
        }

    def no_map(self, rcc: int) -> gr.HTML:
        """A map that is yet to be drawn."""
        return gr.HTML(record="", shade="", named="", chosen=rcc)

    def rename(self, results: Shown, *rccs: int) -> gr.HTML:
        """What the map says of some RCCs; all else stays as it is."""
        return gr.HTML(named=as_news(results.run, results.at, [rcc_words(rcc, results.notes) for rcc in rccs]))

    def show_stored_map(self, results: Shown, chosen: int) -> dict:
        """The map, if it need not be computed; otherwise nothing."""
        stored = load_map(self._settings.out, results.review.original)
        return {} if stored is None else self._map_of(results, stored, chosen=chosen)

    def show_map(
        self, results: Shown, by: str | None = None, *, chosen: int | None = None, edited: bool = False
    ) -> dict:
        """The map; computed and stored if it is not yet, which takes seconds.

        Parameters
        ----------
        by : str, optional
            The parameter that the window colours the map by, "" if by RCC; this stays as it is. Without it, by RCC.
        chosen : int, optional
            The RCC at hand. Without it the map keeps its own: it may be another by the time that the map is there.
        edited : bool
            After an edit, which leaves what is known of the images as it is.
        """
        with self._drawing:  # two windows that open at once must not both compute it
            positions = stored_map(self._settings.out, results.review.original)
        return self._map_of(results, positions, by, chosen=chosen, edited=edited)

    def _map_of(
        self,
        results: Shown,
        positions: MapPositions,
        by: str | None = None,
        *,
        chosen: int | None = None,
        edited: bool = False,
    ) -> dict:
        """A map as the widgets show it; the other parameters as for `show_map`."""
        columns = self._settings.results.parameters()
        example = example_for(columns)
        record = map_record(results.clusters, positions, results.notes)
        props: dict[str, Any] = {"record": as_text({**record, "at": results.at}), "seen": results.run}
        value: dict[str, Any] = {}
        if chosen is not None:
            props["chosen"] = chosen
        if not edited:
            props["filters"] = as_text(map_filters(columns))
        if by is not None and by in columns:
            props["shade"] = as_text(map_shades(by, columns[by]))
        elif by != "":  # otherwise left alone: it may be another by the time that the map is there
            props["shade"], value = "", {"value": ""}
        return {
            self.map: gr.HTML(**props),
            self.colour: gr.Dropdown(choices=[BY_RCC, *((printable(name), name) for name in columns)], **value),
            self.find: gr.Textbox(placeholder=f"Part of a name{f', or {printable(example)}' if example else ''}"),
        }

    def _list(
        self, results: Shown, rows: list[int], heading: str, page: int = 0, picked: list[int] | None = None
    ) -> dict:
        picked = picked or []
        pages = max(1, -(-len(rows) // PER_PAGE))
        page = min(max(page, 0), pages - 1)
        clusters = results.clusters
        tiles = [self._tile(clusters, row) for row in rows[page * PER_PAGE : (page + 1) * PER_PAGE]]
        where = f"<span>· page {page + 1} of {pages}</span>" if pages > 1 else ""
        return {
            self.title: f"<h3 class='safe-title'><span>{html.escape(printable(heading))}</span> {where}</h3>",
            self.heading: heading,
            self.grid: gr.HTML(picked, tiles=tiles, seen=results.run),
            self.back: gr.Button(interactive=page > 0),
            self.forth: gr.Button(interactive=page < pages - 1),
            self.listed: rows,
            self.page: page,
            self.move: gr.Button(interactive=bool(picked)),
            self.similar: gr.Button(interactive=len(picked) == 1),
        }

    def _tile(self, clusters: RootCauseClusters, row: int) -> dict:
        """An image of the grid."""
        near = near_rcc(clusters, row)
        return {
            "index": row,
            "name": printable(clusters.paths[row]),
            "picture": data_uri(clusters.image_root / clusters.paths[row], 128, self._settings.root),
            "mark": "" if clusters.is_core[row] else NO_CORE_POINT,
            "told": clusters.told(row),
            "near": "" if near is None else f"near {title(near)}",
            "between": place_text(clusters, row),
        }

    def wire(
        self, rcc: gr.State, window: Window, outputs: list, edited: Callable[..., dict], choose: Callable[..., dict]
    ) -> None:
        """Connect the widgets (see `RccView.wire`).

        Parameters
        ----------
        choose : callable
            From the results and an RCC to the page's updates where that RCC is at hand.
        """
        self._edited, self._choose = edited, choose
        run = window.run
        self.colour.input(self._on_colour, [self.colour, run], self.map, **LATEST)
        self.find.submit(self._on_find, [self.find, run], self.outputs, **LATEST, **IN_TURN)
        self.map.select(self._on_pick_in_map, [self.map, rcc, run], outputs, **LATEST, **IN_TURN)
        self.map.input(self._on_mark_in_map, [self.map, rcc, run], outputs, **LATEST, **IN_TURN)
        self.grid.select(self._on_pick_in_grid, [self.grid, run], [self.move, self.to, self.similar], **LATEST)
        self.similar.click(self._on_similar, [self.grid, run], self.outputs, **VIEW, **IN_TURN)
        for button, turn in ((self.back, self._on_back), (self.forth, self._on_next)):
            listed = [self.listed, self.page, self.grid, self.heading, run]
            button.click(turn, listed, self.outputs, **VIEW, **IN_TURN)
        self.move.click(self._on_move, [rcc, self.grid, self.to, *window.parts], outputs, **VIEW, **EDITS)

    def _on_pick_in_map(self, sent: object, rcc: int, run: str) -> dict:
        return self._picked(sent, rcc, run, opens=True)

    def _on_mark_in_map(self, sent: object, rcc: int, run: str) -> dict:
        """Images are selected one after the other: the first one does not open its RCC."""
        return self._picked(sent, rcc, run, opens=False)

    def _listed(self, sent: object, run: str) -> tuple[Shown, list[int]] | None:
        """The clusters that a window shows and the images that its script has sent; None, and said, if out of date."""
        try:
            results = self._settings.results.shown(run)
        except SAFEError as error:
            warn("Out of date", error)
            return None
        return results, _rows(sent, len(results.clusters.paths))

    def _picked(self, sent: object, rcc: int, run: str, *, opens: bool) -> dict:
        if (listed := self._listed(sent, run)) is None:
            return gr.skip()
        results, rows = listed
        if not rows:
            return {name: value for name, value in self.show(results, rcc).items() if name is not self.map}
        if len(rows) > 1 or not opens:
            return self._selected(results, rows, "selected on the map")
        [row] = rows
        updates = self._choose(results, int(results.clusters.labels[row]))
        ordered = [row, *(other for other in updates[self.listed] if other != row)]
        heading = f"{printable(results.clusters.paths[row])}, then the others of its group"
        return {
            **updates,
            **self._list(results, ordered, heading, picked=rows),
            self.to: gr.Dropdown(info="1 image selected"),
        }

    def _on_find(self, text: str | None, run: str) -> dict:
        try:
            results = self._settings.results.shown(run)
            columns = self._settings.results.parameters()
            found = matching_images(text or "", results.clusters.paths, columns).tolist()
        except SAFEError as error:
            warn("Nothing searched", error)
            return gr.skip()
        if not found:
            warn("Nothing found", f"No failing image matches {text}")
            return gr.skip()
        return self.show_found(results, found, "found")

    def on_colour_of_link(self, name: str | None, run: str) -> dict:
        """Colour the map as an address says, which may name what is not known any more."""
        if (columns := self._columns(run)) is None:
            return gr.skip()
        if name not in ["", *columns]:  # which may be no text at all
            warn("Not coloured", f"The link colours the map by {name}, which is not known of these images any more.")
            return gr.skip()
        return {**self._coloured(name, columns), self.colour: gr.Dropdown(value=name)}

    def _on_colour(self, name: str | None, run: str) -> dict:
        columns = self._columns(run)
        return gr.skip() if columns is None else self._coloured(name, columns)

    def _columns(self, run: str) -> Mapping[str, np.ndarray] | None:
        """What is known of the images that a window shows, by name; None, and said, if out of date."""
        try:
            self._settings.results.shown(run)
            return self._settings.results.parameters()
        except SAFEError as error:
            warn("Out of date", error)
            return None

    def _coloured(self, name: str | None, columns: Mapping[str, np.ndarray]) -> dict:
        column = columns.get(name or "")
        return {self.map: gr.HTML(shade="" if column is None else as_text(map_shades(name or "", column)))}

    def _on_pick_in_grid(self, sent: object, run: str) -> dict:
        if (listed := self._listed(sent, run)) is None:
            return gr.skip()
        _, rows = listed
        return {
            self.move: gr.Button(interactive=bool(rows)),
            self.similar: gr.Button(interactive=len(rows) == 1),
            self.to: gr.Dropdown(info=f"{count(len(rows), 'image')} selected" if rows else "None selected"),
        }

    def _on_similar(self, sent: object, run: str) -> dict:
        """The failing images that are most like the one that is selected, whatever RCC they are in."""
        chosen = self._listed(sent, run)
        if chosen is None or len(chosen[1]) != 1:
            return gr.skip()
        results, rows = chosen
        clusters = results.clusters
        similar = most_similar(clusters, rows[0], PER_PAGE)
        heading = (
            f"{printable(clusters.paths[rows[0]])}, then the {count(len(similar) - 1, 'failing image')} most like it"
        )
        return {**self._list(results, similar, heading, picked=rows), self.map: gr.HTML(found=_found(similar))}

    def _on_back(self, rows: list[int], page: int, sent: object, heading: str, run: str) -> dict:
        return self._turn(rows, page - 1, sent, heading, run)

    def _on_next(self, rows: list[int], page: int, sent: object, heading: str, run: str) -> dict:
        return self._turn(rows, page + 1, sent, heading, run)

    def _turn(self, rows: list[int], page: int, sent: object, heading: str, run: str) -> dict:
        if (listed := self._listed(sent, run)) is None:
            return gr.skip()
        results, picked = listed
        return self._list(results, rows, heading, page, picked)

    def _on_move(self, rcc: int, sent: object, to: int | None, *parts: object) -> dict:
        if to is None:
            warn("Not moved", "Choose where the images belong.")
            return gr.skip()
        target = int(to)

        def edit(maker: Maker) -> int | None:
            clusters = self._settings.results.shown(maker.run).clusters
            rows = _rows(sent, len(clusters.paths))
            paths = [clusters.paths[row] for row in rows if clusters.labels[row] != to]
            if target == A_NEW_RCC:
                return new_rcc(self._settings.out, paths, maker=maker)[1]
            move_images(self._settings.out, paths, target, maker=maker)
            return None

        return self._edited(rcc, parts, edit)

    def show_found(self, results: Shown, rows: list[int], how: str) -> dict:
        """Images that belong together for another reason than their RCC, in the grid and marked on the map."""
        return {
            **self._selected(results, rows, how),
            self.map: gr.HTML(found=_found(rows)),
        }

    def _selected(self, results: Shown, rows: list[int], how: str) -> dict:
        """Images that were selected or found together, with how many of them each RCC has."""
        labels, counts = np.unique(results.clusters.labels[rows], return_counts=True)
        largest_first = sorted(zip(labels.tolist(), counts.tolist(), strict=True), key=lambda group: -group[1])
        groups = ", ".join(f"{n} of {title(rcc)}" for rcc, n in largest_first)
        images = count(len(rows), "image")
        return {
            **self._list(results, rows, f"{images} {how}: {groups}", picked=rows),
            self.to: gr.Dropdown(info=f"{images} selected"),
        }


def _found(rows: list[int]) -> str:
    """Images for the map to mark; the same ones found again are marked again."""
    return as_text({"rows": rows, "at": time.monotonic()})


def _rows(sent: object, n: int) -> list[int]:
    """The images that a script has sent as selected, without what is no image."""
    sent = sent if isinstance(sent, list) else []
    return sorted({row for row in sent if isinstance(row, int) and 0 <= row < n})
