"""Step 5 of SAFE: the labels of the unsafe set.

They come from the improvement set's class folders, from a table, or from the engineer, one image or one RCC at a time.
The labelling functions return a new `UnsafeSet`, so undoing a step means keeping the previous one.

A label belongs to its image, identified by content and path, not to the selection: it is an entry of the database, and
comes back when the image is selected again. The column `label` of `unsafe_set.csv` shows the present labels; what
somebody types into it with a spreadsheet, `typed_labels` finds out.
"""

import contextlib
import dataclasses
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from safe_dnn.dnn.predictions import check_spelling
from safe_dnn.rccs.unsafe_set import LABEL, UNSAFE_SET_FILE, UnsafeSet, load_unsafe_set, save_unsafe_set, unsafe_table
from safe_dnn.store.database import append, changing, entries, reading
from safe_dnn.store.output_folder import Writer, is_edited, save_files, showing, writing
from safe_dnn.store.places import absolute, relative
from safe_dnn.store.runs import SELECTION, runs_of
from safe_dnn.support.contents import content_of
from safe_dnn.support.entries import StrPath, existing_folder, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import write_text
from safe_dnn.support.matching import rows_in
from safe_dnn.support.tables import read_table
from safe_dnn.support.text import count, printable, some

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

    improvement: StrPath | None = None
    labels: StrPath | None = None
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
        unsafe = dataclasses.replace(unsafe, improvement_root=existing_folder(improvement, "the improvement folder"))
    found = {image.image: image.label.strip() or _class_folder(image.image, classes) for image in unsafe.images}
    if labels is not None:
        given = labels_in(labels, unsafe)
        if not given:
            raise SAFEError(
                f"Expected labels for images of the unsafe set, for example {unsafe.images[0].image}. Received none "
                f"in {labels}. Name the images relative to the improvement folder."
            )
        found |= {image: label for image, label in given.items() if label}
    return _with_labels(unsafe, found)


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


# --- From one unsafe set to the next ----------------------------------------------------------------------------


