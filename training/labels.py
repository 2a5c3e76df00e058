"""Step 5 of SAFE: the labels of the unsafe set.

They come from the improvement set's class folders, from a table, or from the engineer, one image or one RCC at a time.
All of them are stored in the column `label` of `unsafe_set.csv`. The labelling functions return a new `UnsafeSet`, so
undoing a step means keeping the previous one.

A label belongs to its image, identified by content and path, not to the selection: `image_labels.csv` keeps all labels
that were ever given and restores them when an image is selected again. For the images of the current set its last row
says what the table says; where they differ, somebody has edited the table.
"""

import csv
import dataclasses
import io
import os
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from features.cache import content_key
from rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, unsafe_set_files, unsafe_table
from support.entries import path_of
from support.errors import SAFEError
from support.files import DAMAGED, free_name, read_record, regular
from support.images import read_bytes
from support.output_folder import Writer, own_files, save_files, save_text, writing
from support.run_folder import KEPT_LABELS_FILE, SELECTION_FILE, UNSAFE_SET_FILE
from support.tables import cell, from_cell, parse_table
from support.text import count, printable, some, steers

LONGEST_LABEL = 255


class Labelling(NamedTuple):
    """The sources of an unsafe set's labels.

    Attributes
    ----------
    improvement, labels : path, optional
        As for `label_unsafe_set`.
    only_labelled : bool
        Leave out unlabelled images instead of raising an error.
    """

    improvement: str | os.PathLike | None = None
    labels: str | os.PathLike | None = None
    only_labelled: bool = False


AS_LABELLED = Labelling()


def label_images(unsafe: UnsafeSet, images: Collection[str], label: str, classes: Sequence[str]) -> UnsafeSet:
    """Set the label of images of the unsafe set; an empty label removes it.

    Raises
    ------
    SAFEError
        The class does not exist, or an image is not in the set.
    """
    if label and label not in classes:
        raise SAFEError(f"Expected one of the classes {some(classes)}. Received: {label}")
    unknown = set(images) - {image.image for image in unsafe.images}
    if unknown:
        raise SAFEError(f"Expected images of the unsafe set. Received: {some(sorted(unknown))}")
    return _with_labels(unsafe, dict.fromkeys(images, label))


def label_rcc(
    unsafe: UnsafeSet, rcc: int, label: str, classes: Sequence[str], *, only_unlabelled: bool = False
) -> UnsafeSet:
    """Set the same label for all images of an RCC or, with `only_unlabelled`, for its unlabelled images.

    Raises
    ------
    SAFEError
        The class does not exist.
    """
    images = [image.image for image in unsafe.images if image.rcc == rcc and not (only_unlabelled and image.label)]
    return label_images(unsafe, images, label, classes)


def unlabelled(unsafe: UnsafeSet) -> list[UnsafeImage]:
    """The images without a label, in the order of the set."""
    return [image for image in unsafe.images if not image.label]


def label_unsafe_set(
    unsafe: UnsafeSet,
    classes: Sequence[str],
    *,
    improvement: str | os.PathLike | None = None,
    labels: str | os.PathLike | None = None,
) -> UnsafeSet:
    """Label as many images as possible without the engineer.

    A label in the table `labels` takes precedence, then the image's existing label, then its class folder, if the first
    part of its path is a class. If there is none of these, the label stays empty.

    Parameters
    ----------
    improvement : path, optional
        The current improvement folder; by default the one that the set was selected from.
    labels : path, optional
        A table (CSV) with the columns `image` (relative to the improvement folder) and `label`.

    Raises
    ------
    SAFEError
        The table or the folder cannot be read, or the table does not have any image of the set.
    """
    if improvement is not None:
        root = path_of(improvement, "the improvement folder")
        if not root.is_dir():
            raise SAFEError(f"Expected the improvement folder. Received: {root}, which is not a folder.")
        unsafe = dataclasses.replace(unsafe, improvement_root=root)
    found = {image.image: image.label.strip() or _class_folder(image.image, classes) for image in unsafe.images}
    if labels is not None:
        table = read_labels(labels)
        if not table.keys() & found.keys():
            raise SAFEError(
                f"Expected labels for images of the unsafe set, for example {unsafe.images[0].image}. Received none "
                f"in {labels}. Name the images relative to the improvement folder."
            )
        found = {image: table.get(image) or label for image, label in found.items()}
    return _with_labels(unsafe, found)


