"""Parameters of the failing images, such as weather or brightness: a CSV file with a row per image, read as columns.

Simulators record such parameters, and annotators provide them. SAFE describes RCCs with them (see `profiles.py`), but
does not need them. Images and a CSV file in; a column per parameter out, in the order of the images. Of failures that
SAFE has collected, the parameters are those of the test images that they are copies of.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from safe_dnn.rccs.dbscan.projection import Nuisance, SetAside, combined
from safe_dnn.store.places import parameters_given, source_folder_of
from safe_dnn.support.errors import SAFEError, StrPath, may_open, path_of
from safe_dnn.support.images import ImageListing
from safe_dnn.support.matching import check_matched, rows_in
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.tables import IMAGE, Table, number_in, read_table, with_point
from safe_dnn.support.text import count, printable, some, visible_text

PARAMETERS_FILE = "parameters.csv"
FULL_IMAGE = "full_image"  # a column: the image that an image was cut out of, or is a row of
ANGLE_SUFFIX = "_deg"
DIGITS = 15  # that float64 holds of any number
NUMERIC_FROM = 0.9  # least share of a column's values that are numbers
ANY_NAME = re.compile("")
ANSWERS = re.compile(r"(?is)predict(ed|ion)|right|correct|wrong|confidence|error|held_out|p\(.*\)")  # no parameters
THOUSANDS = re.compile(r"[-+]?\d{1,3}(([ .'’\xa0\u202f]\d{3})+,\d*|([ ,'’\xa0\u202f]\d{3})+\.\d*|(,\d{3}){2,})")
PLACEHOLDERS = re.compile(r"-[19]|-?9{2,}|-32768|32767|65535")  # what programs write where a number is unknown
MOST_CATEGORIES = 50  # a text column with more different values contains names or remarks


@dataclass(frozen=True)
class Parameters:
    """Known parameters of the failing images.

    Attributes
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        float64 for a number or an angle, NaN if unknown; str for a category, empty if unknown.
    notes : tuple of str
        Sentences on what could not be used in the file.
    """

    columns: dict[str, np.ndarray]
    notes: tuple[str, ...]


def find_parameters(image_root: Path) -> Path | None:
    """`parameters.csv` in the image folder or, if it is not there, beside it; otherwise None.

    Of failures that SAFE has collected, first the table that was given with them, and last that in the folder of their
    test images or beside it.
    """
    tested = source_folder_of(image_root)
    given = parameters_given(image_root.parent) if image_root.name == FAILURES else None
    folders = (image_root, image_root.parent, *((tested, tested.parent) if tested else ()))
    for table in (*([given] if given else ()), *(folder / PARAMETERS_FILE for folder in folders)):
        if table.is_file():
            return table if may_open(table) else None
    return None


def read_parameters(path: StrPath, image_root: Path, images: Sequence[str], *, partial: bool = True) -> Parameters:
    """Read the parameters of images from a CSV file.

    The column `image` (or, if there is none, the first) names the image (see `support.matching.rows_by_image`). The
    file may be about other images as well, such as the whole test set.

    A column whose name ends in `_deg` contains angles in degrees. A column contains numbers if at least 90 % of its
    values are numbers, unless these are only two different ones, such as 0 and 1. Other columns contain categories.
    Those that are named like a network's answers are left out: `right` would be the reason for failing. So is
    `full_image`, which names images.

    Parameters
    ----------
    image_root : Path
    images : sequence of str
        Relative to `image_root`.
    partial : bool
        Whether more than a tenth of the images may be without a row.

    Raises
    ------
    SAFEError
        The file cannot be read or is not a table, or rows are missing.
    """
    known, notes = read_columns(path, image_root, images, partial)
    columns = {}
    for name, texts in known.items():
        if name == FULL_IMAGE:
            continue
        column, column_notes = typed_column(name, texts)
        notes += column_notes
        if column is not None:
            columns[name] = column
    if not columns:
        notes.append("No column has different values for the failing images.")
    return Parameters(columns, tuple(notes))


def read_texts(
    path: StrPath, image_root: Path, images: Sequence[str], like: re.Pattern[str] = ANY_NAME
) -> dict[str, list[str]]:
    """Read the columns with names like this as texts, empty where unknown, of images that `read_parameters` would
    match.

    Raises
    ------
    SAFEError
        As for `read_parameters`.
    """
    return read_columns(path, image_root, images, like=like)[0]


def read_columns(
    path: StrPath, image_root: Path, images: Sequence[str], partial: bool = True, like: re.Pattern[str] = ANY_NAME
) -> tuple[dict[str, list[str]], list[str]]:
    """The value of each image in each column, empty if unknown, and notes on what could not be used.

    Errors are those of `read_parameters`.
    """
    table = read_table(path_of(path, "parameters as a CSV file"), "parameters")
    header, notes = table.header, list[str]()
    if len(header) < 2:
        raise SAFEError(
            f"Expected parameters as a CSV file with a header: {IMAGE}, then a column per parameter. Received: {path}"
        )
    key = IMAGE if IMAGE in header else header[0]
    if key != IMAGE:
        notes.append(f"There is no column {IMAGE}; the first column, {key}, is used instead.")
    answers = [name for name in header if ANSWERS.fullmatch(name)]
    named = [name for name in header if name not in (key, *answers) and like.search(name)]
    if like is not ANY_NAME:
        named = [name for name in named if len(set(table.texts(name))) > 2]  # yes and no are not groups
        if not named:
            return {}, notes  # to find the rows of a million images takes longer than to read them
    # A copy of a test image, which has the same path in another folder, is described by either.
    roots = filter(None, (image_root, source_folder_of(image_root)))
    described = max((rows_in(table, root, images, key=key, by_name=True) for root in roots), key=len)
    missing = check_matched(table.source, image_root, images, described, partial=partial)
    notes += _notes_on_rows(images, described, missing, len(table.rows) - sum(map(len, described.values())))
    if answers:
        notes.append(f"Left out of the parameters, since they are named like a network's answers: {some(answers)}.")
    texts, rows = {}, [described[image][0] if image in described else None for image in images]
    for name in named:
        # Of all rows, so that any part of the images has the same spelling: the commonest
        column, spellings = _readable(table, name), dict[str, list[str]]()
        for text, _ in Counter(column).most_common():
            spellings.setdefault(spelt_alike(text), []).append(text)
        usual = {text: same[0] for same in spellings.values() for text in same}
        texts[name] = ["" if row is None else usual[column[row]] for row in rows]
        several = [" = ".join(map(ascii, same)) for same in spellings.values() if len(same) > 1]
        if several and len(spellings) <= MOST_CATEGORIES:
            notes.append(f"Spellings in the column {name} that count as one value: {some(several, limit=3)}.")
    return texts, notes


def _readable(table: Table, name: str) -> list[str]:
    """A column, its numbers with a point; a SAFEError if one has thousands separators."""
    column = table.texts(name)
    odd = next((row for row, text in enumerate(column) if THOUSANDS.fullmatch(text)), None)
    if odd is not None:
        raise table.fault(odd, f"a number without thousands separators under {name}", column[odd])
    return list(map(with_point, column)) if table.decimal_comma else column


def spelt_alike(text: str) -> str:
    """The same for texts that differ in what cannot be seen, or in case alone."""
    return visible_text(text).casefold()


def _notes_on_rows(
    images: Sequence[str], described: dict[str, list[int]], missing: Sequence[str], n_unrelated: int
) -> Iterator[str]:
    if missing:
        yield f"No row for {len(missing):,} of {count(len(images), 'image')}, the first {missing[0]}."
    repeated = [image for image, rows in described.items() if len(rows) > 1]
    if repeated:
        yield f"Several rows for {count(len(repeated), 'image')}, the first {repeated[0]}; the first row is used."
    if n_unrelated and missing:  # otherwise it is a table of the whole test set, which contains these images
        yield f"{count(n_unrelated, 'row')} about other images."


def typed_column(name: str, texts: list[str]) -> tuple[np.ndarray | None, list[str]]:
    """The column as numbers or categories, None if all values are the same; and notes on it."""
    different = len(set(texts) - {""})
    if different < 2:
        return None, []
    known, numbers = [text for text in texts if text], numbers_of(texts)
    wrong, flag = len(known) - np.count_nonzero(np.isfinite(numbers)), different == 2 and len(known) > 5
    is_text = wrong > (1 - NUMERIC_FROM) * len(known) or (flag and not name.endswith(ANGLE_SUFFIX))
    column, notes = np.array(texts, str) if is_text else numbers, []
    words = [text for text, unknown in zip(texts, np.isnan(numbers).tolist(), strict=True) if text and unknown]
    if words and len(words) <= np.isfinite(numbers).sum():
        which = f"{count(len(words), 'value')}, {some(map(repr, dict.fromkeys(words)), limit=3)}"
        so = "it counts as text" if is_text else "they count as unknown"
        notes.append(f"Not numbers in the column {name}: {which}; {so}. Leave empty what is unknown.")
    if not is_text:
        return column, [*notes, *_collisions(name, texts, column), *_placeholders(name, column)]
    if different > MOST_CATEGORIES:
        return None, [*notes, f"The column {name} is left out: text with {different:,} different values."]
    return column, notes


def _collisions(name: str, texts: Sequence[str], column: np.ndarray) -> Iterator[str]:
    """A sentence on different numbers that are the same in float64, such as integers above 2^53."""
    if max(map(len, texts)) > DIGITS:
        exact = {Decimal(text): value for text, value in zip(texts, column.tolist(), strict=True) if abs(value) > 0}
        times = Counter(exact.values())
        if same := [str(number) for number, value in exact.items() if times[value] > 1]:
            yield f"Numbers in the column {name} that are too alike to be distinguished: {some(same, limit=3)}."


def _placeholders(name: str, column: np.ndarray) -> Iterator[str]:
    """Sentences on numbers that may mean that a value is unknown: the same in several images, far from all others."""
    values, counts = np.unique(column[np.isfinite(column)], return_counts=True)
    for value, n, rest in ((values[0], counts[0], values[1:]), (values[-1], counts[-1], values[:-1])):
        far = len(rest) > 1 and (np.abs(rest - value).min() > np.ptp(rest) or value < 0 <= rest[0])
        if far and n > 1 and PLACEHOLDERS.fullmatch(f"{value:.0f}"):
            yield f"{name} is {value:g} in {count(int(n), 'image')}, far from all others; leave empty what is unknown."


def numbers_of(texts: Sequence[str]) -> np.ndarray:
    """Texts as numbers; NaN for a text that is no number."""
    known = {text: number_in(text) for text in set(texts)}
    numbers = np.array([known[text] for text in texts], np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


class Aside:
    """The nuisance variables that were subtracted from the failing images, for other images as far as they are
    recorded.

    Parameters
    ----------
    listing : ImageListing
        All of these images: how names in the table are matched depends on which images there are.
    parameters : path, optional
        The table of their recorded parameters.

    Raises
    ------
    SAFEError
        The table cannot be read.
    """

    def __init__(self, aside: SetAside, listing: ImageListing, parameters: StrPath | None) -> None:
        texts = read_texts(parameters, listing.root, listing.paths) if parameters else {}
        column = combined([texts.get(name) or [""] * len(listing.paths) for name in aside.names])
        self._aside, self._of, self._unknown = aside, dict(zip(listing.paths, column.tolist(), strict=True)), 0

    def of(self, paths: Sequence[str]) -> Nuisance:
        """The same for some of the images."""
        column = np.array([self._of[path] for path in paths], str)
        self._unknown += self._aside.unknown(column)
        return Nuisance(self._aside, column)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence if it is unknown for some of the images so far."""
        name = printable(" and ".join(self._aside.names))
        which = f"{count(self._unknown, 'image')}, because it is unknown for {'it' if self._unknown == 1 else 'them'}"
        return (f"{name} was not subtracted for {which}",) if self._unknown else ()
