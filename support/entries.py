"""What people type: the path of a file or folder, or a number. It becomes a value that can be used, or a sentence.

Everything that takes one from a command line, a field of the page or an environment variable takes it from here, so
that all of them understand the same and no way to mistype ends in a traceback.
"""

import contextlib
import math
import os
from pathlib import Path

from support.errors import SAFEError

LONGEST_QUOTED = 200  # characters of what was typed that a sentence repeats


def path_of(typed: str | os.PathLike, what: str) -> Path:
    """The path that was typed, absolute, `~` and `~user` replaced; nothing need be there.

    Parameters
    ----------
    typed : str or path
        White space around text is left out, since it comes along when text is copied.
    what : str
        What was expected, for the sentence: "an image folder".

    Raises
    ------
    SAFEError
        It is empty or can lead nowhere: it holds a NUL byte, is too long, has links in a circle, or a home folder that
        there is not, or leads through a folder that may not be entered.
    """
    text = typed.strip() if isinstance(typed, str) else os.fspath(typed)
    if not text:
        raise SAFEError(f"Expected {what}. Received: nothing.")
    try:
        path = Path(text).expanduser().absolute()
        path.resolve()
        _look(path)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise SAFEError(f"Expected {what}. Received: {quoted(text)} ({reason}).") from error
    return path


def _look(path: Path) -> None:
    """An OSError or ValueError where a path cannot be looked up; that nothing is there is no error."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.stat()


def number_of(typed: object, what: str) -> float:
    """The number that was typed.

    Parameters
    ----------
    what : str
        What it is, for the sentence: "factor".

    Raises
    ------
    SAFEError
        It is not a finite number.
    """
    try:
        number = float(typed)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise SAFEError(f"{what} must be a number. Received: {quoted(repr(typed))}")
    return number


def quoted(text: str) -> str:
    """What was typed as a sentence can repeat it: its beginning, where it is very long."""
    return text if len(text) <= LONGEST_QUOTED else f"{text[:LONGEST_QUOTED]}…"