def _class_folder(image: str, classes: Sequence[str]) -> str:
    first, *rest = image.split("/")
    return first if rest and first in classes else ""


def _with_labels(unsafe: UnsafeSet, labels: Mapping[str, str]) -> UnsafeSet:
    for label in set(labels.values()):
        # A class is the name of a folder, which cannot be longer. A longer label would make the table unreadable.
        if len(label) > LONGEST_LABEL or steers(label) or "\n" in label:
            raise SAFEError(f"Expected labels of up to {LONGEST_LABEL} characters. Received: {printable(label)[:80]!r}")
    images = tuple(image._replace(label=labels.get(image.image, image.label)) for image in unsafe.images)
    return dataclasses.replace(unsafe, images=images)


def read_labels(table: str | os.PathLike) -> dict[str, str]:
    """Read a table (CSV, UTF-8) with the columns `image` and `label`; other columns are ignored.

    Raises
    ------
    SAFEError
        The file is missing, lacks a column, or has two different labels for an image.
    """
    file = path_of(table, "a table of labels (CSV)")
    try:
        header, rows, _ = parse_table(regular(file).read_bytes())
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SAFEError(f"Expected a table of labels (CSV). Received: {file} ({reason}).") from error
    missing = [name for name in ("image", "label") if name not in header]
    if missing:
        raise SAFEError(f"Expected the columns image and label in {file}. The column '{missing[0]}' is missing.")
    images, given = header.index("image"), header.index("label")
    labels: dict[str, str] = {}
    for row in rows:
        if len(row) <= max(images, given):
            continue
        name = from_cell(row[images]).replace("\\", "/").removeprefix("./")
        label = from_cell(row[given].strip())
        if labels.setdefault(name, label) != label:
            raise SAFEError(f"Expected one label for {name} in {file}. Received: {labels[name]} and {label}.")
    return labels


