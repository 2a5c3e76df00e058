"""What the output folder holds, read once and kept as long as the files stay the same."""

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from safe_dnn.dnn.failures import load_failures
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.pipeline.descriptions import known_parameters
from safe_dnn.pipeline.tagging import answers_to_tag, word_columns
from safe_dnn.pipeline.word_reasons import with_words
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, load_clusters
from safe_dnn.rccs.profiles import PROFILES_FILE, Profile, load_profiles
from safe_dnn.rccs.review.journal import KINDS
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import CHANGED, Review, folder_tested, load_review, notes_of_run
from safe_dnn.rccs.spots.rates import by_excess
from safe_dnn.rccs.unsafe_set import LABEL, UnsafeSet, load_unsafe_set, set_key
from safe_dnn.reasons.comparison import Reasons, load_reasons
from safe_dnn.reasons.listed import Reason, reasons_of, with_notes
from safe_dnn.reasons.probes import Probe, load_probes
from safe_dnn.store.database import DATABASE_FILE, last_number, reading
from safe_dnn.store.places import NEW_PLACE
from safe_dnn.store.runs import CLUSTERS, COMPARISON, PROBES, REASONS, RETRAINING, SELECTION, Run, present_runs, runs_of
from safe_dnn.support.errors import SAFEError, may_open, present_root
from safe_dnn.support.files import state_of_file
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_MARK
from safe_dnn.training.result import load_retraining, retraining_of
from safe_dnn.words.tags import TAG, WORD

# Other failures have taken the place of those that the clusters are of where the mark has changed.
_FAILURES = f"{FAILURES}/{FAILURES_MARK}"

_Stamps = Mapping[str, object]
_Part = TypeVar("_Part")


class AnalysisState(NamedTuple):
    """The state of an analysis that the windows of the page show.

    Attributes
    ----------
    review : Review
    profiles : mapping of int to Profile
        By RCC; empty where no parameters are known.
    reasons : Reasons
        What the comparison with the images that the network gets right has found; empty where they are not known.
    spot_notes : mapping of str to Note
        By conditions; also on those that are not among the weak spots.
    problem : str
        Why the profiles, reasons or notes on weak spots cannot be shown, the clusters not needing them.
    listed : list of Reason
        With their notes, in the order in which they are shown.
    run : str
        Fingerprint of the clusters as they were found: windows that show another one are out of date.
    number : int
        Of the newest entry on what was done or said.
    probes : list of Probe
    probed : object
        What differs where they are of another run.
    """

    review: Review
    profiles: Mapping[int, Profile]
    reasons: Reasons
    spot_notes: Mapping[str, Note]
    problem: str
    listed: list[Reason]
    run: str
    number: int
    probes: list[Probe]
    probed: object

    @property
    def clusters(self) -> RootCauseClusters:
        """With the engineer's edits."""
        return self.review.clusters

    def reason(self, key: object) -> Reason | None:
        """The reason that a browser has named by an RCC's number, or a weak spot's conditions; None if there is none.

        The images in no cluster are no reason.
        """
        about = ("rcc", key) if isinstance(key, int) else ("subject", key)
        return next((one for one in self.listed if getattr(one, about[0]) == about[1]), None)

    @property
    def groups(self) -> list[int]:
        """RCCs in the order in which they are shown: the failures above what would be expected, or else the size."""
        return by_excess(self.clusters.groups, self.reasons.rates)

    @property
    def compared(self) -> str:
        """A text that differs where more has been found in comparison."""
        words = [(spot.literals, *spot.figures[:2]) for spot in self.reasons.spots if spot.figures.answers]
        return (
            f"{len(self.reasons.spots)} {words} {self.reasons.base} {self.reasons.comparison is not None} {self.probed}"
        )

    @property
    def notes(self) -> Mapping[int, Note]:
        return self.review.notes


class Marks(NamedTuple):
    """What changes whenever the folder does: of its clusters, edits, unsafe set and retraining."""

    run: str
    edits: int
    selection: int
    retraining: int


