"""What the output folder holds, read once and kept as long as the files stay the same."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dnn.failures import load_failures
from pipeline.descriptions import known_parameters
from rccs.clusters import RootCauseClusters, fingerprint, load_clusters
from rccs.nearness import rcc_centres
from rccs.notes import RccNote
from rccs.profiles import Profile, load_profiles
from rccs.rates import Rate, by_excess
from rccs.review import CHANGED, Review, load_review
from rccs.spot_notes import SpotNote, notes_of_run
from rccs.unsafe_set import load_unsafe_set, selection_run
from reasons import Reasons, load_reasons
from reporting.freshness import PARTS, digest_of
from support.entries import is_within
from support.errors import SAFEError
from support.run_folder import (
    ACCURACY_FILE,
    CLUSTERS_FILE,
    COMPARISON_FILE,
    EDITS_FILE,
    FAILURES,
    FAILURES_MARK,
    NOTES_FILE,
    PROFILES_FILE,
    RETRAINING_FILE,
    RUN_FILE,
    RUNS_FOLDER,
    SELECTION_FILE,
    SPOT_NOTES_FILE,
    WEAK_SPOTS_FILE,
)
from training.result import load_retraining, retraining_of

_NOTES = (NOTES_FILE, SPOT_NOTES_FILE)
# Other failures have taken the place of those that the clusters are of where the mark has changed.
_FAILURES = f"{FAILURES}/{FAILURES_MARK}"
_CLUSTERS = (CLUSTERS_FILE, _FAILURES)
_FILES = (CLUSTERS_FILE, EDITS_FILE, PROFILES_FILE, COMPARISON_FILE, _FAILURES, *_NOTES)
# With each note, the journal of edits is written as well: whether edits were made, `Results.marks` says.
_NOT_NOTES = (CLUSTERS_FILE, PROFILES_FILE, COMPARISON_FILE, _FAILURES, ACCURACY_FILE)

_Stamps = Mapping[str, tuple[int, int] | None]
_Part = TypeVar("_Part")


class Shown(NamedTuple):
    """What the windows of the page show.

    Attributes
    ----------
    review : Review
    profiles : mapping of int to Profile
        By RCC; empty where no parameters are known.
    reasons : Reasons
        What the comparison with the images that the network gets right has found; empty where they are not known.
    rates : mapping of int to Rate
        By RCC; empty as long as nothing was compared.
    spot_of : mapping of int to int
        The weak spot that is the reason of an RCC, as an index (see `Reasons.spots_of`); RCCs without one are missing.
    centres : mapping of int to ndarray
        Of the RCCs (see `rccs.nearness.rcc_centres`).
    spot_notes : mapping of str to SpotNote
        By conditions; also on those that are not among the weak spots.
    problem : str
        Why the profiles, reasons or notes on weak spots cannot be shown, the clusters not needing them.
    run : str
        Fingerprint of the clusters as they were found: windows that show another one are out of date.
    at : int
        When the folder was looked at, in nanoseconds of this machine's clock: of two looks the later one counts.
    """

    review: Review
    profiles: Mapping[int, Profile]
    reasons: Reasons
    rates: Mapping[int, Rate]
    spot_of: Mapping[int, int]
    centres: Mapping[int, np.ndarray]
    spot_notes: Mapping[str, SpotNote]
    problem: str
    run: str
    at: int

    @property
    def clusters(self) -> RootCauseClusters:
        """With the engineer's edits."""
        return self.review.clusters

    @property
    def groups(self) -> list[int]:
        """RCCs in the order in which they are shown: the failures above what would be expected, or else the size."""
        return by_excess(self.clusters.groups, self.rates)

    @property
    def compared(self) -> str:
        """A text that differs where more has been found in comparison."""
        return f"{len(self.reasons.spots)} {self.reasons.base} {self.reasons.comparison is not None}"

    @property
    def notes(self) -> Mapping[int, RccNote]:
        return self.review.notes


class Marks(NamedTuple):
    """What changes whenever the folder does: of its clusters, edits, unsafe set and retraining."""

    run: str
    edits: int
    selection: tuple[int, int] | None
    retraining: tuple[int, int] | None


