"""The whole test set with the DNN's answers, right and wrong: the table `predictions.csv`.

Failing images alone show what they look like. Why the DNN fails on them shows in comparison with the images that it
gets right. `failures` writes the table; one from another framework serves as well.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rccs.answers import CONFIDENCE, ERROR, Answers
from rccs.parameters import rows_by_image
from support.entries import path_of
from support.errors import SAFEError
from support.files import DAMAGED, regular
from support.run_folder import ACCURACY_FILE, PREDICTIONS_FILE
from support.tables import cell, from_cell, open_table
from support.text import count, printable

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class AnsweredImages:
    """A DNN's test set with its answers.

    Attributes
    ----------
    source : Path
        The table.
    root : Path
        The test folder.
    paths : tuple of str
        Relative to `root`, sorted.
    answers : Answers
    right : ndarray of shape (n_images,), bool
        Whether the DNN gets the image right.
    notes : tuple of str
        Sentences on what could not be used.
    digest : str
        Of the table's content, to know it again.
    """

    source: Path
    root: Path
    paths: tuple[str, ...]
    answers: Answers
    right: np.ndarray
    notes: tuple[str, ...] = ()
    digest: str = ""

    @property
    def failure_rate(self) -> float:
        """Share of the images that the DNN gets wrong."""
        return float(np.mean(~self.right)) if len(self.right) else 0.0

    def rows_of(self, image_root: Path, images: Sequence[str]) -> np.ndarray:
        """The row of each of some images, which may be copies in another folder; −1 where the table has none.

        Images are matched by their names as in `rccs.parameters.read_parameters`.

        Returns
        -------
        ndarray of shape (n_images,), int64
        """
        found = rows_by_image(list(self.paths), self.root, image_root, images)
        return np.array([found[image][0] if image in found else -1 for image in images], np.int64)

    def answers_to(self, rows: np.ndarray) -> Answers:
        """The answers in some rows; unknown where the row is −1."""
        if not len(self.paths):
            return Answers.unknown(len(rows), self.answers.kind)
        taken = self.answers.taken(np.maximum(rows, 0))
        missing = rows < 0
        return Answers(
            np.where(missing, "", taken.label),
            np.where(missing, "", taken.predicted),
            np.where(missing, np.float32(np.nan), taken.score),
            taken.kind,
        )


# --- The table --------------------------------------------------------------------------------------------------


def predictions_text(paths: Sequence[str], answers: Answers, right: np.ndarray) -> str:
    """`predictions.csv`: a row per test image; the score is empty where it is unknown."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["image", "label", "predicted", answers.kind, "right"])
    scores = ["" if np.isnan(score) else round(score, 4) for score in answers.score.tolist()]
    rows = zip(paths, answers.label.tolist(), answers.predicted.tolist(), scores, right.tolist(), strict=True)
    for path, label, predicted, score, is_right in rows:
        writer.writerow([cell(path), cell(label), cell(predicted), score, "true" if is_right else "false"])
    return table.getvalue()


def find_predictions(image_root: Path) -> tuple[Path, Path] | None:
    """`predictions.csv` beside an image folder, and the test folder that `accuracy.json` there names; or None."""
    table = image_root.parent / PREDICTIONS_FILE
    if not table.is_file():
        return None
    try:
        record = json.loads(regular(image_root.parent / ACCURACY_FILE).read_text("utf-8", errors="surrogateescape"))
        return table, image_root.parent / str(record["test_root"])  # which may be relative to the table's folder
    except DAMAGED:
        return None


def read_predictions(table: str | os.PathLike, tested: str | os.PathLike) -> AnsweredImages:
    """Read a DNN's answers to its test set.

    The table has the columns `image`, named relative to the test folder or to the table's, and `predicted`; `label`, by
    default the first folder of the image; `confidence` from 0 to 1 or, for a regression, `error`; and `right`, by
    default whether label and prediction are the same.

    Parameters
    ----------
    table : path
        A CSV file, UTF-8.
    tested : path
        The folder of test images.

    Raises
    ------
    SAFEError
        The folder is gone, the file is not such a table, or its rows contradict themselves or each other.
    """
    source, root = path_of(table, "predictions as a CSV file"), path_of(tested, "the folder of test images")
    if not root.is_dir():
        raise SAFEError(
            f"Expected the folder of test images that {source.name} is about. Received: {root}, which is no folder. "
            "Name it with --tested."
        )
    root = root.resolve()
    header, rows, digest = _rows(source)
    columns = _Columns(source, header, rows)
    used, notes = _unique(source, columns, root)
    if not used:
        raise SAFEError(
            f"Expected rows about the images in {root}. Received {source}, whose first image is "
            f"{printable(columns.text('image', 0)) if rows else 'missing'}. Name the folder with --tested."
        )
    paths = [path for path, _ in used]
    at = [row for _, row in used]
    kind = ERROR if "error" in header else CONFIDENCE
    labels = [columns.label(row) for row in at]
    predicted = [columns.text("predicted", row) for row in at]
    right = np.array([columns.right(row, kind) for row in at], bool)
    scores = np.array([columns.score(kind, row) for row in at], np.float32)
    answers = Answers(np.array(labels, str), np.array(predicted, str), scores, kind)
    unlabelled = sum(not label for label in labels)
    if unlabelled:
        notes.append(f"Without a label in {source.name}: {unlabelled:,} of {count(len(at), 'image')}.")
    if right.all() or not right.any():
        notes.append(
            f"{source.name} has no image that the network gets {'wrong' if right.all() else 'right'}: there is nothing "
            "to compare."
        )
    return AnsweredImages(source, root, tuple(paths), answers, right, tuple(notes), digest)


