"""Step 5 of SAFE: the labels of the unsafe set.

They come from the improvement set's class folders, from a table, or from the engineer, one image or one RCC at a time.
The labelling functions return a new `UnsafeSet`, so undoing a step means keeping the previous one.

A label belongs to the content of its image, wherever that lies and whatever selects it: it is an entry of the database.
The column `label` of `unsafe_set.csv` shows the present labels; what somebody types into it with a spreadsheet,
`typed_labels` finds out.
"""

import contextlib
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from safe_dnn.dnn.predictions import check_spelling
from safe_dnn.rccs.unsafe_set import (
    LABEL,
    UNSAFE_SET_FILE,
    UnsafeImage,
    UnsafeSet,
    known_labels,
    load_unsafe_set,
    unsafe_table,
)
from safe_dnn.store.database import append, changing
from safe_dnn.store.output_folder import is_edited, save_files, showing, writing
from safe_dnn.support.errors import SAFEError, StrPath, existing_folder, path_of
from safe_dnn.support.images import content_of
from safe_dnn.support.matching import rows_in
from safe_dnn.support.tables import read_table
from safe_dnn.support.text import count, printable, some

LONGEST_LABEL = 255


def label_images(unsafe: UnsafeSet, images: Collection[str], label: str, classes: Sequence[str]) -> UnsafeSet:
    """Set the label of images of the unsafe set; an empty label removes it.

    Raises
    ------
    SAFEError
        The class does not exist, or an image is not in the set.
    """
    if label and label not in classes:
        raise SAFEError(f"Expected one of the classes {some(classes)}. Received: {label}")
    unknown = set(images) - {*unsafe.paths}
    if unknown:
        raise SAFEError(f"Expected images of the unsafe set. Received: {some(sorted(unknown))}")
    return _with_labels(unsafe, dict.fromkeys(images, label))


def unlabelled(unsafe: UnsafeSet) -> list[str]:
    """The images without a label, in the order of the set."""
    return [image.image for image in unsafe.images if not image.label]


