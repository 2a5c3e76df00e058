"""What is done with the results: an RCC is exported, edits are taken back, and earlier runs are set beside them."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from page.beside import beside_html, run_title
from page.jobs import EDITS, VIEW, PageSettings, done, failed, warn
from page.results import Shown, check_links
from page.visitors import Window
from pipeline.descriptions import refresh_rccs
from pipeline.exports import export_results
from rccs.edits import redo_edit, undo_edit
from rccs.journal import describe_edit, standing
from reporting.history import Run, list_runs, restore_run
from reporting.side_by_side import sides
from support.errors import SAFEError
from support.text import printable

RUN_HEADERS = ["run (UTC)", "images", "RCCs", "no cluster", "reduced by", "named", "image folder"]

KEPT_EXPORTS = 20  # of all visitors


class RunsView:
    """Lay out the panes below the images; `outputs` are their widgets, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with gr.Row(elem_classes="safe-form", elem_id="export-row"):
            self.undo = gr.Button("Undo", size="md", min_width=90, interactive=False, elem_id="undo")
            self.redo = gr.Button("Redo", size="md", min_width=90, interactive=False, elem_id="redo")
            self.one = gr.Button("Export this RCC (ZIP)", size="md", min_width=170, elem_id="export-one")
            self.file = gr.DownloadButton(
                "Download", visible=False, variant="primary", min_width=150, elem_id="download"
            )
        with gr.Accordion("Edits", open=False, visible=False, elem_id="edits") as self.edits_pane:
            self.edits = gr.Dataframe(
                headers=["time (UTC)", "edit"], interactive=False, max_height=260, wrap=True, buttons=[],
                column_widths=["18%", "82%"],
            )  # fmt: skip
            with gr.Row(elem_classes="safe-form"):
                self.edit = gr.Dropdown(
                    label="An edit to take back", info="By anyone, if no later edit depends on it", choices=[],
                    scale=3, elem_id="edit",
                )  # fmt: skip
                self.take_back = gr.Button("Take back", scale=1, elem_id="take-back")
        with gr.Accordion("Earlier runs", open=False, elem_id="runs"):
            self.runs = gr.Dataframe(headers=RUN_HEADERS, interactive=False, max_height=260, elem_id="runs-table")
            with gr.Row(elem_classes="safe-form"):
                self.run = gr.Dropdown(label="Earlier run", choices=[], scale=3, elem_id="earlier-run",
                                       info="All that were reviewed, and the last 20 others")  # fmt: skip
                self.restore = gr.Button("Open", scale=0, min_width=90, elem_id="restore")
                self.other = gr.Dropdown(label="Beside", choices=[], scale=3, elem_id="other-run",
                                         info="The present one, or another earlier one")  # fmt: skip
                self.compare = gr.Button("Compare", scale=0, min_width=110, elem_id="compare")
            self.compared = gr.HTML(elem_id="compared")
        self.outputs = [self.undo, self.redo, self.file, self.edits_pane, self.edits, self.edit, self.runs, self.run,
                        self.other, self.compare, self.restore, self.compared]  # fmt: skip

    def show(self, results: Shown) -> dict:
        """The state of edits and runs."""
        review = results.review
        runs = list_runs(self._settings.out)
        earlier = [run for run in runs if not run.current]
        return {
            self.undo: gr.Button(interactive=review.last_edit() is not None),
            self.redo: gr.Button(interactive=review.last_undone() is not None),
            self.file: gr.DownloadButton(visible=False),
            self.edits_pane: gr.update(label=f"Edits ({len(review.edits)})", visible=bool(review.edits)),
            self.edits: [
                [edit.time.removesuffix("+00:00").replace("T", " "), printable(describe_edit(edit, review.edits))]
                for edit in reversed(review.edits)
            ],
            self.edit: gr.Dropdown(
                choices=[(printable(describe_edit(review.edits[n])), n) for n in reversed(standing(review.edits)[0])],
                value=None,
            ),
            self.runs: [_row(run) for run in runs],
            self.run: gr.Dropdown(
                choices=[(run_title(run), run.name) for run in earlier], value=earlier[0].name if earlier else None,
                interactive=bool(earlier),
            ),
            self.other: gr.Dropdown(
                choices=[(run_title(run), run.name) for run in runs],
                value=next((run.name for run in runs if run.current), None), interactive=bool(earlier),
            ),
            self.compare: gr.Button(interactive=bool(earlier)),
            self.restore: gr.Button(interactive=bool(earlier)),
            self.compared: "",
        }  # fmt: skip

    def wire(self, rcc: gr.State, window: Window, outputs: list, changed: Callable) -> None:
        """Connect the widgets (see `RccView.wire`)."""
        settings, run = self._settings, window.run

        def on_undo(rcc: int, *parts: object) -> dict:
            return changed(rcc, parts, lambda maker: undo_edit(settings.out, maker=maker))

        def on_redo(rcc: int, *parts: object) -> dict:
            return changed(rcc, parts, lambda maker: redo_edit(settings.out, maker=maker))

        def on_take_back(rcc: int, number: int | None, *parts: object) -> dict:
            if number is None:
                warn("Nothing changed", "Choose the edit to take back.")
                return gr.skip()
            return changed(rcc, parts, lambda maker: undo_edit(settings.out, number=int(number), maker=maker))

        def on_export(rcc: int, run: str) -> dict:
            try:
                return {self.file: self._export(rcc, run)}
            except SAFEError as error:
                warn("Not exported", error)
                return gr.skip()

        def on_compare(a: str | None, b: str | None) -> str:
            try:
                one, other, found = sides(settings.out, a or "", b or "")
                for side in (one, other):
                    check_links(side.clusters, settings.root)
            except SAFEError as error:
                return failed(error)
            agreement = "" if found.ari is None else f" · agreement (adjusted Rand index) {found.ari:.2f}"
            alone = f"{found.only_a:,} only in the first, {found.only_b:,} only in the second"
            return done(f"{found.common:,} images in common, {alone}{agreement}") + beside_html(one, other, found)

        def on_restore(name: str | None) -> None:
            """Bring a run back; the window is loaded anew then, since every tab and form is of another run."""
            try:
                restore_run(settings.out, name or "")
                refreshed(settings)
            except SAFEError as error:
                warn("Not opened", error)
                raise gr.Error(visible=False, print_exception=False) from error

        self.undo.click(on_undo, [rcc, *window.parts], outputs, **VIEW, **EDITS)
        self.redo.click(on_redo, [rcc, *window.parts], outputs, **VIEW, **EDITS)
        self.take_back.click(on_take_back, [rcc, self.edit, *window.parts], outputs, **VIEW, **EDITS)
        self.one.click(on_export, [rcc, run], self.file, **(VIEW | {"show_progress": "minimal"}))
        self.compare.click(on_compare, [self.run, self.other], self.compared, **VIEW)
        restored = self.restore.click(on_restore, self.run, None, **VIEW)
        restored.success(None, None, None, js="() => { location.reload(); }")

    def _export(self, rcc: int, run: str) -> gr.DownloadButton:
        """Export an RCC; a button to download it."""
        results = self._settings.results.shown(run)  # refuses a window that shows other clusters
        check_links(results.clusters, self._settings.root)
        name = f"RCC_{rcc}" if rcc >= 0 else "no_cluster"
        found = export_results(self._settings.out, _export_folder() / f"{name}.zip", rccs=[rcc])
        if found.missing:
            warn("Not all exported", f"{len(found.missing):,} images are no longer there, and are left out.")
        return gr.DownloadButton(f"Download {name}.zip", value=str(found.path), visible=True)


def _export_folder() -> Path:
    """A new folder below that of Gradio, which serves what lies there; the last `KEPT_EXPORTS` are kept."""
    exports = Path(get_upload_folder()) / "exports"
    exports.mkdir(parents=True, exist_ok=True)
    dated = []
    for old in exports.iterdir():
        with contextlib.suppress(OSError):  # another window removes it too
            dated.append((old.stat().st_mtime_ns, old))
    for _, old in sorted(dated)[: 1 - KEPT_EXPORTS]:
        shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=exports))


def refreshed(settings: PageSettings) -> None:
    """Draw and describe anew what an edit has changed."""
    check_links(settings.results.shown().clusters, settings.root)
    refresh_rccs(settings.out, within=settings.root)


def _row(run: Run) -> list:
    name = run_title(run)
    if run.damaged:
        return [name, "damaged", "", "", "", "", printable(run.damaged)]
    return [name, run.images, run.rccs, run.noise, run.reducer.upper(), run.named, printable(run.image_root)]
