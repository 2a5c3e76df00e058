"""Which steps of the work are done, and which comes next: shown with the tabs, whichever of them is in sight."""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import gradio as gr

from safe_dnn.analysis import LABELS, NOTES, Analysis
from safe_dnn.page.assets import VIEW, script
from safe_dnn.page.messages import AWAY
from safe_dnn.page.settings import PageSettings
from safe_dnn.report.report import REPORT_FILE
from safe_dnn.store.runs import SELECTION
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import ACCURACY_FILE
from safe_dnn.training.labels import unlabelled


class Tab(NamedTuple):
    """A tab: its title, and what the page says as long as its step comes next."""

    title: str
    next: str


TABS = {
    "failures": Tab("Failures", "Next: find the reasons"),
    "clusters": Tab("Root cause clusters", "Next: judge the reasons"),
    "unsafe": Tab("Unsafe set", "Next: choose the images to label"),
    "labels": Tab("Labels", "Next: label them"),
    "retraining": Tab("Retraining", "Next: retrain"),
    "report": Tab("Report", "Next: write the report"),
    "safety_case": Tab("Safety case", ""),
}
"""The paper's steps in the order of the work, and what a safety case asks beside them; by the name that their jobs and
forms have, and that stands in the page's address."""
LOOK_SECONDS = 2.0
FAILURES_TAB, CLUSTERS_TAB, UNSAFE_TAB, LABELS_TAB, RETRAINING_TAB, REPORT_TAB, SAFETY_TAB = TABS


def lay_out_steps(settings: PageSettings, loaded: gr.events.Dependency, timers: Mapping[str, gr.Timer]) -> None:
    """Have the tabs say every few seconds which steps are done, and follow work that another window has started.

    An empty analysis opens on the failures; a service, whose visitors have images alone, does not.

    Parameters
    ----------
    loaded
        The event that a window was just opened.
    timers : mapping of str to Timer
        That of each tab's `JobView`.
    """
    widget = gr.HTML(
        html_template="<span></span>", js_on_load=script("widgets/tabs.js"), first=CLUSTERS_TAB, steps=None,
        elem_classes=AWAY,
    )  # fmt: skip
    seen = gr.State("")  # of the folder: what is done is looked at again only where it has changed

    def on_look(before: str) -> dict:
        running, latest = settings.jobs.running, settings.results.latest
        stamp = f"{latest.stamp}{latest.stamp_of(NOTES, SELECTION, LABELS, REPORT_FILE)}{running is None}"
        followed = {timers[running.tab]: gr.Timer(active=True)} if running and running.tab in timers else {}
        steps = {} if stamp == before else {widget: gr.HTML(steps=steps_of(settings)), seen: stamp}
        return {**followed, **steps} or gr.skip()

    def on_open() -> Any:
        with contextlib.suppress(SAFEError):
            latest = settings.results.latest
            if not (settings.hosted or latest.there or latest.failures_key or settings.jobs.running):
                return gr.HTML(first=FAILURES_TAB)
        return gr.skip()

    loaded.then(on_open, None, widget, **VIEW)
    gr.Timer(LOOK_SECONDS).tick(on_look, seen, [widget, seen, *timers.values()], **VIEW)


def steps_of(settings: PageSettings) -> dict[str, Any]:
    """The state of the work in an output folder, as a browser shows it.

    Returns
    -------
    dict
        `done`, the tabs whose step has a result that belongs to the present RCCs; `next`, the tab to go on with, or an
        empty text (an empty analysis asks by itself); `text`, what there is to do there.
    """
    latest, out = settings.results.latest, settings.out
    there, alone = latest.there and not latest.is_outdated, latest.has_tables_alone
    selected = there and latest.is_selected
    is_done = {
        FAILURES_TAB: (out / ACCURACY_FILE).is_file(),
        CLUSTERS_TAB: there,
        UNSAFE_TAB: selected,
        LABELS_TAB: selected and _is_labelled(latest),
        RETRAINING_TAB: there and latest.is_retrained,
        REPORT_TAB: (there or alone) and (out / REPORT_FILE).is_file(),
    }
    done = [tab for tab, one in is_done.items() if one]
    following = _next(done)
    # Verdicts say for which reasons no images are chosen, and are what the report quotes.
    if there and following in (UNSAFE_TAB, REPORT_TAB, "") and not _is_judged(latest):
        following = CLUSTERS_TAB
    if alone:  # there is nothing to group
        following = "" if REPORT_TAB in done else REPORT_TAB
    if not done or settings.jobs.running:  # it may be what is being done
        following = ""
    return {"done": done, "next": following, "text": TABS[following].next if following else ""}


def _is_labelled(latest: Analysis) -> bool:
    """Whether every image of the unsafe set has a label, or lies in the folder of its class."""
    try:
        return not unlabelled(latest.labelled)
    except SAFEError:
        return False


def _is_judged(latest: Analysis) -> bool:
    """Whether each reason to judge is, or they are damaged, which their tab says."""
    with contextlib.suppress(SAFEError):
        return all(reason.note.verdict for reason in latest.listed if reason.to_judge)
    return True


def _next(done: list[str]) -> str:
    if CLUSTERS_TAB not in done:
        return FAILURES_TAB
    if RETRAINING_TAB in done:
        return "" if REPORT_TAB in done else REPORT_TAB
    return next(tab for tab in TABS if tab not in (FAILURES_TAB, *done))
