"""Step 5 of SAFE: the labels of the unsafe set.

They come from the improvement set's class folders, from a table, or from the engineer, one image or one RCC at a time.
All of them end up in the column `label` of `unsafe_set.csv`. Functions that label return a new `UnsafeSet`, so that
undoing a step means keeping the one before.

A label belongs to its image, by content and place, and not to the selection: `image_labels.csv` keeps the labels of all
earlier sets, and gives them back whenever an image is selected again.
"""

import csv
import dataclasses
import io
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from features.cache import content_key
from rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from support.entries import path_of
from support.errors import SAFEError
from support.files import DAMAGED, regular
from support.images import read_bytes
from support.output_folder import save_text, writing
from support.run_folder import KEPT_LABELS_FILE, SELECTION_FILE, UNSAFE_SET_FILE
from support.tables import cell, from_cell
from support.text import printable, some, steers

LONGEST_LABEL = 255


class Labelling(NamedTuple):
    """Where the labels of an unsafe set come from.

    Attributes
    ----------
    improvement, labels : path, optional
        As for `label_unsafe_set`.
    only_labelled : bool
        Leave out the images that have no label, instead of refusing them.
    """

    improvement: str | os.PathLike | None = None
    labels: str | os.PathLike | None = None
    only_labelled: bool = False


AS_LABELLED = Labelling()


def label_images(unsafe: UnsafeSet, images: Collection[str], label: str, classes: Sequence[str]) -> UnsafeSet:
    """Give images of the unsafe set a label, or take it away with an empty one.

    Raises
    ------
    SAFEError
        No such class, or an image is not in the set.
    """
    if label and label not in classes:
        raise SAFEError(f"Expected one of the classes {some(classes)}. Received: {label}")
    unknown = set(images) - {image.image for image in unsafe.images}
    if unknown:
        raise SAFEError(f"Expected images of the unsafe set. Received: {some(sorted(unknown))}")
    return _with_labels(unsafe, dict.fromkeys(images, label))


def label_rcc(
    unsafe: UnsafeSet, rcc: int, label: str, classes: Sequence[str], only_unlabelled: bool = False
) -> UnsafeSet:
    """Give all images of an RCC the same label; with `only_unlabelled`, those that have none yet.

    Raises
    ------
    SAFEError
        No such class.
    """
    images = [image.image for image in unsafe.images if image.rcc == rcc and not (only_unlabelled and image.label)]
    return label_images(unsafe, images, label, classes)


def unlabelled(unsafe: UnsafeSet) -> list[UnsafeImage]:
    """The images that have no label yet, in the order of the set."""
    return [image for image in unsafe.images if not image.label]


def label_unsafe_set(
    unsafe: UnsafeSet,
    classes: Sequence[str],
    improvement: str | os.PathLike | None = None,
    labels: str | os.PathLike | None = None,
) -> UnsafeSet:
    """Label as many images as can be done without the engineer.

    A label in the table `labels` comes first; then one that the image has already; then the class folder that it lies
    in, if the first part of its path is a class. An image that none of these tells keeps an empty label.

    Parameters
    ----------
    improvement : path, optional
        Where the improvement set is now; without it, where it was when it was selected from.
    labels : path, optional
        A table (CSV) with the columns `image` (relative to the improvement folder) and `label`.

    Raises
    ------
    SAFEError
        The table or the folder cannot be read, or the table has no image of the set.
    """
    if improvement is not None:
        root = path_of(improvement, "the improvement folder")
        if not root.is_dir():
            raise SAFEError(f"Expected the improvement folder. Received: {root}, which is no folder.")
        unsafe = dataclasses.replace(unsafe, improvement_root=root)
    found = {image.image: image.label.strip() or _class_folder(image.image, classes) for image in unsafe.images}
    if labels is not None:
        told = read_labels(labels)
        if not told.keys() & found.keys():
            raise SAFEError(
                f"Expected labels for images of the unsafe set, for instance {unsafe.images[0].image}. Received none "
                f"in {labels}. Name the images relative to the improvement folder."
            )
        found = {image: told.get(image) or label for image, label in found.items()}
    return _with_labels(unsafe, found)


