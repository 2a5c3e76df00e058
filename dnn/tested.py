"""The whole test set with the DNN's answers, right and wrong: the table `predictions.csv`.

Failing images alone show what they look like. Why the DNN fails on them shows in comparison with the images that it
gets right. `failures` writes the table; one from another framework serves as well.
"""

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnn.answer_table import (
    IMAGE,
    LABEL,
    PREDICTED,
    RIGHT,
    AnswerTable,
    class_column,
    class_columns,
    missing_columns,
    read_answer_table,
)
from dnn.predictions import class_folders
from rccs.answers import CONFIDENCE, ERROR, Answers
from rccs.parameters import rows_by_image
from support.entries import path_of
from support.errors import SAFEError
from support.files import DAMAGED, regular
from support.images import find_images
from support.run_folder import ACCURACY_FILE, OBJECTS, OBJECTS_FILE, PREDICTIONS_FILE
from support.tables import cell, from_cell
from support.text import count, printable, some

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
ONE = 1.0001  # a probability of 1, as the rounding of another program may leave it


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
    classes : tuple of str
        Those that the table has probabilities of, in the order of its columns; empty if it has none.
    probabilities : ndarray of shape (n_images, n_classes), float32
    """

    source: Path
    root: Path
    paths: tuple[str, ...]
    answers: Answers
    right: np.ndarray
    notes: tuple[str, ...] = ()
    digest: str = ""
    classes: tuple[str, ...] = ()
    probabilities: np.ndarray | None = None

    @property
    def failure_rate(self) -> float:
        """Share of the images that the DNN gets wrong."""
        return float(np.mean(~self.right)) if len(self.right) else 0.0

    @property
    def one_sided(self) -> str:
        """A sentence if all images are right or all are wrong; otherwise empty."""
        if not self.right.all() and self.right.any():
            return ""
        missing = "wrong" if self.right.all() else "right"
        return f"{self.source.name} has no image that the network gets {missing}: there is nothing to compare."

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
            return Answers.unknown(len(rows), self.answers.kind)._replace(detector=self.answers.detector)
        taken = self.answers.taken(np.maximum(rows, 0))
        missing = rows < 0
        return taken._replace(
            label=np.where(missing, "", taken.label),
            predicted=np.where(missing, "", taken.predicted),
            score=np.where(missing, np.float32(np.nan), taken.score),
        )


# --- The table --------------------------------------------------------------------------------------------------


def predictions_text(
    paths: Sequence[str],
    answers: Answers,
    right: np.ndarray,
    *,
    classes: Sequence[str] = (),
    probabilities: np.ndarray | None = None,
) -> str:
    """`predictions.csv`: a row per test image; the score is empty where it is unknown.

    Probabilities of classes, if they are known, stand in further columns, which `read_predictions` finds again.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([IMAGE, LABEL, PREDICTED, answers.kind, RIGHT, *(cell(class_column(name)) for name in classes)])
    scores = ["" if np.isnan(score) else round(score, 4) for score in answers.score.tolist()]
    more = [[]] * len(paths) if probabilities is None else [[f"{p:.6g}" for p in row] for row in probabilities.tolist()]
    columns = (answers.label.tolist(), answers.predicted.tolist(), scores, right.tolist(), more)
    for path, label, predicted, score, is_right, further in zip(paths, *columns, strict=True):
        writer.writerow([cell(path), cell(label), cell(predicted), score, "true" if is_right else "false", *further])
    return table.getvalue()


def load_predictions(folder: Path) -> tuple[tuple[str, ...], Answers, np.ndarray]:
    """Read `predictions.csv` as `failures` has written it, whether or not the test images are still there.

    Returns
    -------
    paths : tuple of str
        Relative to the test folder.
    answers : Answers
    right : ndarray of shape (n_images,), bool

    Raises
    ------
    SAFEError
        It is missing or damaged.
    """
    path = folder / PREDICTIONS_FILE
    try:
        with regular(path).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
        names, labels, predicted = ([from_cell(row[column]) for row in rows] for column in range(3))
        scores = np.array([float(row[3] or "nan") for row in rows], np.float32)
        right = np.array([{"true": True, "false": False}[row[4]] for row in rows], bool)
        kind = {CONFIDENCE: CONFIDENCE, ERROR: ERROR}[header[3]]
    except DAMAGED as error:
        raise SAFEError(f"{path} is missing or damaged ({error}). Collect the failures again.") from error
    detector = (folder / OBJECTS_FILE).is_file()
    return tuple(names), Answers(np.array(labels, str), np.array(predicted, str), scores, kind, detector), right


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

    The table has the column `image`, see `AnswerTable.images_in` for the names; `predicted`; `label`, by default the
    first folder of the image; `confidence` from 0 to 1 or, for a regression, `error`; and `right`, by default whether
    label and prediction are the same.

    A classifier may have a column of probabilities for each class (see `class_columns`). By default, `predicted` is the
    class of the largest one, and `confidence` the probability of the predicted class.

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
            "Name the folder that the table's images are in."
        )
    root = root.resolve()
    cells = read_answer_table(source)
    used, notes = cells.images_in(root, find_images(root).paths, (LABEL, PREDICTED))
    if not used:
        first = printable(cells.text(IMAGE, 0)) if cells.rows else "missing"
        raise SAFEError(
            f"Expected rows about the images in {root}. Received {source}, whose first image is {first}. Name the "
            "folder that the table's images are in."
        )
    kind = ERROR if ERROR in cells.header else CONFIDENCE
    rows = _Rows(cells, used, class_folders(root) if LABEL not in cells.header else ())
    detector = root.name == OBJECTS and (root.parent / OBJECTS_FILE).is_file()
    answers = Answers(np.array(rows.labels, str), np.array(rows.predicted, str), rows.scores(kind), kind, detector)
    right = np.array([rows.right(i, kind) for i in range(len(used))], bool)
    if unlabelled := rows.labels.count(""):
        notes.append(f"Without a label in {source.name}: {unlabelled:,} of {count(len(used), 'image')}.")
    paths = tuple(path for path, _ in used)
    return AnsweredImages(
        source, root, paths, answers, right, tuple(notes), cells.digest, rows.classes, rows.probabilities
    )


