"""`SAFE_Tool.py` with a stand-in for VGG16 and few random parts of images, for tests that run it in its own process.

`FAKE_DELAY` is what each batch of the stand-in takes, in seconds, so that there is a time in which to be killed.
`FAKE_PEAK` names a file to which the most memory that the process had is written, in bytes.
`FAKE_HELD` names a file: while it is there, no GIFs are drawn, and no weak spots are found.
`FAKE_APART` names a file: while it is there, no weak spots are found, but GIFs are drawn.
`FAKE_FULL` names a file: while it is there, the disk is full.
`FAKE_ROUND` is how many seconds pass between two looks of a service for what has ended.
`FAKE_PICTURES` is how many thumbnails the page keeps, instead of `safe_dnn.page.pictures.MOST_PICTURES`.
"""

import errno
import os
import re
import sqlite3
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from safe_dnn import SAFE_Tool
    from safe_dnn.api import explaining, generation
    from safe_dnn.rccs import image_map
    from safe_dnn.rccs.dbscan import consensus
    from safe_dnn.rccs.gifs import write_gifs
    from safe_dnn.report import exports
    from safe_dnn.store import database
    from tests.helpers.fake_network import FakeNetwork

    network = FakeNetwork()
    delay = float(os.environ.get("FAKE_DELAY", "0"))

    def run(pixels):
        time.sleep(delay)
        return network(pixels)

    network.stand_in(run)
    consensus.MOST_SAMPLES = consensus.FEWEST_SAMPLES
    image_map._umap = lambda points, start: start  # to import and compile UMAP takes ten seconds

    def once_free(work, *variables):
        held = [os.environ[name] for name in variables if name in os.environ]

        def wait(*arguments, **named):
            while any(Path(file).exists() for file in held):
                time.sleep(0.05)
            return work(*arguments, **named)

        return wait

    generation.write_gifs = exports.write_gifs = once_free(write_gifs, "FAKE_HELD")
    explaining.weak_spots_of = once_free(explaining.weak_spots_of, "FAKE_HELD", "FAKE_APART")
    make, full = tempfile.mkstemp, os.environ.get("FAKE_FULL", "")

    def mkstemp(*arguments, **named):
        if full and Path(full).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(*arguments, **named)

    tempfile.mkstemp = mkstemp
    commit = database._commit

    def commit_or_not(db):
        if full and Path(full).exists():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error
        commit(db)

    database._commit = commit_or_not
    if seconds := os.environ.get("FAKE_ROUND"):
        import safe_dnn.page.serving.service

        safe_dnn.page.serving.service.ROUND = float(seconds)
    if pictures := os.environ.get("FAKE_PICTURES"):
        import safe_dnn.page.pictures

        safe_dnn.page.pictures.MOST_PICTURES = int(pictures)
    code = SAFE_Tool.main(sys.argv[1:])
    if peak := os.environ.get("FAKE_PEAK"):
        # Not of `resource`: Linux counts there what the parent had when it started this process.
        status = Path("/proc/self/status").read_text()
        Path(peak).write_text(str(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024))
    return code


if __name__ == "__main__":
    sys.exit(main())