class _Entries(NamedTuple):
    """What the database says.

    Attributes
    ----------
    stamp : tuple
        Of its files.
    runs : mapping of str to Run
        The present ones, by kind.
    notes, spots, labelled, places, reasons, words : int
        The last entries on RCCs and weak spots, on weak spots alone, on images, on where folders lie, of reasons that
        were found without clusters, and on words.
    """

    stamp: tuple
    runs: Mapping[str, Run]
    notes: int
    spots: int
    labelled: int
    places: int
    reasons: int
    words: int


class Results:
    """The results in an output folder.

    Parameters
    ----------
    out : Path
    """

    def __init__(self, out: Path):
        self._out = out
        self._lock = threading.Lock()
        self._stamps: _Stamps = {}
        self._parts: dict[str, tuple[object, Any, str]] = {}
        self._state: AnalysisState | None = None
        self._described: tuple[tuple, Mapping[str, np.ndarray]] = ((), {})
        self._tested: dict[tuple, AnsweredImages] = {}  # the last ones, by stamp
        self._tagged: dict[tuple, Mapping[str, np.ndarray]] = {}
        self._known = _Entries((), {}, 0, 0, 0, 0, 0, 0)

    def state(self, run: str | None = None) -> AnalysisState:
        """The present state: clusters, notes and profiles.

        Parameters
        ----------
        run : str, optional
            What the window shows; a SAFEError where the folder holds something else by now.
        """
        with self._lock:
            self.check_there(run)
            stamps: dict[str, object] = {kind: self._number_of(kind) for kind in (COMPARISON, PROBES)}
            stamps |= {CLUSTERS: self._of_clusters(), PROFILES_FILE: self._stamp_of(PROFILES_FILE)}
            stamps |= {"notes": self._entries().notes, WORD: self._entries().words}
            if self._state is None or stamps != self._stamps:
                self._state = self._read(stamps)
                self._stamps = stamps
            if run is not None and run != self._state.run:
                raise SAFEError(CHANGED)
            return self._state

    def check_there(self, run: str | None = None) -> None:
        """Make sure that the folder still holds what was shown, here or in a window; a SAFEError if it was moved."""
        if (run or self._state) and not self.there:
            raise SAFEError(f"This analysis was moved away from {self._out}. Open it where it is now.")

    def _of_clusters(self) -> tuple:
        """What differs where the clusters do, or their images lie elsewhere."""
        return self._number_of(CLUSTERS), self._stamp_of(_FAILURES), self._entries().places

    def _read(self, stamps: _Stamps) -> AnalysisState:
        """What the folder holds; parts whose files are the same are not read again, since notes change all the time."""
        of_clusters = stamps[CLUSTERS]
        same = of_clusters == self._stamps.get(CLUSTERS)
        review = load_review(self._out, original=self._state.review.original if self._state and same else None)
        original, edits = review.original, (of_clusters, review.edits)
        if not same:
            _check_clusters(original, self._out)

        def read_profiles() -> dict[int, Profile]:
            return {profile.rcc: profile for profile in load_profiles(self._out)}

        profiles = self._part("profiles", stamps[PROFILES_FILE], read_profiles, dict[int, Profile]())
        stamps_of_reasons = (of_clusters, stamps[COMPARISON])
        reasons = self._part("reasons", stamps_of_reasons, lambda: load_reasons(self._out, original), Reasons())
        compared = (*stamps_of_reasons, stamps[WORD], self._entries().places)
        if stamps[WORD] and reasons.base:
            counted = reasons
            reasons = self._part("words", compared, lambda: self._with_words(counted, original), counted)
        of_spots = (self._entries().spots, compared)
        notes = self._part("notes", of_spots, lambda: notes_of_run(self._out, reasons.spots), dict[str, Note]())
        reasons = self._part("present", (edits, compared), lambda: reasons.on(review.clusters), reasons)
        run = self._part("run", of_clusters, lambda: fingerprint(original), "")
        probed, tested = stamps[PROBES], (of_clusters, self._entries().places)
        listed = self._part("listed", (edits, compared), lambda: reasons_of(review, reasons, self._out), list[Reason]())
        tested_in = self._part("tested", tested, lambda: folder_tested(self._out), "")
        listed = with_notes(listed, review.notes, notes, tested_in)
        probes = self._part("probes", probed, lambda: load_probes(self.present(PROBES)), list[Probe]())
        problems = " ".join(problem for *_, problem in self._parts.values() if problem)
        known = review, profiles, reasons, notes, problems, listed
        return AnalysisState(*known, run, int(str(stamps["notes"])), probes, probed)

    def _part(self, name: str, stamp: object, read: Callable[[], _Part], nothing: _Part) -> _Part:
        """A part of what is shown, read only if its stamp is another one; nothing, with the reason, if it cannot be."""
        known = self._parts.get(name)
        if known is None or known[0] != stamp:
            try:
                known = (stamp, read(), "")
            except SAFEError as error:
                known = (stamp, nothing, str(error))
            self._parts[name] = known
        part: _Part = known[1]
        return part

    def parameters(self) -> Mapping[str, np.ndarray]:
        """What is known of each image: parameters (see `rccs.parameters.Parameters`) and the DNN's answers, by name."""
        state = self.state()
        with self._lock:
            stamp = (state.run, self._number_of(CLUSTERS), self._entries().places)
            if self._described[0] != stamp:
                self._described = (stamp, known_parameters(self._out, state.clusters))
            return self._described[1]

    def tested(self) -> AnsweredImages:
        """The network's answers, as in `pipeline.tagging.answers_to_tag`."""
        with self._lock:
            return self._answers()

    def _answers(self) -> AnsweredImages:
        if (stamp := self._of_clusters()) not in self._tested:
            self._tested = {stamp: answers_to_tag(self._out)}
        return self._tested[stamp]

    def _with_words(self, reasons: Reasons, clusters: RootCauseClusters) -> Reasons:
        return with_words(reasons, clusters, self._out, self._answers())

    def columns(self) -> Mapping[str, np.ndarray]:
        """What is known of each image, as in `parameters`, and first what was answered about words."""
        known, stamp = self.parameters(), (self.words_stamp, self._of_clusters())
        if self.words_stamp and stamp not in self._tagged:
            clusters = self.state().clusters
            with contextlib.suppress(SAFEError):  # the answers of the network are gone: the words say so
                self._tagged = {stamp: word_columns(self._out, self.tested(), clusters.image_root, clusters.paths)}
        return {**self._tagged.get(stamp, {}), **known}

    def holds_unsafe_set(self) -> bool:
        """Whether there is an unsafe set for the present clusters."""
        return self._number_of(SELECTION) > 0

    def unsafe_set(self, key: object) -> UnsafeSet:
        """The unsafe set that a window shows; a SAFEError if the folder holds another one by now."""
        unsafe = load_unsafe_set(self._out)
        if key != set_key(unsafe) or not self.holds_unsafe_set():
            raise SAFEError("Another unsafe set was selected in the meantime.")
        return unsafe

    def holds_retraining(self) -> bool:
        """Whether there is a retraining in the folder that belongs to the clusters there."""
        try:
            retraining_of(self._out, self.state().review if self.there else None)
        except SAFEError:
            return False
        return True

    def marks(self) -> Marks:
        """By which a window knows whether the folder is as it has shown it."""
        try:
            state = self.state() if self.there else None
        except SAFEError:
            state = None
        run, edits = (state.run, state.review.last_number) if state else ("", 0)
        return Marks(run, edits, self._number_of(SELECTION), self._number_of(RETRAINING))

    @property
    def stamp(self) -> str:
        """A text that differs where anything has changed that the windows show, but for what is said."""
        numbers = [self._number_of(kind) for kind in (CLUSTERS, COMPARISON, PROBES)]
        runs = [*numbers, self.reasons_number, self.words_stamp]
        return str([self.marks(), *runs, *(self._stamp_of(name) for name in (PROFILES_FILE, _FAILURES, ACCURACY_FILE))])

    @property
    def reasons_number(self) -> int:
        """The number of the last reasons that were found without clusters; 0 if there are none."""
        return self._entries().reasons

    @property
    def notes_stamp(self) -> str:
        """A text that differs if a note on an RCC or a weak spot, or an edit, was added."""
        return str(self._entries().notes)

    @property
    def labels_stamp(self) -> str:
        """A text that differs where an image of an unsafe set was labelled, or another set was selected."""
        return str((self._number_of(SELECTION), self._entries().labelled))

    @property
    def words_stamp(self) -> int:
        """A number that differs where a word was begun, or an image answered."""
        return self._entries().words

    @property
    def retraining_stamp(self) -> str:
        """A text that differs where there is another retraining."""
        return str(self._number_of(RETRAINING))

    def present(self, kind: str) -> Run | None:
        """The present run of a kind; None if there is none."""
        return self._entries().runs.get(kind)

    def stamp_of(self, *names: str) -> str:
        """A text that differs where any of some files has changed, or images lie elsewhere by now."""
        return str([*map(self._stamp_of, names), self._entries().places])

    @property
    def there(self) -> bool:
        """Whether there are clusters at all."""
        return self._number_of(CLUSTERS) > 0

    def _number_of(self, kind: str) -> int:
        """The number of the present run of a kind; 0 if there is none."""
        run = self.present(kind)
        return run.number if run else 0

    def _entries(self) -> "_Entries":
        """What the database says; it is asked only where its file has changed."""
        stamp = tuple(self._stamp_of(f"{DATABASE_FILE}{end}") for end in ("", "-wal"))
        if self._known.stamp != stamp:
            with reading(self._out) as db:
                kinds = (KINDS, ("spot",), (LABEL,), (NEW_PLACE,), (REASONS,), (TAG, WORD))
                last = [last_number(db, *each) for each in kinds]
            self._known = _Entries(stamp, present_runs(self._out), *last)
        return self._known

    def _stamp_of(self, name: str) -> tuple[int, int] | None:
        return state_of_file(self._out / name)