def check_labels(unsafe: UnsafeSet, classes: Sequence[str]) -> None:
    """Make sure that every image of the unsafe set is labelled with a class.

    Raises
    ------
    SAFEError
        A label is missing or is not a class.
    """
    missing = [image.image for image in unlabelled(unsafe)]
    if missing:
        raise SAFEError(
            f"Expected a label for each of the {len(unsafe.images)} images of the unsafe set. Received none for "
            f"{len(missing)}: {some(missing)}. Label them, or retrain with the labelled images only (--only-labelled)."
        )
    wrong = Counter(image.label for image in unsafe.images if image.label not in classes)
    if wrong:
        raise SAFEError(
            f"Expected labels that are classes ({some(classes)}). Received: {some(list(wrong))}, "
            f"for {count(wrong.total(), 'image')} of the unsafe set. Correct the column label of unsafe_set.csv."
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
        Hash of the file's content (see `features.cache.content_key`), in hexadecimal; empty if it was unreadable.
    label : str
        Empty where it was taken away, or where the image has none since its content is another one.
    """

    image: str
    folder: str
    content: str
    label: str

    def is_at(self, image: str, folder: str) -> bool:
        """Whether it is the label of an image in a place.

        The path is the same if it is so relative to the improvement folder, which may have been moved as a whole, or if
        the whole path is so, whichever folder it was selected from. A copy elsewhere is a different image: it may be in
        the folder of another class.
        """
        return self.image == image or _full(self.folder, self.image) == _full(folder, image)

    def is_of(self, image: str, folder: str, content: str) -> bool:
        """Whether it is the label of an image: of the same bytes, and in the same place."""
        return self.content == content and self.is_at(image, folder)


def save_labels(unsafe: UnsafeSet, folder: Path) -> None:
    """Write the labels of the set in a folder: to `unsafe_set.csv`, and those that are new to `image_labels.csv`.

    Raises
    ------
    SAFEError
        The kept labels cannot be read, or something cannot be written: nothing is changed.
    """
    with writing(folder):
        before, _ = _rows_of(folder)
        new = {one.image: one.label for one in unsafe.images if one.label != before.get(one.image, "")}
        # An image may be replaced later: its label is kept with the content that the engineer has seen.
        kept = _given(load_kept_labels(folder), os.fspath(unsafe.improvement_root), new)
        save_files(folder, {KEPT_LABELS_FILE: _kept_text(kept), UNSAFE_SET_FILE: unsafe_table(unsafe)})


def replace_unsafe_set(unsafe: UnsafeSet, folder: Path) -> UnsafeSet:
    """Replace the unsafe set in a folder; images that were labelled before get their labels back.

    Returns
    -------
    UnsafeSet
        The set with these labels; its field `labels` says how many of the previous set's labels were restored.

    Raises
    ------
    SAFEError
        The kept labels cannot be read, or a file cannot be written; the previous set is then unchanged.
    """
    with writing(folder):
        before = labels_of(folder)
        unsafe, kept = _brought_back(unsafe, keep_labels(folder))
        back = sum(image.label != "" and image.image in before for image in unsafe.images)
        if before:
            text = f"{back:,} of {len(before):,} labels of the previous set belong to images in this one"
            aside = f"; {KEPT_LABELS_FILE} keeps the others until their images are selected again"
            unsafe = dataclasses.replace(unsafe, labels=f"{text}{aside if back < len(before) else ''}.")
        save_files(folder, {**_aside(folder), KEPT_LABELS_FILE: _kept_text(kept), **unsafe_set_files(unsafe)})
        return unsafe


def labels_brought_back(folder: Path, source: Path) -> dict[str, Writer]:
    """What the unsafe set of an earlier run is to hold when it is opened again: the labels that were given since, too.

    Parameters
    ----------
    folder : Path
        The output folder, whose set is about to be replaced: its labels are kept.
    source : Path
        The folder of the earlier run.

    Returns
    -------
    dict
        Files for `support.output_folder.save_files`; no labels where that run has no unsafe set that can be read.
    """
    kept = keep_labels(folder)
    try:
        unsafe = load_unsafe_set(source)
    except SAFEError:
        return _aside(folder)
    unsafe, kept = _brought_back(unsafe, kept, again=True)
    return {**_aside(folder), KEPT_LABELS_FILE: _kept_text(kept), UNSAFE_SET_FILE: unsafe_table(unsafe)}


def keep_labels(folder: Path) -> list[KeptLabel]:
    """Add those labels of the set in a folder to `image_labels.csv` that were given elsewhere; all that it holds then.

    These are labels typed into `unsafe_set.csv`, or of older versions of SAFE. One that was taken away there is taken
    away here as well. One that was kept while its image could not be read is kept again, with the image's content.
    """
    with writing(folder):
        kept = load_kept_labels(folder)
        if not own_files(folder, [UNSAFE_SET_FILE]):
            return kept
        rows, root = _rows_of(folder)
        if not rows:
            return kept
        near = _by_name(kept)
        new = {}
        for image, label in rows.items():
            here = [one for one in near.get(Path(image).name, ()) if one.is_at(image, root)]
            if label != (here[-1].label if here else "") or (label and not here[-1].content):
                new[image] = label
        now = _given(kept, root, new)
        if now != kept:
            save_text(folder, KEPT_LABELS_FILE, _kept_text(now))
        return now


def _given(kept: Sequence[KeptLabel], root: str, labels: Mapping[str, str]) -> list[KeptLabel]:
    """The kept labels when images of a folder have got these; an empty one is kept as well, as one taken away."""
    near = _by_name(kept)
    for image, label in labels.items():
        content = _content(Path(root, image))
        rows = near.setdefault(Path(image).name, [])
        same = {*_rows_of_image(rows, image, root, content)}
        rows[:] = [one._replace(label=label) if one in same else one for one in rows]
        _put_last(rows, KeptLabel(image, root, content, label))
    return [one for rows in near.values() for one in rows]


def _brought_back(
    unsafe: UnsafeSet, kept: Sequence[KeptLabel], again: bool = False
) -> tuple[UnsafeSet, list[KeptLabel]]:
    """A set with the labels that its images were given before, and the kept labels: the last of each image is its own.

    Parameters
    ----------
    again : bool
        Whether the set has labels already, as they were when its run was left: what was given since counts.
    """
    near = _by_name(kept)
    root = os.fspath(unsafe.improvement_root)
    found = {}
    for image, *_, label in unsafe.images:
        rows = near.get(Path(image).name, [])
        here = [one for one in rows if one.is_at(image, root)]
        if not here or (label and not again):
            continue
        content = _content(Path(root, image))
        mine = _rows_of_image(rows, image, root, content)
        if not mine and label and not any(_full(one.folder, one.image) == _full(root, image) for one in here):
            continue  # a label from before they were kept; here are those of images of the same name elsewhere
        found[image] = mine[-1].label if mine else ""
        _put_last(rows, KeptLabel(image, root, content, found[image]))
    return _with_labels(unsafe, found), [one for rows in near.values() for one in rows]


def _rows_of_image(rows: Sequence[KeptLabel], image: str, root: str, content: str) -> list[KeptLabel]:
    """The labels of an image, in the order in which they stand; also those by way of a third place."""
    found: set[KeptLabel] = set()
    places = [(image, root)]
    for place in places:
        more = {one for one in rows if one not in found and one.is_of(*place, content)}
        found |= more
        places += [(one.image, one.folder) for one in more]
    return [one for one in rows if one in found]


def _put_last(rows: list[KeptLabel], row: KeptLabel) -> None:
    """Add a row, in place of the one on the same image in the same place."""
    rows[:] = [one for one in rows if one[:3] != row[:3]]
    rows.append(row)


def _by_name(kept: Sequence[KeptLabel]) -> dict[str, list[KeptLabel]]:
    near: dict[str, list[KeptLabel]] = {}
    for one in kept:
        near.setdefault(Path(one.image).name, []).append(one)
    return near


def _full(folder: str, image: str) -> str:
    return os.path.join(folder, image)  # noqa: PTH118, texts: there may be very many


def _kept_text(kept: Sequence[KeptLabel]) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(KeptLabel._fields)
    writer.writerows(map(cell, one) for one in kept)
    return table.getvalue()


def load_kept_labels(folder: Path) -> list[KeptLabel]:
    """Read `image_labels.csv`, in the order in which the labels were given; empty if the file does not exist.

    Raises
    ------
    SAFEError
        The file is damaged.
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
            f"{path} must be the complete table of labels written by SAFE. Received something else ({error}). Repair "
            "it, or move it away to continue without these labels."
        ) from error