def _class_folder(image: str, classes: Sequence[str]) -> str:
    first, *rest = image.split("/")
    return first if rest and first in classes else ""


def _with_labels(unsafe: UnsafeSet, labels: Mapping[str, str]) -> UnsafeSet:
    for label in set(labels.values()):
        # The class is the name of a folder, which cannot be longer. A longer one would make the table unreadable.
        if len(label) > LONGEST_LABEL or steers(label) or "\n" in label:
            raise SAFEError(f"Expected labels of up to {LONGEST_LABEL} characters. Received: {printable(label)[:80]!r}")
    images = tuple(image._replace(label=labels.get(image.image, image.label)) for image in unsafe.images)
    return dataclasses.replace(unsafe, images=images)


def read_labels(table: str | os.PathLike) -> dict[str, str]:
    """Read a table (CSV, UTF-8) with the columns `image` and `label`; further columns are left alone.

    Raises
    ------
    SAFEError
        There is no such file, it lacks a column, or it labels an image in two ways.
    """
    file = path_of(table, "a table of labels (CSV)")
    try:
        with regular(file).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            reader = csv.DictReader(text, strict=True)
            rows = [(from_cell(row["image"] or ""), from_cell((row["label"] or "").strip())) for row in reader]
    except KeyError as error:
        raise SAFEError(f"Expected the columns image and label in {file}. Received none called {error}.") from error
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SAFEError(f"Expected a table of labels (CSV). Received: {file} ({reason}).") from error
    labels: dict[str, str] = {}
    for image, label in rows:
        name = image.replace("\\", "/").removeprefix("./")
        if labels.setdefault(name, label) != label:
            raise SAFEError(f"Expected one label for {name} in {file}. Received: {labels[name]} and {label}.")
    return labels


def check_labels(unsafe: UnsafeSet, classes: Sequence[str]) -> None:
    """Make sure that every image of the unsafe set has a label that is a class.

    Raises
    ------
    SAFEError
        One has not.
    """
    missing = [image.image for image in unlabelled(unsafe)]
    if missing:
        raise SAFEError(
            f"Expected a label for each of the {len(unsafe.images)} images of the unsafe set. Received none for "
            f"{len(missing)}: {some(missing)}. Label them, or retrain with the labelled ones alone (--only-labelled)."
        )
    wrong = Counter(image.label for image in unsafe.images if image.label not in classes)
    if wrong:
        raise SAFEError(
            f"Expected labels that are classes ({some(classes)}). Received: {some(list(wrong))}, "
            f"in {sum(wrong.values())} images of the unsafe set. Correct the column label of unsafe_set.csv."
        )


# --- From one unsafe set to the next ----------------------------------------------------------------------------


class KeptLabel(NamedTuple):
    """A row of `image_labels.csv`.

    Attributes
    ----------
    image : str
        Path relative to the improvement folder.
    folder : str
        The improvement folder.
    content : str
        Stands for the bytes of the file (see `features.cache.content_key`), in hexadecimal; empty where it could not be
        read.
    label : str
    """

    image: str
    folder: str
    content: str
    label: str

    def is_of(self, image: str, folder: str, content: str) -> bool:
        """Whether it is the label of an image: of the same bytes, and in the same place.

        The place is the same where the path below the improvement folder is, which may have been moved as a whole, or
        where the whole path is, whichever folder it was selected from. A copy elsewhere is another image: it may lie in
        the folder of another class.
        """
        same_place = self.image == image or os.path.join(self.folder, self.image) == os.path.join(folder, image)  # noqa: PTH118
        return same_place and self.content == content


def replace_unsafe_set(unsafe: UnsafeSet, folder: Path) -> UnsafeSet:
    """Write an unsafe set in place of the one in a folder; images that were labelled before have their labels again.

    Returns
    -------
    UnsafeSet
        The set with these labels, and in `labels` what became of those of the set before.

    Raises
    ------
    SAFEError
        The kept labels cannot be read, or something cannot be written: the set before is unchanged.
    """
    with writing(folder):
        _put_aside_unreadable(folder)
        before = labels_of(folder)
        unsafe = with_kept_labels(unsafe, keep_labels(folder))
        back = sum(image.label != "" and image.image in before for image in unsafe.images)
        if before:
            text = f"{back:,} of {len(before):,} labels of the set before are of images in this one"
            aside = f"; {KEPT_LABELS_FILE} keeps the others until their images are selected again"
            unsafe = dataclasses.replace(unsafe, labels=f"{text}{aside if back < len(before) else ''}.")
        save_unsafe_set(unsafe, folder)
        return unsafe