def probabilities_in(cells: AnswerTable, columns: Sequence[str], rows: Sequence[int]) -> np.ndarray:
    """Columns of probabilities: ndarray of shape (n_rows, n_columns), float32.

    Raises
    ------
    SAFEError
        One is missing or not from 0 to 1.
    """
    return np.minimum(cells.numbers(columns, rows, "a probability from 0 to 1 (such as of a softmax)", most=ONE), 1)


class _Rows:
    """What a table says of the images that have a row, an entry each: labels, predictions and probabilities.

    Parameters
    ----------
    used : sequence of (path, row)
    folders : sequence of str
        The class folders, if labels are those of the folders.

    Raises
    ------
    SAFEError
        There are neither predictions nor probabilities of every class, or a probability is invalid.
    """

    def __init__(self, cells: AnswerTable, used: Sequence[tuple[str, int]], folders: Sequence[str]):
        self._cells = cells
        self._at = [row for _, row in used]
        if LABEL in cells.header:
            self.labels = self._texts(LABEL)
        else:
            self.labels = [path.split("/", 1)[0] if "/" in path else "" for path, _ in used]
        self.predicted = self._texts(PREDICTED)
        known = {*self.labels, *self.predicted, *folders} - {""}
        columns = class_columns(cells, known)
        missing = sorted({*self.labels, *folders} - {""} - columns.keys())
        given = PREDICTED in cells.header or RIGHT in cells.header
        if not columns and not given:
            raise missing_columns(cells.source, cells.header)
        if missing and not given:
            raise SAFEError(
                "Expected the column predicted, or a column of probabilities for each class. Received none for "
                f"{printable(some(missing))} in {cells.source}. Add what is missing."
            )
        self.classes = () if missing else tuple(columns)
        self.probabilities = None
        if self.classes:
            self.probabilities = probabilities_in(cells, [*columns.values()], self._at)
            if PREDICTED not in cells.header:
                self.predicted = [self.classes[i] for i in self.probabilities.argmax(axis=1).tolist()]

    def _texts(self, column: str) -> list[str]:
        return [self._cells.text(column, row) for row in self._at]

    def scores(self, kind: str) -> np.ndarray:
        """Confidences or errors, NaN where unknown: ndarray of shape (n_images,), float32."""
        if kind == CONFIDENCE and kind not in self._cells.header and self.probabilities is not None:
            place = {name: i for i, name in enumerate(self.classes)}
            found = [place.get(name, -1) for name in self.predicted]
            rows = zip(found, self.probabilities.tolist(), strict=True)
            return np.array([row[i] if i >= 0 else np.nan for i, row in rows], np.float32)
        return np.array([self._score(kind, row) for row in self._at], np.float32)

    def _score(self, kind: str, row: int) -> float:
        text = self._cells.text(kind, row)
        if not text:
            return float("nan")
        number = self._cells.number(kind, row)
        if kind == CONFIDENCE and not 0 <= number <= ONE:
            raise self._cells.fault(row, "a confidence from 0 to 1, or none", text)
        if not np.isfinite(number) or number < 0:
            raise self._cells.fault(row, f"a number for the {kind}, or none", text)
        return min(number, 1.0) if kind == CONFIDENCE else number

    def right(self, i: int, kind: str) -> bool:
        """Whether the DNN gets image i right; a SAFEError if that is not known, or the row contradicts itself."""
        row, label, predicted = self._at[i], self.labels[i], self.predicted[i]
        text = self._cells.text(RIGHT, row).lower()
        same = label == predicted
        if not text:
            if kind == ERROR or not label or not predicted:
                raise self._cells.fault(row, "true or false under right, or a label and a prediction", "nothing")
            return same
        if text not in (*TRUE, *FALSE):
            hint = f"; probabilities of a class called right stand under {class_column(RIGHT)}"
            raise self._cells.fault(row, f"true or false under right{hint if RIGHT in self.labels else ''}", text)
        if kind == CONFIDENCE and label and predicted and same != (text in TRUE):
            told = f"{label} as label, {predicted} as prediction, and {text} under right"
            raise self._cells.fault(row, "a row that agrees with itself", told)
        return text in TRUE
