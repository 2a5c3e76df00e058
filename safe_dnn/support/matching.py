"""Which row of a table is about which image: names in tables are written on other machines, and from other folders."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.tables import IMAGE, UNIT, Table
from safe_dnn.support.text import count, printable, some

UNMATCHED_OF = 10  # of so many images, or rows, one may be without the other
_BEGIN = re.compile("/|[A-Za-z]:|")  # of an absolute path, one on a drive of Windows, and any other
IN_PLACE, AS_LISTED, BARE, BY_ENDING = range(4)  # how sure it is that a row is about an image


def rows_in(
    table: Table, root: Path, images: Sequence[str], agreeing: Iterable[str] = (), *, key: str = IMAGE,
    by_name: bool = False,
) -> dict[str, list[int]]:  # fmt: skip
    """The rows of a table about each image, as in `rows_by_image`.

    Parameters
    ----------
    agreeing : iterable of str
        Columns in which several rows of an image must agree.
    key : str
        The column of names.

    Raises
    ------
    SAFEError
        Two rows of an image contradict each other, or a name that is not UTF-8 is of no image.
    """
    names = table.texts(key)
    matches = rows_by_image(names, table.source.parent, root, images, by_name=by_name)
    used = {row for rows in matches.values() for row in rows}
    for row, name in enumerate(names):
        if row not in used and not name.isascii() and name != printable(name):
            raise table.fault(row, "a name in UTF-8", name)
    several = {image: rows for image, rows in matches.items() if len(rows) > 1}
    for column in agreeing if several else ():
        texts = table.texts(column)
        for image, (first, *rest) in several.items():
            other = next((row for row in rest if column != key and texts[row] != texts[first]), None)
            if other is not None:
                hint = "Remove the wrong one; if they are of two images, name both relative to the table's folder."
                if column == UNIT:
                    hint = "Collect failures by this table, then take the tables that are in objects/ of their folder."
                raise SAFEError(
                    f"Expected one row for {printable(image)} in {table.source}. Received lines {table.lines[first]} "
                    f"and {table.lines[other]} with different values for {printable(column)}: "
                    f"{printable(f'{texts[first]} and {texts[other]}')}. {hint}"
                )
    return matches


def rows_by_image(
    keys: Sequence[str], folder: Path, image_root: Path, images: Sequence[str], *, by_name: bool = False
) -> dict[str, list[int]]:
    """The rows of each image, the surest first. Each row is matched by itself, by the first of these that it can be:

    1. its path, relative to the table's folder, or absolute;
    2. its path relative to the image folder;
    3. its name, if it has no folders and only one image has it;
    4. the longest end of its path that is an image: the rest is a place on another machine, also with Windows.

    By the end, `train/a/0.png` could be taken for `a/0.png` in `test`. So the rows from a place are not matched like
    that if as many images are found in this one (1, 2), or that place is on this machine as well; and an image with
    rows from several places and none from this one has none.

    Parameters
    ----------
    keys : sequence of str
        The name in each row.
    folder : Path
        The folder of the table.
    image_root : Path
    images : sequence of str
        Relative to `image_root`.
    by_name : bool
        If no row is matched, whether a name alone is enough that only one image has, in whatever folder.
    """
    keys = _spelled_alike([os.path.normpath(in_slashes(key)) for key in keys], images)
    # Either may be reached by a link.
    roots, folders = ({os.path.normpath(path), os.fspath(path.resolve())} for path in (image_root, folder))
    listed = {os.path.normpath(image): image for image in images}
    placed = {f"{root}/{path}": image for root in roots for path, image in listed.items()}
    names = Counter(map(_name, images if by_name or any("/" not in key for key in keys) else ()))
    unique = {name: image for image in images if names[name := _name(image)] == 1}
    matches: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    here: defaultdict[str, set[str]] = defaultdict(set)  # images found in this place, by how their paths begin
    elsewhere: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)  # by the place on another machine
    for row, key in enumerate(keys):
        places = [key] if key.startswith("/") else [f"{begin}/{key}" for begin in folders]
        places = [*map(os.path.normpath, places)] if key.startswith("..") else places
        in_place = next((image for place in places if (image := placed.get(place))), None)
        if image := in_place or listed.get(key):
            matches[image].append((IN_PLACE if in_place else AS_LISTED, row))
            here[_begin(key)].add(image)
        elif "/" not in key and key in unique:
            matches[unique[key]].append((BARE, row))
        elif end := _longest_end(key, listed):
            elsewhere[end[0]].append((end[1], row))
    for place, ended in elsewhere.items():
        sure = len(here[_begin(f"{place}/")])
        if len({image for image, _ in ended}) > sure and not (sure and (folder / place).is_dir()):
            for image, row in ended:
                matches[image].append((BY_ENDING, row))
    for row, key in enumerate(keys) if by_name and not matches else ():
        if image := unique.get(_name(key)):
            matches[image].append((BY_ENDING, row))
    in_order = (image for image in images if image in matches)  # each is taken away: there may be a million
    return {image: rows for image in in_order if (rows := _rows_about(sorted(matches.pop(image)), keys, folder))}


def in_slashes(name: str) -> str:
    """A name in a table, also of Windows, with `/` between its folders."""
    return name.strip().replace("\\", "/")


def _spelled_alike(keys: Sequence[str], images: Sequence[str]) -> list[str]:
    """Names with letters such as ü composed as those of the images are; macOS takes them apart, and tables do not."""
    for form in ("NFC", "NFD"):
        if all(unicodedata.is_normalized(form, image) for image in images):
            return [unicodedata.normalize(form, key) for key in keys]
    return list(keys)


def _longest_end(key: str, images: Mapping[str, str]) -> tuple[str, str] | None:
    """The longest end of a path that is an image, and the place before it; None if there is none."""
    parts = key.split("/")
    ends = (("/".join(parts[:start]), images.get("/".join(parts[start:]))) for start in range(1, len(parts)))
    return next(((place, image) for place, image in ends if image), None)


def _name(path: str) -> str:
    return path.rpartition("/")[2]  # pathlib takes ten times as long, and there may be a million


def _begin(key: str) -> str:
    return str(_BEGIN.match(key)[0])  # type: ignore[index]


def _rows_about(matches: list[tuple[int, int]], keys: Sequence[str], folder: Path) -> list[int]:
    surest = matches[0][0]
    if surest == BY_ENDING and len({keys[row] for _, row in matches}) > 1:
        return []
    # A row that is less sure than another one is of another image if there is a file where it says.
    return [row for how, row in matches if how == surest or not os.path.lexists(folder / keys[row])]


def check_matched(
    source: Path,
    root: Path,
    images: Sequence[str],
    matched: Collection[str],
    *,
    partial: bool,
    rows: int = 0,
    without_image: Sequence[str] = (),
) -> list[str]:
    """Make sure that a table and a folder are about the same images.

    Parameters
    ----------
    matched : collection of str
        Those of the images that have a row.
    partial : bool
        Whether any number of them may be without.
    rows : int
        How many rows the table has; 0 if it may be about other images as well.

    Returns
    -------
    list of str
        The images without a row.

    Raises
    ------
    SAFEError
        More than a tenth of the images have no row, or more than a tenth of the rows no image.
    """
    without_row = [image for image in images if image not in matched]
    if partial or (len(without_row) * UNMATCHED_OF <= len(images) and len(without_image) * UNMATCHED_OF <= rows):
        return without_row
    received = [f"a row for {_shares(len(images), 'image', without_row)}"]
    if rows:
        received.append(f"an image for {_shares(rows, 'row', without_image)}")
    both = ", and an image for as many of its rows" if rows else ""
    raise SAFEError(
        f"Expected a row in {source} for nine of ten images in {root} or more{both}. Received "
        f"{' and '.join(received)}. Correct the names or the folder, or accept a part."
    ).about("partial")


def _shares(n: int, noun: str, missing: Sequence[str]) -> str:
    """For example `15 of 71 images (not for a.png, b.png, c.png, … (56 in all))`."""
    names = some([printable(name) or "an empty name" for name in missing], limit=3)
    return f"{n - len(missing):,} of {count(n, noun)}{f' (not for {names})' if missing else ''}"
