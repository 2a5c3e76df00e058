"""Last tab: what has been found, judged and improved leaves SAFE as a report and as an export."""

import datetime
import html
from collections.abc import Callable, Iterator
from typing import NamedTuple

import gradio as gr

from page.job_view import JobView, News
from page.jobs import EDITS, FOLLOW, LATEST, VIEW, Job, PageSettings, done, empty, failed, pane, reveal
from page.results import check_links
from pipeline.exports import export_here
from reporting.freshness import Made, when_made
from reporting.report import write_report
from support.errors import SAFEError
from support.run_folder import (
    ACCURACY_FILE,
    COMPARISON_FILE,
    EDITS_FILE,
    EXPORT_ZIP,
    NOTES_FILE,
    REPORT_FILE,
    RETRAINING_FILE,
    SPOT_NOTES_FILE,
    UNSAFE_SET_FILE,
)
from support.text import count

TAB = "report"
# What the tab says changes with these.
_FILES = (REPORT_FILE, EXPORT_ZIP, EDITS_FILE, NOTES_FILE, SPOT_NOTES_FILE, COMPARISON_FILE, UNSAFE_SET_FILE,
          RETRAINING_FILE, ACCURACY_FILE)  # fmt: skip
EMPTY = empty(
    "Nothing to report on yet.",
    [
        ("Generate RCCs", "In the tab Root cause clusters: the reasons for which the network fails."),
        ("Judge them", "Name the reasons, and say whether they are a hazard. The report quotes you."),
        ("Click Write the report", "One file for the safety case, and an export of all images by reason."),
    ],
)


class _Product(NamedTuple):
    """What the tab makes.

    Attributes
    ----------
    file : str
    title, what : str
        What it is.
    verb : str
        What was done to make it.
    holds : tuple of str
    opens : bool
        Whether a browser shows it.
    """

    file: str
    title: str
    what: str
    verb: str
    holds: tuple[str, ...]
    opens: bool


REPORT = _Product(
    REPORT_FILE,
    "Report",
    "One HTML file for the safety case, which opens and prints anywhere.",
    "written",
    (
        "Each reason with its images, what they have in common, how often the network fails on such images, and your "
        "names and verdicts",
        "Weak spots, images in no cluster, skipped images, and every edit",
        "The unsafe set, and the network before and after retraining: what it took for what, by class and by reason",
        "How all of it was found, its limits, and a place to sign",
    ),
    opens=True,
)
EXPORT = _Product(
    EXPORT_ZIP,
    "Export",
    "One ZIP file with the images themselves, for work in other programs.",
    "packed",
    (
        "All failing images, a folder for each reason",
        "A table of them (labels.csv): the RCC, its name and verdict, the class, and what the network said",
        "The report",
    ),
    opens=False,
)


