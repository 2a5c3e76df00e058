"""Ports and folders."""

import socket
from pathlib import Path

from support.run_folder import LOCK_FILE, MARK_FILE, WORK_FILE


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


OWN = {MARK_FILE, LOCK_FILE, WORK_FILE}


def names_in(folder: Path) -> list[str]:
    """The names of what lies in a folder, sorted; those that every output folder has are left out."""
    return sorted(path.name for path in folder.iterdir() if path.name not in OWN)
