"""The unsafe set, that is, the images to label: the record of a selection, and its files. Used by `selection.py`.

`IS_filenames.txt` is the paper's file, `unsafe_set.csv` adds distances and labels, and `unsafe_set.json` describes the
selection.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from safe_dnn.features.extractor import Extractor
from safe_dnn.options import QUOTA
from safe_dnn.rccs.clusters import find_clusters
from safe_dnn.store.database import present, reading
from safe_dnn.store.output_folder import Writer
from safe_dnn.store.places import plain, restored
from safe_dnn.store.runs import SELECTION, Files, Run, add_run, present_runs, reading_file
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import Skipped, content_of
from safe_dnn.support.tables import table_text

FILENAMES_FILE = "IS_filenames.txt"
UNSAFE_SET_FILE = "unsafe_set.csv"
UNSAFE_IMAGES_FILE = "unsafe_images.csv"
SELECTION_FILE = "unsafe_set.json"
SHOWN_FILES = (FILENAMES_FILE, UNSAFE_SET_FILE, UNSAFE_IMAGES_FILE)  # in the output folder itself

COLUMNS = ("image", "rcc", "distance", "within_eps", "label")
# One more column, of sets that were also selected by the DNN's likely errors
LIKELY_WRONG = "likely_wrong"
QUOTAS = ("equal", "size")


class UnsafeImage(NamedTuple):
    """A row of `unsafe_set.csv`.

    Attributes
    ----------
    image : str
        Path relative to the improvement folder.
    rcc : int
    distance : float
        To the nearest core point, in the space of PCA.
    within_eps : bool
        Whether that distance is at most the RCC's reach, which replaces DBSCAN's eps in that space (see
        `rccs.clusters.rcc_reach`): the image is as near to a core point as the RCC's own images.
    label : str
        The class; empty if the image is not labelled.
    likely_wrong : float or None
        How likely the DNN is wrong on it, if it was selected by that (see `dnn.failure_prediction`).
    content : str
        Digest of the file when it was selected, in hexadecimal, which a label belongs to; the path if it could not be
        read. Empty of an image that is not in a saved set.
    """

    image: str
    rcc: int
    distance: float
    within_eps: bool
    label: str = ""
    likely_wrong: float | None = None
    content: str = ""

    @property
    def why(self) -> str:
        """Why the image was selected for its RCC, in words."""
        if self.likely_wrong is not None:
            return f"likely wrong: {self.likely_wrong:.0%}"
        return f"distance {self.distance:.2f}"


@dataclass(frozen=True)
class UnsafeSet:
    """The images to label.

    Attributes
    ----------
    improvement_root : Path
    images : tuple of UnsafeImage
        By RCC, the nearest first within each.
    wanted : int
        Requested size; more than `len(images)` if there were not enough candidates.
    formula : str
        How that size was computed, in words.
    n_improvement : int
        Readable images of the improvement set.
    candidates : tuple of int
        Number of improvement images nearest to each RCC.
    skipped : tuple of Skipped
    clusters : str
        Fingerprint of the RCCs that the selection belongs to (see `rccs.clusters.fingerprint`).
    excluded : tuple of int
        RCCs that no images were selected for, by the engineer's choice.
    quota : "equal" or "size"
        How the images were divided among the RCCs (see `selection.quotas`).
    model : Path or None
        The DNN whose likely errors half of the images were chosen by, or the table of its answers.
    run : str
        Fingerprint of those clusters as they were found, without the engineer's edits.
    notes : tuple of str
        Sentences on improvement images from which a nuisance variable was not subtracted.
    listed : bool
        Whether the improvement images were those of a list; its folder may hold others.
    extractor : Extractor or None
        Of features that the engineer gave for the improvement images alone.
    """

    improvement_root: Path
    images: tuple[UnsafeImage, ...]
    wanted: int
    formula: str
    n_improvement: int
    candidates: tuple[int, ...]
    skipped: tuple[Skipped, ...]
    clusters: str
    excluded: tuple[int, ...] = ()
    quota: str = QUOTA
    model: Path | None = None
    run: str = ""
    notes: tuple[str, ...] = ()
    listed: bool = False
    extractor: Extractor | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the images, relative to the improvement folder."""
        return tuple(image.image for image in self.images)

    @property
    def files(self) -> list[Path]:
        """The files of the images."""
        return [self.improvement_root / path for path in self.paths]


