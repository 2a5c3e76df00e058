"""Step 5 of SAFE: the labels of the unsafe set.

They come from the improvement set's class folders, from a table, or from the engineer, one image or one RCC at a time.
All of them end up in the column `label` of `unsafe_set.csv`. Every function here returns a new `UnsafeSet`, so that
undoing a step means keeping the one before.
"""

import csv
import dataclasses
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from artefacts import from_cell, regular
from errors import SAFEError
from images import printable, steers
from predictions import some
from selection import UnsafeImage, UnsafeSet

LONGEST_LABEL = 255


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
        root = Path(improvement).expanduser().absolute()
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
    file = Path(table).expanduser().absolute()
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
