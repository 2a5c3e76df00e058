"""An analysis as it is: what was computed, and what is said of it. A folder in, clusters, reasons and the like out.

Each part is read when it is first asked for, and again only where what it rests on has changed, also by another
process: the database says so, or a file has another state.
"""

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np

from safe_dnn.dnn.failures import TABLES, load_failures
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, load_clusters, run_record
from safe_dnn.rccs.profiles import PROFILES_FILE, Profile, load_profiles
from safe_dnn.rccs.review.journal import KINDS, Edit, Note, Scope
from safe_dnn.rccs.review.review import Review, all_edits, folder_tested, load_review, load_scope, notes_of_run
from safe_dnn.rccs.spots.rates import by_excess
from safe_dnn.rccs.unsafe_set import LABEL, UnsafeSet, load_unsafe_set
from safe_dnn.reasons.claims import fresh_verdicts
from safe_dnn.reasons.comparison import Reasons, load_reasons
from safe_dnn.reasons.listed import FailureReasons, Reason, baseline, reasons_of, ungrouped_reasons, with_notes
from safe_dnn.reasons.probes import Probe, load_probes
from safe_dnn.reasons.register import Entry, register_of
from safe_dnn.reasons.run_record import known_parameters
from safe_dnn.reasons.words.reasons import with_words
from safe_dnn.reasons.words.tagging import Tagging, all_words, answers_to_tag, word_columns
from safe_dnn.reasons.words.tags import TAG, WORD, load_words
from safe_dnn.store import runs as store
from safe_dnn.store.database import DATABASE_FILE, last_number, reading
from safe_dnn.store.database import Entry as Statement
from safe_dnn.store.places import NEW_PLACE
from safe_dnn.store.runs import CLUSTERS, COMPARISON, CONFIRMATION, PROBES, RETRAINING, SELECTION, Run, runs_of
from safe_dnn.support.errors import SAFEError, may_open, present_root
from safe_dnn.support.files import state_of_file
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, FAILURES_MARK
from safe_dnn.training.labels import label_unsafe_set
from safe_dnn.training.result import Retraining, load_retraining, retraining_of

T = TypeVar("T")
Key: TypeAlias = "str | Callable[[Analysis], object]"

# What a part rests on: runs by their kinds, files by their names, and the last entries of some kinds by these names.
NOTES, SPOT_NOTES, LABELS, PLACES, WORDS, UNGROUPED = (
    "notes", "notes on spots", "labels", "places", "words", "reasons without clusters",
)  # fmt: skip
_ENTRIES = {
    NOTES: KINDS, SPOT_NOTES: ("spot",), LABELS: (LABEL,), PLACES: (NEW_PLACE,), WORDS: (TAG, WORD),
    UNGROUPED: (store.REASONS,),
}  # fmt: skip
# Other failures have taken the place of those that the clusters are of where the mark has changed.
_MARK = f"{FAILURES}/{FAILURES_MARK}"
_DATABASE = (DATABASE_FILE, f"{DATABASE_FILE}-wal")
_FILES = (*_DATABASE, PROFILES_FILE, _MARK, *TABLES)
CLUSTERED = (CLUSTERS, _MARK, PLACES)
COMPARED = (*CLUSTERED, COMPARISON, UNGROUPED, WORDS)
COLLECTED = (*TABLES, PLACES, UNGROUPED)


class Part(Generic[T]):
    """A property of an analysis, as of `part`."""

    def __init__(self, read: "Callable[[Analysis], T]", of: "part"):
        self.compute, self.name, self.keys, self.otherwise = read, read.__name__, of.keys, of.otherwise
        self.__doc__ = read.__doc__

    def __get__(self, analysis: "Analysis", owner: object = None) -> T:
        return self if analysis is None else analysis.read(self)  # type: ignore[return-value,redundant-expr,unused-ignore]