def check_places(out: Path) -> None:
    """Make sure that the results in a folder are of images that may be opened, before they are shown to visitors.

    Otherwise the GIFs of earlier work would be served, even to visitors who may not see its images.

    Raises
    ------
    SAFEError
        Some are of images elsewhere.
    """
    if present_root() is None:
        return
    for run in runs_of(out, CLUSTERS):
        try:
            clusters = load_clusters(out, run)
        except SAFEError:
            continue  # damaged, and not shown
        _check_clusters(clusters, out)
    records = ((load_unsafe_set, "improvement_root"), (load_retraining, "test_root"), (load_failures, "root"))
    for load, root_of in records:
        try:
            root = getattr(load(out), root_of)
        except SAFEError:
            continue
        if not may_open(root):
            raise _outside(out, root)


def _check_clusters(clusters: RootCauseClusters, folder: Path) -> None:
    if (allowed := present_root()) is None:
        return
    if not may_open(clusters.image_root):
        raise _outside(folder, clusters.image_root)
    # A list of images may name some in other places. Links are followed when a picture is shown.
    root = os.fspath(clusters.image_root.resolve())
    for path in clusters.paths:
        if not Path(os.path.normpath(f"{root}/{path}" if path[:1] != "/" else path)).is_relative_to(allowed):
            raise _outside(folder, Path(path))


def check_links(clusters: RootCauseClusters) -> None:
    """Make sure that the images still lie where they may be opened, all links followed, before they are read.

    Raises
    ------
    SAFEError
        One does not.
    """
    for path in clusters.paths if present_root() else ():
        if not may_open(clusters.image_root / path):
            raise SAFEError(f"Expected images below {present_root()} (--root). {path} leads elsewhere by now.")


def _outside(folder: Path, root: Path) -> SAFEError:
    return SAFEError(
        f"Expected results of images below {present_root()} (--root). Received: {folder} holds some of {root}. "
        "Name another output folder."
    ).about("out")
