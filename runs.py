"""The steps of SAFE put together: what the page and the command line start, and how they speak of it."""

import json
import os
import time
from pathlib import Path

from artefacts import prepare_folder
from clustering import RUN_FILE, RootCauseClusters, find_root_cause_clusters, load_clusters, save_clusters
from errors import SAFEError
from FE import Progress, choose_extractor, extract_features
from inspection import write_gifs
from parameters import find_parameters, read_parameters
from profiles import PROFILES_FILE, REFERENCE, Profile, profile_clusters, save_profiles
from selection import UnsafeSet, save_unsafe_set, select_unsafe_set


def generate_clusters(
    images: str | os.PathLike,
    out: Path,
    progress: Progress,
    extractor: str = "auto",
    reducer: str = "pca",
    weights: str | None = None,
    parameters: str | os.PathLike | None = None,
) -> RootCauseClusters:
    """Steps 1 and 2: extract features, cluster, draw the GIFs; write everything to the folder `out`.

    Parameters
    ----------
    parameters : path, optional
        A CSV file of the images' parameters; by default `parameters.csv` in the image folder or beside it, if any.
    """
    prepare_folder(out)
    if parameters:
        read_parameters(parameters, Path(), ())  # a file that cannot be read is told before the long work
    features = extract_features(images, choose_extractor(extractor, weights, progress), progress)
    clusters = find_root_cause_clusters(features, reducer, weights, progress)
    write_gifs(clusters, out, progress)
    save_clusters(clusters, out, describe_rccs(clusters, out, parameters))
    return clusters


def describe_rccs(clusters: RootCauseClusters, out: Path, parameters: str | os.PathLike | None = None) -> dict:
    """Write `rcc_profiles.csv` where the images' parameters are known; what `run.json` says of it.

    A file that was only found, not named, and cannot be read is a note: the clusters do not need it.
    """
    source = Path(parameters) if parameters else find_parameters(clusters.image_root)
    profiles: tuple[Profile, ...] = ()
    record = {}
    if source:
        try:
            known = read_parameters(source, clusters.image_root, clusters.paths)
        except SAFEError as error:
            if parameters:
                raise
            record = {"source": os.fspath(source), "notes": [str(error)]}
        else:
            profiles = profile_clusters(clusters, known) if known.columns else ()
            record = {
                "source": os.fspath(source),
                "compared_with": REFERENCE,
                "notes": known.notes,
                "profiles": {str(profile.rcc): profile.text for profile in profiles},
            }
    if profiles:
        save_profiles(profiles, out)
    else:
        (out / PROFILES_FILE).unlink(missing_ok=True)  # an earlier run's
    return {"parameters": record} if record else {}


def parameter_notes(out: Path) -> list[str]:
    """What of the parameters could not be used in the run that `out` holds."""
    try:
        record = json.loads((out / RUN_FILE).read_text(encoding="utf-8"))
        return [str(note) for note in record.get("parameters", {}).get("notes", [])]
    except (OSError, ValueError, AttributeError, TypeError):
        return []  # run.json is for people; nothing depends on it


def select_images(
    improvement: str | os.PathLike, out: Path, progress: Progress, weights: str | None = None, **numbers: object
) -> UnsafeSet:
    """Steps 3 and 4: select the unsafe set for the RCCs in the folder `out`; write it there.

    `numbers` are those of `selection.select_unsafe_set`.
    """
    clusters = load_clusters(out)
    prepare_folder(out)
    unsafe = select_unsafe_set(improvement, clusters, weights=weights, progress=progress, **numbers)
    save_unsafe_set(unsafe, out)
    return unsafe


def count(n: int, noun: str) -> str:
    """For example `1 image`, `1,200 images`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def cluster_summary(clusters: RootCauseClusters) -> str:
    """One line: how many images, RCCs, in no cluster, skipped; with what."""
    parts = [
        count(len(clusters.paths), "image"),
        count(clusters.n_rccs, "RCC"),
        f"{clusters.noise_share:.0%} in no cluster",
        f"{len(clusters.skipped):,} skipped",
        clusters.extractor,
    ]
    if clusters.settings:
        parts.append(f"eps {clusters.eps:.3g}, min_samples {clusters.min_samples}")
    else:
        parts.append("nothing to tune: too few images, or all alike")
    return " · ".join(parts)


def selection_summary(unsafe: UnsafeSet) -> str:
    """One line: how many of how many, and whether that is less than wanted."""
    text = f"{len(unsafe.images):,} of {count(unsafe.n_improvement, 'improvement image')} selected"
    if len(unsafe.images) < unsafe.wanted:
        text += f", all there are; {unsafe.wanted:,} were wanted"
    return text + (f" · {len(unsafe.skipped):,} skipped" if unsafe.skipped else "")


class Pace:
    """Turns progress calls into words: what is being done, how far it is, how long it will take."""

    def __init__(self) -> None:
        self._what = ""
        self._began = 0.0

    def describe(self, what: str, done: int, total: int) -> str:
        """For example `Extracting features: 412 / 860, 0:58 left`."""
        if what != self._what:
            self._what, self._began = what, time.monotonic()
        elapsed = time.monotonic() - self._began
        text = f"{what}: {done:,} / {total:,}"
        # A rate measured over less than a second would only make the number jump.
        if 0 < done < total and elapsed > 1:
            seconds = round(elapsed / done * (total - done))
            text += f", {seconds // 60}:{seconds % 60:02d} left"
        return text
