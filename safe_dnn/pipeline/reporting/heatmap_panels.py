"""Where the network looks, for a reason: heatmaps of its failing images beside those of right ones, as pictures.

`pipeline/looking.py` computes them. Each is kept as a run of the analysis, by the reason that it is of.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from safe_dnn.pipeline.reporting.markup import filled, jpeg_uri
from safe_dnn.pipeline.reporting.material import Material
from safe_dnn.reasons.listed import reasons_of
from safe_dnn.store.runs import HEATMAP, add_run, reading_file, runs_of
from safe_dnn.support.files import read_arrays

HEATMAP_FILE = "heatmap.npz"
NUMBERS = ("n_failing", "n_right", "n_taken")
WORDS = ("Failing images", "Right images to compare with", "Right images of the classes they are taken for")
SPEAKS = "speaks for the true class, orange against it"
SIDE = 240  # pixels of the longer side of a picture
FOR, AGAINST = (0, 114, 255), (255, 110, 0)  # told apart by everybody, and from grey
MOST_COLOUR = 0.8  # of a pixel, so that what is below it stays in sight


class Heatmap(NamedTuple):
    """Heatmaps of a reason, as means over images.

    Attributes
    ----------
    maps : ndarray of shape (3, GRID, GRID), float32
        Of failing images, of right ones of the same classes, and of right ones of the classes that the first are taken
        for, each as `dnn.heatmaps.Heatmaps.maps`; 0 if there are no such images.
    grounds : ndarray of shape (3, height, width), uint8
        The mean image, in grey, of each of these.
    facts : mapping
        `subject`, what they are of; `key`, what they rest on; `model`, its name; `how` they were made;
        `NUMBERS`, of how many images; `regression`, whether the model is one.
    """

    maps: np.ndarray
    grounds: np.ndarray
    facts: Mapping[str, Any]

    @property
    def told(self) -> str:
        """What was computed, and what the colours mean."""
        colours = "lowers the error, orange raises it" if self.facts["regression"] else SPEAKS
        return f"Blue {colours}. {self.facts['model']}: {self.facts['how']}."


def keep_heatmap(folder: Path, clusters: str, heatmap: Heatmap) -> None:
    """Keep it; `clusters` as of `rccs.clusters.run_of`."""
    files = {HEATMAP_FILE: lambda path: np.savez(path, maps=heatmap.maps, grounds=heatmap.grounds)}
    add_run(folder, HEATMAP, files, clusters=clusters, facts=heatmap.facts)


def heatmaps_of(folder: Path, clusters: str, subjects: Iterable[str]) -> dict[str, Heatmap]:
    """The last heatmap of each of some reasons that has one, by subject (see `reasons.listed.Reason`).

    Raises
    ------
    SAFEError
        One is damaged.
    """
    last = {run.facts.get("subject"): run for run in runs_of(folder, HEATMAP) if run.clusters == clusters}
    found = {}
    for subject in subjects:
        if run := last.get(subject):
            with reading_file(run, HEATMAP_FILE) as path:
                found[subject] = Heatmap(**read_arrays(path), facts=run.facts)
    return found


# --- Pictures ---------------------------------------------------------------------------------------------------


def panels(heatmap: Heatmap) -> list[tuple[str, Image.Image]]:
    """Pictures with their captions, from left to right: of each kind of images that there are, and the difference."""
    most = float(np.abs(heatmap.maps).max()) or 1.0
    pictures = [
        (f"{words} ({n})", coloured(one / most, ground))
        for name, words, one, ground in zip(NUMBERS, WORDS, heatmap.maps, heatmap.grounds, strict=True)
        if (n := heatmap.facts[name])
    ]
    lost = np.minimum(heatmap.maps[0] - heatmap.maps[1], 0)
    lost /= -float(lost.min()) or 1.0
    return [*pictures, ("Difference: what failing ones lack", coloured(lost, heatmap.grounds[0]))]


def coloured(values: np.ndarray, ground: np.ndarray) -> Image.Image:
    """A heatmap from -1 to 1 over a grey picture, whose black and white give way to the colours."""
    height, width = ground.shape
    spread = np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    share = np.minimum(np.abs(spread), 1)[..., None] * MOST_COLOUR
    colour = np.where(spread[..., None] > 0, FOR, AGAINST)
    return Image.fromarray(((80 + 0.55 * ground[..., None]) * (1 - share) + colour * share).astype(np.uint8))


def heatmaps_section(known: Material) -> Markup:
    """The report's section: the reasons whose heatmaps are kept."""
    listed = reasons_of(known.review, known.reasons, known.folder)
    subjects = ((subject, one.name) for one in listed for subject in (one.subject, one.twin) if subject)
    title_of = {subject: f"{name[0].upper()}{name[1:]}" for subject, name in subjects}
    kept = heatmaps_of(known.folder, known.review.run, title_of)
    return filled("heatmaps.html", named=[(title_of[name], heatmap_html(heatmap)) for name, heatmap in kept.items()])


def heatmap_html(heatmap: Heatmap) -> Markup:
    """The pictures with their captions, and what the colours mean."""
    pictures = {caption: jpeg_uri(picture, 85) for caption, picture in panels(heatmap)}
    return filled("heatmap.html", pictures=pictures, told=heatmap.told)
