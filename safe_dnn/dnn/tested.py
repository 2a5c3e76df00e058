"""The whole test set with the DNN's answers, right and wrong: the table `predictions.csv`.

Failing images alone show what they look like. Why the DNN fails on them shows in comparison with the images that it
gets right. `failures` writes the table; one from another framework serves as well. Its columns are described in
`read_predictions`.
"""

import dataclasses
import itertools
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.doubts import doubts_about
from safe_dnn.dnn.predictions import check_spelling, class_folders, counted_once, errors_of, is_decided
from safe_dnn.options import AS_IN_THE_FILE, DnnOptions
from safe_dnn.rccs.answers import (
    CONFIDENCE,
    ERROR,
    HELD_OUT,
    KNOWN_COLUMNS,
    LABEL,
    ONE,
    PREDICTED,
    RIGHT,
    Answers,
    class_column,
    class_columns,
    missing_columns,
    number_columns,
    probabilities_in,
    read_answer_table,
)
from safe_dnn.store.places import test_set_of, tested_by
from safe_dnn.support.errors import SAFEError, StrPath, existing_folder, may_open, path_of
from safe_dnn.support.images import ImageListing, Skipped, copies_in, find_images
from safe_dnn.support.matching import check_matched, in_slashes, rows_by_image, rows_in
from safe_dnn.support.run_folder import FAILURES_MARK, OBJECTS, PREDICTIONS_FILE
from safe_dnn.support.tables import IMAGE, Table, number_in, table_text
from safe_dnn.support.text import count, printable, some

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
ROUNDED = 1e-4  # by which an error with four decimals may be off
CLOSEST = 1e-5  # as near as numbers of six digits are to what they are of
CLOSE = 100  # one part in so many of the largest error may be rounding


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
        Further images, which are used only after a model was retrained (see `dnn/group_columns.py`).
    copies : mapping of str to str
        As in `support.images.copies_in`; `paths` has at most one image of each content.
    skipped : tuple of Skipped
        Test images that have no row, or cannot be used.
    known_classes : tuple of str
        All classes in their order, or a regression's targets; empty if only the answers matter.
    has_images : bool
        Whether the images are in `root`; otherwise only their names are known.
    group : tuple of str
        The columns by which images are held out in groups.
    options : DnnOptions
        With which the failures were collected; without a threshold but for a regression.
    parameters : Path or None
        The table of parameters that was given with the answers.
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
    group: tuple[str, ...] = ()
    options: DnnOptions = AS_IN_THE_FILE
    parameters: Path | None = None

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
        """The images that count (see `counted_once`), if some are `copies`; those of held-out images are held out."""
        held = {copies.get(path, path) for path in self.held_out}
        rest = self.without(np.array([copies.get(path, path) in held for path in self.paths], bool))
        answers = rest.answers
        each = zip(answers.label.tolist(), answers.predicted.tolist(), rest.right.tolist(), strict=True)
        known = [f"{label} → {predicted}{'' if right else ', wrong'}" for label, predicted, right in each]
        counts, sentences = counted_once(rest.paths, copies, known)
        return dataclasses.replace(rest.taken(counts), notes=(*self.notes, *sentences), copies=copies)

    @property
    def noun(self) -> str:
        """What is right or wrong by itself: "image", or "unit" of a table with several rows for an image."""
        return "unit" if any(map(_is_of_units, (self.root, self.source.parent))) else "image"

    @property
    def failing(self) -> tuple[str, ...]:
        """The images that the DNN gets wrong."""
        return tuple(itertools.compress(self.paths, ~self.right))

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
        return doubts_about(self.answers, self.right, self.noun)

    @property
    def one_sided(self) -> str:
        """A sentence if all images are right or all are wrong; otherwise empty."""
        if not self.right.all() and self.right.any():
            return ""
        missing = "wrong" if self.right.all() else "right"
        return f"{self.source.name} has no image that the network gets {missing}: there is nothing to compare."

    def rows_of(self, image_root: Path, images: Sequence[str]) -> np.ndarray:
        """The row of each of some images, which may be copies in another folder; −1 where the table has none.

        Images are matched by their names as in `support.matching.rows_by_image`.

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


def rounded(score: float) -> float:
    """A score as tables have it: with four decimals, or as many as it takes not to be 0."""
    return round(score, 4) or float(f"{score:.4g}")


# --- A table of answers, whatever framework ran the DNN ---------------------------------------------------------


class MatchedRows(NamedTuple):
    """The rows of a table that are about images of a folder.

    Attributes
    ----------
    rows : Table
        A row for each of `paths`.
    paths : tuple of str
        Relative to the folder, sorted.
    held_out : tuple of str
        Images that are held out.
    notes : list of str
        Sentences on rows without an image.
    without_row : list of Skipped
    """

    rows: Table
    paths: tuple[str, ...]
    held_out: tuple[str, ...]
    notes: list[str]
    without_row: list[Skipped]


def match_images(
    cells: Table, root: Path, images: Sequence[str], *, partial: bool, about_others: bool = False,
    copies: Mapping[str, str] | None = None,
) -> MatchedRows:  # fmt: skip
    """Match the rows of a table with the images of a folder.

    Parameters
    ----------
    images : sequence of str
        Relative to `root`.
    partial : bool
        Whether more than a tenth of the images, or of the rows, may be without the other.
    about_others : bool
        Whether any number of rows may be without an image.
    copies : mapping of str to str, optional
        As of `support.images.copies_in`: a row for one of them is enough.

    Raises
    ------
    SAFEError
        Two rows of an image differ, or the table and the folder are not about the same images, or no image that is not
        held out has a row.
    """
    found, notes, without_row = rows_about(
        cells, root, images, cells.header, partial=partial, about_others=about_others, copies=copies
    )
    if repeated := sum(map(len, found.values())) - len(found):
        notes.append(f"Repeated in {cells.source.name}: {count(repeated, 'row')}.")
    every = sorted((image, rows[0]) for image, rows in found.items())
    held_out = cells.texts(HELD_OUT)
    rest = {image: row for image, row in every if held_out[row].lower() != "true"}
    if not rest:
        raise SAFEError(
            f"Expected rows about the images in {root}. Received: {cells.source}, all of whose images are held out."
        )
    held = tuple(image for image, _ in every if image not in rest)
    return MatchedRows(cells.taken([*rest.values()]), tuple(rest), held, notes, without_row)


def rows_about(
    cells: Table, root: Path, images: Sequence[str], agreeing: Collection[str] = (), *, partial: bool,
    about_others: bool = False, copies: Mapping[str, str] | None = None,
) -> tuple[dict[str, list[int]], list[str], list[Skipped]]:  # fmt: skip
    """The rows of a table about each image, sentences on rows without an image, and images without a row.

    Several rows of an image must agree in some columns. Other parameters and errors are those of `match_images`.
    """
    names, copies = cells.texts(IMAGE), copies or {}
    found = rows_in(cells, root, images, agreeing)
    if not found:
        which = f"whose first image is {printable(names[0])}. Name the folder that its images are in." if names else ""
        raise SAFEError(
            f"Expected rows about the images in {root}. Received: {cells.source}, {which or 'without a row.'}"
        )
    used = {row for rows in found.values() for row in rows}
    absent = [name for row, name in enumerate(names) if row not in used]
    answered = {copies.get(image, image) for image in found}
    needed = [image for image in images if image in found or copies.get(image, image) not in answered]
    rows, without_image = (0, []) if about_others else (len(names), absent)
    missing = check_matched(cells.source, root, needed, found, partial=partial, rows=rows, without_image=without_image)
    which = f"{count(len(absent), 'row')} of {cells.source.name}"
    notes = [f"Left out, since their images are not in {root}: {which}, the first {printable(one)}." for one in absent]
    return found, notes[:1], [Skipped(image, f"no row in {cells.source.name}") for image in missing]


# --- Its files --------------------------------------------------------------------------------------------------


def predictions_text(answered: AnsweredImages) -> str:
    """`predictions.csv`: a row per test image; the score is empty where it is unknown.

    Probabilities of classes, if they are known, stand in further columns, which `read_predictions` finds again. If
    images are held out, they have rows without answers, and the column `held_out` is true.
    """
    answers, shares = answered.answers, answered.probabilities
    extra = [HELD_OUT] if answered.held_out else []
    header = [IMAGE, answers.target, PREDICTED, answers.kind, RIGHT, *extra, *map(class_column, answered.classes)]
    columns = [answers.label, answers.predicted, answers.score, answered.right]
    share_texts = [
        [f"{p:.6g}" for p in row] for row in ([[]] * len(answered.paths) if shares is None else shares.tolist())
    ]
    known = (*(column.tolist() for column in columns), share_texts)
    rows = [
        [path, label, predicted, rounded(score), "true" if is_right else "false", *("false" for _ in extra), *texts]
        for path, label, predicted, score, is_right, texts in zip(answered.paths, *known, strict=True)
    ]
    rows += [[path, "", "", "", "", "true", *("" for _ in answered.classes)] for path in sorted(answered.held_out)]
    return table_text(header, rows)


def collected_answers(image_root: Path) -> AnsweredImages | None:
    """The answers in `predictions.csv` beside a folder of failures, to the images that `accuracy.json` there names.

    None if there are none, or they may not be opened. Failures that were collected without images are named as if they
    lay in the folder.
    """
    table, root = image_root.parent / PREDICTIONS_FILE, tested_by(image_root.parent)
    if not test_set_of(image_root.parent) or not table.is_file() or not may_open(table) or not may_open(root or table):
        return None
    tested = read_predictions(table, root, partial=True)
    return tested if root else dataclasses.replace(tested, root=image_root)


def read_predictions(
    table: StrPath, tested: StrPath | None, *, partial: bool = False, classes: Collection[str] = ()
) -> AnsweredImages:
    """Read a DNN's answers to its test set.

    The table has the column `image` (see `support.matching.rows_by_image`); `predicted`; `label`, by default the first
    folder of the image; `confidence` from 0 to 1 or, for a regression, `error`; and `right`, by default whether label
    and prediction are the same. Of a regression, the label may have the name of the target: of all columns, it is the
    one that is as far from `predicted` as `error` says.

    A classifier may have a column of probabilities for each class (see `class_columns`). By default, `predicted` is the
    class with the largest probability, which must be unique, and `confidence` the probability of the predicted class.

    Parameters
    ----------
    table : path
        A CSV file (see `support.tables.read_table`).
    tested : path or None
        The folder of test images; None if nothing is known of them but their names in the table.
    partial : bool
        As for `match_images`.
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
    listing = find_images(folder) if folder else images_named_in(cells)
    root, images = listing.root, listing.paths
    folders = {entry.name for entry in root.iterdir()} if folder else set()
    target = _target_in(cells)
    copies = copies_in(root, images) if folder and not _is_of_units(root) else {}
    rows, paths, held_out, notes, without_row = match_images(cells, root, images, partial=partial, copies=copies)
    kind = ERROR if ERROR in cells.header else CONFIDENCE
    of_folder = np.array([path.split("/", 1)[0] if "/" in path and kind != ERROR else "" for path in paths], str)
    label = np.array(rows.texts(target), str) if target in cells.header else of_folder
    predicted = np.array(rows.texts(PREDICTED), str)
    labels = {*label.tolist(), *(class_folders(root) if folder and LABEL not in cells.header else ())} - {""}
    columns = _checked_columns(rows, labels, {*predicted.tolist()} - {""}, folders, classes)
    known, shares = tuple[str, ...](), None
    if columns and not labels - columns.keys():
        known, shares, uneven = probabilities_in(rows, columns)
        predicted = _likeliest(rows, predicted, known, shares)
        notes += uneven
    if kind == CONFIDENCE:
        notes += _contrary(rows, label, of_folder, {*labels, *predicted.tolist(), *columns})
    answers = Answers(label, predicted, _scores(rows, kind, predicted, known, shares), kind, target)
    right = _right(rows, answers)
    if without_row:
        every = len(paths) + len(held_out) + len(without_row)  # copies of these need no row
        n = sum(one.path in {*copies, *copies.values()} for one in without_row)  # no label is right for both
        why = f"; {n:,} are copies of each other byte for byte" if n else ""
        part = f"{len(paths):,} of {count(every, 'image')}"
        notes.append(f"All figures are of {part}: {len(without_row):,} have no row{why}.")
    if unlabelled := int((label == "").sum()):
        notes.append(f"Without a label in {source.name}: {unlabelled:,} of {count(len(paths), 'image')}.")
    return AnsweredImages(
        source, root, paths, answers, right, tuple(notes), cells.digest, known, shares, held_out,
        skipped=(*listing.skipped, *without_row), has_images=bool(folder),
    ).once(copies)  # fmt: skip


