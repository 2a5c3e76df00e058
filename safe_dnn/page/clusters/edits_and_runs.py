"""What is done with the results: edits are undone, and earlier runs are opened."""

from collections.abc import Callable
from functools import partial

import gradio as gr

from safe_dnn.analysis import Analysis, check_links
from safe_dnn.api.generation import restore_run
from safe_dnn.page.clusters.note import NoteView
from safe_dnn.page.events import EACH, EDITS, LATEST, VIEW
from safe_dnn.page.forms import take_labels
from safe_dnn.page.messages import tell
from safe_dnn.page.settings import PageSettings
from safe_dnn.rccs.review.journal import UNKNOWN, describe_edit
from safe_dnn.rccs.review.review import redo_edit, undo_edit
from safe_dnn.report.present_files import refresh_rccs, show_present
from safe_dnn.store.runs import earlier_runs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import printable


class RunsView:
    """Lay out the panes below the images; `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with gr.Row(elem_classes="safe-form", elem_id="undo-row"):
            self.undo = gr.Button("Undo", size="md", min_width=90, elem_id="undo")
            self.redo = gr.Button("Redo", size="md", min_width=90, elem_id="redo")
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
        restored = self.restore.click(on_restore, self.run, None, **VIEW)
        restored.success(None, None, None, js="() => { location.reload(); }")


def refreshed(settings: PageSettings) -> None:
    """Draw and describe anew what an edit has changed."""
    check_links(settings.results.state().clusters)
    refresh_rccs(settings.out)
