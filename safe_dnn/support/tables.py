"""Tables as CSV files: reading those of people and other programs, and escaping cells for spreadsheets."""

import codecs
import csv
import hashlib
import io
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import regular
from safe_dnn.support.text import printable

_NUMBERS = re.compile(r"[-+]?[\d.][\d.eE+\- ]*")
_DECIMAL_COMMA = re.compile(r" *[-+]?(\d+,\d*|,\d+)([eE][-+]?\d+)? *")
_SEPARATORS = ",;\t"
_DECLARED = re.compile(r'"?sep=([,;\t])"?(?:\r\n?|\n)', re.IGNORECASE)  # the first line, as Excel reads and writes it
_LINE_END = re.compile(r"\r\n?|\n")
_QUOTED = r'"[^"]*(?:""[^"]*)*"'
_NO_UTF8 = re.compile("[\udc80-\udcff]")  # bytes, as Python keeps them in names of files
_BEYOND_ASCII = re.compile("[\x80-\ud7ff\ue000-\U0010ffff]")


def _is_formula(text: str) -> bool:
    return text[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBERS.fullmatch(text)


def cell(text: str) -> str:
    """Escape text for a cell: an apostrophe is prepended to what a spreadsheet would execute as a formula.

    Names of files, classes and parameters are not under SAFE's control, and `=cmd|...` is a formula to a spreadsheet.
    """
    return f"'{text}" if _is_formula(text.lstrip("'")) else text


def from_cell(text: str) -> str:
    """The inverse of `cell`."""
    return text[1:] if text[:1] == "'" and _is_formula(text.lstrip("'")) else text


def table_text(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file as SAFE writes it: texts are escaped as of `cell`; None and NaN are empty cells."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(map(cell, header))
    for row in rows:
        writer.writerow([cell(one) if isinstance(one, str) else None if one != one else one for one in row])
    return table.getvalue()


@dataclass(frozen=True)
class Table:
    """A table that was read from a file. Rows are numbered from 0; errors name the line.

    Attributes
    ----------
    source : Path
    header : tuple of str
        The names of the columns; empty if the file is.
    rows : list of list of str
        A cell for each column, as it stands in the file; without blank rows.
    lines : list of int
        The line on which each row begins, from 1.
    decimal_comma : bool
        Whether numbers may have a decimal comma: where columns are not separated by commas.
    digest : str
        Of the file's content, to know it again.
    """

    source: Path
    header: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    decimal_comma: bool
    digest: str

    def text(self, name: str, row: int) -> str:
        """A cell; empty if there is no such column."""
        return from_cell(self.rows[row][self.header.index(name)].strip()) if name in self.header else ""

    def texts(self, name: str) -> list[str]:
        """A column."""
        if name not in self.header:
            return [""] * len(self.rows)
        column = self.header.index(name)
        cells = [row[column] for row in self.rows]
        read = {text: from_cell(text.strip()) for text in set(cells)}  # a million rows may share a few
        return [read[text] for text in cells]

    def number(self, name: str, row: int) -> float:
        """A cell as a number; NaN if there is none."""
        return number_in(self.text(name, row), decimal_comma=self.decimal_comma)

    def records(self) -> Iterator[dict[str, str]]:
        """The rows as they stand in the file, by column."""
        return (dict(zip(self.header, row, strict=True)) for row in self.rows)

    def fault(self, row: int, expected: str, received: str) -> SAFEError:
        """The error about a row."""
        return SAFEError(
            f"Expected {printable(expected)} in line {self.lines[row]} of {self.source}. Received: "
            f"{printable(received)}. Correct the line."
        )


def read_table(source: Path, what: str, *, own: bool = False, code_page: str | None = "cp1252") -> Table:
    """Read a CSV file that people or other programs may have written; whatever could be read in two ways is refused.

    Columns are separated by commas, semicolons or tabs: by what a first line `sep=;` says, or by the commonest in the
    header. The text is UTF-8 or, with a byte order mark, UTF-16. Text that is neither is in the code page of Windows,
    as older spreadsheets write it, unless other letters in it are UTF-8: then it has names of files that are not.

    Parameters
    ----------
    what : str
        What the table is of, for error messages.
    own : bool
        Whether SAFE wrote it, and people may have edited it: texts may have several lines, and spreadsheets leave out
        empty cells at the end of a row.
    code_page : str or None
        None if what is not UTF-8 are names of files in any case.

    Raises
    ------
    SAFEError
        The file cannot be read, is not text, has a quotation mark that is not closed or stands inside a cell, or two
        columns of the same name, or a row has more or fewer cells than the header.
    """
    try:
        data = regular(source).read_bytes()
    except (OSError, ValueError) as error:
        raise SAFEError(f"Could not read the {what} in {source}: {getattr(error, 'strerror', 0) or error}.") from error
    try:
        text = _decoded(data, code_page)
        if "\0" in text:
            raise ValueError("not text; save it as CSV in UTF-8")
        declared = _DECLARED.match(text)
        first = next((line for line in io.StringIO(text, newline="") if line.strip()), "")
        separator = declared[1] if declared else max(_SEPARATORS, key=re.sub(_QUOTED, "", first).count)
        header, rows, lines = _parsed(text, separator, 1 if declared else 0, own)
    except ValueError as error:
        raise SAFEError(f"Expected {what} as a CSV file. Received: {source}, {error}.") from error
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return Table(source, header, rows, lines, separator != ",", digest)


def read_own(source: Path) -> list[list[str]]:
    """The rows of a CSV file that SAFE wrote, its header first; one of `DAMAGED` if it cannot be read."""
    with regular(source).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return [[from_cell(text) for text in row] for row in csv.reader(file, strict=True) if row]


def _parsed(text: str, separator: str, skipped: int, own: bool) -> tuple[tuple[str, ...], list[list[str]], list[int]]:
    """Header, rows and their lines; a ValueError says what is wrong with which line."""
    if not own and (line := _stray_quote(text, separator)):
        raise _fault(line, "a quotation mark that is not closed, or not doubled inside a cell")
    file = io.StringIO(text, newline="")
    for _ in range(skipped):
        file.readline()
    reader = csv.reader(file, delimiter=separator, strict=True, skipinitialspace=not own)
    header: tuple[str, ...] = ()
    rows: list[list[str]] = []
    lines: list[int] = []
    line, quoted = skipped + 1, '"' in text
    once: dict[str, str] = {}  # short cells: classes and numbers, which many of a million rows share
    try:
        for row in reader:
            if not any(map(str.strip, row)):
                pass  # blank
            elif not header:
                widest, named = len(row), max(i for i, name in enumerate(row, start=1) if name.strip())
                header = tuple(from_cell(name.strip()) for name in row[:named])
                if twice := [name for name in header if name and header.count(name) > 1]:
                    raise _fault(line, f"several columns named {printable(twice[0])}")
            else:
                # Where the header ends in separators, so may rows; what they end in has no name.
                if any(map(str.strip, row[named:])) or not (own or named <= len(row) <= widest):
                    raise _fault(line, f"{len(row)} cells under {named} column names")
                if quoted and not own and any(separator in value and _LINE_END.search(value) for value in row):
                    raise _fault(line, "a cell with the lines after it, by a quotation mark too many")
                cells = [once.setdefault(text, text) if len(text) < 12 else text for text in row[:named]]
                rows.append(cells + [""] * (named - len(row)))
                lines.append(line)
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise _fault(line, str(error)) from error
    return header, rows, lines


def _fault(line: int, reason: str) -> ValueError:
    return ValueError(f"line {line}: {reason}. Correct the line, or remove it")


def with_point(text: str) -> str:
    """A number with a decimal comma as one with a point; any other text as it is."""
    return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text


def number_in(text: str, *, decimal_comma: bool = False) -> float:
    """The number in a cell; NaN if there is none. `1.234,5` is none: it could be read in two ways."""
    if decimal_comma:
        text = with_point(text)
    try:
        return float(text)
    except ValueError:
        return math.nan


def in_code_page(name: str) -> str:
    """A name as `read_table` reads it from a table that is no UTF-8: another one if its bytes are no UTF-8 either."""
    return name.encode("utf-8", "surrogateescape").decode("cp1252", "replace") if _NO_UTF8.search(name) else name


def _decoded(data: bytes, code_page: str | None) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    text = data.decode("utf-8-sig", "surrogateescape")
    if code_page and _NO_UTF8.search(text) and not _BEYOND_ASCII.search(text):
        return data.decode(code_page, "replace")
    return text


def _stray_quote(text: str, separator: str) -> int:
    """The first line with a quotation mark that neither begins nor ends a cell, nor is doubled in one; 0 if none."""
    ends = f"[{separator}\r\n]"
    whole = rf"(?:(?<={ends})|\A) *{_QUOTED}(?={ends}|\Z)"
    rest = re.sub(whole, lambda quoted: "\n" * len(_LINE_END.findall(str(quoted[0]))), text) if '"' in text else ""
    at = rest.find('"')
    return len(_LINE_END.findall(rest[:at])) + 1 if at >= 0 else 0