def _is_of_units(folder: Path) -> bool:
    """Whether SAFE has written a folder with an image, or a row, for each unit (see `dnn/detection/`)."""
    return folder.name == OBJECTS and (folder / FAILURES_MARK).is_file()


def images_named_in(cells: Table) -> ImageListing:
    """The images that a table names, in a folder that is not known."""
    names = {os.path.normpath(in_slashes(name)) for name in cells.texts(IMAGE) if name}
    return ImageListing(cells.source.parent, tuple(sorted(names)), ())


def _target_in(cells: Table) -> str:
    """The column of true values: `label` or, of a regression, the one from which `predicted` is as far as `error`."""
    known = [row for row, text in enumerate(cells.texts(ERROR)) if text]
    if LABEL in cells.header or not known:
        return LABEL
    rows = cells.taken(known)
    predicted, error = rows.column(PREDICTED), rows.column(ERROR)
    for name in [name for name in cells.header if name not in KNOWN_COLUMNS]:
        apart = errors_of(predicted[:, None], rows.column(name)[:, None], (name,))
        if (np.abs(apart - error) <= ROUNDED + error.max() / CLOSE).all():
            return name
    return LABEL


def _checked_columns(
    rows: Table, labels: Collection[str], predicted: Collection[str], folders: Collection[str], learned: Collection[str]
) -> dict[str, str]:
    """The columns of probabilities (see `class_columns`).

    Parameters
    ----------
    labels, predicted : collection of str
        The true classes and those that are answered.
    folders, learned : collection of str
        All names in the folder of the images, and further classes, which may have columns.

    Raises
    ------
    SAFEError
        There are neither predictions nor probabilities of every class, or a class has two spellings.
    """
    columns = class_columns(rows, {*labels, *learned, *predicted})
    missing, given = sorted({*labels} - columns.keys()), PREDICTED in rows.header or RIGHT in rows.header
    if ERROR not in rows.header:
        others = {*rows.header} - KNOWN_COLUMNS if missing and not given else ()
        together = (folders, learned, columns, {*labels} & {*predicted})
        check_spelling({*labels, *predicted, *columns, *learned, *others}, together, rows.source)
    if columns or (given and (labels or RIGHT in rows.header)):
        if missing and not given:
            raise SAFEError(
                "Expected the column predicted, or a column of probabilities for each class. Received none for "
                f"{printable(some(missing))} in {rows.source}. Add what is missing."
            )
        return columns
    if len(numbers := number_columns(rows, PREDICTED)) == 1:
        raise SAFEError(
            f"Expected the targets and a threshold, since {printable(*numbers)} in {rows.source} is a number, as "
            "for a regression. Expected class names for a classifier, as folders or in the column label."
        ).about("targets", "threshold")
    if not given:
        raise missing_columns(rows)
    return columns


