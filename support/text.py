"""Names, numbers and lists as text that can be shown anywhere."""

import re
from collections.abc import Iterable
from pathlib import Path

LONGEST_SHOWN = 60
# All but tab and line feed; and what turns the direction of text, by which a name can pass for another.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def shown_name(path: str, longest: int = LONGEST_SHOWN) -> str:
    """The name of a file as plain text, a long one shortened in its middle: its end tells images apart."""
    name = printable(Path(path).name)
    if len(name) <= longest:
        return name
    end = longest * 2 // 3
    return f"{name[: longest - end - 1]}…{name[-end:]}"


def steers(text: str) -> bool:
    """Whether text holds control characters, or those that turn its direction."""
    return bool(_CONTROLS.search(text))


def printable(path: str) -> str:
    """A path as text that can be shown anywhere, even if its bytes are not valid Unicode or would steer a terminal."""
    return _CONTROLS.sub("\ufffd", path.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def count(n: int, noun: str) -> str:
    """For example `1 image`, `1,200 images`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def some(names: Iterable[str], limit: int = 5) -> str:
    """The first few of some names, and how many there are."""
    names = list(names)
    return ", ".join(names[:limit]) + (f", … ({len(names)} in all)" if len(names) > limit else "")
