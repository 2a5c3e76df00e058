"""What a statement is about, by content: an RCC by its images (a run: see `rccs.clusters.run_of`).

Thus a statement holds wherever the same images form an RCC again: after another run with other settings, after a merge
that is undone, when an earlier run is opened again, and when the analysis is moved together with its images.
"""

import hashlib
from collections.abc import Sequence

from rccs.clusters import RootCauseClusters
from rccs.dbscan.outcome import NOISE


def subjects_of(clusters: RootCauseClusters, run: str) -> dict[int, str]:
    """What identifies each RCC, and `NOISE`: its images, and where they are from, which a run says as well."""
    home = run.partition(" ")[2]
    members: dict[int, list[str]] = {rcc: [] for rcc in clusters.groups}
    for path, rcc in zip(clusters.paths, clusters.labels.tolist(), strict=True):
        members[rcc].append(path)
    return {rcc: f"{_digest(rcc, paths)} {home}" for rcc, paths in members.items()}


def _digest(rcc: int, paths: Sequence[str]) -> str:
    what = "no cluster" if rcc == NOISE else "RCC"
    text = "\0".join((what, *paths))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
