"""Which steps of the work are done, and which comes next: shown with the tabs, whichever of them is in sight."""

import threading
from pathlib import Path
from typing import Any

from page.jobs import PageSettings
from page.results import Results
from rccs.unsafe_set import load_unsafe_set
from reporting.freshness import is_current
from support.errors import SAFEError
from support.run_folder import ACCURACY_FILE, REPORT_FILE, UNSAFE_SET_FILE
from training.labels import unlabelled

STEPS = ("failures", "clusters", "unsafe", "labels", "retraining", "report")  # the tabs, in the order of the work
NEXT = {
    "failures": "Next: find the reasons",
    "unsafe": "Next: choose the images to label",
    "labels": "Next: label them",
    "retraining": "Next: retrain",
    "report": "Next: write the report",
}


class Steps:
    """The state of the work in an output folder; looked at again only where the folder has changed."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._lock = threading.Lock()
        self._seen: tuple[str, dict[str, Any]] = ("", {})

    def now(self) -> dict[str, Any]:
        """What a browser shows.

        Returns
        -------
        dict
            `done`, the tabs whose step has a result that belongs to the RCCs at hand; `next`, the tab to go on with,
            or an empty text; `text`, what there is to do there.
        """
        results = self._settings.results
        stamp = results.stamp + results.notes_stamp + results.stamp_of(UNSAFE_SET_FILE, REPORT_FILE)
        with self._lock:
            if self._seen[0] != stamp:
                self._seen = (stamp, self._look(results))
            return self._seen[1]

    def _look(self, results: Results) -> dict[str, Any]:
        out = self._settings.out
        done = []
        if (out / ACCURACY_FILE).is_file():
            done.append("failures")
        if results.there:
            done.append("clusters")
            if (out / UNSAFE_SET_FILE).is_file() and results.holds_unsafe_set():
                done.append("unsafe")
                if _is_labelled(out):
                    done.append("labels")
            if results.holds_retraining():
                done.append("retraining")
            if is_current(out / REPORT_FILE, results.digests):
                done.append("report")
        following = _next(done)
        return {"done": done, "next": following, "text": NEXT.get(following, "")}


def _is_labelled(out: Path) -> bool:
    """Whether every image of the unsafe set has a label."""
    try:
        return not unlabelled(load_unsafe_set(out))
    except SAFEError:
        return False


def _next(done: list[str]) -> str:
    if "clusters" not in done:
        return "failures" if done else ""
    if "retraining" in done:
        return "" if "report" in done else "report"
    return next(step for step in STEPS[2:] if step not in done)
