"""Earlier runs: kept whole when a new one takes their place, listed, compared and brought back.

`runs/<YYYYmmdd-HHMMSS>/` in the output folder holds the files of an earlier run: clusters, names, notes, verdicts and
edits, the unsafe set with its labels, the retraining, and what the forms held. GIFs can be drawn again; models lie in
`retrained_models/` beside it, under the hash of their content (see `retrain.py`). The name is the time, in UTC, at
which its clusters were written. A run that is brought back keeps its name, so that it is never there twice.

Of runs on which nobody has done anything the last `KEPT_RUNS` are kept; those that the engineer has worked on, all.
"""

import contextlib
import datetime
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dbscan.outcome import NOISE
from rccs.clusters import RootCauseClusters, fingerprint, load_clusters, rccs_of
from rccs.notes import RccNote
from rccs.review import Kept, Review, load_review, set_note
from rccs.unsafe_set import selection_run
from support.errors import SAFEError
from support.files import prepare_folder, replacing_folder
from support.output_folder import own_files, save_files, working, writing
from support.run_folder import (
    CLUSTERS_FILE,
    EDITS_FILE,
    FILENAMES_FILE,
    FORMS_FILE,
    LABELS_FILE,
    MAP_FILE,
    MODEL_FILE,
    NOTES_FILE,
    PROFILES_FILE,
    RETRAINING_FILE,
    RUN_FILE,
    RUNS_FOLDER,
    SELECTION_FILE,
    UNSAFE_SET_FILE,
)
from training.labels import labels_brought_back, labels_of
from training.result import keep_model, kept_model, retraining_run

KEPT_RUNS = 20
_SELECTION = (FILENAMES_FILE, UNSAFE_SET_FILE, SELECTION_FILE)
# The clusters last: what else a run has is worthless without them, so they say that the rest is there.
FILES = (
    LABELS_FILE,
    RUN_FILE,
    EDITS_FILE,  # before the notes, since it says whose they are
    NOTES_FILE,
    PROFILES_FILE,
    MAP_FILE,
    FORMS_FILE,
    *_SELECTION,
    RETRAINING_FILE,
    CLUSTERS_FILE,
)
_GONE = ".safe-gone"
_NAME = re.compile(r"\d{8}-\d{6}(-\d+)?")


class Run(NamedTuple):
    """A run, earlier or current.

    Attributes
    ----------
    name : str
        For example `20240501-120000`, UTC.
    time : datetime
        When its clusters were written, UTC.
    current : bool
        Whether it is the one that the output folder itself holds.
    images, rccs, noise : int
        With the engineer's edits applied.
    reducer, image_root : str
    named : int
        RCCs that the engineer has named, noted something on, or judged.
    damaged : str
        Why it cannot be opened; empty where it can. The numbers of a damaged run are 0.
    """

    name: str
    time: datetime.datetime
    current: bool
    images: int = 0
    rccs: int = 0
    noise: int = 0
    reducer: str = ""
    image_root: str = ""
    named: int = 0
    damaged: str = ""


class Overlap(NamedTuple):
    """Images that one RCC of the first run and one of the second have in common; `NOISE` stands for no cluster.

    Attributes
    ----------
    share_a, share_b : float
        Of the RCC's images that both runs know.
    """

    rcc_a: int
    rcc_b: int
    images: int
    share_a: float
    share_b: float


class Comparison(NamedTuple):
    """Two runs side by side.

    Attributes
    ----------
    common, only_a, only_b : int
        Images, told apart by their paths relative to the image folder.
    ari : float or None
        Adjusted Rand index on the common images, those in no cluster counting as one group: 1 for equal clusters, near
        0 for unrelated ones. None where fewer than two images are common.
    overlaps : tuple of Overlap
        Those that are not empty; by RCC of the first run, the largest overlap first within each, noise last.
    same_folder : bool
        Whether both runs are of the same image folder.
    """

    common: int
    only_a: int
    only_b: int
    ari: float | None
    overlaps: tuple[Overlap, ...]
    same_folder: bool


