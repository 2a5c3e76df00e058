"""Where the network looks, for each reason: in its failing images, and in right ones of the same classes."""

import functools
import itertools
import json
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from safe_dnn.dnn.heatmaps import GRID
from safe_dnn.dnn.model import AS_IN_THE_FILE, DnnOptions
from safe_dnn.dnn.model_process import heatmaps_apart
from safe_dnn.pipeline.asking import Asking, asking
from safe_dnn.pipeline.reporting.heatmap_panels import SIDE, Heatmap, heatmaps_of, keep_heatmap, side_by_side
from safe_dnn.reasons.listed import Reason
from safe_dnn.reasons.probes import spread_over
from safe_dnn.store.output_folder import own_files, save_files, working
from safe_dnn.support.entries import StrPath
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import thumbnail
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.text import printable

HEATMAPS_FOLDER = "heatmaps"
HEATMAPS_FILE = "heatmaps.json"
MOST = 20  # failing images of a reason, and as many right ones of their classes


def look(
    out: Path, names: Collection[str] = (), *, model: StrPath | None = None, options: DnnOptions = AS_IN_THE_FILE,
    within: Path | None = None, progress: Progress = no_progress,
) -> dict[str, Heatmap]:  # fmt: skip
    """Compute where the network looks, keep it, and write `heatmaps/`.

    Parameters
    ----------
    names, model, options, within
        As for `pipeline.asking.asking`.

    Returns
    -------
    dict of str to Heatmap
        By the names of the reasons, such as `RCC 0`.

    Raises
    ------
    SAFEError
        As of `asking`.
    """
    with working(out, "looking"):
        asked = asking(out, names, model=model, options=options, within=within, progress=progress)
        found = _heatmaps(asked, [reason for reason in asked.reasons if reason.images], progress)
        for heatmap in found.values():
            keep_heatmap(out, asked.review.run, heatmap)
        kept = heatmaps_of(out, asked.review.run, [one.subject for one in asked.listed])
        _write_heatmaps(out, {one.file: kept[one.subject] for one in asked.listed if one.subject in kept})
        return found


def _heatmaps(asked: Asking, reasons: Collection[Reason], progress: Progress) -> dict[str, Heatmap]:
    """The heatmaps of reasons, by name."""
    tested, drawn = asked.tested, {reason.name: _drawn_for(asked, reason) for reason in reasons}
    rows = sorted({row for kinds in drawn.values() for row in itertools.chain(*kinds)})
    computed = heatmaps_apart(
        asked.dnn, tested.root, [tested.paths[row] for row in rows], asked.truth(rows), progress=progress
    )
    maps = {rows[index]: one for index, one in zip(computed.indices.tolist(), computed.maps, strict=True)}
    facts = {"model": printable(asked.dnn.path.name), "how": computed.how, "regression": asked.regression}
    found = {}
    for reason in reasons:
        kinds = [[row for row in some if row in maps] for some in drawn[reason.name]]
        pictures = [[thumbnail(tested.root / tested.paths[row], SIDE) for row in some] for some in kinds]
        size = next((picture.size for some in pictures for picture in some), (SIDE, SIDE))
        greys = [[np.asarray(picture.convert("L").resize(size)) for picture in some] for some in pictures]
        grounds = [np.mean(some or [np.zeros(size[::-1])], axis=0) for some in greys]
        means = [np.mean([maps[row] for row in some] or [np.zeros((GRID, GRID))], axis=0) for some in kinds]
        numbers = {"subject": reason.subject, "n_failing": len(kinds[0]), "n_right": len(kinds[1])}
        found[reason.name] = Heatmap(side_by_side(*means, *grounds), numbers | facts)
    return found


def _drawn_for(asked: Asking, reason: Reason) -> tuple[list[int], list[int]]:
    """Some failing images of a reason, as rows of the test set, and as many right ones of each of their classes."""
    failing, right = _drawn(asked.failing(reason), MOST), np.flatnonzero(asked.tested.right)
    if asked.regression:
        return failing, _drawn(right, len(failing))
    label = asked.tested.answers.label
    counts = sorted(Counter(label[failing].tolist()).items())
    return failing, [row for name, n in counts for row in _drawn(right[label[right] == name], n)]


def _drawn(rows: np.ndarray, n: int) -> list[int]:
    return spread_over(rows, rows, n).tolist()


def _write_heatmaps(out: Path, shown: Mapping[str, Heatmap]) -> None:
    """Write `heatmaps/`: the pictures of these reasons, and what they are of; remove outdated ones."""
    facts = {name: dict(one.facts) for name, one in shown.items()}
    files: dict[str, Any] = {HEATMAPS_FILE: json.dumps(facts, indent=1, ensure_ascii=False) + "\n"}
    for name, one in shown.items():
        files[f"{name}.png"] = functools.partial(Image.Image.save, one.picture, format="PNG", compress_level=1)
    before = [f"{HEATMAPS_FOLDER}/{path.name}" for path in prepare_folder(out / HEATMAPS_FOLDER).glob("*.png")]
    save_files(out, {f"{HEATMAPS_FOLDER}/{name}": file for name, file in files.items()}, remove=own_files(out, before))