LABEL = "label"
"""The kind of an entry on an image: its subject is the content of the image, its value the class, or empty."""

# --- The files --------------------------------------------------------------------------------------------------


def save_unsafe_set(unsafe: UnsafeSet, folder: Path, *, extra_files: Files | None = None) -> UnsafeSet:
    """Write `IS_filenames.txt`, `unsafe_set.csv` and `unsafe_set.json` as a run of the analysis in a folder.

    Parameters
    ----------
    extra_files : mapping, optional
        Further files.

    Returns
    -------
    UnsafeSet
        The set with the labels that its images were given before.

    Raises
    ------
    SAFEError
        They cannot be written; nothing is changed.
    """
    images = (
        one._replace(content=(content_of(file) or b"").hex() or ascii(one.image))
        for one, file in zip(unsafe.images, unsafe.files, strict=True)
    )
    unsafe = dataclasses.replace(unsafe, images=tuple(images))
    files: dict[str, Writer] = {
        FILENAMES_FILE: "".join(f"{image.image}\n" for image in unsafe.images),
        UNSAFE_SET_FILE: unsafe_table(unsafe),
        SELECTION_FILE: json.dumps(plain(unsafe, folder), indent=2) + "\n",
    }
    clustering = find_clusters(folder, unsafe.run)
    clusters = clustering.clusters if clustering else ""
    return load_unsafe_set(folder, add_run(folder, SELECTION, {**files, **(extra_files or {})}, clusters=clusters))


def unsafe_table(unsafe: UnsafeSet) -> str:
    """The content of `unsafe_set.csv`."""
    rows = [image._asdict() | {"within_eps": str(image.within_eps).lower()} for image in unsafe.images]
    columns = [*COLUMNS, *([LIKELY_WRONG] if any(image.likely_wrong is not None for image in unsafe.images) else ())]
    return table_text(columns, ([row[name] for name in columns] for row in rows))


def full_images_text(selected: Sequence[UnsafeImage], sources: Mapping[str, str]) -> tuple[str, int]:
    """`unsafe_images.csv`: the full images to label, each with the parts that were selected; how many these are.

    Parameters
    ----------
    selected : sequence of UnsafeImage
        The parts, in the order of selection.
    sources : mapping of str to str
        The image that each is a part of; itself if this is unknown.
    """
    parts: dict[str, list[UnsafeImage]] = {}
    for part in selected:
        parts.setdefault(sources.get(part.image) or part.image, []).append(part)
    rows = ((image, part.image, part.rcc, part.distance) for image, own in parts.items() for part in own)
    return table_text(["image", "part", "rcc", "distance"], rows), len(parts)


def set_key(unsafe: UnsafeSet) -> str:
    """Identifies an unsafe set, independently of its labels."""
    return f"{unsafe.clusters}-{_digest(unsafe.images)}"


def _digest(images: Sequence[UnsafeImage]) -> str:
    """Identifies a selection: the images and their RCCs, in any order."""
    rows = sorted(f"{image.rcc}\t{image.image}\n" for image in images)
    return hashlib.blake2b("".join(rows).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def load_unsafe_set(folder: Path, run: Run | None = None) -> UnsafeSet:
    """Read an unsafe set, with the labels that its images have now.

    Parameters
    ----------
    folder : Path
        Of the analysis.
    run : Run, optional
        Of the selection; by default the present one.

    Raises
    ------
    SAFEError
        There is no unsafe set, or it is damaged.
    """
    run = run or present_runs(folder).get(SELECTION)
    if run is None:
        raise SAFEError(f"Expected an unsafe set. Received none in {folder}. Select it first.")
    with reading_file(run, SELECTION_FILE) as path:
        unsafe: UnsafeSet = restored(UnsafeSet, json.loads(path.read_text(encoding="utf-8")), folder)
    labels = known_labels(folder)
    labelled = (image._replace(label=labels.get(image.content, image.label)) for image in unsafe.images)
    return dataclasses.replace(unsafe, images=tuple(labelled))


def known_labels(folder: Path) -> dict[str, str]:
    """The classes of images, by their contents; an empty one was taken away."""
    with reading(folder) as db:
        return present(db, LABEL)
