"""What the enlarged image answers when it is asked for similar images: images that are right, improvement images.

They are gathered once for each run, by a job with progress, and kept in memory, 1 kB for each. (Failing images are
listed in the grid.)
"""

import threading
from typing import Any, NamedTuple

from safe_dnn.page.jobs import Job
from safe_dnn.page.pictures import data_uri
from safe_dnn.page.results import Shown
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.explaining import other_images
from safe_dnn.reasons.other_images import IMPROVEMENT, RIGHT, OtherImages, nearest_others
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

TAB = "similar"  # of its jobs, which no tab follows: the enlarged image does
KINDS = {RIGHT: "images that the network gets right", IMPROVEMENT: "improvement images"}
N_SIMILAR = 12
LOOK, STOP = "look", "stop"  # what a window asks for; anything else: how far the work is
ORDER = "Nearest first, by the distance in the space of PCA, which the selection of the unsafe set uses."
NOT_SENT = (TypeError, ValueError, OverflowError, IndexError)  # scripts may send anything


class Key(NamedTuple):
    """What differs where other images are to be compared: the run, the kind of images, and the unsafe set's mark."""

    run: str
    kind: str
    selection: object


class SimilarImages:
    """Gathers other images and finds those most like a failing one; a window's script calls `ask` and `picture`."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._lock = threading.Lock()
        self._gathered: dict[str, tuple[Key, OtherImages]] = {}  # by kind
        self._last: tuple[Key, Job] | None = None  # the last job, and what it gathers

    def ask(self, sent: object) -> dict[str, Any]:
        """The images most like a failing one, or how far the work is that it takes to find them.

        Parameters
        ----------
        sent : list
            The image's row, the run, the kind of images (of `KINDS`), and LOOK to find them, STOP to end that, or
            something else to hear how far it is.

        Returns
        -------
        dict
            `says`, a sentence; `images`, each with its `index` among those compared, `name`, `told`, `distance` and a
            `picture`; `working`, whether to ask again.
        """
        try:
            shown, row, kind, asked = self._read(sent)
        except SAFEError as error:
            return _only(str(error))
        except NOT_SENT:
            return _only("The page asked for something other than similar images. Reload it.")
        key = self._key(shown, kind)
        last, job = self._last or (None, None)
        job = job if last == key else None  # it gathers, or has gathered, just that
        if asked == STOP and job:
            job.cancel()
        elif asked == LOOK and not _runs(job) and self._known(key) is None:
            try:
                self._start(key)
            except SAFEError as error:
                return _only(str(error))
            return _only("Starting …", working=True)
        if job and _runs(job):
            return _only("Stopping after this batch …" if job.cancelled() else job.state, working=True)
        problem = "" if job is None or job.outcome is None or asked == LOOK else printable(str(job.outcome))
        others = self._known(key)
        if others is None:
            return _only(problem)
        images = [
            {
                "index": index,
                "name": printable(others.paths[index]),
                "told": printable(others.told[index]),
                "distance": f"{distance:.2f}",
                "picture": data_uri(others.root / others.paths[index], 128, self._settings.root),
            }
            for index, distance in nearest_others(others, shown.clusters.points[row], N_SIMILAR)
        ]
        says = problem or _summary(others, KINDS[kind])
        return {"says": says, "images": images, "working": False}

    def picture(self, sent: object) -> str:
        """One of them, larger, as a data URI; empty if there is no such image. `sent`: row, run, kind and index."""
        try:
            shown, _, kind, index = self._read(sent)
            if (others := self._known(self._key(shown, kind))) is None:
                return ""
            path = others.paths[range(len(others.paths))[index]]  # type: ignore[call-overload]  # see the except
        except (SAFEError, *NOT_SENT):
            return ""
        return data_uri(others.root / path, 720, self._settings.root)

    def _read(self, sent: object) -> tuple[Shown, int, str, object]:
        """What a script has sent, with what the window shows; one of `NOT_SENT` where it is something else."""
        if not isinstance(sent, list):
            raise TypeError("no list")
        row, run, kind, more = sent
        if kind not in KINDS:
            raise ValueError("no kind of images")
        shown = self._settings.results.shown(str(run))
        return shown, range(len(shown.clusters.paths))[row], kind, more

    # --- Gathering ----------------------------------------------------------------------------------------------

    def _key(self, shown: Shown, kind: str) -> Key:
        return Key(shown.run, kind, self._settings.results.marks().selection if kind == IMPROVEMENT else None)

    def _known(self, key: Key) -> OtherImages | None:
        """What was gathered, if it is still what is to be compared."""
        with self._lock:
            found = self._gathered.get(key.kind)
        return found[1] if found and found[0] == key else None

    def _start(self, key: Key) -> None:
        """Gather images in a job; a SAFEError where other work is running."""
        settings = self._settings

        def work(job: Job) -> None:
            others = other_images(
                settings.out, key.kind, within=settings.root, weights=settings.weights, progress=job.progress
            )
            settings.results.shown(key.run)  # raises if they are of another run
            with self._lock:
                self._gathered[key.kind] = key, others

        job = settings.jobs.start(TAB, work, settings.where)
        if job is None:
            raise SAFEError(f"{settings.jobs.busy} Ask again when it is done.")
        self._last = key, job


def _runs(job: Job | None) -> bool:
    return job is not None and not job.finished(0)


def _only(says: str, *, working: bool = False) -> dict[str, Any]:
    """An answer without images."""
    return {"says": printable(says), "images": [], "working": working}


def _summary(others: OtherImages, about: str) -> str:
    """How many images are compared, and which are not."""
    compared = f"Of {len(others.paths):,} {about}. {ORDER}" if others.paths else ""
    unreadable = f"{count(others.unreadable, 'image')} could not be read."
    parts = [compared, unreadable if others.unreadable else "", *others.notes]
    return " ".join(filter(None, parts))