class KeptLabel(NamedTuple):
    """A label that an image was given.

    Attributes
    ----------
    image : str
        Path relative to the improvement folder.
    folder : str
        The improvement folder.
    content : str
        Hash of the file's content (see `support.contents.content_of`), in hexadecimal; empty if it was unreadable.
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
        # By texts: there may be very many.
        return self.image == image or os.path.join(self.folder, self.image) == os.path.join(folder, image)  # noqa: PTH118


def save_labels(unsafe: UnsafeSet, folder: Path, *, by: str = "") -> None:
    """Add those labels of the present unsafe set that are new, and write `unsafe_set.csv`.

    What was typed into that for other images stays in it until it is taken over.

    Parameters
    ----------
    by : str
        The author.

    Raises
    ------
    SAFEError
        They cannot be written: nothing is changed. Or the table cannot: the labels are kept then.
    """
    with writing(folder):
        try:
            typed = typed_labels(folder)
        except SAFEError:  # the table stays as it is, and those who read it are told why
            add_labels(unsafe, folder, by=by)
            return
        new = add_labels(unsafe, folder, by=by)
        with showing(folder):
            if pending := {image: label for image, label in typed.items() if image not in new}:
                # Not as SAFE's own text: what was typed is still to be taken over.
                write_text(folder / UNSAFE_SET_FILE, unsafe_table(_with_labels(load_unsafe_set(folder), pending)))
            else:
                write_labels(folder)


def write_labels(folder: Path) -> None:
    """Write `unsafe_set.csv` with the present labels; what was typed into it and not taken over is dropped."""
    save_files(folder, {UNSAFE_SET_FILE: unsafe_table(load_unsafe_set(folder))})


def add_labels(unsafe: UnsafeSet, folder: Path, *, by: str = "") -> dict[str, str]:
    """Add those labels of an unsafe set that are new, and write no file; the new ones.

    An image that is known to be the same in other places gets its label there as well.
    """
    now = load_unsafe_set(folder)
    before = {image.image: image.label for image in now.images}
    new = {one.image: one.label for one in unsafe.images if one.label != before.get(one.image, "")}
    if not new:
        return new
    # An image may be replaced later: its label is kept with the content that the engineer has seen.
    kept = _by_name(load_kept_labels(folder))
    root, rows = os.fspath(now.improvement_root), list[KeptLabel]()
    for image, label in new.items():
        near = kept.get(Path(image).name, [])
        here = [row.content for row in near if row.is_at(image, root)]
        content = _content(unsafe.improvement_root / image) or next(reversed(here), "")  # as it was when last read
        same = _rows_of_image(near, image, root, content)
        rows += [row._replace(label=label) for row in same if row.label != label and row[:2] != (image, root)]
        rows.append(KeptLabel(image, root, content, label))
    with changing(folder) as db:
        _append(db, folder, rows, by)
    return new


def replace_unsafe_set(unsafe: UnsafeSet, folder: Path, *, more: Mapping[str, Writer] | None = None) -> UnsafeSet:
    """Replace the unsafe set in a folder; images that were labelled before get their labels back.

    Parameters
    ----------
    more
        As of `rccs.unsafe_set.save_unsafe_set`.

    Returns
    -------
    UnsafeSet
        The set with these labels; its field `labels` says how many of the previous set's labels were restored.

    Raises
    ------
    SAFEError
        A file cannot be written; the previous set is then unchanged.
    """
    with writing(folder):
        before = labels_of(folder)
        unsafe, rows = _brought_back(unsafe, load_kept_labels(folder))
        back = sum(image.label != "" and image.image in before for image in unsafe.images)
        if before:
            text = f"{back:,} of {len(before):,} labels of the previous set belong to images in this one"
            aside = "; the others are kept until their images are selected again"
            unsafe = dataclasses.replace(unsafe, labels=f"{text}{aside if back < len(before) else ''}.")
        save_unsafe_set(unsafe, folder, more=more, then=lambda db, number: _append(db, folder, rows, "", number))
        return load_unsafe_set(folder)


def bring_back_labels(folder: Path, clusters: str, db: sqlite3.Connection, number: int) -> None:
    """When earlier clusters become the present ones: images of their unsafe set get the labels that were given since.

    Parameters
    ----------
    clusters : str
        As of `rccs.clusters.run_of`.
    db, number
        The transaction, and the entry by which they become the present ones.
    """
    selections = [run for run in runs_of(folder, SELECTION) if run.clusters == clusters]
    for selection in selections[-1:]:
        with contextlib.suppress(SAFEError):  # damaged, which is told where it is read
            _, rows = _brought_back(load_unsafe_set(folder, selection), load_kept_labels(folder))
            _append(db, folder, rows, "", number)


def take_over_labels(earlier: Path, folder: Path) -> None:
    """Add the labels that images were given in another analysis, but for those that have one in this one."""
    known = {row[:3] for row in load_kept_labels(folder)}
    with changing(folder) as db:
        _append(db, folder, [row for row in load_kept_labels(earlier) if row.label and row[:3] not in known], "")


def _append(
    db: sqlite3.Connection, folder: Path, rows: Iterable[KeptLabel], by: str, part_of: int | None = None
) -> None:
    for image, root, content, label in rows:
        subject = json.dumps([image, relative(root, folder)])
        append(db, LABEL, subject, {"label": label, "content": content}, author=by, part_of=part_of)


def _brought_back(unsafe: UnsafeSet, kept: Sequence[KeptLabel]) -> tuple[UnsafeSet, list[KeptLabel]]:
    """A set with the labels that its images were given before, and the labels to add: the last of each is its own."""
    near = _by_name(kept)
    root = os.fspath(unsafe.improvement_root)
    found, added = {}, []
    for image, *_ in unsafe.images:
        rows = near.get(Path(image).name, [])
        here = [one for one in rows if one.is_at(image, root)]
        if not here:
            continue
        content = _content(Path(root, image))
        if not content:
            continue  # nothing says that it is another image
        mine = _rows_of_image(rows, image, root, content)
        found[image] = mine[-1].label if mine else ""
        own = KeptLabel(image, root, content, found[image])
        if here[-1] != own:
            added.append(own)
    return _with_labels(unsafe, found), added


def _rows_of_image(rows: Sequence[KeptLabel], image: str, root: str, content: str) -> list[KeptLabel]:
    """The labels of an image, in the order in which they stand; also those by way of a third place."""
    found: set[KeptLabel] = set()
    places = [(image, root)]
    for place in places:
        more = {one for one in rows if one not in found and one.content == content and one.is_at(*place)}
        found |= more
        places += [(one.image, one.folder) for one in more]
    return [one for one in rows if one in found]


def _by_name(kept: Sequence[KeptLabel]) -> dict[str, list[KeptLabel]]:
    near: dict[str, list[KeptLabel]] = {}
    for one in kept:
        near.setdefault(Path(one.image).name, []).append(one)
    return near


def load_kept_labels(folder: Path) -> list[KeptLabel]:
    """The last label of each image, in the order in which they were given; of other contents in its place, too.

    Raises
    ------
    SAFEError
        The database is damaged.
    """
    with reading(folder) as db:
        latest = "SELECT max(number) FROM entry WHERE kind = ? GROUP BY subject, json_extract(value, '$.content')"
        labels = [(*json.loads(entry.subject), entry.value) for entry in entries(db, f"number IN ({latest})", LABEL)]
    return [KeptLabel(image, absolute(root, folder), of["content"], of["label"]) for image, root, of in labels]


def labels_of(folder: Path) -> dict[str, str]:
    """The labels of the present unsafe set, by image; empty if there is no set."""
    try:
        return {image.image: image.label for image in load_unsafe_set(folder).images if image.label}
    except SAFEError:
        return {}


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
        The table is damaged. It is left as it is.
    """
    unsafe = _edited_set(folder)
    if unsafe is None:
        return {}
    table = labels_in(folder / UNSAFE_SET_FILE, unsafe)
    known = {image.image: image.label for image in unsafe.images}
    typed = {image: table[image] for image, label in known.items() if table.get(image, label) != label}
    _check_texts(typed.values())
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
        typed, unsafe = typed_labels(folder), _edited_set(folder)
        if unsafe:
            add_labels(_with_labels(unsafe, typed), folder)
            with showing(folder):
                write_labels(folder)
        return len(typed)


def _content(file: Path) -> str:
    return (content_of(file) or b"").hex()
