"""Earlier runs: archived when a new run replaces them, listed, compared and restored.

`runs/<YYYYmmdd-HHMMSS>/` in the output folder contains the files of an earlier run: clusters, names, notes, verdicts
and edits, the unsafe set with its labels, the retraining, and the values of the page's forms. GIFs can be drawn again;
models are in `retrained_models/`, named by the hash of their content (see `training/result.py`). The name of a run is
the time, in UTC, at which its clusters were written. A restored run keeps its name, so it never exists twice.

All runs that the engineer has worked on are kept, and the last `KEPT_RUNS` of the others.
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
from rccs.carried import with_newer_notes
from rccs.clusters import RootCauseClusters, fingerprint, load_clusters, rccs_of
from rccs.review import Review, load_review
from rccs.spot_notes import has_spot_notes, spot_notes_brought_back
from rccs.unsafe_set import selection_run
from support.errors import SAFEError
from support.files import prepare_folder, replacing_folder
from support.output_folder import Writer, own_files, save_files, working, writing
from support.run_folder import (
    CLUSTERS_FILE,
    COMPARISON_FILE,
    EDITS_FILE,
    FILENAMES_FILE,
    FORMS_FILE,
    LABELS_FILE,
    MAP_FILE,
    MODEL_FILE,
    NOTES_FILE,
    PROFILES_FILE,
    RATES_FILE,
    RETRAINING_FILE,
    RUN_FILE,
    RUNS_FOLDER,
    SELECTION_FILE,
    SPOT_NOTES_FILE,
    UNSAFE_IMAGES_FILE,
    UNSAFE_SET_FILE,
    WEAK_SPOTS_FILE,
)
from training.labels import keep_labels, labels_brought_back, may_be_labelled
from training.result import keep_model, kept_model, retraining_run

KEPT_RUNS = 20
_SELECTION = (FILENAMES_FILE, UNSAFE_SET_FILE, UNSAFE_IMAGES_FILE, SELECTION_FILE)
# The clusters last: the other files are worthless without them, so their presence means that the rest is complete.
FILES = (
    LABELS_FILE,
    RUN_FILE,
    EDITS_FILE,  # before the notes, since it identifies their clusters
    NOTES_FILE,
    PROFILES_FILE,
    WEAK_SPOTS_FILE,
    SPOT_NOTES_FILE,
    RATES_FILE,
    COMPARISON_FILE,
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
        Whether it is the run in the output folder itself.
    images, rccs, noise : int
        With the engineer's edits applied.
    reducer, image_root : str
    named : int
        RCCs that the engineer has named, judged or written a note on.
    damaged : str
        Why the run cannot be opened; otherwise empty. The numbers of a damaged run are 0.
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
    """Images that an RCC of the first run and one of the second have in common; `NOISE` stands for no cluster.

    Attributes
    ----------
    share_a, share_b : float
        Share of the RCC's images, of those that both runs have.
    """

    rcc_a: int
    rcc_b: int
    images: int
    share_a: float
    share_b: float


class Comparison(NamedTuple):
    """A comparison of two runs.

    Attributes
    ----------
    common, only_a, only_b : int
        Images, identified by their paths relative to the image folder.
    ari : float or None
        Adjusted Rand index on the common images, where those in no cluster count as one group: 1 for equal clusters,
        near 0 for unrelated ones. None if fewer than two images are common.
    overlaps : tuple of Overlap
        The overlaps that are not empty; by RCC of the first run, noise last, the largest overlap first within each.
    same_folder : bool
        Whether both runs have the same image folder.
    """

    common: int
    only_a: int
    only_b: int
    ari: float | None
    overlaps: tuple[Overlap, ...]
    same_folder: bool


# --- Archiving --------------------------------------------------------------------------------------------------


def archive_run(folder: Path, *, successor: RootCauseClusters | None = None, spare: str = "") -> str | None:
    """Copy the run in a folder to `runs/`, before a new run replaces it.

    Labels typed into its unsafe set are kept for their images first: when the run is opened again, those count that are
    known of the images then (see `training.labels`).

    Parameters
    ----------
    successor : RootCauseClusters, optional
        The new run. If it has the same clusters, found in the same way, nothing is archived.
    spare : str
        A run that is not removed, even if it is the oldest of too many.

    Returns
    -------
    str or None
        The name of the run; None if there was none, the successor is the same, or the run is damaged and has no notes.

    Raises
    ------
    SAFEError
        It cannot be written, or the kept labels cannot be read.
    """
    current = None
    with contextlib.suppress(SAFEError):
        current = load_clusters(folder)
    if current is None and not own_files(folder, (NOTES_FILE, EDITS_FILE)):
        return None  # nothing worth keeping
    if current and successor and _came_about(current) == _came_about(successor):
        return None
    if own_files(folder, [UNSAFE_SET_FILE]):
        keep_labels(folder)
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
    """The files in a folder that belong to these clusters; files of an earlier run are already archived with it."""
    foreign: set[str] = set()
    if clusters is not None:
        ours = (fingerprint(clusters), "")  # or of an older version, which does not say
        foreign |= set() if selection_run(folder) in ours else {*_SELECTION}
        foreign |= set() if retraining_run(folder) in ours else {RETRAINING_FILE}
    return [file for file in own_files(folder, FILES) if file not in foreign]


def _worked_on(folder: Path) -> bool:
    """Whether the engineer has named, judged, edited, labelled or retrained anything; such a run is never removed."""
    if (folder / RETRAINING_FILE).is_file() or may_be_labelled(folder) or has_spot_notes(folder):
        return True
    try:
        review = load_review(folder)
    except SAFEError:
        return (folder / NOTES_FILE).is_file() or (folder / EDITS_FILE).is_file()
    return bool(review.notes or review.edits)


def _came_about(clusters: RootCauseClusters) -> tuple:
    """The properties in which two runs are equal if they are the same run."""
    return (
        fingerprint(clusters),
        os.fspath(clusters.home),
        clusters.extractor_identity,
        clusters.reducer,
        clusters.eps,
        clusters.min_samples,
        clusters.skipped,
        clusters.without,
    )


def _free_name(runs: Path, folder: Path, clusters: RootCauseClusters | None) -> str:
    """The name of the run in a folder: its time, with a number if another run has the same time."""
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
    """Names of the archived runs, oldest first."""
    try:
        names = [path.name for path in runs.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    except OSError:
        return []
    return sorted(names, key=lambda name: (name[:15], int(name[16:] or 1)))


# --- Listing ----------------------------------------------------------------------------------------------------


def list_runs(folder: Path) -> tuple[Run, ...]:
    """The current and the earlier runs, newest first; damaged runs are listed as damaged."""
    runs = folder / RUNS_FOLDER
    listed = [_describe(runs / name, name, current=False) for name in _archived(runs)]
    if (folder / CLUSTERS_FILE).is_file():
        name = _current_name(folder)
        listed = [run for run in listed if run.name != name]  # the current run may have been restored
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
    except ValueError:  # not a date, such as the 32nd day of a month
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
    """The clusters of a run with the engineer's notes and edits.

    Raises
    ------
    SAFEError
        The run does not exist, or it is damaged.
    """
    return load_review(run_folder(folder, name))


def run_folder(folder: Path, name: str) -> Path:
    """The folder of a run; for the current run, the output folder itself.

    Raises
    ------
    SAFEError
        The run does not exist.
    """
    if (folder / CLUSTERS_FILE).is_file() and name == _current_name(folder):
        return folder
    # The name comes from a browser, so only listed names are accepted.
    if name in _archived(folder / RUNS_FOLDER):
        return folder / RUNS_FOLDER / name
    raise SAFEError(f"Expected a run of {folder}. Received: {name}. Choose one of the list under Earlier runs.")


# --- Comparing --------------------------------------------------------------------------------------------------


def compare_clusters(a: RootCauseClusters, b: RootCauseClusters) -> Comparison:
    """Compare two clusterings."""
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
    # Imported here because it takes a second, which would delay the start of the page.
    from sklearn.metrics import adjusted_rand_score

    return Comparison(
        common=len(common),
        only_a=len(a.paths) - len(common),
        only_b=len(b.paths) - len(common),
        ari=float(adjusted_rand_score(pairs[:, 0], pairs[:, 1])) if len(common) > 1 else None,
        overlaps=tuple(sorted(overlaps, key=lambda o: (rank[o.rcc_a], -o.images, o.rcc_b))),
        same_folder=a.home == b.home,
    )


# --- Restoring --------------------------------------------------------------------------------------------------


def restore_run(folder: Path, name: str) -> RootCauseClusters:
    """Make an earlier run the current run; the current run is archived.

    GIFs are not restored: draw them for the clusters returned (`rccs.gifs.write_gifs`). The retrained model is restored
    from `retrained_models/`. Notes that were written since about the same images come with the run (see
    `rccs.carried.with_newer_notes`). Labels of images and notes on weak spots that were given since the run was left
    stay: they are about the image and the condition (see `training/labels.py`, `rccs/spot_notes.py`).

    Returns
    -------
    RootCauseClusters
        The clusters of the restored run, with the engineer's edits applied.

    Raises
    ------
    SAFEError
        The run does not exist or is damaged, the files cannot be written, or other work is in progress in the folder.
    """
    with working(folder, "opening an earlier run"), writing(folder):
        source = run_folder(folder, name)
        review = load_review(source)  # a damaged run must not replace an intact one
        if source == folder:
            return review.clusters
        newer = _newer_reviews(folder, name)
        archive_run(folder, spare=name)
        if own_files(folder, [MODEL_FILE]):
            keep_model(folder)  # one of an older version may not be kept yet
        kept = [file for file in FILES if (source / file).is_file()]
        files: dict[str, Writer] = {file: _copied(source / file) for file in kept}
        files |= spot_notes_brought_back(folder, source) | labels_brought_back(folder, source)
        files |= with_newer_notes(review, newer)
        model = kept_model(folder, source)
        if model:
            files = {MODEL_FILE: _copied(model), **files}
        save_files(folder, files, remove=(*FILES, MODEL_FILE))
        return review.clusters


def _copied(source: Path) -> Callable[[Path], None]:
    """A function that writes a copy of a file with the same time, since the time of the clusters is the run's name."""

    def write(path: Path) -> None:
        shutil.copyfile(source, path)
        os.utime(path, ns=(0, source.stat().st_mtime_ns))

    return write