def label_unsafe_set(
    unsafe: UnsafeSet, classes: Sequence[str], *, improvement: StrPath | None = None, labels: StrPath | None = None
) -> UnsafeSet:
    """Label as many images as possible without the engineer.

    A label in the table `labels` takes precedence, then the image's existing label, then its class folder, if the first
    part of its path is a class. If there is none of these, or the same image byte for byte lies in the folders of
    several classes, the label stays empty.

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
        unsafe = dataclasses.replace(unsafe, improvement_root=existing_folder(improvement, "the improvement folder"))
    folders: dict[str, set[str]] = defaultdict(set)
    for image in unsafe.images:
        folders[image.content or image.image] |= {_class_folder(image.image, classes)} - {""}
    alone = {content: "".join(names) for content, names in folders.items() if len(names) == 1}
    label_of = {one.image: one.label.strip() or alone.get(one.content or one.image, "") for one in unsafe.images}
    if labels is not None:
        table_labels = labels_in(labels, unsafe)
        if not table_labels:
            raise SAFEError(
                f"Expected labels for images of the unsafe set, for example {unsafe.images[0].image}. Received none "
                f"in {labels}. Name the images relative to the improvement folder."
            )
        label_of |= {image: label for image, label in table_labels.items() if label}
    return _with_labels(unsafe, label_of)


def _class_folder(image: str, classes: Sequence[str]) -> str:
    first, *rest = image.split("/")
    return first if rest and first in classes else ""


def _with_labels(unsafe: UnsafeSet, labels: Mapping[str, str]) -> UnsafeSet:
    _check_texts(labels.values())
    images = tuple(image._replace(label=labels.get(image.image, image.label)) for image in unsafe.images)
    return dataclasses.replace(unsafe, images=images)


def _check_texts(labels: Iterable[str]) -> None:
    for label in set(labels):
        # A class is the name of a folder, which cannot be longer. A longer label would make the table unreadable.
        if len(label) > LONGEST_LABEL or label != printable(label) or "\n" in label:
            raise SAFEError(f"Expected labels of up to {LONGEST_LABEL} characters. Received: {printable(label)[:80]!r}")


def labels_in(table: StrPath, unsafe: UnsafeSet) -> dict[str, str]:
    """The labels that a table (CSV) with the columns `image` and `label` has of images of an unsafe set.

    Raises
    ------
    SAFEError
        The file is missing, lacks a column, or has two different labels for an image.
    """
    cells = read_table(path_of(table, "a table of labels (CSV)"), "labels")
    missing = [name for name in ("image", "label") if name not in cells.header]
    if missing:
        raise SAFEError(f"Expected the columns image and label in {table}. The column '{missing[0]}' is missing.")
    labels, rows = cells.texts("label"), rows_in(cells, unsafe.improvement_root, unsafe.paths, ("label",))
    return {image: labels[of_image[0]] for image, of_image in rows.items()}


def check_labels(unsafe: UnsafeSet, classes: Sequence[str]) -> None:
    """Make sure that every image of the unsafe set is labelled with a class.

    Raises
    ------
    SAFEError
        A label is missing or is not a class.
    """
    if missing := unlabelled(unsafe):
        raise SAFEError(
            f"Expected a label for each of the {len(unsafe.images)} images of the unsafe set. Received none for "
            f"{len(missing)}: {some(missing)}. Label them, or retrain with the labelled images only."
        ).about("only_labelled")
    wrong = Counter(image.label for image in unsafe.images if image.label not in classes)
    check_spelling({*wrong, *classes}, [classes], Path(UNSAFE_SET_FILE))
    if wrong:
        raise SAFEError(
            f"Expected labels that are classes ({some(classes)}). Received: {some(list(wrong))}, "
            f"for {count(wrong.total(), 'image')} of the unsafe set. Correct the column label of unsafe_set.csv."
        )


# --- Labels that are kept ---------------------------------------------------------------------------------------


def save_labels(unsafe: UnsafeSet, folder: Path, *, by: str = "") -> None:
    """Add those labels of the present unsafe set that are new, and write `unsafe_set.csv`.

    Labels typed into the table are taken over first. A damaged table stays as it is; whoever reads it gets the error.

    Parameters
    ----------
    by : str
        The author.

    Raises
    ------
    SAFEError
        They cannot be written, images of the same content have different labels, or another image has taken the place
        of one: nothing is changed. Or the table cannot be written: the labels are kept then.
    """
    with writing(folder):
        known = {image.image: image for image in load_unsafe_set(folder).images}
        new = {one.image: one.label for one in unsafe.images if one.label != known[one.image].label}
        for image in new:
            content = content_of(unsafe.improvement_root / image)
            if content and content.hex() != known[image].content:
                raise SAFEError(
                    f"Expected {printable(image)} as it was when it was selected. Received another image in its place. "
                    "Select the unsafe set again."
                )
        damaged, typed = False, dict[str, str]()
        try:
            typed = typed_labels(folder)
        except SAFEError:
            damaged = True
        _add({**_by_content(known.values(), typed), **_by_content(known.values(), new)}, folder, by=by)
        if not damaged:
            with showing(folder):
                save_files(folder, {UNSAFE_SET_FILE: unsafe_table(load_unsafe_set(folder))})


def take_over_labels(earlier: Path, folder: Path) -> None:
    """Add the labels that images were given in another analysis, but for those that have one in this one."""
    known = known_labels(folder)
    _add({image: label for image, label in known_labels(earlier).items() if label and image not in known}, folder)


def _by_content(images: Iterable[UnsafeImage], labels: Mapping[str, str]) -> dict[str, str]:
    """Labels by the content of the images; a SAFEError if images that are the same have different ones."""
    by_content: dict[str, str] = {}
    for image in images:
        label = labels.get(image.image)
        if label is not None and by_content.setdefault(image.content, label) != label:
            raise SAFEError(
                f"Expected one label for images that are the same byte for byte. Received {by_content[image.content]} "
                f"and {label}, the latter for {printable(image.image)}. Give both the same one."
            )
    return by_content


def _add(labels: Mapping[str, str], folder: Path, *, by: str = "") -> None:
    """Add labels by the content of the images."""
    with changing(folder) as db:
        for content, label in labels.items():
            append(db, LABEL, content, label, author=by)


# --- What was typed into unsafe_set.csv -------------------------------------------------------------------------


def typed_labels(folder: Path) -> dict[str, str]:
    """Labels that somebody has typed into `unsafe_set.csv` in another program, where they differ from what SAFE knows.

    Returns
    -------
    dict of str to str
        By image; an empty one was taken away.

    Raises
    ------
    SAFEError
        The table is damaged, or has different labels for images that are the same. It is left as it is.
    """
    unsafe = _edited_set(folder)
    if unsafe is None:
        return {}
    table = labels_in(folder / UNSAFE_SET_FILE, unsafe)
    known = {image.image: image.label for image in unsafe.images}
    typed = {image: table[image] for image, label in known.items() if table.get(image, label) != label}
    _check_texts(typed.values())
    _by_content(unsafe.images, typed)
    return typed


def _edited_set(folder: Path) -> UnsafeSet | None:
    """The unsafe set whose table somebody has changed in another program; None if nobody has, or there is no set."""
    if is_edited(folder, UNSAFE_SET_FILE):
        with contextlib.suppress(SAFEError):  # to be selected again; the table stays until then
            return load_unsafe_set(folder)
    return None


def typed_text(number: int) -> str:
    """A sentence on labels that were taken over."""
    verb = "was" if number == 1 else "were"
    return f"{count(number, 'label')} typed into {UNSAFE_SET_FILE} in another program {verb} taken over."


def take_typed_labels(folder: Path) -> int:
    """Take over what `typed_labels` finds; how many labels these are.

    Raises
    ------
    SAFEError
        The table is damaged. It is left as it is.
    """
    if not is_edited(folder, UNSAFE_SET_FILE):
        return 0
    with writing(folder):
        number = len(typed_labels(folder))
        if unsafe := _edited_set(folder):
            save_labels(unsafe, folder)
        return number
