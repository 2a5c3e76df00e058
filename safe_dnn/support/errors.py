"""What users type, paths and numbers, and the one error type that SAFE shows to the engineer.

The command line, the fields of the page and environment variables are all parsed here, so that they accept the same
input and no typing mistake ends in a traceback: the result is a usable value or a `SAFEError`.
"""

import contextlib
import math
import os
import re
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeAlias

from safe_dnn.support.progress import holding

StrPath: TypeAlias = str | os.PathLike
"""A path as it is given."""
Number: TypeAlias = float | str
"""A number as it is given: text, if it was typed."""

_DECIMAL_COMMA = re.compile(r"-?(0?,\d{1,50}|\d{1,50},(\d\d?|\d{4,50}))")
_QUOTED = re.compile(r"""\A(["'])(.+)\1\Z""")
LONGEST_QUOTED = 200  # characters of the input that an error message repeats


class SAFEError(ValueError):
    """An error that the engineer can fix.

    The message states what was expected, what was received, and what to do about it, in words that suit the page and
    the command line. Any other exception is a bug in SAFE; `defects.py` logs it with its traceback.

    Attributes
    ----------
    fields : tuple of str
        The parameters that the engineer can change, by name, if the message ends in a sentence about them.
    """

    fields: tuple[str, ...] = ()

    def about(self, *fields: str) -> "SAFEError":
        self.fields = fields
        return self

    def named(self, names: dict[str, str]) -> str:
        """The message with the names that fields have where it is shown, before its last mark; others have none."""
        text, named = str(self), ", ".join(names[field] for field in self.fields if field in names)
        return f"{text[:-1]} ({named}){text[-1]}" if named else text


def path_of(typed: StrPath, what: str) -> Path:
    """Parse a path: absolute, with `~` and `~user` expanded. Nothing needs to exist there.

    Parameters
    ----------
    typed : str or path
        White space and quotation marks around a string are stripped, since they are often copied along with a path.
    what : str
        What was expected, for the error message, e.g. "an image folder".

    Raises
    ------
    SAFEError
        The path is empty or unusable: it contains a NUL byte, is too long, runs into a loop of links, refers to a home
        folder that does not exist, or leads through a folder without access permission.
    """
    text = _QUOTED.sub(r"\2", typed.strip()) if isinstance(typed, str) else os.fspath(typed)
    if not text:
        raise SAFEError(f"Expected {what}. Received: nothing.")
    try:
        path = Path(text).expanduser().absolute()
        # Both: `gone/../loop` cannot be looked up as it is, and Python 3.13 resolves a loop without an error.
        for place in (path, path.resolve()):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it may be missing
                place.stat()
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise SAFEError(f"Expected {what}. Received: {quoted(text)} ({reason}).") from error
    return path


def existing_folder(typed: StrPath, what: str) -> Path:
    """Parse the path of a folder that is there.

    Raises
    ------
    SAFEError
        As of `path_of`, or there is no such folder.
    """
    path = path_of(typed, what)
    if not path.is_dir():
        raise SAFEError(f"Expected {what}. Received: {path}, which is not a folder.")
    return path


def number_of(typed: Any, what: str) -> float:
    """Parse a number, also one with a decimal comma.

    Parameters
    ----------
    typed : str, number or anything else
        `1,000` is no number: it could be read in two ways.
    what : str
        Its name, for the error message, e.g. "factor".

    Raises
    ------
    SAFEError
        Not a finite number.
    """
    if isinstance(typed, str) and _DECIMAL_COMMA.fullmatch(typed.strip()):
        typed = typed.replace(",", ".")
    try:
        number = float(typed)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise SAFEError(f"{what} must be a number. Received: {quoted(repr(typed))}")
    return number


def quoted(text: str) -> str:
    """Input as an error message repeats it: only the beginning if it is very long."""
    return text if len(text) <= LONGEST_QUOTED else f"{text[:LONGEST_QUOTED]}…"


_ROOT: ContextVar[Path | None] = ContextVar("root", default=None)


def confined(root: Path | None) -> contextlib.AbstractContextManager[None]:
    """In the block, and in work that is begun there, `may_open` allows only what lies in a folder, all links followed.

    Whoever serves strangers enters it; None allows everything, as on the command line.
    """
    return holding(_ROOT, root)


def present_root() -> Path | None:
    """The folder of `confined`."""
    return _ROOT.get()


def may_open(path: Path) -> bool:
    """Whether a path that is recorded, listed or guessed may be opened for whom the work is done (see `confined`)."""
    return is_within(path, _ROOT.get())


def is_within(path: Path, folder: Path | None) -> bool:
    """Whether a path, all links followed, lies in a folder; any path does where the folder is None."""
    if folder is None:
        return True
    try:
        return path.expanduser().resolve().is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):
        return False
