"""Last of the paper's steps: what has been found, judged and improved leaves SAFE as a report and as an export."""

from collections.abc import Callable
from functools import partial

import gradio as gr

from safe_dnn import api
from safe_dnn.analysis import LABELS, NOTES, Analysis
from safe_dnn.page.assets import VIEW
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import done, empty, failed, pane, reveal
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import REPORT_TAB
from safe_dnn.page.work_tab import WorkTab, widgets_in
from safe_dnn.rccs.clusters import RootCauseClusters, rccs_of
from safe_dnn.report.evidence import SUMS_FILE
from safe_dnn.report.exports import EXPORT_ZIP, export_here, missing_in
from safe_dnn.report.markup import filled
from safe_dnn.report.report import REPORT_FILE
from safe_dnn.report.summary_lines import failures_summary
from safe_dnn.store.runs import SELECTION
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import date_of
from safe_dnn.support.text import count

MOST_FINDINGS = 100
EMPTY = empty(
    "Nothing to report on yet.",
    [
        ("Generate RCCs", "In the tab Root cause clusters: the reasons for which the network fails."),
        ("Judge them", "Name the reasons, and say whether they are a hazard. The report quotes you."),
        ("Click Write the report", "One file for the safety case, and an export of all images by reason."),
    ],
)


class ReportTab(WorkTab):
    """Lay out the tab; `wire` connects its widgets."""

    name = REPORT_TAB
    stopped = "Stopped. Nothing was changed."

    def __init__(self, settings: PageSettings):
        super().__init__(settings)
        self._lay_out_state()
        with pane("report-pane") as self.pane:
            with gr.Column(elem_classes="safe-product"):
                gr.HTML(filled("page/report/products.html", of="report"))
                self.report_state = gr.HTML(elem_id="report-state")
                self.start = gr.Button("Write the report", variant="primary", elem_id="report")
            with gr.Row(equal_height=True):
                with gr.Column(elem_classes="safe-product", min_width=300):
                    gr.HTML(filled("page/report/products.html", of="export", take_home=settings.uploads))
                    self.export_state = gr.HTML(elem_id="export-state")
                    self.export = gr.Button("Pack the export", elem_id="export-all")
                with gr.Column(elem_classes=["safe-product", "safe-evidence"], min_width=300):
                    gr.HTML(filled("page/report/products.html", of="evidence"))
                    self.evidence_state = gr.HTML(elem_id="evidence-state")
                    with gr.Row():
                        self.evidence = gr.Button("Write the evidence", elem_id="evidence")
                        self.verify = gr.Button("Verify", elem_id="verify")
                    self.verified = gr.HTML(elem_id="verified")
        self.other_buttons = [self.export, self.evidence, self.verify]

    def _guide(self) -> str:
        latest = self._settings.results.latest
        return "" if latest.there or latest.has_tables_alone else EMPTY

    def _now(self) -> tuple:
        latest, files = self._settings.results.latest, (REPORT_FILE, EXPORT_ZIP, SUMS_FILE)
        return latest.marks.run, latest.stamp, latest.stamp_of(NOTES, SELECTION, LABELS, *files)

    def show(self) -> dict:
        """What the widgets show of the folder.

        Raises
        ------
        SAFEError
            The clusters are damaged.
        """
        results = self._settings.results.state()
        subject = _of_clusters(results.clusters) if results.there else failures_summary(results.failures)
        return {
            self.status: done(subject, _not_judged(results)),
            self.pane: reveal(),
            self.report_state: state_of(REPORT_FILE, "written", self._settings),
            self.export_state: state_of(EXPORT_ZIP, "packed", self._settings),
            self.evidence_state: state_of(SUMS_FILE, "written", self._settings),
        }

    def _on_make(self, write: Callable[..., object], marks: tuple | None) -> dict:
        return self._work_on(marks, lambda: lambda _: write(self._settings.out))

    def _on_verify(self, marks: tuple | None) -> dict:
        results: list[list[tuple[str, str]]] = []  # none if there is no answer

        def work(_: Job) -> None:
            results.append(api.verify(self._settings.out).value)

        def show() -> dict:
            texts = [filled("page/report/verified.html", found=one, most=MOST_FINDINGS) for one in results]
            return {**self._view(), self.verified: "".join(texts)}

        return self._work_on(marks, lambda: work, show)

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        outputs = widgets_in(tab)
        for button, write in ((self.start, api.report), (self.export, export_here), (self.evidence, api.evidence)):
            button.click(partial(self._on_make, write), self.marks, outputs, **VIEW)
        self.verify.click(self._on_verify, self.marks, outputs, **VIEW)
        self._wire(loaded, tab)


# --- In words -------------------------------------------------------------------------------------------------------


def state_of(file: str, verb: str, settings: PageSettings) -> str:
    """When a file was written or packed, and links to it, as HTML."""
    path = settings.out / file
    if not path.is_file():
        return filled("page/report/made.html", verb=verb)
    try:
        missing = missing_in(path) if file == EXPORT_ZIP else 0
    except SAFEError as error:
        return failed(error)
    when = f"{date_of(path.stat().st_mtime).astimezone():%-d %B %Y, %H:%M}"
    return filled("page/report/made.html", file=file, verb=verb, when=when, opens=file == REPORT_FILE, missing=missing)


def _of_clusters(clusters: RootCauseClusters) -> str:
    subject = f"{count(len(rccs_of(clusters)), 'RCC')} of {len(clusters.paths):,} failures"
    return f"{subject} · folder {clusters.image_root.name}"


def _not_judged(state: Analysis) -> str:
    """How many reasons are yet to be judged, before the report says so."""
    verdicts = [reason.note.verdict for reason in state.listed if reason.to_judge]
    return f"Not judged yet: {verdicts.count(''):,} of {count(len(verdicts), 'reason')}." if "" in verdicts else ""
