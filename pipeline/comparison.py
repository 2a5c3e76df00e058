"""After steps 1 and 2: RCCs in comparison with what the DNN gets right, and failing images beside others like them."""

import json
import os
from pathlib import Path

from features.batches import Stream
from looks import looks_offer
from nuisances import Offer, nuisance_offer
from pipeline.answers import answers_of_run
from pipeline.run_record import nuisance_source, parameters_source
from rccs.clusters import RootCauseClusters, fingerprint, load_clusters
from rccs.gifs import write_spot_gifs
from rccs.review import load_review
from rccs.unsafe_set import load_unsafe_set
from reasons import Reasons, compare_with_right, known_of, reasons_files, reasons_of, weak_spots_of
from similar_images import IMPROVEMENT, OtherImages, gather_improvement, gather_right
from support.entries import is_within
from support.errors import SAFEError
from support.files import read_record
from support.output_folder import save_files, working, writing
from support.progress import Progress, no_progress
from support.run_folder import RUN_FILE, UNSAFE_SET_FILE


def explain_failures(
    out: Path,
    *,
    within: Path | None = None,
    weights: str | os.PathLike | None = None,
    stream: Stream | None = None,
    progress: Progress = no_progress,
) -> bool:
    """After `generate_clusters`: failure rates of the RCCs and weak spots, in comparison with what the DNN gets right.

    Weak spots come first, since they are found in seconds; the features of the images that are right take longer.

    Parameters
    ----------
    within : path, optional
        Predictions and test images are only read inside this folder.
    weights, stream
        As for `selection.select_unsafe_set`.

    Returns
    -------
    bool
        False if the DNN's answers to its test set are not known.

    Raises
    ------
    SAFEError
        The predictions have changed since the clusters were found, or the test images cannot be read.
    """
    with working(out, "comparing"):
        clusters = load_clusters(out)
        tested = answers_of_run(out, clusters, within)
        if tested is None or tested.right.all() or not tested.right.any():
            return False
        parameters = parameters_source(out, clusters)
        known = known_of(tested, parameters=parameters, within=within, progress=progress)
        progress("Searching for weak spots", 0, 0)
        reasons = reasons_of(clusters, tested, known, weak_spots_of(tested, known))
        _save_reasons(out, clusters, reasons)
        write_spot_gifs(clusters, out, reasons.images, progress=progress)
        offer = None
        if not clusters.contrast:  # looks are set aside alone
            offer = nuisance_offer(clusters, tested, parameters=parameters, within=within)
        _save_offer(out, clusters, offer)
        comparison = compare_with_right(
            clusters,
            tested,
            parameters=nuisance_source(out, clusters),
            weights=weights,
            stream=stream,
            progress=progress,
        )
        _save_reasons(out, clusters, reasons._replace(comparison=comparison))
        if offer is None and "set_aside" not in read_record(out / RUN_FILE):  # nor if it was tried in vain
            _save_offer(out, clusters, looks_offer(comparison.rates(clusters)))
    return True


def other_images(
    out: Path,
    kind: str,
    *,
    compute: bool = False,
    within: Path | None = None,
    weights: str | os.PathLike | None = None,
    progress: Progress = no_progress,
) -> OtherImages:
    """Images that the failing ones of the run in `out` are compared with one by one (see `similar_images.py`).

    Parameters
    ----------
    kind : RIGHT or IMPROVEMENT
        Test images that the DNN gets right, or the images that the unsafe set was selected from.
    compute : bool
        Whether to compute the features that are not cached.
    within : path, optional
        Images and tables are only read inside this folder.
    weights
        As for `selection.select_unsafe_set`.

    Raises
    ------
    SAFEError
        Such images are not known, or cannot be read.
    """
    clusters = load_clusters(out)
    if kind == IMPROVEMENT:
        unsafe = load_unsafe_set(out) if (out / UNSAFE_SET_FILE).is_file() else None
        if unsafe is None or unsafe.run not in ("", fingerprint(clusters)):
            raise SAFEError(
                "Expected the improvement images of these RCCs. Received none: no unsafe set has been selected for "
                "them. Select it in the tab Unsafe set."
            )
        if not is_within(unsafe.improvement_root, within):
            raise SAFEError(f"Expected improvement images below {within} (--root). Received: others.")
        return gather_improvement(clusters, unsafe, compute=compute, within=within, weights=weights, progress=progress)
    tested = answers_of_run(out, clusters, within)
    if tested is None or not tested.right.any():
        raise SAFEError(
            "Expected test images that the network gets right. Received none: its answers to its whole test set are "
            "not known. Give them as predictions, and generate the RCCs again."
        )
    parameters = nuisance_source(out, clusters)
    return gather_right(clusters, tested, compute=compute, parameters=parameters, weights=weights, progress=progress)


def _save_offer(out: Path, clusters: RootCauseClusters, offer: Offer | None) -> None:
    """Keep an offer in `run.json`, unless the folder holds another run by now."""
    with writing(out):
        record = read_record(out / RUN_FILE)
        if record.get("offer") != (offer._asdict() if offer else None) and fingerprint(
            load_review(out).original
        ) == fingerprint(clusters):
            record.pop("offer", None)
            record |= {"offer": offer._asdict()} if offer else {}
            save_files(out, {RUN_FILE: json.dumps(record, indent=2) + "\n"})


def _save_reasons(out: Path, clusters: RootCauseClusters, reasons: Reasons) -> None:
    """Write what was found, unless the folder holds another run by now."""
    with writing(out):
        review = load_review(out)
        if fingerprint(review.original) == fingerprint(clusters):
            save_files(out, reasons_files(reasons, clusters, review.clusters))
