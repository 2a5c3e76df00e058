"""Where a network looks: the picture of each reason, as runs keep it and people see it.

`api/probing.py` computes the heatmaps; docs/decisions/055-heatmaps.md has figures.
"""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from safe_dnn.report.markup import filled, jpeg_uri
from safe_dnn.store.runs import HEATMAP, Run, add_run, reading_file, runs_of
from safe_dnn.support.text import count

FOR, AGAINST = (0, 114, 255), (255, 110, 0)  # everybody can distinguish them, and both from grey
HEATMAP_FILE = "heatmap.png"


MOST_COLOUR = 0.8  # of a pixel, so that what is below it stays in sight


class Heatmap(NamedTuple):
    """Heatmaps of a reason, as means over images.

    Attributes
    ----------
    picture : PIL image
        As of `side_by_side`.
    facts : mapping
        `subject`, what they are of; `n_failing` and `n_right`, of how many images; `model`, its name; `regression`,
        whether it is one.
    """

    picture: Image.Image
    facts: Mapping[str, Any]

    @property
    def text(self) -> str:
        """What is in the picture, what was computed, and what the colours mean."""
        facts, colours = self.facts, "speaks for the true class, orange against it"
        if facts["regression"]:
            colours = "lowers the error, orange raises it"
        parts = f"{count(facts['n_failing'], 'failing image')}, {facts['n_right']} right, and what failing ones lack"
        return f"From left to right: {parts}. Blue {colours}. Model: {facts['model']}."


def keep_heatmap(folder: Path, clusters: str, heatmap: Heatmap) -> None:
    """Save it, in place of an earlier one of the reason; `clusters` as in `rccs.clusters.run_of`."""
    files = {HEATMAP_FILE: functools.partial(heatmap.picture.save, format="PNG")}
    before = _last(folder, clusters).get(heatmap.facts["subject"])
    add_run(folder, HEATMAP, files, clusters=clusters, facts=heatmap.facts, instead_of=before)


def _last(folder: Path, clusters: str) -> dict[Any, Run]:
    return {run.facts.get("subject"): run for run in runs_of(folder, HEATMAP) if run.clusters == clusters}


def heatmaps_of(folder: Path, clusters: str, subjects: Iterable[str]) -> dict[str, Heatmap]:
    """The heatmap of each of some reasons that has one, by subject (see `reasons.listed.Reason`).

    Raises
    ------
    SAFEError
        One is damaged.
    """
    last, heatmaps = _last(folder, clusters), {}
    for subject in subjects:
        if run := last.get(subject):
            with reading_file(run, HEATMAP_FILE) as path, Image.open(path) as picture:
                heatmaps[subject] = Heatmap(picture.convert("RGB"), run.facts)
    return heatmaps


def side_by_side(failing: np.ndarray, right: np.ndarray, below: np.ndarray, below_right: np.ndarray) -> Image.Image:
    """Mean heatmaps of failing and of right images, each over their mean image in grey, and the difference."""
    most = max(float(np.abs(failing).max()), float(np.abs(right).max())) or 1.0
    lost = np.minimum(failing - right, 0)
    parts = (failing / most, below), (right / most, below_right), (lost / (-float(lost.min()) or 1.0), below)
    return Image.fromarray(np.hstack([coloured(*part) for part in parts]))


def coloured(values: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """A heatmap from -1 to 1 over a grey picture, whose black and white give way to the colours."""
    height, width = ground.shape
    spread = np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    share = np.minimum(np.abs(spread), 1)[..., None] * MOST_COLOUR
    colour = np.where(spread[..., None] > 0, FOR, AGAINST)
    return ((80 + 0.55 * ground[..., None]) * (1 - share) + colour * share).astype(np.uint8)


def heatmap_html(heatmap: Heatmap) -> Markup:
    """The picture, and what is in it."""
    return filled("heatmap.html", picture=jpeg_uri(heatmap.picture, 85), text=heatmap.text)
