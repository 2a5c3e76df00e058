"""The map of all failing images and, beside it, images to look at closely and to move: those of the selected RCC, or
those selected on the map."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from markupsafe import Markup

from safe_dnn.analysis import Analysis
from safe_dnn.page.assets import EDITS, IN_TURN, LATEST, VIEW, script, scripted
from safe_dnn.page.clusters.note import NoteView
from safe_dnn.page.clusters.reasons import named
from safe_dnn.page.clusters.words import WordsView
from safe_dnn.page.messages import as_text, tell, warn
from safe_dnn.page.pictures import PER_PAGE, GridView, data_uri
from safe_dnn.page.settings import PageSettings
from safe_dnn.rccs.clusters import RootCauseClusters, rccs_of
from safe_dnn.rccs.confidence import by_closeness, most_similar
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.image_map import load_map, map_filters, map_record, map_shades, rcc_words, stored_map
from safe_dnn.rccs.review.journal import Maker, judgements, title
from safe_dnn.rccs.review.review import move_images, new_rcc
from safe_dnn.reasons.known import TESTED_FILE
from safe_dnn.store.runs import COMPARISON, reading_file
from safe_dnn.support.tables import read_table
from safe_dnn.support.text import count, printable

MOST_RIGHT = 24  # right images beside those that fail
# They share their names; the last one connects them.
MAP_SCRIPTS = [f"clusters/{name}.js" for name in ("map_colours", "map_drawing", "map_filters", "map_keys", "map")]
BY_RCC = ("RCC", "")
A_NEW_RCC = NOISE - 1  # among the RCCs that images can be moved to
NO_CORE_POINT = "no core point: fewer than min_samples images lie within eps of it"


class ImagesView:
    """Lay out the map and, elsewhere, the grid; `outputs` are the widgets, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._drawing = threading.Lock()
        self._drawn: tuple[object, np.ndarray] = (None, np.empty((0, 2)))
        self.curve = scripted("clusters/curve", "", curve="", elem_id="curve", render=False)

    @property
    def outputs(self) -> list:
        return [self.map, self.colour, self.right, *self.images.outputs, self.similar, self.to, self.move, self.listed,
                self.heading, self.curve, self.words.widget]  # fmt: skip

    def lay_out_map(self) -> None:
        self.map = scripted(
            "clusters/map", [],  # the images selected, by row of the clusters
            js_on_load=script(*MAP_SCRIPTS), record="", filters="", named="",
            verdicts=[*judgements(), ""], chosen=None, shade="", found="", seen="", elem_id="map",
        )  # fmt: skip
        self.colour = gr.Dropdown(
            [BY_RCC], value="", label="Colour by", info="The RCC, or a parameter", elem_id="colour-by"
        )

    def lay_out_words(self) -> None:
        self.words = WordsView(self._settings)

    def lay_out_grid(self) -> None:
        self.right = gr.HTML(elem_id="right-images")
        self.images = GridView("grid", self._file_of, self._settings, looks=False)
        with gr.Row(equal_height=True, elem_classes="safe-form"):
            self.to = gr.Dropdown(
                label="Move the selected images to", info="None selected", choices=[], scale=3,
                min_width=220, elem_id="move-to",
            )  # fmt: skip
            self.move = gr.Button("Move", scale=1, min_width=130, interactive=False, elem_id="move")
            self.similar = gr.Button(
                "Similar images", scale=1, min_width=130, interactive=False, elem_id="grid-similar"
            )
        self.listed = gr.State([])  # rows of the clusters that the grid goes through
        self.heading = gr.State("")  # of the list

    def _file_of(self, index: object, run: str) -> Path:
        """An image of a run that a window shows."""
        clusters = self._settings.results.state(run).clusters
        path = clusters.paths[range(len(clusters.paths))[int(index)]]  # type: ignore[call-overload]  # the caller expects what this raises
        return clusters.image_root / path

    def show(self, results: Analysis, rcc: int, sent: object = None) -> dict:
        """The images of an RCC, those nearest to its core first; before them the one that opened it on the map."""
        clusters = results.clusters
        row_of = {path: row for row, path in enumerate(clusters.paths)}
        rows = [row_of[path] for path, _ in by_closeness(clusters, rcc)]
        order = "those nearest to an RCC first" if rcc == NOISE and clusters.n_rccs else "the most typical first"
        heading, opening = f"{title(rcc)}: {count(len(rows), 'image')}, {order}", _rows(sent, len(clusters.paths))
        if len(opening) == 1 and clusters.labels[opening[0]] == rcc:
            rows.sort(key=opening[0].__ne__)
            heading = f"{printable(clusters.paths[opening[0]])}, then the others of its group"
        else:
            opening = []
        targets = [(named(results, other), other) for other in (*rccs_of(clusters), NOISE) if other != rcc]
        targets.append(("A new RCC", A_NEW_RCC))
        return {
            self.map: gr.HTML(chosen=rcc),
            **self._list(results, rows, heading, picked=opening),
            self.to: gr.Dropdown(choices=targets, value=None, info="None selected"),
        }

    def rename(self, results: Analysis) -> gr.HTML:
        """What the map shows about the RCCs; all else stays as it is."""
        rccs = results.clusters.groups
        return gr.HTML(named=as_text([rcc_words(rcc, results.notes) for rcc in rccs]))

    def show_map(self, results: Analysis, *, chosen: int | None = None, at_once: bool = False) -> dict:
        """The map, coloured by RCC; computed and stored if it is not yet, which takes seconds.

        Parameters
        ----------
        chosen : int, optional
            The selected RCC. Without it the map keeps its own: it may be another by the time that the map is there.
        at_once : bool
            Nothing is shown if it would have to be computed.
        """
        original, positions = results.review.original, load_map(self._settings.out, results.review.original)
        if positions is None and at_once:
            return {}
        if positions is None:
            with self._drawing:  # two windows that open at once must not both compute it
                if self._drawn[0] is not original:  # where it cannot be stored, it is drawn once all the same
                    self._drawn = (original, stored_map(self._settings.out, original))
                positions = self._drawn[1]
        columns = self._settings.results.latest.columns
        record = as_text(map_record(results.clusters, positions, results.notes, original))
        selected: dict[str, Any] = {} if chosen is None else {"chosen": chosen}
        drawn = gr.HTML(record=record, seen=results.run, filters=as_text(map_filters(columns)), shade="", **selected)
        return {self.map: drawn, self.colour: _colours(columns, value="")}

    def _list(
        self, results: Analysis, rows: list[int], heading: str, page: int = 0, picked: list[int] | None = None
    ) -> dict:
        clusters, picked = results.clusters, picked or []
        hidden = clusters.answers.columns if clusters.answers else {}  # they are shown elsewhere
        known = {name: column for name, column in self._settings.results.latest.columns.items() if name not in hidden}
        return {
            **self.images.show(
                heading, rows, page, lambda row: _tile(clusters, row, known),
                lambda row: clusters.image_root / clusters.paths[row], results.run, picked,
            ),
            self.heading: heading,
            self.listed: rows,
            self.words.widget: self.words.show(results, heading, rows),
            self.right: "",
            **self._with_picked(len(picked)),
        }  # fmt: skip

    def _with_picked(self, n: int) -> dict:
        """What can be done with so many images that are selected."""
        return {
            self.move: gr.Button(interactive=n > 0),
            self.similar: gr.Button(interactive=n == 1),
            self.to: gr.Dropdown(info=f"{count(n, 'image')} selected" if n else "None selected"),
        }

    def wire(self, window: NoteView, outputs: list, edited: Callable[..., dict]) -> None:
        """Connect the widgets (see `ReasonView.wire`)."""
        self._edited = edited
        run, images = window.run, self.images
        self.colour.input(self._on_colour, [self.colour, run], self.map, **LATEST)
        self.words.widget.select(self._on_word, run, outputs, **LATEST)
        self.curve.select(self._on_range, [self.curve, run], outputs, **LATEST, **IN_TURN)
        images.grid.select(self._on_pick, [images.grid, run], [self.move, self.to, self.similar], **LATEST)
        self.similar.click(self._on_similar, [images.grid, run], outputs, **VIEW, **IN_TURN)
        for button, by in ((images.back, -1), (images.forth, 1)):
            listed = [self.listed, images.page, images.grid, self.heading, run]
            button.click(partial(self._on_turn, by=by), listed, outputs, **VIEW, **IN_TURN)
        self.move.click(self._on_move, [images.grid, self.to, *window.parts], outputs, **VIEW, **EDITS)

    def _listed(self, sent: object, run: str) -> tuple[Analysis, list[int]]:
        """The clusters that a window shows, and those of their images that its script has sent."""
        results = self._settings.results.state(run)
        return results, _rows(sent, len(results.clusters.paths))

    def show_selected(self, results: Analysis, sent: object) -> dict:
        """The images that were selected on the map; empty without any."""
        rows = _rows(sent, len(results.clusters.paths))
        return self._selected(results, rows, "selected on the map") if rows else {}

    def _on_range(self, sent: object, run: str) -> dict:
        """List the failing images in a range of the curve."""
        results = self._settings.results.state(run)
        rows = _in_range(self._settings.results.latest.columns, sent)
        if not rows:
            none = "No failing image is in this range"
            return {**self._list(results, [], none), self.map: gr.HTML(found=_marked([], none))}
        text = f"{count(len(rows), 'image')} in this range: marked here, and listed below the map"
        return {**self.show_selection(results, rows, "in this range"), self.map: gr.HTML(found=_marked(rows, text))}

    def _on_colour(self, name: str | None, run: str) -> dict:
        self._settings.results.state(run)  # refuses a window that shows other clusters
        column = self._settings.results.latest.columns.get(name or "")
        return {self.map: gr.HTML(shade="" if column is None else as_text(map_shades(name or "", column)))}

    def _on_word(self, run: str) -> dict:
        """Let the map know what was answered about words."""
        if not run:  # a window that shows nothing yet
            return gr.skip()
        self._settings.results.state(run)  # refuses a window that shows other clusters
        columns = self._settings.results.latest.columns
        return {self.map: gr.HTML(filters=as_text(map_filters(columns))), self.colour: _colours(columns)}

    def _on_pick(self, sent: object, run: str) -> dict:
        return self._with_picked(len(self._listed(sent, run)[1]))

    def _on_similar(self, sent: object, run: str) -> dict:
        """The failing images that are most like the one that is selected, whatever RCC they are in."""
        results, rows = self._listed(sent, run)
        if len(rows) != 1:
            return gr.skip()
        clusters = results.clusters
        similar = most_similar(clusters, rows[0], PER_PAGE)
        further = count(len(similar) - 1, "failing image")
        heading = f"{printable(clusters.paths[rows[0]])}, then the {further} most like it"
        return {**self._list(results, similar, heading, picked=rows), self.map: gr.HTML(found=_marked(similar))}

    def _on_turn(self, rows: list[int], page: int, sent: object, heading: str, run: str, *, by: int) -> dict:
        results, picked = self._listed(sent, run)
        return self._list(results, rows, heading, page + by, picked)

    def _on_move(self, sent: object, to: int | None, *parts: object) -> dict:
        if to is None:
            warn("Not moved", "Choose where the images belong.")
            return gr.skip()
        target = int(to)

        def edit(maker: Maker) -> None:
            clusters = self._settings.results.state(maker.run).clusters
            rows = _rows(sent, len(clusters.paths))
            paths = [clusters.paths[row] for row in rows if clusters.labels[row] != to]
            if target == A_NEW_RCC:
                _, made = new_rcc(self._settings.out, paths, maker=maker)
                tell(f"{title(made)} was made of {count(len(paths), 'image')}.")
            else:
                move_images(self._settings.out, paths, target, maker=maker)

        return self._edited(parts, edit)

    def show_selection(self, results: Analysis, rows: list[int], how: str) -> dict:
        """Updates that show these images in the grid and mark them on the map."""
        return {**self._selected(results, rows, how), self.map: gr.HTML(found=_marked(rows))}

    def show_right(self, results: Analysis, spot: int) -> dict:
        """Some images that the network gets right under the condition of a weak spot, given as an index, −1 of none."""
        compared, run = results.reasons.comparison, results.runs.get(COMPARISON)
        # Neither before anything was compared, nor of words
        right = compared.right_in_spots if compared else None
        known = run is not None and TESTED_FILE in run.files and right is not None and 0 <= spot < len(right)
        if compared is None or run is None or right is None or not known:
            return {self.right: ""}
        rows = compared.rows[len(compared.failing) :][right[spot]].tolist()
        with reading_file(run, TESTED_FILE) as file:
            paths = read_table(file, "the tested images", own=True).texts("image")
        root = Path(results.record["predictions"]["tested"])
        pictures = [data_uri(root / paths[row], 128) for row in rows[:MOST_RIGHT]]
        tiles = Markup("").join(Markup("<img alt='' src='{}'>").format(picture) for picture in pictures)
        heading = f"{count(len(rows), 'image')} under this condition that the network gets right"
        return {self.right: Markup("<h3 class='safe-title'>{}</h3>{}").format(heading, tiles) if rows else ""}

    def _selected(self, results: Analysis, rows: list[int], how: str) -> dict:
        """Images that were selected or found together, with how many of them each RCC has."""
        labels, counts = np.unique(results.clusters.labels[rows], return_counts=True)
        largest_first = sorted(zip(labels.tolist(), counts.tolist(), strict=True), key=lambda group: -group[1])
        groups = ", ".join(f"{n} of {title(rcc)}" for rcc, n in largest_first)
        return self._list(results, rows, f"{count(len(rows), 'image')} {how}: {groups}", picked=rows)