def _rows(source: Path) -> tuple[list[str], list[list[str]], str]:
    try:
        data = regular(source).read_bytes()
        header, rows = open_table(io.StringIO(data.decode("utf-8-sig", errors="surrogateescape"), newline=""))
        lines = [row for row in rows if row]
    except OSError as error:
        raise SAFEError(f"Could not read the predictions in {source}: {error.strerror or error}.") from error
    except (ValueError, csv.Error) as error:
        raise SAFEError(f"Expected predictions as a CSV file (UTF-8). Received: {source} ({error}).") from error
    missing = [name for name in ("image", "predicted") if name not in header]
    if missing and not ("right" in header and missing == ["predicted"]):
        raise SAFEError(
            f"Expected predictions as a CSV file with the columns image and predicted. Received {source} with the "
            f"columns {printable(', '.join(header)) or 'of no table'}."
        )
    return header, lines, hashlib.blake2b(data, digest_size=16).hexdigest()


class _Columns:
    """The cells of a table by column and row; errors name the line."""

    def __init__(self, source: Path, header: list[str], rows: list[list[str]]):
        self._source, self._rows = source, rows
        self._at = {name: place for place, name in enumerate(header)}

    def __len__(self) -> int:
        return len(self._rows)

    def text(self, name: str, row: int) -> str:
        place = self._at.get(name, -1)
        cells = self._rows[row]
        return from_cell(cells[place].strip()) if 0 <= place < len(cells) else ""

    def label(self, row: int) -> str:
        if "label" in self._at:
            return self.text("label", row)
        image = self.text("image", row).replace("\\", "/")
        return image.split("/", 1)[0] if "/" in image else ""

    def score(self, kind: str, row: int) -> float:
        text = self.text(kind, row)
        if not text:
            return float("nan")
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if kind == CONFIDENCE and not 0 <= number <= 1:
            raise self._fault(row, "a confidence from 0 to 1, or none", text)
        if not np.isfinite(number) or number < 0:
            raise self._fault(row, f"a number for the {kind}, or none", text)
        return number

    def right(self, row: int, kind: str) -> bool:
        text = self.text("right", row).lower()
        label, predicted = self.label(row), self.text("predicted", row)
        same = label == predicted
        if not text:
            if kind == ERROR or not label or not predicted:
                raise self._fault(row, "true or false under right, or a label and a prediction", text or "nothing")
            return same
        if text not in (*TRUE, *FALSE):
            raise self._fault(row, "true or false under right", text)
        if kind == CONFIDENCE and label and predicted and same != (text in TRUE):
            told = f"{label} as label, {predicted} as prediction, and {text} under right"
            raise self._fault(row, "a row that agrees with itself", told)
        return text in TRUE

    def _fault(self, row: int, expected: str, received: str) -> SAFEError:
        return SAFEError(
            f"Expected {expected} in row {row + 2} of {self._source}. Received: {printable(received)}. Correct the row."
        )


def _unique(source: Path, columns: _Columns, root: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """The images of the test folder that have a row, by path, with the row's number; and notes.

    Raises
    ------
    SAFEError
        Two rows about the same image contradict each other.
    """
    row_of: dict[str, int] = {}
    absent: list[str] = []
    repeated = 0
    read: dict[str, Callable[[int], str]] = {
        "label": columns.label,
        "predicted": lambda row: columns.text("predicted", row),
    }
    for row in range(len(columns)):
        name = columns.text("image", row)
        path = _path_in(root, source.parent, name)
        if path is None:
            absent.append(name)
            continue
        if path in row_of:
            repeated += 1
            for what, value in read.items():
                values = value(row_of[path]), value(row)
                if values[0] != values[1]:
                    raise SAFEError(
                        f"Expected one row for {printable(name)} in {source}. Received rows {row_of[path] + 2} and "
                        f"{row + 2} with different values for {what}: {printable(' and '.join(values))}. Remove the "
                        "wrong one."
                    )
            continue
        row_of[path] = row
    notes = []
    if absent and row_of:
        notes.append(
            f"Left out, since their images are not in {root}: {count(len(absent), 'row')} of {source.name}, the first "
            f"{printable(absent[0])}."
        )
    if repeated:
        notes.append(f"Repeated in {source.name}: {count(repeated, 'row')}.")
    return sorted(row_of.items()), notes


def _path_in(root: Path, beside: Path, name: str) -> str | None:
    """An image's path relative to the test folder; None if it does not lie there."""
    if not name or "\0" in name:
        return None
    for folder in (root, beside):
        path = Path(os.path.normpath(folder / name.replace("\\", "/")))
        if path.is_relative_to(root) and path.is_file():
            return path.relative_to(root).as_posix()
    return None
