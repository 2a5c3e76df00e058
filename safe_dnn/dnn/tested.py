"""The whole test set with the DNN's answers, right and wrong: the table `predictions.csv`.

Failing images alone show what they look like. Why the DNN fails on them shows in comparison with the images that it
gets right. `failures` writes the table; one from another framework serves as well. Its columns are described in
`read_predictions`.
"""

import dataclasses
import itertools
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.dnn.copies import counted_once
from safe_dnn.dnn.doubts import doubts_about
from safe_dnn.dnn.predictions import Judgement, LabelledImages, check_spelling, class_folders, errors_of, is_decided
from safe_dnn.rccs.answers import CONFIDENCE, ERROR, Answers
from safe_dnn.rccs.collected import tested_by
from safe_dnn.support.contents import copies_in
from safe_dnn.support.entries import StrPath, existing_folder, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import intact
from safe_dnn.support.images import ImageListing, Skipped, find_images
from safe_dnn.support.matching import check_matched, in_slashes, rows_by_image
from safe_dnn.support.run_folder import PREDICTIONS_FILE
from safe_dnn.support.tables import Table, number_in, read_own, read_table, table_text
from safe_dnn.support.text import count, printable, some

IMAGE, LABEL, PREDICTED, RIGHT = "image", "label", "predicted", "right"
HELD_OUT = "held_out"
"""`true` for a test image that is only looked at once a model was retrained: its row has no answers."""
KNOWN_COLUMNS = frozenset({IMAGE, LABEL, PREDICTED, RIGHT, CONFIDENCE, ERROR, HELD_OUT})
_OF_CLASS = re.compile(r"p\((.*)\)", re.DOTALL)
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
ONE = 1.0001  # a probability of 1, as the rounding of another program may leave it
LARGEST = 1e38  # a number in single precision, in which scores are kept
SUM_OFF = 0.01  # by which the probabilities of a row may miss 1, rounded as they are
ROUNDED = 1e-4  # by which an error with four decimals may be off
CLOSEST = 1e-5  # as near as numbers of six digits are to what they are of
CLOSE = 100  # times, at least, that numbers of a regression are more exact than the threshold


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
    held_out : tuple of str
        Images that are none of these: they are only looked at once a model was retrained (see `dnn/held_out.py`).
    copies : mapping of str to str
        As of `support.contents.copies_in`; of each content, one image at most is among `paths`.
    skipped : tuple of Skipped
        Test images that have no row, or cannot be used.
    known_classes : tuple of str
        All classes in their order, or a regression's targets; empty if only the answers matter.
    has_images : bool
        Whether the images are in `root`; otherwise only their names are known.
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
    held_out: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    known_classes: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    has_images: bool = True

    def taken(self, rows: np.ndarray) -> "AnsweredImages":
        """Some of the images, for which the array of shape (n_images,), bool, is true."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        paths, answers = tuple(itertools.compress(self.paths, rows)), self.answers.taken(np.flatnonzero(rows))
        return dataclasses.replace(
            self, paths=paths, answers=answers, right=self.right[rows], probabilities=probabilities
        )

    def without(self, held: np.ndarray) -> "AnsweredImages":
        """The same with further images held out, for which the array of shape (n_images,), bool, is true."""
        return dataclasses.replace(self.taken(~held), held_out=(*self.held_out, *itertools.compress(self.paths, held)))

    def once(self, copies: Mapping[str, str]) -> "AnsweredImages":
        """The images that count (see `dnn.copies`), if some are `copies`; those of held-out images are held out."""
        held = {copies.get(path, path) for path in self.held_out}
        rest = self.without(np.array([copies.get(path, path) in held for path in self.paths], bool))
        answers = rest.answers
        each = zip(answers.label.tolist(), answers.predicted.tolist(), rest.right.tolist(), strict=True)
        known = [f"{label} → {predicted}{'' if right else ', wrong'}" for label, predicted, right in each]
        counts, sentences = counted_once(rest.paths, copies, known)
        return dataclasses.replace(rest.taken(counts), notes=(*self.notes, *sentences), copies=copies)

    @property
    def task(self) -> str:
        """ "classification" or "regression"."""
        return "regression" if self.answers.kind == ERROR else "classification"

    def same_as_target(self, recorded: Mapping[str, np.ndarray]) -> list[str]:
        """The columns of parameters that are a regression's only target, by their name or, as far as known, values."""
        if self.task != "regression":
            return []
        target, names = np.array(list(map(number_in, self.answers.label.tolist()))), []
        numbers = np.isfinite(target)  # none where there are several targets
        close = CLOSEST * float(np.ptp(target[numbers])) if numbers.any() else 0.0
        for name, values in recorded.items():
            known = numbers & np.isfinite(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
            near = np.isclose(values[known].astype(float), target[known], rtol=CLOSEST, atol=close)
            if name == self.answers.target or (2 * known.sum() > len(known) and near.all()):
                names.append(name)
        return names

    @property
    def accuracy(self) -> float:
        """Share of the images that the DNN gets right; 0 without images."""
        return float(self.right.mean()) if len(self.right) else 0.0

    @property
    def doubts(self) -> tuple[str, ...]:
        """As of `dnn.doubts.doubts_about`."""
        return doubts_about(self.answers, self.right)

    @property
    def one_sided(self) -> str:
        """A sentence if all images are right or all are wrong; otherwise empty."""
        if not self.right.all() and self.right.any():
            return ""
        missing = "wrong" if self.right.all() else "right"
        return f"{self.source.name} has no image that the network gets {missing}: there is nothing to compare."

    def rows_of(self, image_root: Path, images: Sequence[str]) -> np.ndarray:
        """The row of each of some images, which may be copies in another folder; −1 where the table has none.

        Images are matched by their names as of `support.matching.rows_by_image`.

        Returns
        -------
        ndarray of shape (n_images,), int64
        """
        row_of = {path: row for row, path in enumerate(self.paths)}
        rows = [*row_of.values(), *(row_of.get(first, -1) for first in self.copies.values())]
        found = rows_by_image([*self.paths, *self.copies], self.root, image_root, images, by_name=True)
        return np.array([rows[found[image][0]] if image in found else -1 for image in images], np.int64)

    def answers_to(self, rows: np.ndarray) -> Answers:
        """The answers in some rows; unknown where the row is −1."""
        known = self.answers  # with one more, which is unknown: that of row −1
        score = np.append(known.score, np.float32("nan"))
        label, predicted = np.append(known.label, ""), np.append(known.predicted, "")
        return known._replace(label=label, predicted=predicted, score=score).taken(rows)


def in_words(
    source: Path, images: LabelledImages, judgement: Judgement, *, threshold: float | None = None, **more: Any
) -> AnsweredImages:
    """Answers that a DNN gave to labelled images, as a table says them; `more` as of `AnsweredImages`.

    Numbers of a regression have as many digits as it takes to judge them by the threshold again.
    """
    indices, predicted, score, right = judgement
    labels, kind = images.labels[indices], CONFIDENCE
    if threshold is None or labels.ndim == 1:
        label, answered = (np.array(images.classes, str)[of] for of in (labels, predicted))
    else:
        kind, close = ERROR, np.full(len(score), threshold / CLOSE)
        label = _numbers(labels, close)
        answered = _numbers(predicted, np.minimum(close, np.abs(score - threshold)))  # on the same side of it
    has_name = kind == ERROR and len(images.classes) == 1 and images.classes[0] not in KNOWN_COLUMNS
    target = images.classes[0] if has_name else LABEL
    answers = Answers(label, answered, np.asarray(score, np.float32), kind, target=target)
    paths = tuple(images.paths[i] for i in indices.tolist())
    more |= {"skipped": images.skipped, "known_classes": images.classes}
    return AnsweredImages(source, images.root, paths, answers, right, **more)


def _numbers(values: np.ndarray, within: np.ndarray) -> np.ndarray:
    """The numbers of each image, separated by spaces, with six digits or more: ndarray of shape (n_images,), str.

    Parameters
    ----------
    values : ndarray of shape (n_images, n_numbers)
    within : ndarray of shape (n_images,)
        The error that there may be when they are read again.
    """
    texts, rows = np.full(len(values), "", object), np.arange(len(values))
    for digits in (6, 9, 12, 17):
        texts[rows] = [" ".join(f"{number:.{digits}g}" for number in row) for row in values[rows].tolist()]
        read = np.array([text.split() for text in texts[rows]], np.float64).reshape(-1, values.shape[1])
        rows = rows[errors_of(read, values[rows]) > within[rows]]
    return texts.astype(str)


def rounded(score: float) -> float:
    """A score as tables have it: with four decimals, or as many as it takes not to be 0."""
    return round(score, 4) or float(f"{score:.4g}")


# --- A table of answers, whatever framework ran the DNN ---------------------------------------------------------


class AnswerTable(Table):
    """A table with the column `image`."""

    def listing(self) -> ImageListing:
        """The images that it names, in a folder that is not known."""
        names = {os.path.normpath(in_slashes(name)) for name in self.texts(IMAGE) if name}
        return ImageListing(self.source.parent, tuple(sorted(names)), ())

    def numbers(self, names: Sequence[str], rows: Sequence[int], what: str, *, most: float = math.inf) -> np.ndarray:
        """Columns as numbers: ndarray of shape (n_rows, n_names), float64.

        Parameters
        ----------
        what : str
            What is expected, for the error message.
        most : float
            Numbers must be smaller than `LARGEST`; if this is given, also at least 0 and at most this.

        Raises
        ------
        SAFEError
            A number is missing or out of range.
        """
        values = np.array([[self.number(name, row) for name in names] for row in rows], np.float64)
        fine = (np.abs(values) < LARGEST) & ((most == math.inf) | ((values >= 0) & (values <= most)))
        if not fine.all():
            at, column = np.argwhere(~fine)[0].tolist()
            received = self.text(names[column], rows[at]) or "nothing"
            raise self.fault(rows[at], f"{what} under {names[column]}", received)
        return values.reshape(len(rows), len(names))

    def numbers_in_cells(self, name: str, rows: Sequence[int], n: int) -> np.ndarray:
        """Numbers separated by spaces, as `failures` writes them: ndarray of shape (n_rows, n), float64.

        Raises
        ------
        SAFEError
            A cell has another number of them, or they are out of range.
        """
        values = [[number_in(number) for number in self.text(name, row).split()] for row in rows]
        for row, numbers in zip(rows, values, strict=True):
            if len(numbers) != n or not (np.abs(numbers) < LARGEST).all():
                expected = f"{count(n, 'finite number')}, separated by spaces, under {name}"
                raise self.fault(row, expected, self.text(name, row))
        return np.array(values, np.float64)

    def images_in(
        self, root: Path, images: Sequence[str], agreeing: Collection[str], *, partial: bool,
        copies: Mapping[str, str] | None = None,
    ) -> tuple[list[tuple[str, int]], tuple[str, ...], list[str], list[Skipped]]:  # fmt: skip
        """The images of a folder that have a row, sorted, each with its row; those that are held out; sentences on rows
        without an image; and the images without a row.

        Images are named as of `support.matching.rows_by_image`.

        Parameters
        ----------
        images : sequence of str
            Relative to `root`.
        agreeing : collection of str
            Columns in which several rows of an image must agree.
        partial : bool
            Whether more than a tenth of the images, or of the rows, may be without the other.
        copies : mapping of str to str, optional
            As of `support.contents.copies_in`: a row for one of them is enough.

        Raises
        ------
        SAFEError
            Two rows of an image contradict each other, or the table and the folder are not about the same images, or no
            image that is not held out has a row.
        """
        names, copies = self.texts(IMAGE), copies or {}
        found = rows_by_image(names, self.source.parent, root, images)
        for rows in found.values():
            self._check_agreement(rows, agreeing)
        used = {row for rows in found.values() for row in rows}
        absent = [name for row, name in enumerate(names) if row not in used]
        answered = {copies.get(image, image) for image in found}
        needed = [image for image in images if image in found or copies.get(image, image) not in answered]
        if found:
            check_matched(self.source, root, needed, found, partial=partial, rows=len(names), without_image=absent)
        notes = []
        if absent and found:
            notes.append(
                f"Left out, since their images are not in {root}: {count(len(absent), 'row')} of {self.source.name}, "
                f"the first {printable(absent[0])}."
            )
        if repeated := len(used) - len(found):
            notes.append(f"Repeated in {self.source.name}: {count(repeated, 'row')}.")
        every = sorted((image, rows[0]) for image, rows in found.items())
        held = {image for image, row in every if self.text(HELD_OUT, row).lower() == "true"}
        if len(held) == len(every):
            if held:
                which = "all of whose images are held out."
            elif names:
                which = f"whose first image is {printable(names[0])}. Name the folder that its images are in."
            else:
                which = "without a row."
            raise SAFEError(f"Expected rows about the images in {root}. Received: {self.source}, {which}")
        without_row = [Skipped(image, f"no row in {self.source.name}") for image in needed if image not in found]
        return [one for one in every if one[0] not in held], tuple(sorted(held)), notes, without_row

    def _check_agreement(self, rows: Sequence[int], columns: Collection[str]) -> None:
        first = rows[0]
        for row in rows[1:]:
            for column in columns:
                values = self.text(column, first), self.text(column, row)
                if column != IMAGE and values[0] != values[1]:
                    raise SAFEError(
                        f"Expected one row for {printable(self.text(IMAGE, row))} in {self.source}. Received lines "
                        f"{self.lines[first]} and {self.lines[row]} with different values for {column}: "
                        f"{printable(' and '.join(values))}. Remove the wrong one."
                    )


def read_answer_table(source: Path) -> AnswerTable:
    """Read a table with the column `image`.

    Raises
    ------
    SAFEError
        The file cannot be read or is not such a table.
    """
    table = AnswerTable(**vars(read_table(source, "predictions")))
    odd = {name.lower() for name in table.header if name != name.lower()} & {IMAGE, LABEL, PREDICTED}
    if IMAGE not in table.header or odd:
        raise missing_columns(source, table.header)
    return table


def number_columns(table: AnswerTable, *known: str) -> tuple[str, ...]:
    """The columns whose first value is a number, without those of `KNOWN_COLUMNS` but for some."""
    first = {name: table.number(name, 0) if table.rows else math.nan for name in table.header}
    return tuple(name for name in first if abs(first[name]) < LARGEST and name not in KNOWN_COLUMNS - {*known})


def missing_columns(source: Path, header: Iterable[str]) -> SAFEError:
    """The error about a table without the columns that it needs."""
    return SAFEError(
        "Expected predictions as a CSV file with the columns image and predicted, or image and a column of "
        f"probabilities for each class. Received {source} with the columns "
        f"{printable(', '.join(header)) or 'of no table'}. Name them so, in lower case."
    )


def class_columns(table: AnswerTable, classes: Collection[str]) -> dict[str, str]:
    """The columns of probabilities by class, in their order; empty if there are none.

    They are named `p(class)` or, if none is, after the class. A class without a column is not among them.
    """
    marked = {match[1]: name for name in table.header if (match := _OF_CLASS.fullmatch(name))}
    return marked or {name: name for name in table.header if name in classes and name not in KNOWN_COLUMNS}


def probabilities_in(
    cells: AnswerTable, columns: Mapping[str, str], rows: Sequence[int]
) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """The probabilities of classes, also of those that no image has: a column without `p()` that makes all sums 1.

    Parameters
    ----------
    columns : mapping of str to str
        As of `class_columns`.

    Returns
    -------
    classes : tuple of str
        In the order of the columns.
    probabilities : ndarray of shape (n_rows, n_classes), float32
    notes : list of str
        A sentence if they do not sum to 1.

    Raises
    ------
    SAFEError
        One is missing or not from 0 to 1, or a further column may be a class or not.
    """
    read = cells.numbers([*columns.values()], rows, "a probability from 0 to 1 (such as of a softmax)", most=ONE)
    found = dict(zip(columns, read.T, strict=True))
    if not _is_whole(found) and [*columns] == [*columns.values()]:
        others = [name for name in cells.header if name and name not in {*KNOWN_COLUMNS, *found}]
        numbers = {name: np.array([cells.number(name, row) for row in rows]) for name in others}
        shares = {name: column for name, column in numbers.items() if ((column >= 0) & (column <= ONE)).all()}
        with_more = (found | more for more in (shares, *({name: shares[name]} for name in shares)))
        found = next(filter(_is_whole, with_more), found)
        if shares and not _is_whole(found) and read.sum(axis=1).max() <= 1 + SUM_OFF:
            raise SAFEError(
                f"Expected probabilities of all classes, which sum to 1 in each row. Received those of "
                f"{printable(some(columns))} in {cells.source}, and {printable(some(shares))}, which may be others. "
                f"Name the columns of classes p(class), such as {printable(class_column(next(iter(columns))))}."
            )
        found = {name: found[name] for name in cells.header if name in found}
    off = (
        f"The probabilities in a row of {cells.source.name} do not sum to 1: is a class missing, or are they sigmoids?"
    )
    probabilities = np.minimum(np.column_stack([*found.values()]), 1).astype(np.float32)
    return tuple(found), probabilities, [] if _is_whole(found) else [off]


def _is_whole(found: Mapping[str, np.ndarray]) -> bool:
    return bool((np.abs(sum(found.values()) - 1) <= SUM_OFF).all())


def class_column(name: str) -> str:
    """The column of a class's probabilities as SAFE writes it, which is never taken for another one."""
    return f"p({name})"


# --- Its files --------------------------------------------------------------------------------------------------


def predictions_text(given: AnsweredImages) -> str:
    """`predictions.csv`: a row per test image; the score is empty where it is unknown.

    Probabilities of classes, if they are known, stand in further columns, which `read_predictions` finds again. If
    images are held out, they have rows without answers, and the column `held_out` is true.
    """
    answers, shares = given.answers, given.probabilities
    extra = [HELD_OUT] if given.held_out else []
    header = [IMAGE, answers.target, PREDICTED, answers.kind, RIGHT, *extra, *map(class_column, given.classes)]
    more = [[]] * len(given.paths) if shares is None else [[f"{p:.6g}" for p in row] for row in shares.tolist()]
    known = (answers.label.tolist(), answers.predicted.tolist(), answers.score.tolist(), given.right.tolist(), more)
    rows = [
        [path, label, predicted, rounded(score), "true" if is_right else "false", *("false" for _ in extra), *further]
        for path, label, predicted, score, is_right, further in zip(given.paths, *known, strict=True)
    ]
    rows += [[path, "", "", "", "", "true", *("" for _ in given.classes)] for path in sorted(given.held_out)]
    return table_text(header, rows)


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
    with intact(path, "Collect the failures again."):
        header, *rows = read_own(path)
        if HELD_OUT in header:
            rows = [row for row in rows if row[header.index(HELD_OUT)] != "true"]
        names, labels, predicted = ([row[column] for row in rows] for column in range(3))
        scores = np.array([float(row[3] or "nan") for row in rows], np.float32)
        right = np.array([{"true": True, "false": False}[row[4]] for row in rows], bool)
        kind = {CONFIDENCE: CONFIDENCE, ERROR: ERROR}[header[3]]
    answers = Answers(np.array(labels, str), np.array(predicted, str), scores, kind, header[1])
    return tuple(names), answers, right


def find_predictions(image_root: Path) -> tuple[Path, Path] | None:
    """`predictions.csv` beside an image folder, and the test folder that `accuracy.json` there names; or None."""
    table, tested = image_root.parent / PREDICTIONS_FILE, tested_by(image_root.parent)
    return (table, tested) if tested and table.is_file() else None


def read_predictions(
    table: StrPath, tested: StrPath | None, *, partial: bool = False, classes: Collection[str] = ()
) -> AnsweredImages:
    """Read a DNN's answers to its test set.

    The table has the column `image`, see `AnswerTable.images_in` for the names; `predicted`; `label`, by default the
    first folder of the image; `confidence` from 0 to 1 or, for a regression, `error`; and `right`, by default whether
    label and prediction are the same. Of a regression, the label may have the name of the target: of all columns, it is
    the one that is as far from `predicted` as `error` says.

    A classifier may have a column of probabilities for each class (see `class_columns`). By default, `predicted` is the
    class of the largest one, of which there must be one, and `confidence` the probability of the predicted class.

    Parameters
    ----------
    table : path
        A CSV file (see `support.tables.read_table`).
    tested : path or None
        The folder of test images; None if nothing is known of them but their names in the table.
    partial : bool
        As for `AnswerTable.images_in`.
    classes : collection of str
        Those that the network has learned, if they are known.

    Raises
    ------
    SAFEError
        The folder is gone, the file is not such a table, or its rows contradict themselves, each other or the class
        folders.
    """
    source = path_of(table, "predictions as a CSV file")
    folder = tested and existing_folder(tested, f"the folder of the test images that {source.name} is about").resolve()
    cells = read_answer_table(source)
    listing = find_images(folder) if folder else cells.listing()
    root, images = listing.root, listing.paths
    folders = {entry.name for entry in root.iterdir()} if folder else set()
    target = _target_in(cells)
    names = {*KNOWN_COLUMNS, target, *folders, *classes, *cells.texts(target), *cells.texts(PREDICTED)}
    if PREDICTED not in cells.header:  # any column may have the probabilities of a class
        names |= {*cells.header}
    agreeing = [name for name in cells.header if name in names or _OF_CLASS.fullmatch(name)]
    copies = copies_in(root, images) if folder else {}
    used, held_out, notes, without_row = cells.images_in(root, images, agreeing, partial=partial, copies=copies)
    kind = ERROR if ERROR in cells.header else CONFIDENCE
    rows = _Rows(cells, used, folders, class_folders(root) if folder else (), classes, target)
    notes += rows.notes if kind == ERROR else [*rows.notes, *rows.contrary()]
    told = np.array(rows.labels, str), np.array(rows.predicted, str), rows.scores(kind)
    answers = Answers(*told, kind, target)
    right = np.array([rows.right(i, kind) for i in range(len(used))], bool)
    if without_row:
        notes.append(f"All figures are of {len(used):,} of {count(len(images), 'image')}: others have no row.")
    if unlabelled := rows.labels.count(""):
        notes.append(f"Without a label in {source.name}: {unlabelled:,} of {count(len(used), 'image')}.")
    return AnsweredImages(
        source, root, tuple(path for path, _ in used), answers, right, tuple(notes), cells.digest, rows.classes,
        rows.probabilities, held_out, skipped=(*listing.skipped, *without_row), has_images=bool(folder),
    ).once(copies)  # fmt: skip


def _target_in(cells: AnswerTable) -> str:
    """The column of true values: `label` or, of a regression, the one from which `predicted` is as far as `error`."""
    rows = [row for row, text in enumerate(cells.texts(ERROR)) if text]
    if LABEL in cells.header or not rows:
        return LABEL
    predicted, error = (np.array([cells.number(name, row) for row in rows]) for name in (PREDICTED, ERROR))
    for name in [name for name in cells.header if name not in KNOWN_COLUMNS]:
        apart = errors_of(predicted[:, None], np.array([[cells.number(name, row)] for row in rows]), (name,))
        if (np.abs(apart - error) <= ROUNDED + error.max() / CLOSE).all():
            return name
    return LABEL


class _Rows:
    """What a table says of the images that have a row, an entry each: labels, predictions and probabilities.

    Parameters
    ----------
    used : sequence of (path, row)
    folders, classes : collection of str
        All names in the folder of the images and, for where the table has no labels, those of class folders.
    learned : collection of str
        Further classes, of which there may be columns.
    target : str
        The column of true values.

    Raises
    ------
    SAFEError
        There are neither predictions nor probabilities of every class, a class has two spellings, or a probability is
        invalid or contradicts the prediction.
    """

    def __init__(
        self, cells: AnswerTable, used: Sequence[tuple[str, int]], folders: Collection[str],
        classes: Collection[str], learned: Collection[str], target: str,
    ):  # fmt: skip
        self._cells = cells
        self._at = [row for _, row in used]
        self._folders = [path.split("/", 1)[0] if "/" in path else "" for path, _ in used]
        self.labels = self._texts(target) if target in cells.header else self._folders
        self.predicted = self._texts(PREDICTED)
        labels = {*self.labels, *(() if LABEL in cells.header else classes)} - {""}
        columns = class_columns(cells, {*labels, *learned, *self.predicted} - {""})
        missing = sorted(labels - columns.keys())
        given = PREDICTED in cells.header or RIGHT in cells.header
        self._names = {*labels, *self.predicted, *columns} - {""}
        if ERROR not in cells.header:
            others = {*cells.header} - KNOWN_COLUMNS if missing and not given else ()
            together = (folders, learned, columns, labels & {*self.predicted})
            check_spelling({*self._names, *learned, *others}, together, cells.source)
        told = given and (any(self.labels) or RIGHT in cells.header)
        if not columns and not told and len(numbers := {*number_columns(cells, PREDICTED)}) == 1:
            raise SAFEError(
                f"Expected the targets and a threshold, since {printable(*numbers)} in {cells.source} is a number, as "
                "of a regression. Of a classifier, expected the classes of images, in folders or in the column label."
            ).about("targets", "threshold")
        if not columns and not given:
            raise missing_columns(cells.source, cells.header)
        if missing and not given:
            raise SAFEError(
                "Expected the column predicted, or a column of probabilities for each class. Received none for "
                f"{printable(some(missing))} in {cells.source}. Add what is missing."
            )
        self.classes: tuple[str, ...] = ()
        self.probabilities: np.ndarray | None = None
        self.notes: list[str] = []
        if columns and not missing:
            self.classes, self.probabilities, self.notes = probabilities_in(cells, columns, self._at)
            if PREDICTED in cells.header:
                self._check_predicted(self.probabilities)
            else:
                self._check_largest(self.probabilities)
                self.predicted = [self.classes[i] for i in self.probabilities.argmax(axis=1).tolist()]

    def _check_largest(self, probabilities: np.ndarray) -> None:
        tied = np.flatnonzero(~is_decided(probabilities)).tolist()
        if tied:
            lines = some([str(self._cells.lines[self._at[i]]) for i in tied], limit=3)
            received = f"{some([f'{p:g}' for p in probabilities[tied[0]].tolist()])}; undecided: lines {lines}"
            expected = "one probability above the others, or the class in a column predicted,"
            raise self._cells.fault(self._at[tied[0]], expected, received)

    def _check_predicted(self, probabilities: np.ndarray) -> None:
        """Make sure that the class that is predicted has the largest probability, or one of the largest."""
        for i, (name, row) in enumerate(zip(self.predicted, probabilities.tolist(), strict=True)):
            of_class = dict(zip(self.classes, row, strict=True))
            best = max(of_class, key=of_class.__getitem__)
            if name and of_class.get(name, 0) < of_class[best] + 1 - ONE:
                received = f"{name} with {of_class.get(name, 0):g}, and {best} with {of_class[best]:g}"
                expected = "the likeliest class under predicted, or no probabilities if it is found in another way,"
                raise self._cells.fault(self._at[i], expected, received)

    def contrary(self) -> list[str]:
        """A sentence on labels that contradict the class folders; a SAFEError if all do."""
        pairs = zip(self._folders, self.labels, strict=True)
        rows = [i for i, (folder, label) in enumerate(pairs) if folder in self._names and label not in ("", folder)]
        if rows and len(rows) == len(self.labels):
            expected = f"the class folder, {self._folders[rows[0]]}, under {LABEL}, here or in another row"
            raise self._cells.fault(self._at[rows[0]], expected, self.labels[rows[0]])
        which = f"{len(rows):,} of {count(len(self.labels), 'image')}"
        return [f"{LABEL} in {self._cells.source.name} is not the class folder of {which}; it counts."] if rows else []

    def _texts(self, column: str) -> list[str]:
        texts = self._cells.texts(column)
        return [texts[row] for row in self._at]

    def scores(self, kind: str) -> np.ndarray:
        """Confidences or errors, NaN where unknown: ndarray of shape (n_images,), float32."""
        if kind == CONFIDENCE and kind not in self._cells.header and self.probabilities is not None:
            of_class = dict(zip(self.classes, self.probabilities.T, strict=True))
            unknown = np.full(len(self._at), np.nan)
            return np.array([of_class.get(name, unknown)[i] for i, name in enumerate(self.predicted)], np.float32)
        return np.array([self._score(kind, row) for row in self._at], np.float32)

    def _score(self, kind: str, row: int) -> float:
        text, most = self._cells.text(kind, row), ONE if kind == CONFIDENCE else np.finfo(np.float64).max
        if not text:
            return float("nan")
        number = self._cells.number(kind, row)
        if not 0 <= number <= most:
            what = "a confidence from 0 to 1" if kind == CONFIDENCE else f"a number for the {kind}"
            raise self._cells.fault(row, f"{what}, or none", text)
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