def _colours(columns: Mapping[str, np.ndarray], **value: Any) -> gr.Dropdown:
    """What the map can be coloured by."""
    return gr.Dropdown(choices=[BY_RCC, *((printable(name), name) for name in columns)], **value)


def _in_range(columns: Mapping[str, np.ndarray], sent: object) -> list[int]:
    """The images in the range of a curve that a script has sent, or of a category (see curve.js)."""
    name, low, high, value = sent if isinstance(sent, list) and len(sent) == 4 else ("", "", "", "")
    column = columns.get(str(name), np.zeros(0))
    if column.dtype.kind == "U":
        return np.flatnonzero(column == str(value)).tolist()
    try:
        return np.flatnonzero((column >= float(low or "-inf")) & (column < float(high or "inf"))).tolist()
    except (TypeError, ValueError):  # other clients may send anything
        return []


def _tile(clusters: RootCauseClusters, row: int, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The tile of an image in the grid (see `GridView.show`), with what is known of it."""
    known = {name: _value_text(column[row].item()) for name, column in sorted(columns.items())}
    return {
        "name": clusters.paths[row], "mark": "" if clusters.is_core[row] else NO_CORE_POINT,
        "caption": clusters.answer_text(row),
        "known": {name: text for name, text in known.items() if text},
    }  # fmt: skip


def _value_text(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return ""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _marked(rows: list[int], text: str = "") -> str:
    """Images for the map to mark, and a sentence on them; the same ones found again are marked again."""
    return as_text({"rows": rows, "tells": printable(text), "at": time.monotonic()})


def _rows(sent: object, n: int) -> list[int]:
    """The images that a script has sent as selected, without what is no image."""
    sent = sent if isinstance(sent, list) else []
    return sorted({row for row in sent if isinstance(row, int) and 0 <= row < n})