class Results:
    """The results in an output folder.

    Parameters
    ----------
    out : Path
    within : Path, optional
        Clusters of images outside this folder are refused.
    """

    def __init__(self, out: Path, within: Path | None = None):
        self._out = out
        self._within = within
        self._lock = threading.Lock()
        self._stamps: _Stamps = {}
        self._parts: dict[str, tuple[object, Any, str]] = {}
        self._shown: Shown | None = None
        self._described: tuple[tuple, Mapping[str, np.ndarray]] = ((), {})
        self._hashing = threading.Lock()
        self._digests: dict[str, tuple[str, str]] = {}

    def shown(self, run: str | None = None) -> Shown:
        """The clusters, notes and profiles.

        Parameters
        ----------
        run : str, optional
            What the window shows; a SAFEError where the folder holds something else by now.
        """
        with self._lock:
            at = time.monotonic_ns()
            stamps = {name: self._stamp_of(name) for name in _FILES}
            if self._shown is None or stamps != self._stamps:
                self._shown = self._read(stamps, at)
                self._stamps = stamps
            if run is not None and run != self._shown.run:
                raise SAFEError(CHANGED)
            return self._shown._replace(at=at)

    def _read(self, stamps: _Stamps, at: int) -> Shown:
        """What the folder holds; parts whose files are the same are not read again, since notes change all the time."""
        of_clusters = tuple(stamps[name] for name in _CLUSTERS)
        before, same = self._shown, self._shown is not None and of_clusters == tuple(map(self._stamps.get, _CLUSTERS))
        review = load_review(self._out, original=before.review.original if before and same else None)
        original, edits = review.original, (of_clusters, review.edits)
        if not same:
            _check_clusters(original, self._within, self._out)

        def read_profiles() -> dict[int, Profile]:
            return {profile.rcc: profile for profile in load_profiles(self._out)}

        profiles, *problems = self._part("profiles", stamps[PROFILES_FILE], read_profiles, dict[int, Profile]())
        compared = (of_clusters, stamps[COMPARISON_FILE], self._stamp_of(WEAK_SPOTS_FILE))
        reasons, problem = self._part("reasons", compared, lambda: load_reasons(self._out, original), Reasons())
        problems.append(problem)
        spots = (stamps[SPOT_NOTES_FILE], self._stamp_of(RUN_FILE))
        spot_notes, problem = self._part("spot notes", spots, lambda: notes_of_run(self._out), dict[str, SpotNote]())
        problems.append(problem)
        rates, _ = self._part("rates", (edits, compared), lambda: reasons.rates(review.clusters), dict[int, Rate]())
        spot_of, _ = self._part("spots", (edits, compared), lambda: reasons.spots_of(review.clusters), dict[int, int]())
        centres, _ = self._part("centres", edits, lambda: rcc_centres(review.clusters), dict[int, np.ndarray]())
        run, _ = self._part("run", of_clusters, lambda: fingerprint(original), "")
        told = " ".join(filter(None, problems))
        return Shown(review, profiles, reasons, rates, spot_of, centres, spot_notes, told, run, at)

    def _part(self, name: str, stamp: object, read: Callable[[], _Part], nothing: _Part) -> tuple[_Part, str]:
        """A part of what is shown and, where it cannot be read, why; read only if its stamp is another one."""
        known = self._parts.get(name)
        if known is None or known[0] != stamp:
            try:
                known = (stamp, read(), "")
            except SAFEError as error:
                known = (stamp, nothing, str(error))
            self._parts[name] = known
        return known[1], known[2]

    def parameters(self) -> Mapping[str, np.ndarray]:
        """What is known of each image: parameters (see `rccs.parameters.Parameters`) and the DNN's answers, by name."""
        shown = self.shown()
        with self._lock:
            stamp = (shown.run, self._stamp_of(RUN_FILE))
            if self._described[0] != stamp:
                self._described = (stamp, known_parameters(self._out, shown.clusters, within=self._within))
            return self._described[1]

    def digests(self) -> dict[str, str]:
        """What a report would be made from now, as `reporting.freshness.made_from` gives it.

        A part is hashed again only where one of its files has changed: the clusters may have hundreds of megabytes.
        """
        with self._hashing:
            for part, (_, names) in PARTS.items():
                stamp = self.stamp_of(*names)
                if part not in self._digests or self._digests[part][0] != stamp:
                    self._digests[part] = (stamp, digest_of(self._out, part))
            return {part: digest for part, (_, digest) in self._digests.items()}

    def holds_unsafe_set(self) -> bool:
        """Whether the unsafe set in the folder belongs to the clusters there, or to none that could be others."""
        try:
            run = selection_run(self._out)
            return not self.there or not run or run == self.shown().run
        except SAFEError:
            return False

    def holds_retraining(self) -> bool:
        """Whether there is a retraining in the folder that belongs to the clusters there."""
        try:
            retraining_of(self._out, self.shown().review if self.there else None)
        except SAFEError:
            return False
        return True

    def marks(self) -> Marks:
        """By which a window knows whether the folder is as it has shown it."""
        try:
            shown = self.shown() if self.there else None
        except SAFEError:
            shown = None
        run, edits = (shown.run, len(shown.review.edits)) if shown else ("", 0)
        return Marks(run, edits, self._stamp_of(SELECTION_FILE), self._stamp_of(RETRAINING_FILE))

    @property
    def stamp(self) -> str:
        """A text that differs where anything has changed that the windows show, but for the notes."""
        return str([self.marks(), *(self._stamp_of(name) for name in _NOT_NOTES)])

    @property
    def notes_stamp(self) -> str:
        """A text that differs where a note on an RCC or a weak spot has changed."""
        return self.stamp_of(*_NOTES)

    def stamp_of(self, *names: str) -> str:
        """A text that differs where any of some files has changed."""
        return str([self._stamp_of(name) for name in names])

    @property
    def there(self) -> bool:
        """Whether there are clusters at all."""
        return (self._out / CLUSTERS_FILE).is_file()

    def _stamp_of(self, name: str) -> tuple[int, int] | None:
        try:
            status = (self._out / name).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size


