"""Last tab: what has been found, judged and improved leaves SAFE as a report and as an export.

Below these, the reasons can be checked on a fresh test set, which chose nothing.
"""

from collections.abc import Callable
from functools import partial

import gradio as gr

from safe_dnn import api
from safe_dnn.page.events import VIEW
from safe_dnn.page.forms import FormView, check_there, remember, remembered, required_path
from safe_dnn.page.job_view import JobView
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import done, empty, failed, pane, reveal
from safe_dnn.page.report.register_view import RegisterView
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import REPORT_TAB
from safe_dnn.pipeline.analysis import LABELS, NOTES, Analysis, check_links
from safe_dnn.pipeline.exports import EXPORT_ZIP, SUMS_FILE, export_here, missing_in
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.pipeline.reporting.report import REPORT_FILE, confirmation_html
from safe_dnn.rccs.clusters import rccs_of
from safe_dnn.store.runs import CONFIRMATION, SELECTION
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import date_of
from safe_dnn.support.text import count

FORM = "confirmation"
MOST_FINDINGS = 100
EMPTY = empty(
    "Nothing to report on yet.",
    [
        ("Generate RCCs", "In the tab Root cause clusters: the reasons for which the network fails."),
        ("Judge them", "Name the reasons, and say whether they are a hazard. The report quotes you."),
        ("Click Write the report", "One file for the safety case, and an export of all images by reason."),
    ],
)