def keep_labels(folder: Path) -> list[KeptLabel]:
    """Add the labels of the set in a folder to `image_labels.csv`; all that it holds then.

    A label that was taken away from an image of the set is taken away here as well.
    """
    with writing(folder):
        kept = load_kept_labels(folder)
        rows, root = _rows_of(folder)
        if not rows:
            return kept
        by_name: dict[str, list[KeptLabel]] = {}
        for one in kept:
            by_name.setdefault(Path(one.image).name, []).append(one)
        gone: set[KeptLabel] = set()
        added = []
        for image, label in rows.items():
            near = by_name.get(Path(image).name, [])
            if not label and not near:
                continue
            content = _content(Path(root, image))
            gone |= {one for one in near if one.is_of(image, root, content)}
            if label:
                added.append(KeptLabel(image, root, content, label))
        now = [*(one for one in kept if one not in gone), *added]
        if now != kept:
            table = io.StringIO()
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(KeptLabel._fields)
            writer.writerows(map(cell, one) for one in now)
            save_text(folder, KEPT_LABELS_FILE, table.getvalue())
        return now


def with_kept_labels(unsafe: UnsafeSet, kept: Sequence[KeptLabel]) -> UnsafeSet:
    """Give images that have no label the one that they had before."""
    by_name: dict[str, list[KeptLabel]] = {}
    for one in kept:
        by_name.setdefault(Path(one.image).name, []).append(one)
    root = os.fspath(unsafe.improvement_root)
    found = {}
    for image in unsafe.images:
        near = by_name.get(Path(image.image).name, []) if not image.label else []
        content = _content(unsafe.improvement_root / image.image) if near else ""
        labels = [one.label for one in near if one.is_of(image.image, root, content)]
        if labels:
            found[image.image] = labels[-1]
    return _with_labels(unsafe, found)


def load_kept_labels(folder: Path) -> list[KeptLabel]:
    """Read `image_labels.csv`, in the order in which the labels were given; nothing where there is none.

    Raises
    ------
    SAFEError
        It is damaged.
    """
    path = folder / KEPT_LABELS_FILE
    try:
        with regular(path).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            return [KeptLabel(*(from_cell(row[name] or "") for name in KeptLabel._fields)) for row in rows]
    except FileNotFoundError:
        return []
    except DAMAGED as error:
        raise SAFEError(
            f"{path} must be the table of labels that SAFE wrote, and whole. Received something else ({error}). Repair "
            "it, or move it away to go on without these labels."
        ) from error


def labels_of(folder: Path) -> dict[str, str]:
    """The labels of the unsafe set in a folder, by image; nothing where there is none."""
    return {image: label for image, label in _rows_of(folder)[0].items() if label}


def _rows_of(folder: Path) -> tuple[dict[str, str], str]:
    """The images of the set in a folder with their labels, and the improvement folder, empty where it is unknown.

    Engineers edit the table: a row that cannot be used otherwise may hold a label all the same.
    """
    try:
        with regular(folder / UNSAFE_SET_FILE).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file))
        table = {from_cell(row["image"] or ""): from_cell((row["label"] or "").strip()) for row in rows}
    except DAMAGED:
        return {}, ""
    try:
        root = str(json.loads(regular(folder / SELECTION_FILE).read_text(encoding="utf-8"))["improvement_root"])
    except DAMAGED:
        root = ""
    return table, root


def _put_aside_unreadable(folder: Path) -> None:
    """Rename a table whose labels cannot be read, before another one takes its place."""
    table = folder / UNSAFE_SET_FILE
    if table.is_file() and table.stat().st_size and not _rows_of(folder)[0]:
        number = 1
        while (aside := table.with_stem(f"{table.stem}-unreadable-{number}")).exists():
            number += 1
        table.replace(aside)


def _content(file: Path) -> str:
    try:
        return content_key(read_bytes(file)).hex()
    except OSError:
        return ""
