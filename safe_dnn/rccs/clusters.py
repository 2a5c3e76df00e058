"""The record of a run's root cause clusters (RCCs), and its files.

`run.json` is for people and scripts, `clusters.npz` is for the later steps. `labels.txt` shows the present RCCs.
"""

import contextlib
import hashlib
import json
import platform
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.features.attributes import ATTRIBUTES
from safe_dnn.features.extractor import OWN, Extractor
from safe_dnn.features.own import own_extractor
from safe_dnn.features.vgg16 import recall_extractor
from safe_dnn.options import ClusteringSettings, path_names
from safe_dnn.rccs.answers import ERROR, Answers, commonest_confusion
from safe_dnn.rccs.dbscan.contrast import ExplainedUncertainty
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE, Setting, Steadiness
from safe_dnn.rccs.dbscan.projection import Projection, SetAside
from safe_dnn.store.output_folder import Writer
from safe_dnn.store.places import absolute, packed, plain, recorded, relative, test_set_of, tested_by, unpacked
from safe_dnn.store.runs import CLUSTERS, Run, add_run, present_runs, reading_file, run_file, runs_of
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.files import read_record
from safe_dnn.support.images import Skipped, content_of
from safe_dnn.support.run_folder import FAILURES, PREDICTIONS_FILE
from safe_dnn.support.text import count, percent
from safe_dnn.support.version import VERSION

NEED_IMAGES = "Clusters need images: collect the failures with their test images."
CLUSTERS_FILE = "clusters.npz"
RUN_FILE = "run.json"
LABELS_FILE = "labels.txt"

REDUCERS = ("auto", "pca", "umap")
INSPECTED_PER_RCC = 5  # images of each RCC that an engineer inspects (the paper)
_ENTRIES_WITH_PATHS = {"predictions", "parameters", "set_aside"}
_RECORDED_AS_THEY_ARE = ("beyond_class", "reducer", "eps", "min_samples", "skipped")
_RECORDED_PACKAGES = ("numpy", "scipy", "scikit-learn", "kneed", "umap-learn", "pillow", "tensorflow", "keras")


