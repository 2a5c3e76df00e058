"""What nobody has foreseen: a sentence for whoever meets it, and the details in a file for whoever mends it.

Called at the doors alone: by the command line, by the requests of the page and by its jobs.
"""

import sys
import threading
import time
import traceback
from pathlib import Path

from support.errors import SAFEError

LOG_FILE = "defects.log"
LARGEST = 2**20  # bytes; what is older is kept in one other file
FOR_VISITORS = "SAFE failed, and this is a defect: the terminal says where the details are. Nothing written is lost."
_WRITING = threading.Lock()


def describe_defect(error: BaseException) -> str:
    """Log an exception; what it is and where its details are, as one line.

    They are in `defects.log` in the folder of the cache or, where that cannot be written, on stderr.
    """
    details = "".join(traceback.format_exception(error))
    last = " ".join(traceback.format_exception_only(error)[-1].split())[:300]
    try:
        place = f"in {_log(details)}"
    except (OSError, SAFEError, ImportError):
        print(details, file=sys.stderr)
        place = "above"
    return f"this is a defect of SAFE ({last}); details are {place}. Please report it."


def tell_of_defect(error: BaseException) -> str:
    """The same on the terminal of the page; the sentence is for its visitors, who are told nothing of this machine."""
    from support.text import printable

    print(f"safe: {printable(describe_defect(error))}", file=sys.stderr, flush=True)
    return FOR_VISITORS


def _log(details: str) -> Path:
    from support.files import cache_folder  # only here: `--help` needs none of what it imports

    path = cache_folder() / LOG_FILE
    with _WRITING:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size > LARGEST:
            path.replace(path.with_name(f"older-{LOG_FILE}"))
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')}, Python {sys.version.split()[0]}\n{details}\n")
    return path
