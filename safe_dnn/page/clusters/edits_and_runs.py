"""What is done with the results: an RCC is exported, edits are undone, and earlier runs are opened."""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from safe_dnn.page.clusters.note import NoteView
from safe_dnn.page.clusters.spot import rank_of
from safe_dnn.page.events import EACH, EDITS, LATEST, VIEW
from safe_dnn.page.forms import take_labels
from safe_dnn.page.messages import tell, warn
from safe_dnn.page.pictures import oldest, served_folder
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.analysis import Analysis, check_links
from safe_dnn.pipeline.descriptions import refresh_rccs, show_present
from safe_dnn.pipeline.exports import export_results
from safe_dnn.pipeline.generation import restore_run
from safe_dnn.rccs.review.edits import redo_edit, undo_edit
from safe_dnn.rccs.review.journal import UNKNOWN, describe_edit
from safe_dnn.store.runs import earlier_runs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import printable

KEPT_EXPORTS = 20  # of all visitors
OF_RCC, OF_SPOT = "safe-of-rcc", "safe-of-spot"  # what is in sight only while an RCC, or a weak spot, is selected


class RunsView:
    """Lay out the panes below the images; `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with gr.Row(elem_classes="safe-form", elem_id="export-row"):
            self.undo = gr.Button("Undo", size="md", min_width=90, elem_id="undo")
            self.redo = gr.Button("Redo", size="md", min_width=90, elem_id="redo")
            self.one = gr.Button(
                "Export this RCC (ZIP)", size="md", min_width=170, elem_id="export-one", elem_classes=OF_RCC
            )
            self.spot = gr.Button(
                "Export this weak spot (ZIP)", size="md", min_width=170, elem_id="export-spot", elem_classes=OF_SPOT
            )
            self.file = gr.DownloadButton(
                "Download", visible=False, variant="primary", min_width=150, elem_id="download"
            )
        with gr.Accordion("Edits", open=False, elem_id="edits") as self._edits_pane:
            self.edits = gr.Dataframe(
                headers=["time (UTC)", "who", "what was done or said"], interactive=False, max_height=260, wrap=True,
                buttons=[], column_widths=["16%", "14%", "70%"],
            )  # fmt: skip
        with gr.Accordion("Earlier runs", open=False, elem_id="runs"), gr.Row(elem_classes="safe-form"):
            self.run = gr.Dropdown(label="Earlier run", choices=[], scale=3, elem_id="earlier-run",
                                   info="Its number in runs/, and when it was made (UTC)")  # fmt: skip
            self.restore = gr.Button("Open", scale=0, min_width=90, elem_id="restore")

    def show_edits(self, results: Analysis) -> dict:
        """What was done and said, the latest first."""
        edits = results.edits
        rows = [(edit.time.removesuffix("+00:00").replace("T", " "), edit.engineer or UNKNOWN, edit) for edit in edits]
        return {self.edits: [[*row, printable(describe_edit(edit, edits))] for *row, edit in reversed(rows)]}

    def show(self, results: Analysis) -> dict:
        """The state of edits and runs."""
        choices = [
            (f"{run.number} · {run.time[:16].replace('T', ' ')}", run.number)
            for run in earlier_runs(self._settings.out)
        ]
        return {
            **self.show_edits(results),
            self.run: gr.Dropdown(choices=choices, value=choices[0][1] if choices else None, interactive=bool(choices)),
            self.restore: gr.Button(interactive=bool(choices)),
        }

    def no_export(self) -> dict:
        """None of what is selected now."""
        return {self.file: gr.DownloadButton(visible=False)}

    def wire(self, rcc: gr.State, spot: gr.HTML, window: NoteView, outputs: list, changed: Callable) -> None:
        """Connect the widgets (see `RccView.wire`).

        Parameters
        ----------
        spot : gr.HTML
            Its value is the selected weak spot, by its conditions.
        """
        settings, run = self._settings, window.run

        def on_step(rcc: int, spot: object, *parts: object, edit: Callable) -> dict:
            updates = changed(rcc, parts, lambda maker: edit(settings.out, maker=maker), spot)
            edits = settings.results.latest.edits
            tell(printable(describe_edit(edits[-1], edits)))
            return updates

        def on_restore(number: int | None) -> None:
            """Bring a run back; the window is loaded anew then, since every tab and form is of another run."""
            take_labels(settings.out)
            restore_run(settings.out, int(number or 0))
            check_links(settings.results.state().clusters)
            show_present(settings.out)

        def on_edits(run: str) -> dict:
            try:
                return self.show_edits(settings.results.state(run))
            except SAFEError:
                return gr.skip()  # another run by now, which is reported elsewhere

        self._edits_pane.expand(on_edits, run, [self.edits], **LATEST)
        for step, edit in ((self.undo, undo_edit), (self.redo, redo_edit)):
            step.click(partial(on_step, edit=edit), [rcc, spot, *window.parts], outputs, **EACH, **EDITS)
        quietly = VIEW | {"show_progress": "minimal"}
        for button, chosen in ((self.one, rcc), (self.spot, spot)):
            button.click(partial(self._export, is_spot=chosen is spot), [chosen, run], self.file, **quietly)
        restored = self.restore.click(on_restore, self.run, None, **VIEW)
        restored.success(None, None, None, js="() => { location.reload(); }")

    def _export(self, chosen: Any, run: str, *, is_spot: bool) -> gr.DownloadButton:
        """Export what is selected; a button to download it, which says what it is."""
        out, results = self._settings.out, self._settings.results.state(run)  # refuses one that shows other clusters
        check_links(results.clusters)
        rank = rank_of(chosen, results) if is_spot else 0
        name = f"weak_spot_{rank}" if is_spot else f"RCC_{chosen}" if chosen >= 0 else "no_cluster"
        rccs = [] if is_spot else [chosen]
        exported = export_results(out, _export_folder() / f"{name}.zip", rccs=rccs, spot=rank)
        if exported.missing:
            warn("Not all exported", f"{len(exported.missing):,} images are no longer there, and are left out.")
        return gr.DownloadButton(f"Download {exported.path.name}", value=str(exported.path), visible=True)


def _export_folder() -> Path:
    """A new folder for an export that the page serves; the last `KEPT_EXPORTS` are kept."""
    exports = served_folder() / "exports"
    exports.mkdir(parents=True, exist_ok=True)
    for old in oldest(exports, but=KEPT_EXPORTS - 1):
        shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=exports))


def refreshed(settings: PageSettings) -> None:
    """Draw and describe anew what an edit has changed."""
    check_links(settings.results.state().clusters)
    refresh_rccs(settings.out)