@dataclass(frozen=True)
class RootCauseClusters:
    """The RCCs of a set of failing images.

    Attributes
    ----------
    image_root : Path
        Where the images are.
    paths : tuple of str
        Relative to `image_root`, sorted; entry i belongs to row i of each array.
    labels : ndarray of shape (n_images,), int
    is_core : ndarray of shape (n_images,), bool
    points : ndarray of shape (n_images, n_components), float32
        The images in the space of PCA, scaled by `rccs.dbscan.projection.relevant_directions`.
    reach : ndarray of shape (n_rccs,), float32
        How far each RCC reaches in that space (see `rcc_reach`).
    reducer : one of REDUCERS
        As it was asked for.
    eps : float
        The largest radius of an RCC, a distance after neighbour averaging or UMAP; 0 if there was nothing to tune.
    min_samples : int
    projection : Projection
    extractor : Extractor
        Of the features; its weights only if they were given for this run.
    settings : tuple of Setting
    k_distances : ndarray, float32
    knee : int or None
    skipped : tuple of Skipped
    answers : Answers or None
        The DNN's answers to the images, where its test set is known.
    attributes : ndarray of shape (n_images, n_attributes), float32, or None
        What the images show, measured (see `features.attributes`).
    set_aside : SetAside or None
        The effect of nuisance variables that was subtracted from the features, before the projection.
    steadiness : Steadiness or None
        How often the images of each RCC are together again; None if there are too few images to measure it, or if
        they are one group. It is about the RCCs as they were found: merging and moving do not change it.
    beyond_class : ExplainedUncertainty or None
        None if these images were not compared with right ones before they were grouped.
    parts : ndarray of shape (n_rccs,), int
        RCCs with the same number, from 0, were one and have been divided; `NOISE` of one that was not.
    collected_in : Path or None
        Where the images were when they were clustered, if other failures have taken their place (see `place_of`).
    """

    image_root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    is_core: np.ndarray
    points: np.ndarray
    reach: np.ndarray
    reducer: str
    eps: float
    min_samples: int
    projection: Projection
    extractor: Extractor
    settings: tuple[Setting, ...]
    k_distances: np.ndarray
    knee: int | None
    skipped: tuple[Skipped, ...]
    answers: Answers | None = None
    attributes: np.ndarray | None = None
    set_aside: SetAside | None = None
    steadiness: Steadiness | None = None
    beyond_class: ExplainedUncertainty | None = None
    parts: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    collected_in: Path | None = None

    @property
    def explained_text(self) -> str:
        """What the clusters explain about which images fail, a sentence; empty if that is not known."""
        text = self.beyond_class.text if self.beyond_class else ""
        # A regression has no classes.
        return text.replace(", beyond the class", "") if self.answers and self.answers.kind == ERROR else text

    def recalled_extractor(self, weights: StrPath | None = None) -> Extractor:
        """The extractor, found again for tested images (see `features.vgg16.recall_extractor`)."""
        known = self.extractor
        return (
            known
            if known.name == OWN
            else recall_extractor(known.name, known.identity, weights=weights or known.weights)
        )

    def extractor_of_others(self, weights: StrPath | None = None, features: StrPath | None = None) -> Extractor:
        """The same for other images.

        Parameters
        ----------
        features : path, optional
            As for `features.own.own_extractor`; by default the file that the clusters were found with.

        Raises
        ------
        SAFEError
            The features are not like those that the clusters were found with.
        """
        known = self.recalled_extractor(weights)
        own = own_extractor(features) if features else known
        if (own.name, own.dimension) != (known.name, known.dimension):
            raise SAFEError(
                f"Expected features as the clusters were found with: {known.name}, {known.dimension:,} of each image. "
                f"Received {own.dimension:,} of each in {features}. Give those of the same network, or none."
            ).about("features")
        return replace(own, in_place=own.name == OWN and own.identity == known.identity)

    @property
    def own_features(self) -> Path | None:
        """The file of the engineer's own features; None if they are VGG16's."""
        return self.extractor.weights if self.extractor.name == OWN else None

    @property
    def without(self) -> tuple[str, ...]:
        """The names of the nuisance variables that were subtracted."""
        return self.set_aside.names if self.set_aside else ()

    @property
    def home(self) -> Path:
        """Where the images were when they were clustered."""
        return self.collected_in or self.image_root

    @property
    def n_rccs(self) -> int:
        """Number of RCCs; noise does not count."""
        return int(self.labels.max(initial=NOISE)) + 1

    @property
    def groups(self) -> list[int]:
        """RCCs in the order in which they are displayed: the largest first, `NOISE` last if there is any.

        RCCs without images, which the engineer has merged or emptied, are left out.
        """
        sizes = self.sizes
        largest_first = np.argsort(-sizes, kind="stable").tolist()
        return [*(rcc for rcc in largest_first if sizes[rcc]), *([NOISE] if NOISE in self.labels else [])]

    @property
    def sizes(self) -> np.ndarray:
        """Images in each RCC, shape (n_rccs,), int."""
        return np.bincount(self.labels[self.labels != NOISE], minlength=self.n_rccs)

    @property
    def noise_share(self) -> float:
        """Share of the images that are in no cluster."""
        return float(np.mean(self.labels == NOISE))

    @cached_property
    def centres(self) -> dict[int, np.ndarray]:
        """The centre of each group: the mean of its core points or, if there are none, of its images; float64."""
        middles = {}
        for rcc in self.groups:
            rows = np.flatnonzero(self.labels == rcc)
            cores = rows[self.is_core[rows]]
            middles[rcc] = self.points[cores if len(cores) else rows].mean(axis=0, dtype=np.float64)
        return middles

    def members(self, rcc: int) -> list[str]:
        """Paths of the images of an RCC, or of `NOISE`, sorted."""
        return [self.paths[i] for i in np.flatnonzero(self.labels == rcc)]

    @property
    def measured(self) -> dict[str, np.ndarray]:
        """What the images show, by name: float64 of shape (n_images,), NaN if unknown. Without what all share."""
        if self.attributes is None:
            return {}
        columns = zip(ATTRIBUTES, self.attributes.astype(np.float64).T, strict=True)
        return {name: column for name, column in columns if len(np.unique(column[np.isfinite(column)])) > 1}

    def answer_text(self, row: int) -> str:
        """The answer of the DNN to an image as text (see `Answers.text`); empty if unknown."""
        return self.answers.text(row) if self.answers else ""

    def confusion_of(self, rcc: int) -> str:
        """What an RCC's images are taken for (see `commonest_confusion`); empty if it is the same for all images."""
        answers = self.answers
        if answers is None or all((side == side[:1]).all() for side in (answers.label, answers.predicted)):
            return ""
        return commonest_confusion(answers.taken(np.flatnonzero(self.labels == rcc)))