# --- Keeping ----------------------------------------------------------------------------------------------------


def archive_run(folder: Path, successor: RootCauseClusters | None = None, spare: str = "") -> str | None:
    """Copy the run in a folder to `runs/`, since a new one is about to take its place.

    Parameters
    ----------
    successor : RootCauseClusters, optional
        The new one. Where it comes to the same clusters in the same way, there is nothing to keep.
    spare : str
        A run that is not removed, even if it is the oldest of too many.

    Returns
    -------
    str or None
        The name of the run; None where there was none, or the successor is the same, or it is damaged and nobody has
        written notes on it.

    Raises
    ------
    SAFEError
        It cannot be written.
    """
    try:
        current = load_clusters(folder)
    except SAFEError:
        current = None
    if current is None and not own_files(folder, (NOTES_FILE, EDITS_FILE)):
        return None  # nothing of worth
    if current and successor and _came_about(current) == _came_about(successor):
        return None
    runs = prepare_folder(folder / RUNS_FOLDER)
    name = _free_name(runs, folder, current)
    try:
        # It may be there already: this run, brought back, whose notes may have changed since.
        with replacing_folder(runs / name) as building:
            for file in _files_of_run(folder, current):
                shutil.copy2(folder / file, building / file)
    except OSError as error:
        raise SAFEError(f"Could not keep the earlier run in {runs / name}: {error.strerror or error}.") from error
    unused = [old for old in _archived(runs) if not _worked_on(runs / old) and old not in (spare, name)]
    for old in unused[: max(len(unused) + 1 - KEPT_RUNS, 0)]:
        # Away at once: a process that is killed must not leave a part of a run.
        with contextlib.suppress(OSError):
            (runs / old).rename(runs / f".{old}{_GONE}")
    for gone in runs.glob(f".*{_GONE}"):
        shutil.rmtree(gone, ignore_errors=True)
    return name


def _files_of_run(folder: Path, clusters: RootCauseClusters | None) -> list[str]:
    """The files in a folder that are of these clusters: what an earlier run has left there is kept with that one."""
    run = fingerprint(clusters) if clusters else None
    foreign: set[str] = set()
    if run not in (selection_run(folder), None) and selection_run(folder):
        foreign |= {*_SELECTION}
    if run not in (retraining_run(folder), None) and retraining_run(folder):
        foreign.add(RETRAINING_FILE)
    return [file for file in own_files(folder, FILES) if file not in foreign]


def _worked_on(folder: Path) -> bool:
    """Whether the engineer has named, noted, judged, edited, labelled or retrained anything: that is never removed."""
    if (folder / RETRAINING_FILE).is_file() or labels_of(folder):
        return True
    try:
        review = load_review(folder)
    except SAFEError:
        return (folder / NOTES_FILE).is_file() or (folder / EDITS_FILE).is_file()
    return bool(review.notes or review.edits)


def _came_about(clusters: RootCauseClusters) -> tuple:
    """What two runs must have in common to be one."""
    return (
        fingerprint(clusters),
        os.fspath(clusters.image_root),
        clusters.extractor_identity,
        clusters.reducer,
        clusters.eps,
        clusters.min_samples,
        clusters.skipped,
    )


def _free_name(runs: Path, folder: Path, clusters: RootCauseClusters | None) -> str:
    """The name of the run in a folder: its time, with a number where another run has that time."""
    time = base = _time_of_run(folder).strftime("%Y%m%d-%H%M%S")
    number = 2
    while (runs / time).exists() and not _holds(runs / time, clusters):
        time, number = f"{base}-{number}", number + 1
    return time


def _holds(folder: Path, clusters: RootCauseClusters | None) -> bool:
    try:
        return clusters is not None and fingerprint(load_clusters(folder)) == fingerprint(clusters)
    except SAFEError:
        return False


def _time_of_run(folder: Path) -> datetime.datetime:
    """When its clusters were written; where they are gone, when the engineer last said something of them."""
    files = [folder / name for name in (CLUSTERS_FILE, NOTES_FILE, EDITS_FILE) if (folder / name).is_file()]
    return datetime.datetime.fromtimestamp(int(files[0].stat().st_mtime), datetime.UTC)


