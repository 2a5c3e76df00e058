"""Beyond the paper: set aside looks, where it is not known what the nuisance is.

If few RCCs fail more often than elsewhere, most of them show what images look like rather than why the DNN fails.
`looks_offer` says so. `right_images` collects the features of images that the DNN gets right, and
`clustering.find_root_cause_clusters` compares the failing images only in what sets them apart from these
(`rccs/dbscan/contrast.py`). Where the nuisance is recorded, setting it aside tells more (`reasons/nuisances.py`).
"""

from collections.abc import Sequence

import numpy as np

from dnn.tested import AnsweredImages
from FE import ImageFeatures
from features.batches import Stream
from rccs.clusters import RootCauseClusters
from rccs.dbscan.contrast import LOOKS
from rccs.spots.rates import Rate
from reasons.comparison import compared_images, features_of_tested
from reasons.nuisances import Offer
from support.errors import SAFEError
from support.progress import Progress, no_progress
from support.text import count, printable

FEW = 0.5  # share of the RCCs: if no more fail more often than elsewhere, looks are offered to be set aside
LEAST_RCCS = 4


def looks_alone(names: Sequence[str]) -> bool:
    """Whether looks are to be set aside.

    Raises
    ------
    SAFEError
        Something else is as well.
    """
    if LOOKS in names and len(names) > 1:
        others = printable(", ".join(name for name in names if name != LOOKS)) or f"{LOOKS} twice"
        raise SAFEError(
            f"Expected {LOOKS} alone to be set aside, or other parameters without it. Received as well: {others}. "
            "Set recorded parameters aside first: that tells more."
        )
    return LOOKS in names


def check_answers(tested: AnsweredImages | None) -> AnsweredImages:
    """Check that it is known which images the DNN gets right (SAFEError)."""
    if tested is None or not tested.right.any() or tested.right.all():
        received = "none" if tested is None else "one of right images only" if tested.right.all() else "one without any"
        raise SAFEError(
            f"Expected a table of predictions that tells which test images the network gets right, to set {LOOKS} "
            f"aside. Received {received}. Find the failures with SAFE, or give --predictions and --tested."
        )
    return tested


def right_images(
    images: ImageFeatures,
    tested: AnsweredImages | None,
    *,
    stream: Stream | None = None,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Features of the images that the DNN gets right; of a very large test set, of a random part.

    Parameters
    ----------
    images : ImageFeatures
        The failing images.
    stream : callable, optional
        As for `FE.extract_features`.

    Returns
    -------
    ndarray of shape (n_right, dimension), float32

    Raises
    ------
    SAFEError
        It is not known which images are right, or their features cannot be extracted.
    """
    known = check_answers(tested)
    compared = compared_images(known, images.root, images.paths)
    rows = compared.rows[len(compared.failing) :]
    return features_of_tested(known, rows, images.extractor, stream=stream, progress=progress)[0]


def looks_record(clusters: RootCauseClusters, n_right: int) -> dict[str, object]:
    """What `run.json` says of looks that were set aside, or of why they were not."""
    nothing = (
        f"nothing that VGG16 sees in the failing images sets them apart from {count(n_right, 'image')} that it "
        f"gets right, beyond chance, so {LOOKS} were left as they are."
    )
    return {
        "names": [LOOKS], "source": None, "fitted_to": n_right + len(clusters.paths), "right": n_right,
        "directions": clusters.contrast, "notes": [] if clusters.contrast else [nothing],
    }  # fmt: skip


def looks_offer(rates: Sequence[Rate]) -> Offer | None:
    """Offer to set looks aside where few RCCs fail more often than elsewhere.

    Parameters
    ----------
    rates : sequence of Rate
        Of all RCCs.
    """
    more = sum(rate.verdict == "more" for rate in rates)
    if len(rates) < LEAST_RCCS or more > FEW * len(rates):
        return None
    return Offer(
        LOOKS,
        f"{more or 'None'} of {len(rates)} RCCs fail{'s' if more == 1 else ''} clearly more often than elsewhere: most "
        f"show what images look like. Set {LOOKS} aside (--set-aside {LOOKS}) to leave out what images look like that "
        "the network gets right.",
    )