def _newer_reviews(folder: Path, name: str) -> list[Review]:
    """The reviews of the current run and of those archived after another one, the latest first."""
    runs = folder / RUNS_FOLDER
    left = (runs / name).stat().st_mtime_ns
    reviews = []
    for place in (folder, *_latest_first(runs)):
        if place == folder or place.stat().st_mtime_ns > left:
            with contextlib.suppress(SAFEError):
                reviews.append(load_review(place))
    return reviews


def earlier_reviews(folder: Path) -> list[Review]:
    """The reviews of the earlier runs, the last archived one first, without damaged ones."""
    reviews = []
    for place in _latest_first(folder / RUNS_FOLDER):
        with contextlib.suppress(SAFEError):
            reviews.append(load_review(place))
    return reviews


def _latest_first(runs: Path) -> list[Path]:
    """The folders of the archived runs, the last archived one first."""
    return sorted((runs / name for name in _archived(runs)), key=lambda run: run.stat().st_mtime_ns, reverse=True)


def folder_of(folder: Path, run: str) -> Path | None:
    """The folder of the run with a fingerprint, current or earlier; None if it does not exist."""
    for place in (folder, *(folder / RUNS_FOLDER / name for name in reversed(_archived(folder / RUNS_FOLDER)))):
        with contextlib.suppress(SAFEError):
            if fingerprint(load_clusters(place)) == run:
                return place
    return None