def labels_of(folder: Path) -> dict[str, str]:
    """The labels of the unsafe set in a folder, by image; empty if there is no set."""
    return {image: label for image, label in _rows_of(folder)[0].items() if label}


def may_be_labelled(folder: Path) -> bool:
    """Whether the unsafe set in a folder has labels, or cannot be read, so that it may have some."""
    rows = _rows_of(folder)[0]
    return any(rows.values()) or (not rows and _is_written(folder))


def _rows_of(folder: Path) -> tuple[dict[str, str], str]:
    """The images of the set in a folder with their labels, and the improvement folder, empty if unknown.

    Engineers edit the table: a row that is otherwise invalid may still have a label.
    """
    try:
        with regular(folder / UNSAFE_SET_FILE).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file))
        table = {from_cell(row["image"] or ""): from_cell((row["label"] or "").strip()) for row in rows}
    except DAMAGED:
        return {}, ""
    return table, str(read_record(folder / SELECTION_FILE).get("improvement_root", ""))


def _aside(folder: Path) -> dict[str, Writer]:
    """A copy of a table whose labels cannot be read, to be written when another one takes its place."""
    if not _is_written(folder) or _rows_of(folder)[0]:
        return {}
    table = folder / UNSAFE_SET_FILE
    aside = free_name(table.with_stem(f"{table.stem}-unreadable"), first=1)
    return {aside.name: lambda path: shutil.copyfile(table, path)}


def _is_written(folder: Path) -> bool:
    """Whether there is a table of the unsafe set, readable or not, and it is not empty."""
    return bool(own_files(folder, [UNSAFE_SET_FILE])) and (folder / UNSAFE_SET_FILE).stat().st_size > 0


def _content(file: Path) -> str:
    try:
        return content_key(read_bytes(file)).hex()
    except OSError:
        return ""