class ReportTab:
    """Lay out the tab; `wire` connects its widgets."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with gr.Row(elem_classes="safe-state"):
            self.status = gr.HTML(EMPTY, elem_id="report-status", scale=1)
            self.cancel = gr.Button("Cancel", scale=0, min_width=110, visible=False, elem_id="cancel-report")
        with pane("report-pane") as self.pane, gr.Row(equal_height=True):
            with gr.Column(elem_classes="safe-product", min_width=360):
                gr.HTML(_described(REPORT))
                self.report_state = gr.HTML(elem_id="report-state")
                self.report = gr.Button("Write the report", variant="primary", elem_id="report")
            with gr.Column(elem_classes="safe-product", min_width=360):
                gr.HTML(_described(EXPORT))
                self.export_state = gr.HTML(elem_id="export-state")
                self.export = gr.Button("Pack the export", elem_id="export-all")
        self.run = gr.State("")  # the clusters that the window shows
        self.seen = gr.State("")  # and the state of the folder
        self.job_view = JobView(
            settings, TAB, self.status, self.report, self.cancel,
            guide=lambda: "" if settings.results.there else EMPTY, result=self.pane,
            stopped="Stopped. Nothing was changed.", others=[self.export],
        )  # fmt: skip
        self.outputs = [
            *self.job_view.outputs, self.pane, self.report_state, self.export_state, self.run, self.seen,
        ]  # fmt: skip

    def show(self) -> dict:
        """What the widgets show of the folder.

        Raises
        ------
        SAFEError
            The clusters are damaged.
        """
        results = self._settings.results.shown()
        clusters = results.clusters
        subject = f"{len(clusters.groups) - (-1 in clusters.groups)} RCCs of {len(clusters.paths):,} failures"
        return {
            self.status: done(f"{subject} · folder {clusters.image_root.name}"),
            self.pane: reveal(),
            self.report_state: state_of(REPORT, self._settings),
            self.export_state: state_of(EXPORT, self._settings),
            self.run: results.run,
            self.seen: self._stamp(),
        }

    def _stamp(self) -> str:
        results = self._settings.results
        return results.stamp_of(*_FILES)

    def _make(self, work: Callable[[Job], object], run: str | None) -> Iterator[dict]:
        def checked(job: Job) -> None:
            # Refuses a window that shows other clusters, and images that lead out of the page's root by now.
            check_links(self._settings.results.shown(run or None).clusters, self._settings.root)
            work(job)

        yield from self.job_view.start(checked, self.show)

    def on_report(self, run: str | None) -> Iterator[dict]:
        yield from self._make(lambda job: write_report(self._settings.out, progress=job.progress), run)

    def on_export(self, run: str | None) -> Iterator[dict]:
        yield from self._make(lambda job: export_here(self._settings.out, progress=job.progress), run)

    def on_load(self) -> Iterator[dict]:
        yield from self.job_view.load(lambda: self.job_view.look(self.show), self.show)

    def on_look(self, followed: int, seen: str) -> dict:
        """Look again if anything has changed since."""
        return gr.skip() if self._stamp() == seen else self.job_view.look(self.show, followed)

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab, news: News) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        looked = [self.job_view.followed, self.seen]
        self.report.click(self.on_report, self.run, self.outputs, **FOLLOW)
        self.export.click(self.on_export, self.run, self.outputs, **FOLLOW)
        loaded.then(self.on_load, None, self.outputs, **FOLLOW)
        tab.select(self.on_look, looked, self.outputs, **VIEW)
        self.job_view.wire(news, self.show, self.outputs)
        for event in (news.folder, news.notes):
            event(self.on_look, looked, self.outputs, **LATEST, **EDITS)


# --- In words -------------------------------------------------------------------------------------------------------


def state_of(product: _Product, settings: PageSettings) -> str:
    """When it was made, what has changed since, and links to it, as HTML."""
    try:
        made = when_made(settings.out / product.file, settings.results.digests)
    except SAFEError as error:
        return failed(error)
    if made is None:
        return f"<p class='safe-made'>Not {product.verb} yet.</p>"
    opened = f"<a href='{product.file}' target='_blank' rel='noopener'>Open</a>" if product.opens else ""
    gaps = (
        f"<p class='safe-made'>{count(made.missing, 'image')} could not be read, and left out.</p>"
        if made.missing
        else ""
    )
    return (
        f"<p class='safe-made' data-old='{str(made.changed != ()).lower()}'><b>{_age(made, product)}</b> "
        f"{html.escape(f'{_date(made.time)}, {_size(made.size)}')}</p><p class='safe-made-links'>{opened}"
        f"<a href='{product.file}' download='{product.file}'>Download {product.file}</a></p>{gaps}"
    )


def _described(product: _Product) -> str:
    holds = "".join(f"<li>{html.escape(line)}</li>" for line in product.holds)
    return f"<h3>{product.title}</h3><p>{html.escape(product.what)}</p><ul class='safe-list'>{holds}</ul>"


def _age(made: Made, product: _Product) -> str:
    """Whether it is as the folder is."""
    if made.changed is None:
        return f"Was {product.verb} by an earlier version: what has changed since is not known."
    if not made.changed:
        return "Up to date."
    *others, last = made.changed
    changed = f"{', '.join(others)} and {last}" if others else last
    return f"Out of date: {changed} changed since."


def _date(time: datetime.datetime) -> str:
    return f"{time:%-d %B %Y, %H:%M}"


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{max(1, round(size / 1e3)):,} kB"
