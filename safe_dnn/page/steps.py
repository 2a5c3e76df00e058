"""Which steps of the work are done, and which comes next: shown with the tabs, whichever of them is in sight."""

import contextlib
import functools
from pathlib import Path
from typing import Any

from safe_dnn.dnn.failures import load_failures
from safe_dnn.page.collected import are_earlier
from safe_dnn.page.results import Results
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.reporting.export import REPORT_FILE
from safe_dnn.pipeline.reporting.freshness import is_current
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import ACCURACY_FILE
from safe_dnn.training.labels import label_unsafe_set, unlabelled

STEPS = ("failures", "clusters", "unsafe", "labels", "retraining", "report")  # the tabs, in the order of the work
NEXT = {
    "failures": "Next: find the reasons",
    "clusters": "Next: judge the reasons",
    "unsafe": "Next: choose the images to label",
    "labels": "Next: label them",
    "retraining": "Next: retrain",
    "report": "Next: write the report",
}


# An empty analysis opens where the paper begins, with failing images: whoever has a model is led to the first tab.
FROM_A_MODEL = "From a model: collect its failures"


class Steps:
    """The state of the work in an output folder; looked at again only where the folder has changed."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._look = functools.lru_cache(maxsize=1)(self._look_at)

    def now(self) -> dict[str, Any]:
        """What a browser shows.

        Returns
        -------
        dict
            `done`, the tabs whose step has a result that belongs to the RCCs at hand; `next`, the tab to go on with,
            or an empty text; `text`, what there is to do there.
        """
        results = self._settings.results
        stamp = results.stamp + results.notes_stamp + results.labels_stamp + results.stamp_of(REPORT_FILE)
        found = self._look(stamp)
        return {**found, "next": ""} if self._settings.jobs.running else found  # it may be what is being done

    def _look_at(self, stamp: str) -> dict[str, Any]:
        """What a folder with a stamp holds."""
        out, results = self._settings.out, self._settings.results
        done = []
        if (out / ACCURACY_FILE).is_file():
            done.append("failures")
        if results.there and not are_earlier(self._settings):
            done.append("clusters")
            if results.holds_unsafe_set():
                done.append("unsafe")
                if _is_labelled(out):
                    done.append("labels")
            if results.holds_retraining():
                done.append("retraining")
            if is_current(out / REPORT_FILE, results.digests):
                done.append("report")
        following = _next(done)
        if following == "unsafe" and not _is_judged(results):
            following = "clusters"
        return {"done": done, "next": following, "text": NEXT.get(following, "") if done else FROM_A_MODEL}


def _is_labelled(out: Path) -> bool:
    """Whether every image of the unsafe set has a label, or lies in the folder of its class."""
    try:
        unsafe = load_unsafe_set(out)
        return not (unlabelled(unsafe) and unlabelled(label_unsafe_set(unsafe, load_failures(out).classes)))
    except SAFEError:
        return False


def _is_judged(results: Results) -> bool:
    """Whether any RCC or weak spot is, or they are damaged, which their tab says."""
    with contextlib.suppress(SAFEError):
        shown = results.shown()
        return any(note.verdict for notes in (shown.notes, shown.spot_notes) for note in notes.values())
    return True


def _next(done: list[str]) -> str:
    if "clusters" not in done:
        return "failures"
    if "retraining" in done:
        return "" if "report" in done else "report"
    return next(step for step in STEPS[2:] if step not in done)
