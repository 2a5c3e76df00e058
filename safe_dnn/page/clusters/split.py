"""An RCC is split in two: both parts are shown, and the smaller becomes one of its own if the engineer agrees."""

import time
from collections.abc import Callable

import gradio as gr

from safe_dnn.page.assets import scripted
from safe_dnn.page.clusters.note import NoteView
from safe_dnn.page.events import EACH, EDITS, VIEW
from safe_dnn.page.messages import tell, warn
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.rccs.confidence import parts_of
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.journal import Maker
from safe_dnn.rccs.review.notes import title
from safe_dnn.rccs.review.review import new_rcc
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count

MOST_PICTURES = 12  # of each part


class SplitView:
    """Lay out the button and the dialog; `wire` connects them."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self.button = gr.Button("Split …", scale=0, min_width=90, elem_id="split-rcc")
        self.dialog = scripted("clusters/split", [], asked=[], parts="", elem_id="split")

    def wire(self, owner: gr.Number, window: NoteView, outputs: list, changed: Callable) -> None:
        """Connect the widgets (see `RccView.wire`)."""
        self.button.click(self._on_ask, [owner, window.run], self.dialog, **VIEW)

        def on_split(sent: object, *parts: object) -> dict:
            rcc, last_number, _ = sent if isinstance(sent, list) and len(sent) == 3 else (None, None, None)
            if not isinstance(rcc, int):
                return gr.skip()  # other clients may send anything
            return changed(rcc, parts, lambda maker: self._split(rcc, last_number, maker))

        self.dialog.select(on_split, [self.dialog, *window.parts], outputs, **EACH, **EDITS)

    def _on_ask(self, rcc: int, run: str) -> dict:
        """Show the parts of an RCC."""
        results = self._settings.results.state(run)
        parts = parts_of(results.clusters, rcc) if rcc != NOISE else []
        if not parts:
            warn("Not split", "No two parts with enough images stand apart. Select images, and move them to a new RCC.")
            return gr.skip()
        row_of, drawn_parts = {path: row for row, path in enumerate(results.clusters.paths)}, []
        for paths in parts:
            sample = paths[:: -(-len(paths) // MOST_PICTURES)]  # from all of it
            drawn_parts.append((len(paths), [f"image/{results.run}/{row_of[path]}" for path in sample]))
        drawn = filled("page/clusters/split_parts.html", parts=drawn_parts, rcc=rcc, notes=results.notes)
        question = [rcc, results.review.last_number, time.monotonic()]  # the same again is shown again
        return {self.dialog: gr.HTML(asked=question, parts=drawn)}

    def _split(self, rcc: int, last_entry: object, maker: Maker) -> None:
        results = self._settings.results.state(maker.run)
        parts = parts_of(results.clusters, rcc)
        if results.review.last_number != last_entry or not parts:
            raise SAFEError("The RCCs were edited in the meantime. Look at the parts again.")
        _, made = new_rcc(self._settings.out, parts[1], maker=maker)
        tell(f"{title(made)} was made of {count(len(parts[1]), 'image')} of {title(rcc)}.")
