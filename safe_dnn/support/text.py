"""Names, numbers and lists as text that is safe to display anywhere."""

import math
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

DISPLAY_LENGTH = 60
# All control characters but tab and line feed, and those that change the text direction, which can disguise a name.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def display_name(path: str, *, longest: int = DISPLAY_LENGTH) -> str:
    """A file's name as plain text. Long names are shortened in the middle, since names of images differ at the end."""
    name = printable(Path(path).name)
    if len(name) <= longest:
        return name
    end = longest * 2 // 3
    return f"{name[: longest - end - 1]}…{name[-end:]}"


def printable(path: str) -> str:
    """A path as text that is safe to display, even if it is not valid Unicode or contains control characters."""
    return _CONTROLS.sub("\ufffd", path.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def visible_text(text: str) -> str:
    """A text as it looks: in one Unicode form, without invisible characters, with one blank between words."""
    if not text.isascii():
        text = "".join(one for one in unicodedata.normalize("NFC", text) if unicodedata.category(one) != "Cf")
    return " ".join(text.split())


def reason_of(error: Exception) -> str:
    """The first line of an error, without the path of a temporary file, or what kind of error it is."""
    line = re.sub(rf"{re.escape(tempfile.gettempdir())}/tmp[^\s'\",)]*", "a temporary file", str(error).strip())
    return printable(line.split("\n")[0][:200]) or type(error).__name__


def count(n: int, noun: str) -> str:
    """For example `1 image`, `1,200 images`, `2 classes`, `2 bodies`, `3 series`, `2 groups by Fahrt`."""
    what, by, column = noun.partition(" by ")
    if n != 1 and not what.endswith("series"):
        what = re.sub(r"(?<![aeiou])y$", "ie", what) + ("es" if re.search("(s|x|z|[^o]ch|sh)$", what) else "s")
    return f"{n:,} {what}{by}{column}"


def percent(share: float) -> int:
    """In whole percent; 99.7 % is not all."""
    return math.floor(100 * share) if share > 0.99 else round(100 * share)


def rate_text(share: float) -> str:
    """For example `87%`; `99.7%`, which are not all, and `0.3%`, which is not none."""
    if 0 < share < 0.01 or 0.99 < share < 1:
        return f"{math.floor(1000 * share) / 10 if share > 0.5 else math.ceil(1000 * share) / 10}%"
    return f"{round(100 * share)}%"


def range_text(low: float, high: float) -> str:
    """For example `79–93%`."""
    return f"{rate_text(low)[:-1]}–{rate_text(high)}"


def some(names: Iterable[str], *, limit: int = 5) -> str:
    """The first few names and, if there are more, their number: `a, b, … (7 in all)`."""
    names = list(names)
    return ", ".join(names[:limit]) + (f", … ({len(names)} in all)" if len(names) > limit else "")


def in_series(texts: Sequence[str]) -> str:
    """For example `a`, `a and b`, `a, b and c`."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
