"""Earlier runs: listed, compared, and opened again.

A run is never changed, so an earlier one comes back whole: with its unsafe set, labels and retraining, and with what
the engineer has said of its images and conditions since. Runs that somebody has worked on are never removed, and
neither are the last `KEPT_RUNS` of the others.
"""

import datetime
import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dbscan.outcome import NOISE
from rccs.clusters import LABELS_FILE, RootCauseClusters, load_clusters, rccs_of
from rccs.profiles import PROFILES_FILE
from rccs.review.review import load_review
from rccs.review.spot_notes import has_spot_notes
from rccs.spots.rates import RATES_FILE
from rccs.spots.weak_spots import WEAK_SPOTS_FILE
from rccs.unsafe_set import FILENAMES_FILE, UNSAFE_IMAGES_FILE, UNSAFE_SET_FILE
from store.output_folder import check_own, working
from store.runs import CLUSTERS, KINDS, RETRAINING, SELECTION, Run, open_clusters, present_runs, remove_run, runs_of
from support.errors import SAFEError
from training.labels import bring_back_labels, may_be_labelled, take_typed_labels
from training.result import MODEL_FILE, RETRAINING_FILE

KEPT_RUNS = 20
SHOWN = (
    LABELS_FILE,
    PROFILES_FILE,
    WEAK_SPOTS_FILE,
    RATES_FILE,
    FILENAMES_FILE,
    UNSAFE_SET_FILE,
    UNSAFE_IMAGES_FILE,
    MODEL_FILE,
    RETRAINING_FILE,
)
"""Files in the output folder itself that show the present state."""


class Listed(NamedTuple):
    """Clusters, earlier or present ones, for a list of runs.

    Attributes
    ----------
    run : Run
    current : bool
        Whether they are the present ones.
    images, rccs, noise : int
        With the engineer's edits applied.
    reducer, image_root : str
    named : int
        RCCs that the engineer has named, judged or written a note on.
    damaged : str
        Why they cannot be opened; otherwise empty. The numbers of damaged ones are 0.
    """

    run: Run
    current: bool
    images: int = 0
    rccs: int = 0
    noise: int = 0
    reducer: str = ""
    image_root: str = ""
    named: int = 0
    damaged: str = ""

    @property
    def name(self) -> str:
        return str(self.run.number)

    @property
    def time(self) -> datetime.datetime:
        """When they were found, UTC."""
        return datetime.datetime.fromisoformat(self.run.time)


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
    """

    common: int
    only_a: int
    only_b: int
    ari: float | None
    overlaps: tuple[Overlap, ...]


# --- Listing ----------------------------------------------------------------------------------------------------


def list_runs(folder: Path) -> tuple[Listed, ...]:
    """The present and the earlier clusters, the newest first; those that were found in the same way again once."""
    present = present_runs(folder).get(CLUSTERS)
    return tuple(_listed(folder, run, run == present) for run in reversed(_distinct(folder, present)))


def _distinct(folder: Path, present: Run | None) -> list[Run]:
    """Clusters, the oldest first; of the same ones, found in the same way, the present or the latest ones."""
    latest: dict[tuple, Run] = {}
    for run in runs_of(folder, CLUSTERS):
        same = (run.clusters, run.facts.get("settings"))
        if latest.get(same) != present or present is None:
            latest.pop(same, None)
            latest[same] = run
    return list(latest.values())


def _listed(folder: Path, run: Run, current: bool) -> Listed:
    try:
        review = load_review(folder, original=load_clusters(folder, run))
    except SAFEError as error:
        return Listed(run, current, damaged=str(error))
    clusters = review.clusters
    return Listed(
        run,
        current,
        images=len(clusters.paths),
        rccs=len(rccs_of(clusters)),
        noise=int((clusters.labels == NOISE).sum()),
        reducer=clusters.reducer,
        image_root=os.fspath(clusters.image_root),
        named=len(review.notes),
    )


def find_run(folder: Path, name: str) -> Run:
    """The clusters with a name; a SAFEError if they do not exist."""
    found = next((run for run in runs_of(folder, CLUSTERS) if str(run.number) == name), None)
    if found is None:
        raise SAFEError(f"Expected a run of {folder}. Received: {name}. Choose one of the list under Earlier runs.")
    return found


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
    )


# --- Opening, removing ------------------------------------------------------------------------------------------


def restore_run(folder: Path, name: str) -> RootCauseClusters:
    """Make earlier clusters the present ones, with all that rests on them.

    What was said of the same images and conditions since, and labels that were given, count. To be followed by
    `pipeline.descriptions.show_present`.

    Returns
    -------
    RootCauseClusters
        With the engineer's edits applied.

    Raises
    ------
    SAFEError
        They do not exist or are damaged, other work is in progress in the folder, or a file in it that would show
        them belongs to somebody else.
    """
    with working(folder, "opening an earlier run"):
        run = find_run(folder, name)
        review = load_review(folder, original=load_clusters(folder, run))  # damaged ones must not replace intact ones
        if run != present_runs(folder).get(CLUSTERS):
            check_own(folder, *SHOWN)
            take_typed_labels(folder)
            open_clusters(folder, run.number, then=partial(bring_back_labels, folder, run.clusters))
        return review.clusters


def prune_runs(folder: Path) -> None:
    """Remove clusters that nobody has worked on, but for the present and the last `KEPT_RUNS` ones.

    Those of them that were found again in the same way are removed at once.
    """
    present = present_runs(folder).get(CLUSTERS)
    distinct = _distinct(folder, present)
    unused = [run for run in distinct if run != present and not _worked_on(folder, run)]
    again = [run for run in runs_of(folder, CLUSTERS) if run not in distinct]
    for run in [*again, *unused[: max(len(unused) - KEPT_RUNS, 0)]]:
        resting = [one for kind in KINDS[1:] for one in runs_of(folder, kind) if one.clusters == run.itself]
        for one in (run, *resting):
            remove_run(one)


def _worked_on(folder: Path, run: Run) -> bool:
    """Whether the engineer has named, judged, edited, labelled or retrained anything."""
    resting = present_runs(folder, run)
    if RETRAINING in resting or (SELECTION in resting and may_be_labelled(folder, resting[SELECTION])):
        return True
    try:
        review = load_review(folder, original=load_clusters(folder, run))
        return bool(review.notes or review.edits) or has_spot_notes(folder, run)
    except SAFEError:
        return True  # damaged: it may have been
