"""Runs commands in children of `zygote.py`, which can be killed at any point."""

import json
import subprocess
import sys
from pathlib import Path

ZYGOTE = Path(__file__).with_name("zygote.py")


class Zygote:
    """A process that has SAFE loaded; ends with the block that it is used in.

    Parameters
    ----------
    folder : Path
        Takes the log of the last command.
    """

    def __init__(self, folder: Path):
        self._log = folder / "log.txt"

    def __enter__(self) -> "Zygote":
        command = [sys.executable, ZYGOTE]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate()

    def run(self, arguments: list, cache: Path, **more) -> dict:
        """Run a command line; what became of it."""
        job = {"arguments": [str(a) for a in arguments], "cache": str(cache), "log": str(self._log), **more}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    @property
    def log(self) -> str:
        """What the last command wrote to the terminal."""
        return self._log.read_text()
