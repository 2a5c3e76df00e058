"""`parameters.csv`: the parameters of the images of a case study."""

import csv
import dataclasses
import typing
from collections.abc import Collection
from pathlib import Path

from casestudies.case import Kind, Subject
from rccs.parameters import KEY
from support.errors import SAFEError
from support.files import replacing

PERSON = "person"  # a column only in the cases with persons
NO_COLUMNS = (PERSON, "signs")  # signs are in the ground truth


def names_of(kind: Kind) -> tuple[str, ...]:
    """The columns that all cases of a kind have."""
    return tuple(field.name for field in dataclasses.fields(kind.type) if field.name not in NO_COLUMNS)


def write_subjects(path: Path, subjects: Collection[tuple[str, str, Subject]], kind: Kind) -> None:
    """Write `parameters.csv`, with a column `person` if there are any, and a column `label` if there are classes.

    Parameters
    ----------
    subjects : collection of (image, label, Subject)
        `image` is the path relative to the file's folder, with `/` as the separator.
    """
    names = names_of(kind)
    if any(getattr(subject, PERSON, "") for _, _, subject in subjects):
        names = (*names, PERSON)
    labelled = any(label for _, label, _ in subjects)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([KEY, *(["label"] if labelled else []), *names, *kind.derived])
        for image, label, subject in subjects:
            derived = [round(getattr(subject, name), 3) for name in kind.derived]
            values = [getattr(subject, name) for name in names]
            writer.writerow([image, *([label] if labelled else []), *values, *derived])


def read_subjects(path: Path, kind: Kind) -> dict[str, Subject]:
    """Read a file written by `write_subjects`, as a mapping from image to subject.

    Raises
    ------
    SAFEError
        The file cannot be read, lacks a column of the kind, or has an invalid number.
    """
    names, types = names_of(kind), typing.get_type_hints(kind.type)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            read = {}
            for row in csv.DictReader(file):
                person = {PERSON: row[PERSON]} if row.get(PERSON) else {}
                read[row[KEY]] = kind.type(**{name: types[name](row[name]) for name in names}, **person)
            return read
    except OSError as error:
        raise SAFEError(f"Could not read {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SAFEError(
            f"Expected the columns {KEY}, {', '.join(names)} of a case study. Received: {path} ({error!r})."
        ) from error