def check_within(out: Path, within: Path | None) -> None:
    """Make sure that the results in a folder are of images below another one, before they are shown to visitors.

    Otherwise the GIFs of earlier work would be served, even to visitors who may not see its images.

    Raises
    ------
    SAFEError
        Some are of images elsewhere.
    """
    if within is None:
        return
    for folder in (out, *(out / RUNS_FOLDER).glob("*")):
        try:
            clusters = load_clusters(folder)
        except SAFEError:
            continue  # there are none, or they are damaged and not shown
        _check_clusters(clusters, within, folder)
    roots = []
    with contextlib.suppress(SAFEError):
        roots.append(load_unsafe_set(out).improvement_root)
    with contextlib.suppress(SAFEError):
        roots.append(load_retraining(out).test_root)
    with contextlib.suppress(SAFEError):
        roots.append(load_failures(out).test_root)
    for root in roots:
        if not is_within(root, within):
            raise _outside(out, root, within)


def _check_clusters(clusters: RootCauseClusters, within: Path | None, folder: Path) -> None:
    if within is None:
        return
    if not is_within(clusters.image_root, within):
        raise _outside(folder, clusters.image_root, within)
    # A list of images may name some in other places. Links are followed when a picture is shown.
    root = os.fspath(clusters.image_root.resolve())
    for path in clusters.paths:
        if not Path(os.path.normpath(f"{root}/{path}" if path[:1] != "/" else path)).is_relative_to(within):
            raise _outside(folder, Path(path), within)


def check_links(clusters: RootCauseClusters, within: Path | None) -> None:
    """Make sure that the images still lie below a folder, all links followed, before they are read to be served.

    Raises
    ------
    SAFEError
        One does not.
    """
    for path in clusters.paths if within else ():
        if not is_within(clusters.image_root / path, within):
            raise SAFEError(f"Expected images below {within} (--root). {path} leads elsewhere by now.")


def _outside(folder: Path, root: Path, within: Path) -> SAFEError:
    return SAFEError(
        f"Expected results of images below {within} (--root). Received: {folder} holds some of {root}. "
        "Name another output folder with --out."
    )
