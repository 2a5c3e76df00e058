"""What comes before each command: its paths, the engineer's name, and whether the analysis can be read."""

import argparse
import contextlib
import getpass
import os
from pathlib import Path

from safe_dnn.cli.arguments import TypedPath
from safe_dnn.support.errors import SAFEError


def read_paths(options: argparse.Namespace) -> None:
    """Convert the arguments that are paths to paths; a SAFEError if one is invalid."""
    from safe_dnn.support.errors import path_of

    for name, typed in vars(options).items():
        if isinstance(typed, TypedPath):
            setattr(options, name, path_of(typed, f"a path ({name.replace('_', ' ')})"))


def speaking_of(options: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    """What the command writes has the engineer's name."""
    from safe_dnn.store.database import LONGEST_ENGINEER, speaking

    user = getattr(options, "user", None)
    if user is not None and not 0 < len(user.strip()) <= LONGEST_ENGINEER:
        raise SAFEError(f"Expected a name of 1 to {LONGEST_ENGINEER} characters (--user). Received {len(user)}.")
    name = user or os.environ.get("SAFE_USER", "")
    with contextlib.suppress(OSError, KeyError, ImportError):  # a container may have no login
        name = name or getpass.getuser()
    return speaking(name)


def check_analysis(folder: Path) -> None:
    """Make sure that the database of the analysis that a command opens can be read, if there is one."""
    from safe_dnn.store.database import check_database

    check_database(folder)