def rcc_reach(points: np.ndarray, labels: np.ndarray, is_core: np.ndarray) -> np.ndarray:
    """How far each RCC reaches: the largest distance from one of its images to the nearest other core point of it.

    It replaces eps when images that were not clustered are compared with RCCs: eps is a distance after neighbour
    averaging or UMAP, and neither of them defines the place of a new image.

    Returns
    -------
    ndarray of shape (n_rccs,), float32
    """
    reach = np.zeros(int(labels.max(initial=NOISE)) + 1, np.float32)
    for rcc in range(len(reach)):
        members = np.flatnonzero(labels == rcc)
        to_cores = Points(points[members]).per_block(np.arange(len(members)), partial(_nearest, is_core[members]))
        nearest = np.concatenate([np.zeros(0), *to_cores])
        reach[rcc] = nearest[np.isfinite(nearest)].max(initial=0)
    return reach


def _nearest(among: np.ndarray, rows: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Distance of each row's point to the nearest other point of a mask; infinite if there is none."""
    distances[np.arange(len(rows)), rows] = np.inf
    return distances[:, among].min(axis=1, initial=np.inf)


def save_clusters(clusters: RootCauseClusters, folder: Path, *, extra: Mapping[str, object] | None = None) -> Run:
    """Write `run.json` and `clusters.npz` as a run of the analysis in a folder: it is the present one from then on.

    Parameters
    ----------
    extra : mapping, optional
        Further entries of `run.json`.

    Raises
    ------
    SAFEError
        It cannot be written; nothing is changed.
    """
    record = {**_run_record(clusters, folder), **_with_paths(extra or {}, folder, relative)}
    at_home = replace(clusters, image_root=clusters.home, collected_in=None)
    files: dict[str, Writer] = {RUN_FILE: json.dumps(record, indent=2) + "\n", CLUSTERS_FILE: packed(at_home, folder)}
    return add_run(folder, CLUSTERS, files, clusters=run_of(clusters, folder))


def run_record(folder: Path, run: Run | None = None) -> dict[str, Any]:
    """What `run.json` says of a run, by default the present one; empty if there is none or it was changed.

    Paths are those of now.
    """
    run = run or present_runs(folder).get(CLUSTERS)
    with contextlib.suppress(SAFEError):  # it is for people, and the clusters do not need it
        if run:
            return _with_paths(read_record(run_file(run, RUN_FILE)), folder, absolute)
    return {}


def _with_paths(record: Mapping[str, Any], folder: Path, change: Callable[[str, Path], str]) -> dict[str, Any]:
    """The entries of `run.json` with their paths changed."""
    changed = dict(record)
    for name in _ENTRIES_WITH_PATHS & record.keys():
        entry = record[name] or {}
        paths = {key: change(str(entry[key]), folder) for key in ("source", "tested") if entry.get(key)}
        changed[name] = {**entry, **paths}
    if settings := record.get("settings"):
        paths = {name: change(str(settings[name]), folder) for name in path_names(ClusteringSettings) & settings.keys()}
        changed["settings"] = {**settings, **paths}
    return changed


def labels_text(clusters: RootCauseClusters) -> str:
    """The contents of `labels.txt`: a line per image with the id of its cluster, a tab, and its path."""
    return "".join(f"{label}\t{path}\n" for label, path in zip(clusters.labels.tolist(), clusters.paths, strict=True))


def load_clusters(folder: Path, run: Run | None = None) -> RootCauseClusters:
    """Read the clusters of a run.

    Parameters
    ----------
    folder : Path
        Of the analysis.
    run : Run, optional
        By default the present one.

    Raises
    ------
    SAFEError
        There are no clusters, or the file is damaged.
    """
    run = run or present_runs(folder).get(CLUSTERS)
    if run is None or not (run.folder / CLUSTERS_FILE).exists():
        hint = NEED_IMAGES if test_set_of(folder) and not tested_by(folder) else "Generate them first."
        raise SAFEError(f"Expected root cause clusters. Received none in {folder}. {hint}")
    with reading_file(run, CLUSTERS_FILE) as path:
        clusters: RootCauseClusters = unpacked(RootCauseClusters, path, folder)
    home = clusters.image_root
    place = place_of(home, run_record(folder, run).get("predictions", {})) if home.name == FAILURES else home
    return clusters if place == home else replace(clusters, image_root=place, collected_in=home)


def place_of(home: Path, tested: Mapping[str, Any]) -> Path:
    """Where the images of clusters are that were in a folder of failures.

    Parameters
    ----------
    home : Path
        The folder.
    tested : mapping
        The record of the predictions in `run.json`.

    Returns
    -------
    Path
        `home` or, if other failures were collected there since, the test folder, in which images have the same paths.
    """
    source, root = Path(tested.get("source", "")), Path(tested.get("tested", ""))
    if source != home.with_name(PREDICTIONS_FILE) or not root.is_dir():
        return home
    key = content_of(source)
    return home if key is None or key.hex() == tested.get("digest") else root


def _run_record(clusters: RootCauseClusters, folder: Path) -> dict:
    """The contents of `run.json`: how the clusters were found, for people and programs."""
    n, steadiness, noise = len(clusters.paths), clusters.steadiness, int((clusters.labels == NOISE).sum())
    together = [round(float(share), 3) for share in steadiness.of_rccs] if steadiness else []
    return {
        "image_root": relative(clusters.home, folder),
        "extractor": plain(clusters.extractor, folder),
        "counts": {"images": n, "rccs": clusters.n_rccs, "noise": noise, "skipped": len(clusters.skipped)},
        "rcc_sizes": clusters.sizes.tolist(), "parts": clusters.parts.tolist(),
        "steadiness": steadiness and {"samples": steadiness.n_samples, "may_change": round(steadiness.may_change, 3),
                                      "together": together},
        "components": len(clusters.projection.components),
        **{name: plain(getattr(clusters, name), folder) for name in _RECORDED_AS_THEY_ARE},
        "settings_tried": plain(clusters.settings, folder), "k_distance_knee": clusters.knee, "versions": versions(),
    }  # fmt: skip


def versions() -> dict[str, str | None]:
    """The versions of SAFE, Python and the packages that compute; None of one that is not installed."""
    releases = {"safe": VERSION, "python": platform.python_version(), **dict.fromkeys(_RECORDED_PACKAGES)}
    for name in _RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            releases[name] = metadata.version(name)
    return releases


def sample(clusters: RootCauseClusters, rcc: int) -> list[str]:
    """Paths of up to `INSPECTED_PER_RCC` images of an RCC, drawn at random, but always the same."""
    members = clusters.members(rcc)
    return sorted(random.Random(f"0/{rcc}").sample(members, min(INSPECTED_PER_RCC, len(members))))


def answer_texts(clusters: RootCauseClusters, rcc: int) -> dict[str, str]:
    """The answers of the DNN to the images of an RCC as texts, by path (see `Answers.text`); empty if unknown."""
    return {clusters.paths[row]: clusters.answer_text(row) for row in np.flatnonzero(clusters.labels == rcc).tolist()}


def fingerprint(clusters: RootCauseClusters) -> str:
    """16 hexadecimal digits that identify the images and their RCCs."""
    return hashlib.blake2b(labels_text(clusters).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def run_of(clusters: RootCauseClusters, folder: Path) -> str:
    """What identifies clusters in an analysis: their images, where these are from, and the RCCs they were found in.

    Parameters
    ----------
    clusters : RootCauseClusters
        As the clustering found them.
    folder : Path
        Of the analysis.
    """
    return f"{fingerprint(clusters)} {recorded(clusters.home, folder)}"


def find_clusters(folder: Path, clusters: str) -> Run | None:
    """The run of an analysis with a fingerprint: the present one or, of others, the latest; None if there is none."""
    matching = [run for run in runs_of(folder, CLUSTERS) if run.clusters.startswith(f"{clusters} ")]
    present = present_runs(folder).get(CLUSTERS)
    return present if present in matching else next(reversed(matching), None)


def headline(clusters: RootCauseClusters) -> str:
    """For example `7 root cause clusters hold 98% of 504 failures`, without a full stop."""
    n_rccs = len(rccs_of(clusters))
    failures = count(len(clusters.paths), "failure")
    if not n_rccs:
        return f"No root cause clusters in {failures}"
    verb = "holds" if n_rccs == 1 else "hold"
    return f"{count(n_rccs, 'root cause cluster')} {verb} {percent(1 - clusters.noise_share)}% of {failures}"


def rccs_of(clusters: RootCauseClusters) -> list[int]:
    """The RCCs that have images, the largest first. They may be fewer than `n_rccs`, which counts ids."""
    return [rcc for rcc in clusters.groups if rcc != NOISE]


def subjects_of(clusters: RootCauseClusters, run: str) -> dict[int, str]:
    """The subject of entries about each RCC, and `NOISE`: its images, and where they are from (see `run_of`).

    Thus a statement holds wherever the same images form an RCC again: after another run with other settings, after a
    merge that is undone, when an earlier run is opened again, and when the analysis is moved with its images.
    """
    home = run.partition(" ")[2]
    members: dict[int, list[str]] = {rcc: [] for rcc in clusters.groups}
    for path, rcc in zip(clusters.paths, clusters.labels.tolist(), strict=True):
        members[rcc].append(path)
    return {rcc: f"{_digest(rcc, paths)} {home}" for rcc, paths in members.items()}


def _digest(rcc: int, paths: Sequence[str]) -> str:
    what = "no cluster" if rcc == NOISE else "RCC"
    text = "\0".join((what, *paths))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