def _likeliest(rows: Table, predicted: np.ndarray, classes: Sequence[str], shares: np.ndarray) -> np.ndarray:
    """The class that is predicted, which must have the largest probability, or one of the largest."""
    best = shares.argmax(axis=1)
    if PREDICTED not in rows.header:
        decided = is_decided(shares)
        lines = some([str(rows.lines[row]) for row in np.flatnonzero(~decided).tolist()], limit=3)
        rows.check(
            decided, "one probability above the others, or the class in a column predicted,",
            lambda row: f"{some([f'{p:g}' for p in shares[row].tolist()])}; undecided: lines {lines}",
        )  # fmt: skip
        return np.array(classes, str)[best]
    own, largest = _of_class(predicted, classes, shares, 0), shares.max(axis=1)
    rows.check(
        (predicted == "") | (own >= largest + 1 - ONE),
        "the likeliest class under predicted, or no probabilities if it is found in another way,",
        lambda row: f"{predicted[row]} with {own[row]:g}, and {classes[best[row]]} with {largest[row]:g}",
    )
    return predicted


def _of_class(names: np.ndarray, classes: Sequence[str], shares: np.ndarray, unknown: float) -> np.ndarray:
    """The probability of one class for each row."""
    place = {name: i for i, name in enumerate(classes)}
    return np.array([row[place[name]] if name in place else unknown for name, row in zip(names, shares, strict=True)])


