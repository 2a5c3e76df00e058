"""Earlier runs: listed, and opened again.

A run is never changed, so an earlier one comes back whole: with its unsafe set, labels and retraining, and with what
the engineer has said of its images and conditions since. Runs that somebody has worked on are never removed, and
neither are the last `KEPT_RUNS` of the others.
"""

import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from safe_dnn.rccs.clusters import LABELS_FILE, RootCauseClusters, load_clusters, rccs_of
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.profiles import PROFILES_FILE
from safe_dnn.rccs.review.review import has_spot_notes, load_review
from safe_dnn.rccs.spots.curves import CURVES_FILE
from safe_dnn.rccs.spots.rates import RATES_FILE
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE
from safe_dnn.rccs.unsafe_set import SHOWN_FILES, load_unsafe_set
from safe_dnn.store.output_folder import check_own, working
from safe_dnn.store.runs import CLUSTERS, RETRAINING, SELECTION, Run, open_clusters, present_runs, remove_run, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count
from safe_dnn.training.labels import bring_back_labels, take_typed_labels
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE

KEPT_RUNS = 20
SHOWN = (
    LABELS_FILE, PROFILES_FILE, WEAK_SPOTS_FILE, CURVES_FILE, RATES_FILE, *SHOWN_FILES, MODEL_FILE, RETRAINING_FILE,
)  # fmt: skip
"""Files in the output folder itself that show the present state."""


class Listed(NamedTuple):
    """Clusters, earlier or present ones, for a list of runs.

    Attributes
    ----------
    run : Run
    current : bool
        Whether they are the present ones.
    text : str
        What they hold, with the engineer's edits applied, how they were found and what was said; or that, and why, they
        cannot be opened.
    """

    run: Run
    current: bool
    text: str

    @property
    def name(self) -> str:
        return str(self.run.number)

    @property
    def time(self) -> datetime.datetime:
        """When they were found, UTC."""
        return datetime.datetime.fromisoformat(self.run.time)


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
        return Listed(run, current, f"damaged: {error}")
    clusters, noise = review.clusters, int((review.clusters.labels == NOISE).sum())
    found = f"{count(len(rccs_of(clusters)), 'RCC')} of {count(len(clusters.paths), 'image')}, {noise:,} in no cluster"
    said = f"{len(review.notes)} named or judged"
    told = clusters.beyond_class
    by = "UMAP" if clusters.reducer == "umap" else "what sets them apart" if told and told.is_apart else "PCA"
    return Listed(run, current, f"{found}, by {by} · {said} · {clusters.image_root}")


def find_run(folder: Path, name: str) -> Run:
    """The clusters with a name; a SAFEError if they do not exist."""
    found = next((run for run in runs_of(folder, CLUSTERS) if str(run.number) == name), None)
    if found is None:
        raise SAFEError(f"Expected a run of {folder}. Received: {name}. Choose one of the list under Earlier runs.")
    return found


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
        remove_run(run)


def _worked_on(folder: Path, run: Run) -> bool:
    """Whether the engineer has named, judged, edited, labelled or retrained anything."""
    resting = present_runs(folder, run)
    if RETRAINING in resting:
        return True
    try:
        unsafe = load_unsafe_set(folder, resting[SELECTION]) if SELECTION in resting else None
        if unsafe and any(image.label for image in unsafe.images):
            return True
        review = load_review(folder, original=load_clusters(folder, run))
        return bool(review.notes or review.edits) or has_spot_notes(folder, run)
    except SAFEError:
        return True  # damaged: it may have been
