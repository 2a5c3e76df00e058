"""Unexpected exceptions: a sentence for the user, and a traceback in a log file for whoever fixes the bug.

Called only at the outermost level: by the command line, by the page's request handlers and by its background jobs.
"""

import math
import sys
import threading
import time
import traceback
from collections import deque
from pathlib import Path

from safe_dnn.support.errors import SAFEError

LOG_FILE = "defects.log"
LARGEST = 2**20  # bytes; above that, the log is moved to `older-defects.log`
VISITOR_MESSAGE = "SAFE failed because of a defect. The terminal shows where the details are. Nothing written is lost."
MOST_LINES = 60  # on the terminal in a minute, however often a visitor has found the same defect
_WRITING = threading.Lock()
_PRINTED = deque([-math.inf] * MOST_LINES, MOST_LINES)  # when


def describe_defect(error: BaseException) -> str:
    """Log an exception and return one line that summarizes it and says where the traceback is.

    The traceback goes to `defects.log` in the cache folder, or to stderr if that file cannot be written.
    """
    details = "".join(traceback.format_exception(error))
    last = " ".join(traceback.format_exception_only(error)[-1].split())[:300]
    try:
        place = f"in {_log(details)}"
    except (OSError, SAFEError, ImportError):
        print(details, file=sys.stderr)
        place = "above"
    return f"this is a defect in SAFE ({last}); details are {place}. Please report it."


def report_defect(error: BaseException) -> str:
    """Log an exception, print its summary on the server's terminal, and return a sentence for visitors of the page.

    That sentence reveals nothing about the machine.
    """
    from safe_dnn.support.text import printable

    line = f"safe: {printable(describe_defect(error))}"
    if _PRINTED[0] < time.monotonic() - 60:
        _PRINTED.append(time.monotonic())
        print(line, file=sys.stderr, flush=True)
    return VISITOR_MESSAGE


def _log(details: str) -> Path:
    from safe_dnn.support.files import cache_folder  # imported here to keep `--help` fast

    path = cache_folder() / LOG_FILE
    with _WRITING:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size > LARGEST:
            path.replace(path.with_name(f"older-{LOG_FILE}"))
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')}, Python {sys.version.split()[0]}\n{details}\n")
    return path