def _contrary(rows: Table, label: np.ndarray, folder: np.ndarray, names: Collection[str]) -> list[str]:
    """A sentence on labels that contradict the class folders; a SAFEError if all do."""
    same = (label == "") | (label == folder) | ~np.isin(folder, [*names])
    n = int((~same).sum())
    if n == len(label):
        rows.check(
            same, f"the class folder, {folder[0]}, under {LABEL}, here or in another row", lambda row: label[row]
        )
    which = f"{n:,} of {count(len(label), 'image')}"
    return [f"{LABEL} in {rows.source.name} is not the class folder of {which}; it counts."] if n else []


def _scores(
    rows: Table, kind: str, predicted: np.ndarray, classes: Sequence[str], shares: np.ndarray | None
) -> np.ndarray:
    """Confidences or errors, NaN where unknown: ndarray of shape (n_images,), float32."""
    if kind == CONFIDENCE and kind not in rows.header and shares is not None:
        return _of_class(predicted, classes, shares, np.nan).astype(np.float32)
    numbers, unknown = rows.column(kind), np.array([not text for text in rows.texts(kind)], bool)
    what = "a confidence from 0 to 1" if kind == CONFIDENCE else f"a number for the {kind}"
    most = ONE if kind == CONFIDENCE else np.finfo(np.float64).max
    rows.check(unknown | ((numbers >= 0) & (numbers <= most)), f"{what}, or none", lambda row: rows.text(kind, row))
    return np.minimum(numbers, 1 if kind == CONFIDENCE else most).astype(np.float32)


def _right(rows: Table, answers: Answers) -> np.ndarray:
    """Which images the DNN gets right; a SAFEError if that is not known of one, or a row contradicts itself."""
    label, predicted, kind = answers.label, answers.predicted, answers.kind
    text = np.array([text.lower() for text in rows.texts(RIGHT)], str)
    given, same, both = text != "", label == predicted, (label != "") & (predicted != "")
    known = given | (both & (kind == CONFIDENCE))
    rows.check(known, "true or false under right, or a label and a prediction", lambda _: "")
    hint = f"; probabilities of a class called right stand under {class_column(RIGHT)}" if RIGHT in label else ""
    valid = ~given | np.isin(text, [*TRUE, *FALSE])
    rows.check(valid, f"true or false under right{hint}", lambda row: text[row])
    right = np.where(given, np.isin(text, TRUE), same)
    rows.check(
        (right == same) | ~both | (kind == ERROR), "a row that agrees with itself",
        lambda row: f"{label[row]} as label, {predicted[row]} as prediction, and {text[row]} under right",
    )  # fmt: skip
    return right