class part:  # noqa: N801, a decorator
    """A property that is read again only where one of its keys has changed.

    Parameters
    ----------
    keys
        What it rests on: names, as above, or functions of the analysis.
    otherwise : callable, optional
        What there is instead if it cannot be read, which `Analysis.missing` says; by default a SAFEError.
    """

    def __init__(self, *keys: Key, otherwise: "Callable[[Analysis], Any] | None" = None):
        self.keys, self.otherwise = keys, otherwise

    def __call__(self, read: "Callable[[Analysis], T]") -> Part[T]:
        return Part(read, self)


def _edits_of(analysis: "Analysis") -> tuple[Edit, ...]:
    return analysis.review.edits if analysis.there else ()


class Marks(NamedTuple):
    """What changes whenever the folder does: of its clusters, edits, unsafe set and retraining."""

    run: str
    edits: int
    selection: int
    retraining: int


class Analysis:
    """The analysis in a folder. What was read of it stays as it was; `now` is what follows it.

    Parameters
    ----------
    folder : Path
    before : Analysis, optional
        What was read of the same folder, of which the parts that are the same are taken over.

    Attributes
    ----------
    runs : mapping of str to Run
        The present ones, by kind.
    """

    def __init__(self, folder: Path, before: "Analysis | None" = None):
        self.folder = folder
        self._states = self._look()
        self._lock = threading.RLock()
        self._parts: dict[str, tuple[object, Any, str]] = dict(before._parts) if before else {}
        self.runs: Mapping[str, Run]
        self._last: Mapping[str, int]
        if before and all(before._states[name] == self._states[name] for name in _DATABASE):
            self.runs, self._last = before.runs, before._last
            return
        with reading(folder) as db:
            self._last = {name: last_number(db, *kinds) for name, kinds in _ENTRIES.items()}
        self.runs = store.present_runs(folder)

    def now(self) -> "Analysis":
        """The same if nothing has changed, and otherwise what the folder holds by now."""
        return self if self._look() == self._states else Analysis(self.folder, self)

    def _look(self) -> dict[str, object]:
        return {name: state_of_file(self.folder / name) for name in _FILES}

    def read(self, of: "Part[T]") -> T:
        with self._lock:
            stamp = tuple(self.number_of(key) if isinstance(key, str) else key(self) for key in of.keys)
            known = self._parts.get(of.name)
            if known is None or known[0] != stamp:
                try:
                    known = stamp, of.compute(self), ""
                except SAFEError as error:
                    if of.otherwise is None:
                        raise
                    known = stamp, of.otherwise(self), str(error)
                self._parts[of.name] = known
            value: T = known[1]
            return value

    def number_of(self, key: str) -> Any:
        """What differs where a run, an entry or a file is another one."""
        if key in self._last:
            return self._last[key]
        if key in self._states:
            return self._states[key]
        if key in store.KINDS:
            return self.runs[key].number if key in self.runs else 0
        return state_of_file(self.folder / key)

    def stamp_of(self, *keys: str) -> str:
        """A text that differs where any of some runs, entries or files is another one."""
        return str([self.number_of(key) for key in keys])

    @property
    def missing(self) -> Mapping[str, str]:
        """By name, why profiles, reasons, probes or notes on weak spots cannot be read; clusters do without."""
        _ = self.profiles, self.listed, self.probes
        return {name: problem for name, (*_, problem) in dict(self._parts).items() if problem}

    # --- Clusters ----------------------------------------------------------------------------------------------------

    @property
    def there(self) -> bool:
        """Whether there are clusters at all."""
        return CLUSTERS in self.runs

    @part(*CLUSTERED)
    def original(self) -> RootCauseClusters:
        """The clusters as they were found; a SAFEError if there are none, or their images may not be opened."""
        clusters = load_clusters(self.folder, self.runs.get(CLUSTERS))
        _check_clusters(clusters, self.folder)
        return clusters

    @part(*CLUSTERED, NOTES)
    def review(self) -> Review:
        return load_review(self.folder, original=self.original)

    @property
    def clusters(self) -> RootCauseClusters:
        """With the engineer's edits."""
        return self.review.clusters

    @property
    def notes(self) -> Mapping[int, Note]:
        """By RCC."""
        return self.review.notes

    @part(*CLUSTERED)
    def run(self) -> str:
        """Fingerprint of the clusters as they were found: windows that show another one are out of date."""
        return fingerprint(self.original)

    @part(*CLUSTERED)
    def record(self) -> dict[str, Any]:
        """`run.json`."""
        return run_record(self.folder, self.runs.get(CLUSTERS))

    @part(*CLUSTERED, NOTES)
    def edits(self) -> tuple[Edit, ...]:
        """All that was done and said in the review."""
        return all_edits(self.folder, self.review if self.there else None)

    @part(PROFILES_FILE, otherwise=lambda _: {})
    def profiles(self) -> Mapping[int, Profile]:
        """By RCC; empty if no parameters are known."""
        return {profile.rcc: profile for profile in load_profiles(self.folder) if profile.rcc is not None}

    def profile_of(self, rcc: int | None) -> str:
        """What the images of an RCC have in common, a sentence; empty if it is not known."""
        return self.profiles[rcc].text if rcc is not None and rcc in self.profiles else ""

    @part(*CLUSTERED)
    def parameters(self) -> Mapping[str, np.ndarray]:
        """What is known of each image: parameters (see `rccs.parameters.Parameters`) and the DNN's answers, by name."""
        return known_parameters(self.folder, self.original)

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """The same, and first what was answered about words."""
        tagged: Mapping[str, np.ndarray] = {}
        with contextlib.suppress(SAFEError):  # the answers of the network are gone: the words say so
            tagged = self._tagged
        return {**tagged, **self.parameters}

    @part(*CLUSTERED, WORDS)
    def _tagged(self) -> Mapping[str, np.ndarray]:
        if not self.number_of(WORDS):
            return {}
        return word_columns(self.folder, self.tested, self.original.image_root, self.original.paths)

    @property
    def groups(self) -> list[int]:
        """RCCs in the order in which they are shown: the failures above what would be expected, or else the size."""
        return by_excess(self.clusters.groups, self.reasons.rates)

    @property
    def number(self) -> int:
        """Of the newest entry on what was done or said."""
        return self._last[NOTES]

    # --- Reasons -----------------------------------------------------------------------------------------------------

    @property
    def failures_key(self) -> str:
        """A text that differs where other failures have been collected; empty if there are none."""
        there = all(map(self.number_of, (ACCURACY_FILE, FAILURES_FILE)))
        return self.stamp_of(*TABLES, PLACES) if there else ""

    @part(*TABLES, PLACES)
    def failures(self) -> AnsweredImages:
        """The failures in the folder, whose digest is `failures_key`; a SAFEError if there are none."""
        failures = load_failures(self.folder)
        if not may_open(failures.root):
            raise _outside(self.folder, failures.root)
        return dataclasses.replace(failures, digest=self.failures_key)

    @property
    def clustered(self) -> AnsweredImages | None:
        """The failures that the clusters are of; None if they are of other images."""
        if self.original.image_root != (self.folder / FAILURES).resolve():
            return None
        images = {*self.original.paths, *(skipped.path for skipped in self.original.skipped)}
        return self.failures if images == {*self.failures.failing} else None

    @property
    def is_outdated(self) -> bool:
        """Whether the clusters are of failures that were collected before those in the folder."""
        try:
            return self.original.home == (self.folder / FAILURES).resolve() and self.clustered is None
        except SAFEError:
            return False  # there are none, or their tab says what is damaged

    @part(*CLUSTERED)
    def tested(self) -> AnsweredImages:
        """The network's answers, as of `reasons.words.tagging.answers_to_tag`."""
        return answers_to_tag(self.folder)

    @part(*CLUSTERED, WORDS)
    def words(self) -> Mapping[str, Tagging]:
        """By name; a SAFEError if there are some, but the network's answers cannot be read."""
        return all_words(self.folder, tested=self.tested) if load_words(self.folder) else {}

    @part(*COLLECTED, SPOT_NOTES)
    def ungrouped(self) -> FailureReasons | None:
        """The reasons of the failures in the folder, before these are grouped; None if none were searched for."""
        return ungrouped_reasons(self.failures, self.folder) if self.failures_key else None

    @part(*COMPARED, otherwise=lambda _: Reasons())
    def counted(self) -> Reasons:
        """What the comparison with the images that the network gets right has found; empty if they are not known.

        Without clusters, the weak spots of the failures in the folder.
        """
        if self.there or self.ungrouped is None:
            return load_reasons(self.folder, self.original)
        found, tested = self.ungrouped, self.failures
        base, spots = 1 - tested.accuracy, found.spots or ()
        return Reasons(spots, base=base, curves=found.curves, tested=len(tested.paths), noun=tested.noun)

    @part(*COMPARED, otherwise=lambda self: self.counted)
    def _of_all_kinds(self) -> Reasons:
        reasons = self.counted
        for add in REASON_KINDS if reasons.base and self.there else ():
            reasons = add(reasons, self)
        return reasons

    @part(*COMPARED, _edits_of, otherwise=lambda self: self._of_all_kinds)
    def reasons(self) -> Reasons:
        """The same, with the reasons of all `REASON_KINDS`, for RCCs as they are now."""
        return self._of_all_kinds.on(self.clusters) if self.there else self._of_all_kinds

    @part(*COMPARED, SPOT_NOTES, otherwise=lambda _: {})
    def spot_notes(self) -> Mapping[str, Note]:
        """By conditions; also on those that are not among the weak spots."""
        return notes_of_run(self.folder, self.reasons.spots)

    @part(*COMPARED, _edits_of, otherwise=lambda _: [])
    def _unnoted(self) -> list[Reason]:
        return reasons_of(self.review, self.reasons, self.folder)

    @part(*CLUSTERED, otherwise=lambda _: "")
    def _folder_tested(self) -> str:
        return folder_tested(self.folder)

    @part(*COMPARED, *COLLECTED, NOTES)
    def listed(self) -> list[Reason]:
        """With what is said of them, in the order in which they are shown; without clusters, of those `ungrouped`."""
        if not self.there:
            return [*self.ungrouped.listed] if self.ungrouped else []
        return with_notes(self._unnoted, self.review.notes, self.spot_notes, self._folder_tested)

    @property
    def baseline(self) -> str:
        """How many images are wrong, and how many where none of the reasons holds (see `reasons.listed.baseline`)."""
        of = self.reasons
        return baseline(self.listed, of.base, of.tested, of.where_none_holds, of.noun)

    def reason(self, key: object) -> Reason | None:
        """The reason that a browser has named by an RCC's number, or a weak spot's conditions; None if there is none.

        The images in no cluster are no reason.
        """
        about = ("rcc", key) if isinstance(key, int) else ("subject", key)
        return next((one for one in self.listed if getattr(one, about[0]) == about[1]), None)

    @part(PROBES, otherwise=lambda _: [])
    def probes(self) -> list[Probe]:
        return load_probes(self.runs.get(PROBES))

    @property
    def confirmation(self) -> Mapping[str, Any]:
        """What a fresh test set says of the reasons (see `api.confirmation`); empty if none was asked."""
        return self.runs[CONFIRMATION].facts if CONFIRMATION in self.runs else {}

    @part(*COMPARED, *COLLECTED, NOTES, CONFIRMATION)
    def register(self) -> list[Entry]:
        """What is said of each reason; a SAFEError if there are neither clusters nor reasons without them."""
        self.check_found()
        self.check()
        return register_of(self.listed, self.fresh)

    @part(*CLUSTERED, NOTES, CONFIRMATION)
    def fresh(self) -> Mapping[str, str]:
        """The verdicts of a fresh test set, as of `fresh_verdicts`; empty if none was asked."""
        return fresh_verdicts(self.runs.get(CONFIRMATION), self.review) if self.there else {}

    @part(NOTES)
    def scope(self) -> tuple[Scope, Statement | None]:
        """What is said of the analysis as a whole, and the entry that said the last of it."""
        return load_scope(self.folder)

    # --- What follows ------------------------------------------------------------------------------------------------

    @property
    def is_selected(self) -> bool:
        """Whether there is an unsafe set for the present clusters."""
        return SELECTION in self.runs

    @part(SELECTION, LABELS, PLACES)
    def unsafe(self) -> UnsafeSet:
        """The unsafe set; a SAFEError if there is none."""
        return load_unsafe_set(self.folder, self.runs.get(SELECTION))

    @property
    def labelled(self) -> UnsafeSet:
        """The same with the labels that follow from class folders, as far as classes are known."""
        classes: tuple[str, ...] = ()
        with contextlib.suppress(SAFEError):  # none were collected, or their tab says what is damaged
            classes = self.failures.known_classes
        return label_unsafe_set(self.unsafe, classes)

    @part(*CLUSTERED, RETRAINING, _edits_of)
    def retraining(self) -> Retraining:
        """The retraining of the present clusters, with shares of the RCCs as they are now; a SAFEError without."""
        return retraining_of(self.folder, self.review if self.there else None)

    @property
    def is_retrained(self) -> bool:
        """Whether there is a retraining that belongs to the present clusters."""
        try:
            return bool(self.retraining)
        except SAFEError:
            return False

    @property
    def has_tables_alone(self) -> bool:
        """Whether failures were collected without images, which cannot be grouped."""
        with contextlib.suppress(SAFEError):  # their tab says what is damaged
            return bool(self.failures_key) and not self.there and not self.failures.has_images
        return False

    def check_found(self) -> None:
        """Raise a SAFEError where there are neither clusters nor reasons without them."""
        _ = self.there or self.ungrouped or self.original

    def check(self) -> None:
        """Raise a SAFEError where reasons or notes on them cannot be read; they may lack those of words."""
        for name in ("counted", "spot_notes"):
            if name in self.missing:
                raise SAFEError(self.missing[name])

    # --- For windows -------------------------------------------------------------------------------------------------

    @property
    def problem(self) -> str:
        """The same as a text."""
        return " ".join(self.missing.values())

    @property
    def comparison_key(self) -> str:
        """A text that differs where more has been found in comparison; empty where nothing was compared."""
        spots, whole = self.reasons.spots, self.reasons.comparison is not None
        words = [(spot.literals, *spot.figures[:2]) for spot in spots if spot.figures.answers]
        known = f"{len(spots)} {words} {self.reasons.base} {whole} {self.number_of(PROBES)}"
        return known if spots or whole else ""

    @property
    def marks(self) -> Marks:
        """By which a window knows whether the folder is as it has shown it."""
        run, edits = "", 0
        with contextlib.suppress(SAFEError):
            run, edits = (self.run, self.review.last_number) if self.there else ("", 0)
        numbers = (self.runs[kind].number if kind in self.runs else 0 for kind in (SELECTION, RETRAINING))
        return Marks(run, edits, *numbers)

    @property
    def stamp(self) -> str:
        """A text that differs where anything has changed that the windows show, but for what is said."""
        rest = self.stamp_of(CLUSTERS, COMPARISON, PROBES, UNGROUPED, WORDS, PROFILES_FILE, _MARK, *TABLES)
        return f"{self.marks} {rest}"


# --- What may be opened -----------------------------------------------------------------------------------------------


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
    shown = ((load_unsafe_set, "improvement_root"), (load_retraining, "test_root"), (load_failures, "root"))
    for load, root_of in shown:
        try:
            root = getattr(load(out), root_of)
        except SAFEError:
            continue
        if not may_open(root):
            raise _outside(out, root)


REASON_KINDS: tuple[Callable[[Reasons, Analysis], Reasons], ...] = (
    lambda reasons, analysis: with_words(reasons, analysis.original, analysis.words),
)
"""Kinds of reasons beside RCCs and the conditions of the search: each adds weak spots with their failing images."""


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
            raise SAFEError(f"Expected images below {present_root()}. {path} leads elsewhere by now.")


def _outside(folder: Path, root: Path) -> SAFEError:
    return SAFEError(
        f"Expected results of images below {present_root()}. Received: {folder} holds some of {root}. Name another "
        "output folder."
    ).about("out", "root")