def _archived(runs: Path) -> list[str]:
    """Names of the runs kept, oldest first."""
    try:
        names = [path.name for path in runs.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    except OSError:
        return []
    return sorted(names, key=lambda name: (name[:15], int(name[16:] or 1)))


# --- Listing ----------------------------------------------------------------------------------------------------


def list_runs(folder: Path) -> tuple[Run, ...]:
    """The current run and the earlier ones, newest first; a damaged one is listed as damaged."""
    runs = folder / RUNS_FOLDER
    listed = [_describe(runs / name, name, current=False) for name in _archived(runs)]
    if (folder / CLUSTERS_FILE).is_file():
        name = _current_name(folder)
        listed = [run for run in listed if run.name != name]  # one that was brought back
        listed.append(_describe(folder, name, current=True))
    return tuple(sorted(listed, key=lambda run: (run.time, run.current, run.name), reverse=True))


def _current_name(folder: Path) -> str:
    try:
        clusters = load_clusters(folder)
    except SAFEError:
        return _time_of_run(folder).strftime("%Y%m%d-%H%M%S")
    return _free_name(folder / RUNS_FOLDER, folder, clusters)


def _describe(folder: Path, name: str, current: bool) -> Run:
    try:
        time = datetime.datetime.strptime(name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=datetime.UTC)
    except ValueError:  # a folder that only looks like a run, of a 32nd of a month
        time = datetime.datetime.fromtimestamp(0, datetime.UTC)
    try:
        review = load_review(folder)
    except SAFEError as error:
        return Run(name, time, current, damaged=str(error))
    clusters = review.clusters
    return Run(
        name=name,
        time=time,
        current=current,
        images=len(clusters.paths),
        rccs=len(rccs_of(clusters)),
        noise=int((clusters.labels == NOISE).sum()),
        reducer=clusters.reducer,
        image_root=os.fspath(clusters.image_root),
        named=len(review.notes),
    )


def open_run(folder: Path, name: str) -> Review:
    """What a run found and the engineer added to it.

    Raises
    ------
    SAFEError
        There is no such run, or it is damaged.
    """
    return load_review(run_folder(folder, name))


def run_folder(folder: Path, name: str) -> Path:
    """Where the files of a run lie: the output folder itself for the current one.

    Raises
    ------
    SAFEError
        There is no such run.
    """
    if (folder / CLUSTERS_FILE).is_file() and name == _current_name(folder):
        return folder
    # The name comes from a browser: nothing but the names that are listed.
    if name in _archived(folder / RUNS_FOLDER):
        return folder / RUNS_FOLDER / name
    raise SAFEError(f"Expected a run of {folder}. Received: {name}. The last {KEPT_RUNS} are kept; look at the list.")


# --- Comparing --------------------------------------------------------------------------------------------------


def compare_runs(folder: Path, a: str, b: str) -> Comparison:
    """Set two runs of an output folder side by side, by name (SAFEError as for `open_run`)."""
    return compare_clusters(open_run(folder, a).clusters, open_run(folder, b).clusters)


def compare_clusters(a: RootCauseClusters, b: RootCauseClusters) -> Comparison:
    """Set two clusterings side by side."""
    label_a = dict(zip(a.paths, a.labels.tolist(), strict=True))
    label_b = dict(zip(b.paths, b.labels.tolist(), strict=True))
    common = [path for path in a.paths if path in label_b]
    pairs = np.array([(label_a[path], label_b[path]) for path in common], dtype=int).reshape(-1, 2)
    cells, counts = np.unique(pairs, axis=0, return_counts=True)
    of_a = {rcc: int((pairs[:, 0] == rcc).sum()) for rcc in set(pairs[:, 0].tolist())}
    of_b = {rcc: int((pairs[:, 1] == rcc).sum()) for rcc in set(pairs[:, 1].tolist())}
    overlaps = [
        Overlap(rcc_a, rcc_b, n, n / of_a[rcc_a], n / of_b[rcc_b])
        for (rcc_a, rcc_b), n in zip(cells.tolist(), counts.tolist(), strict=True)
    ]
    rank = {rcc: place for place, rcc in enumerate(a.groups)}
    # Imported here and not above: with it the page would start a second later.
    from sklearn.metrics import adjusted_rand_score

    return Comparison(
        common=len(common),
        only_a=len(a.paths) - len(common),
        only_b=len(b.paths) - len(common),
        ari=float(adjusted_rand_score(pairs[:, 0], pairs[:, 1])) if len(common) > 1 else None,
        overlaps=tuple(sorted(overlaps, key=lambda o: (rank[o.rcc_a], -o.images, o.rcc_b))),
        same_folder=a.image_root == b.image_root,
    )


# --- Bringing back ----------------------------------------------------------------------------------------------


def restore_run(folder: Path, name: str) -> RootCauseClusters:
    """Make an earlier run the current one; the current one is kept among the earlier ones.

    The GIFs are not part of it: draw them for the clusters returned (`rccs.gifs.write_gifs`). The model of its
    retraining comes back from `retrained_models/`.

    Returns
    -------
    RootCauseClusters
        Those of the run brought back, with the engineer's edits applied.

    Raises
    ------
    SAFEError
        There is no such run, it is damaged, the files cannot be written, or long work is being done in the folder.
    """
    with working(folder, "opening an earlier run"), writing(folder):
        source = run_folder(folder, name)
        clusters = load_review(source).clusters  # a damaged one must not take the place of a good one
        if source == folder:
            return clusters
        archive_run(folder, spare=name)
        if own_files(folder, [MODEL_FILE]):
            keep_model(folder)  # one of an older version may not be kept yet
        kept = [file for file in FILES if (source / file).is_file()]
        files = {file: _copied(source / file) for file in kept} | labels_brought_back(folder, source)
        model = kept_model(folder, source)
        if model:
            files = {MODEL_FILE: _copied(model), **files}
        save_files(folder, files, remove=(*FILES, MODEL_FILE))
        return clusters


def _copied(source: Path) -> Callable[[Path], None]:
    """Writes a copy of a file; the time stays, since that of the clusters is the run's name."""

    def write(path: Path) -> None:
        shutil.copyfile(source, path)
        os.utime(path, ns=(0, source.stat().st_mtime_ns))

    return write


def earlier_reviews(folder: Path) -> list[Review]:
    """What the engineer has said of earlier runs, of the one kept last first; damaged ones are left out."""
    runs = folder / RUNS_FOLDER
    names = sorted(_archived(runs), key=lambda name: (runs / name).stat().st_mtime_ns, reverse=True)
    reviews = []
    for name in names:
        with contextlib.suppress(SAFEError):
            reviews.append(load_review(runs / name))
    return reviews


def set_note_of_run(folder: Path, note: RccNote, seen: RccNote, run: str) -> tuple[Kept, bool]:
    """Write what has changed of a note on an RCC of a run, which may have been replaced meanwhile.

    Parameters
    ----------
    note, seen, run
        As for `rccs.review.set_note`.

    Returns
    -------
    Kept
    bool
        Whether it was kept with an earlier run, since another one has taken its place.

    Raises
    ------
    SAFEError
        As `rccs.review.set_note`; the run is there no longer.
    """
    # The lock of the output folder: meanwhile the run is neither kept nor opened again.
    with writing(folder):
        place = folder_of(folder, run) or folder
        return set_note(place, note, seen, run), place != folder


def folder_of(folder: Path, run: str) -> Path | None:
    """Where the run with a fingerprint lies by now, in the output folder or among the earlier runs; None where not."""
    for place in (folder, *(folder / RUNS_FOLDER / name for name in reversed(_archived(folder / RUNS_FOLDER)))):
        with contextlib.suppress(SAFEError):
            if fingerprint(load_clusters(place)) == run:
                return place
    return None
