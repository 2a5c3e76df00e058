"""After steps 1 and 2: the RCCs of an output folder in comparison with what the DNN gets right."""

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
from reasons import Reasons, compare_with_right, known_of, reasons_files, reasons_of, weak_spots_of
from support.files import read_record
from support.output_folder import save_files, working, writing
from support.progress import Progress, no_progress
from support.run_folder import RUN_FILE


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