class FreshTestSet:
    """The fields and the answers of a fresh test set; `outputs` are what changes, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self.form = FormView(lambda: remembered(settings.out, FORM))
        with gr.Column(elem_classes="safe-product", elem_id="fresh-test-set"):
            gr.HTML(filled("page/report/products.html"))
            with gr.Row(elem_classes="safe-form"):
                columns = "CSV: image, label, predicted, of the same network"
                self.form.path("predictions", "fresh-predictions", "Predictions", columns, "predictions.csv")
                unseen = "None that SAFE has seen before"
                self.form.path("tested", "fresh-tested", "Fresh test images", unseen, "fresh")
                closed = "Optional: which reasons has it closed?"
                self.form.path("after", "fresh-after", "Predictions of a later model", closed, "after.csv")
                self.ask = gr.Button("Confirm", scale=0, min_width=150, elem_id="confirm")
            self.answers = gr.HTML(elem_id="confirmed")
        self.outputs = [self.answers]

    def show(self) -> dict:
        """The answers that a fresh test set has given, if any."""
        run = self._settings.results.latest.runs.get(CONFIRMATION)
        edits = self._settings.results.state().review.last_number
        return {self.answers: confirmation_html(run.facts, changed=edits != run.facts["edits"]) if run else ""}

    @property
    def stamp(self) -> str:
        """Differs where there are other answers."""
        run = self._settings.results.latest.runs.get(CONFIRMATION)
        return f"{run.number}" if run else ""

    def wanted(self, predictions: str | None, tested: str | None, after: str | None) -> partial:
        """The work of asking the fresh images that the fields name, which are kept.

        Raises
        ------
        SAFEError
            A field is empty or leads out of the page's root, or nothing is there.
        """
        settings = self._settings
        table = required_path(predictions, "table of predictions", settings)
        folder = required_path(tested, "folder of fresh test images", settings)
        remember(settings.out, FORM, {"predictions": predictions, "tested": tested, "after": after})
        later = settings.accept(after) or None
        check_there({"predictions": table, "fresh test images": folder, "later predictions": later or table})
        return partial(api.confirm, table, folder, settings.out, after=later, weights=settings.weights)


class ReportTab:
    """Lay out the tab; `wire` connects its widgets."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with gr.Row(elem_classes="safe-state"):
            self.status = gr.HTML(EMPTY, elem_id="report-status", scale=1)
            self.cancel = gr.Button("Stop", scale=0, min_width=110, visible=False, elem_id="cancel-report")
        with pane("report-pane") as self.pane:
            with gr.Column(elem_classes="safe-product"):
                gr.HTML(filled("page/report/products.html", of="report"))
                self.report_state = gr.HTML(elem_id="report-state")
                self.report = gr.Button("Write the report", variant="primary", elem_id="report")
            what = "More: export to other programs, evidence"
            with gr.Accordion(what, open=False, elem_id="report-more"), gr.Row(equal_height=True):
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
            self.register = RegisterView(settings)
            self.fresh = FreshTestSet(settings)
        self.run = gr.State("")  # the clusters that the window shows
        self.stamp = gr.State("")  # and the state of the folder
        self.job_view = JobView(
            settings, REPORT_TAB, self.status, self.report, self.cancel,
            guide=lambda: "" if settings.results.latest.there else EMPTY, result=self.pane,
            stopped="Stopped. Nothing was changed.",
            other_buttons=[self.export, self.evidence, self.verify, self.fresh.ask],
        )  # fmt: skip
        self.outputs = [
            *self.job_view.outputs, self.pane, self.report_state, self.export_state, self.evidence_state, self.verified,
            self.run, self.stamp, *self.register.outputs, *self.fresh.outputs,
        ]  # fmt: skip

    def show(self) -> dict:
        """What the widgets show of the folder.

        Raises
        ------
        SAFEError
            The clusters are damaged.
        """
        results = self._settings.results.state()
        clusters = results.clusters
        subject = f"{count(len(rccs_of(clusters)), 'RCC')} of {len(clusters.paths):,} failures"
        return {
            self.status: done(f"{subject} · folder {clusters.image_root.name}", _not_judged(results)),
            self.pane: reveal(),
            self.report_state: state_of(REPORT_FILE, "written", self._settings),
            self.export_state: state_of(EXPORT_ZIP, "packed", self._settings),
            self.evidence_state: state_of(SUMS_FILE, "written", self._settings),
            self.run: results.run, self.stamp: self._stamp(),
            **self.register.show(), **self.fresh.show(),
        }  # fmt: skip

    def _stamp(self) -> str:
        latest, files = self._settings.results.latest, (REPORT_FILE, EXPORT_ZIP, SUMS_FILE)
        return latest.stamp + latest.stamp_of(NOTES, SELECTION, LABELS, *files) + self.fresh.stamp

    def _make(
        self, work: Callable[[Job], object], run: str | None, show: Callable[[], dict] | None = None, *check: Callable
    ) -> dict:
        def checked(job: Job) -> None:
            # Refuses a window that shows other clusters, and images that lead out of the page's root by now.
            check_links(self._settings.results.state(run or None).clusters)
            work(job)

        return self.job_view.start(checked, show or self.show, *check)

    def _on_make(self, write: Callable[..., object], run: str | None) -> dict:
        return self._make(lambda job: write(self._settings.out), run)

    def on_verify(self, run: str | None) -> dict:
        results: list[list[tuple[str, str]]] = []  # none if there is no answer

        def work(job: Job) -> None:
            results.append(api.verify(self._settings.out).value)

        def show() -> dict:
            texts = [filled("page/report/verified.html", found=one, most=MOST_FINDINGS) for one in results]
            return {**self.show(), self.verified: "".join(texts)}

        return self._make(work, run, show)

    def on_confirm(self, run: str | None, *fields: str | None) -> dict:
        return self._make(lambda job: job.form(), run, None, lambda: self.fresh.wanted(*fields))

    def _first_look(self) -> dict:
        return {**self.job_view.look(self.show), **self.fresh.form.first_look("")}

    def on_look(self, stamp: str) -> dict:
        """Look again if anything has changed since."""
        return gr.skip() if self._stamp() == stamp else self.job_view.look(self.show)

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        for button, write in ((self.report, api.report), (self.export, export_here), (self.evidence, api.evidence)):
            button.click(partial(self._on_make, write), self.run, self.outputs, **VIEW)
        self.verify.click(self.on_verify, self.run, self.outputs, **VIEW)
        self.fresh.ask.click(self.on_confirm, [self.run, *self.fresh.form.widgets], self.outputs, **VIEW)
        filled_in = [*self.outputs, *self.fresh.form.widgets, self.fresh.form.filled]
        loaded.then(lambda: self.job_view.first(self._first_look), None, filled_in, **VIEW)
        tab.select(self.on_look, self.stamp, self.outputs, **VIEW)
        self.job_view.wire(self.outputs)
        self.register.wire(loaded)


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


def _not_judged(state: Analysis) -> str:
    """How many reasons are yet to be judged, before the report says so."""
    verdicts = [reason.note.verdict for reason in state.listed if reason.to_judge]
    return f"Not judged yet: {verdicts.count(''):,} of {count(len(verdicts), 'reason')}." if "" in verdicts else ""
