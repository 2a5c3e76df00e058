"""Ports and folders."""

import socket
from pathlib import Path


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def names_in(folder: Path) -> list[str]:
    """The names of what lies in a folder, sorted; SAFE's own hidden files are left out."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".safe"))
