"""A table with several rows for an image, each about a unit of it, as a test set with an image for each row.

A unit is what is right or wrong by itself: a class of a multi-label network or of a segmentation, an object, a region;
the column `unit` names it. `objects/` gets the image, if it was given, once more for each row, with `predictions.csv`
and `parameters.csv`, by which images that show the same are of one group. After that, a unit is an image to every step.
"""

import itertools
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from safe_dnn.dnn.answer_columns import LABEL, PREDICTED, read_answer_table
from safe_dnn.dnn.detection.converter import parameters_of_images, plain_name
from safe_dnn.dnn.failures import TABLES, checked_folder, collect_failures
from safe_dnn.dnn.group_columns import HoldOut
from safe_dnn.dnn.model import AS_IN_THE_FILE, DnnOptions
from safe_dnn.dnn.predictions import counted_once
from safe_dnn.dnn.tested import AnsweredImages, images_named_in, rows_about
from safe_dnn.rccs.parameters import ANSWERS, FULL_IMAGE, PARAMETERS_FILE
from safe_dnn.store.image_folders import replacing_images
from safe_dnn.support.contents import copies_in
from safe_dnn.support.errors import StrPath, existing_folder, path_of
from safe_dnn.support.images import Skipped, find_images
from safe_dnn.support.run_folder import FAILURES, OBJECTS, PREDICTIONS_FILE
from safe_dnn.support.tables import IMAGE, UNIT, Table, table_text, with_point
from safe_dnn.support.text import count


def failures_in_table(
    table: StrPath, test: StrPath | None, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE,
    hold_out: HoldOut | None = None, train: StrPath | None = None, **further: Any,
) -> AnsweredImages:  # fmt: skip
    """Collect failures by a table of answers (see `dnn.failures.collect_failures`), which may be about units.

    `further` are the group and the parameters; of units, which images show the same, and what is known of the images.

    Raises
    ------
    SAFEError
        A row names no unit, or two of an image the same one; or as of `collect_failures`.
    """
    source = path_of(table, "predictions as a CSV file")
    cells = read_answer_table(source)
    names = cells.texts(IMAGE)
    how: dict[str, Any] = {"options": options, "train": train}
    if options.targets or UNIT not in cells.header or len({*names}) == len(names):
        return collect_failures(table, test, out, hold_out=hold_out, **how, **further)
    folder = checked_folder(out, test, *TABLES, folders=(FAILURES, OBJECTS))
    notes, skipped = _split(cells, test, folder, further.get("parameters"), partial=options.partial)
    if hold_out and not hold_out.group:
        hold_out = hold_out._replace(group=(FULL_IMAGE,))
    return collect_failures(
        folder / OBJECTS / PREDICTIONS_FILE, test and folder / OBJECTS, folder, hold_out=hold_out, notes=notes,
        skipped=skipped, group=further.get("group") or (FULL_IMAGE,), **how,
    )  # fmt: skip


def _split(
    cells: Table, test: StrPath | None, out: Path, parameters: StrPath | None, *, partial: bool
) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """Write `objects/`; sentences on it, and images without a row."""
    images_given = existing_folder(test, "a folder of test images").resolve() if test else None
    listing = find_images(images_given) if images_given else images_named_in(cells)
    root, units = listing.root, cells.texts(UNIT)
    cells.check(np.array([*map(bool, units)]), f"a text under {UNIT}", lambda row: "")
    found, notes, without_row = rows_about(cells, root, listing.paths, partial=partial)
    told = cells.rows.drop(columns=IMAGE).agg(" ".join, axis=1).tolist()
    known = ["; ".join(sorted(told[row] for row in rows)) for rows in found.values()]
    counts, of_copies = counted_once([*found], copies_in(root, listing.paths) if images_given else {}, known)
    number = {unit: i for i, unit in enumerate(sorted({*units}))}
    images, names, of = list[str](), list[str](), list[int]()
    for image, rows in itertools.compress(found.items(), counts):
        for row in sorted(rows, key=units.__getitem__):
            if of and images[-1] == image and units[of[-1]] == units[row]:
                raise cells.fault(row, f"a unit once for {image}", f"{units[row]}, as in line {cells.lines[of[-1]]}")
            path = PurePosixPath(image)
            names.append(f"{path.with_suffix('')}_{number[units[row]]}_{plain_name(units[row])}{path.suffix}")
            images.append(image)
            of.append(row)
    recorded, unread = parameters_of_images(root, [*found], parameters, partial=partial)
    place = {image: i for i, image in enumerate(found)}
    of_images = {name: [column[place[image]] for image in images] for name, column in recorded.items()}
    columns = {name: cells.taken(of).texts(name) for name in cells.header if name not in (IMAGE, UNIT)}
    for name in columns.keys() - {LABEL, PREDICTED} if cells.decimal_comma else ():
        columns[name] = [*map(with_point, columns[name])]
    if not images_given:  # the table may be all that there is
        own = [name for name in columns if name != LABEL and not ANSWERS.fullmatch(name)]
        of_images |= {name: columns[name] for name in own}
    of_images = {FULL_IMAGE: images, UNIT: [units[row] for row in of], **of_images}
    with replacing_images(out / OBJECTS) as folder:
        for image, name in zip(images, names, strict=True) if images_given else ():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                (folder / name).hardlink_to(root / image)
            except OSError:  # on another disk, or of somebody else
                shutil.copyfile(root / image, folder / name)
        for file, each in ((PREDICTIONS_FILE, columns), (PARAMETERS_FILE, of_images)):
            text = table_text([IMAGE, *each], zip(names, *each.values(), strict=True))
            (folder / file).write_text(text, "utf-8", errors="surrogateescape", newline="")
    units_of = f"{count(len(names), 'unit')} of {count(len({*images}), 'image')}"
    sentence = f"The test images are {units_of}, by {cells.source.name}; those of one image are a group."
    return (sentence, *notes, *of_copies, *unread), tuple(without_row)
