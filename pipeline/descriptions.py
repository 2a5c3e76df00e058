"""What the images of each RCC have in common, and their GIFs: first for new clusters, then after each edit."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.run_record import parameters_source
from rccs.clusters import RootCauseClusters, fingerprint
from rccs.gifs import gif_shows, write_gifs
from rccs.parameters import find_parameters, read_parameters
from rccs.profiles import REFERENCE, Profile, known_medians, known_ranges, profile_clusters, profiles_text
from rccs.rates import rates_text
from rccs.review import load_review, mend_labels
from rccs.rounds import beside
from reasons import load_reasons
from support.entries import is_within, path_of
from support.errors import SAFEError
from support.files import read_record
from support.output_folder import Writer, save_files, writing
from support.progress import Progress, no_progress
from support.run_folder import PROFILES_FILE, RATES_FILE, RUN_FILE


def describe_rccs(
    clusters: RootCauseClusters, *, parameters: str | os.PathLike | None = None, within: Path | None = None
) -> tuple[tuple[Profile, ...], dict]:
    """The RCCs' profiles, by recorded parameters and by what was measured, and the entries of `run.json` about them.

    A file that was not given, but found by itself, and cannot be read only causes a note: the clusters do not need it.
    """
    given = path_of(parameters, "a table of parameters") if parameters else None
    source = given or find_parameters(clusters.image_root)
    if source and not is_within(source, within):
        source = None
    recorded: Mapping[str, np.ndarray] = {}
    record: dict[str, object] = {}
    if source:
        record["source"] = os.fspath(source)
        try:
            known = read_parameters(source, clusters.image_root, clusters.paths)
        except SAFEError as error:
            if parameters:
                raise
            record["notes"] = [str(error)]
        else:
            recorded, record["notes"] = known.columns, known.notes
    measured = {name: column for name, column in clusters.measured.items() if name not in recorded}
    columns = {**recorded, **measured}
    if not columns:
        return (), {"parameters": record} if record else {}
    profiles = profile_clusters(clusters, columns, measured=measured)
    record |= {
        "compared_with": REFERENCE,
        "measured": list(measured),
        "ranges": known_ranges(profiles),
        "medians": known_medians(profiles),
        "profiles": {str(profile.rcc): profile.text for profile in profiles},
    }
    return profiles, {"parameters": record}


def known_parameters(out: Path, clusters: RootCauseClusters, *, within: Path | None = None) -> Mapping[str, np.ndarray]:
    """What is known of each image of the run in `out`, by name: answers of the DNN, measured and recorded parameters.

    A parameter of the same name counts. Parameters that can no longer be read are left out.
    """
    answers = clusters.answers.columns if clusters.answers else {}
    return {**answers, **clusters.measured, **_recorded(out, clusters, within)}


def _recorded(out: Path, clusters: RootCauseClusters, within: Path | None) -> Mapping[str, np.ndarray]:
    try:
        source = beside(read_record(out / RUN_FILE).get("parameters", {})["source"], clusters.image_root)
        if not is_within(source, within):
            return {}
        return read_parameters(source, clusters.image_root, clusters.paths).columns
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return {}  # people may have edited run.json, and the file may be gone


def profiles_file(profiles: tuple[Profile, ...]) -> dict[str, Writer]:
    """`rcc_profiles.csv`, to be saved; nothing if there are no profiles: a file that is there is about other RCCs."""
    return {PROFILES_FILE: profiles_text(profiles)} if profiles else {}


def refresh_rccs(out: Path, *, within: Path | None = None, progress: Progress = no_progress) -> RootCauseClusters:
    """Update GIFs and profiles to the engineer's edits; to be called after an edit or after restoring a run."""
    review = load_review(out)
    write_gifs(review.clusters, out, progress=progress)
    try:
        source = parameters_source(out, review.clusters)
        profiles, _ = describe_rccs(review.clusters, parameters=source, within=within)
    except SAFEError:
        profiles = ()  # the parameters can no longer be read, and the old profiles are about other RCCs
    with writing(out):
        # Otherwise there is a later edit, whose own call of this function writes the profiles.
        if fingerprint(load_review(out).clusters) == fingerprint(review.clusters):
            rates = load_reasons(out, review.original).rates(review.clusters).values()
            files = profiles_file(profiles) | ({RATES_FILE: rates_text(rates)} if rates else {})
            save_files(out, files, remove=[PROFILES_FILE])
    return review.clusters


def mend(out: Path, *, within: Path | None = None, progress: Progress = no_progress) -> bool:
    """Update `labels.txt`, GIFs and profiles that a killed process or a full disk has left outdated.

    Returns
    -------
    bool
        Whether anything was outdated.
    """
    behind = mend_labels(out)
    clusters = load_review(out).clusters
    if all(gif_shows(clusters, out, rcc) for rcc in clusters.groups):
        return behind
    refresh_rccs(out, within=within, progress=progress)
    return True
