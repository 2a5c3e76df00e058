"""`parameters.csv`: the parameters of the images of a case study."""

import csv
import dataclasses
from collections.abc import Collection
from pathlib import Path

from safe_dnn.casestudies.case import Kind, Subject
from safe_dnn.support.files import replacing
from safe_dnn.support.tables import IMAGE

NO_COLUMNS = ("signs", "seed")  # in the ground truth; no property of an image


def names_of(kind: Kind) -> tuple[str, ...]:
    """The columns of the parameters that are recorded as they are."""
    return tuple(field.name for field in dataclasses.fields(kind.type) if field.name not in NO_COLUMNS)


def write_subjects(path: Path, subjects: Collection[tuple[str, str, Subject]], kind: Kind) -> None:
    """Write `parameters.csv`, with a column `label` if there are classes.

    Parameters
    ----------
    subjects : collection of (image, label, Subject)
        `image` is the path relative to the file's folder, with `/` as the separator.
    """
    names = names_of(kind)
    labelled = any(label for _, label, _ in subjects)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([IMAGE, *(["label"] if labelled else []), *names, *kind.derived])
        for image, label, subject in subjects:
            derived = [round(getattr(subject, name), 3) for name in kind.derived]
            values = [getattr(subject, name) for name in names]
            writer.writerow([image, *([label] if labelled else []), *values, *derived])
