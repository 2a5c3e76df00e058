"""Earlier runs, which are opened again by their number.

A run is never changed, so an earlier one comes back whole: with its unsafe set, labels and retraining, and with what
the engineer has said of its images and conditions since.
"""

from functools import partial
from pathlib import Path

from safe_dnn.rccs.clusters import LABELS_FILE, RootCauseClusters, load_clusters
from safe_dnn.rccs.profiles import PROFILES_FILE
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.spots.curves import CURVES_FILE
from safe_dnn.rccs.spots.rates import RATES_FILE
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE
from safe_dnn.rccs.unsafe_set import SHOWN_FILES
from safe_dnn.store.output_folder import check_own, working
from safe_dnn.store.runs import CLUSTERS, Run, open_clusters, present_runs, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.labels import bring_back_labels, take_typed_labels
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE

SHOWN = (
    LABELS_FILE, PROFILES_FILE, WEAK_SPOTS_FILE, CURVES_FILE, RATES_FILE, *SHOWN_FILES, MODEL_FILE, RETRAINING_FILE,
)  # fmt: skip
"""Files in the output folder itself that show the present state."""


def earlier_runs(folder: Path) -> list[Run]:
    """The clusters of an analysis but for the present ones, the newest first."""
    present = present_runs(folder).get(CLUSTERS)
    return [run for run in reversed(runs_of(folder, CLUSTERS)) if run != present]


def restore_run(folder: Path, number: int) -> RootCauseClusters:
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
        run = next((run for run in runs_of(folder, CLUSTERS) if run.number == number), None)
        if run is None:
            raise SAFEError(f"Expected the number of a run with clusters in {folder}. Received: {number}.")
        review = load_review(folder, original=load_clusters(folder, run))  # damaged ones must not replace intact ones
        if run != present_runs(folder).get(CLUSTERS):
            check_own(folder, *SHOWN)
            take_typed_labels(folder)
            open_clusters(folder, run.number, then=partial(bring_back_labels, folder, run.clusters))
        return review.clusters
