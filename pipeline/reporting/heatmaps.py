"""Where the network looks, for a reason: heatmaps of its failing images beside those of right ones, as pictures.

`pipeline/heatmaps.py` computes them. Each is kept as a run of the analysis, by the failing images that it is of: the
same for an RCC as for a weak spot.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from pipeline.reporting.markup import filled, jpeg_uri
from pipeline.reporting.material import Material
from reasons.listed import reasons_of
from store.runs import HEATMAP, add_run, reading_file, runs_of
from support.files import read_arrays
from support.text import count

HEATMAP_FILE = "heatmap.npz"
SIDE = 240  # pixels of the longer side of a picture
FOR, AGAINST = (0, 114, 255), (255, 110, 0)  # told apart by everybody, and from grey
MOST_COLOUR = 0.8  # of a pixel, so that what is below it stays in sight


class Heatmap(NamedTuple):
    """Heatmaps of a reason, as means over images.

    Attributes
    ----------
    failing, right : ndarray of shape (GRID, GRID), float32
        As `dnn.heatmaps.Heatmaps.maps`; 0 if there are no such images.
    grounds : ndarray of shape (2, height, width), uint8
        The mean image, in grey, of each of both.
    facts : mapping
        `images`, what they are of (see `known_by`); `key`, what they rest on; `model`, its name; `how` they were made;
        `n_failing`, `n_right`, of how many images; `regression`, whether the model is one.
    """

    failing: np.ndarray
    right: np.ndarray
    grounds: np.ndarray
    facts: Mapping[str, Any]

    @property
    def told(self) -> str:
        """What was computed, a sentence."""
        return f"{self.facts['model']}: {self.facts['how']}."


def known_by(paths: Iterable[str]) -> str:
    """What identifies a reason: its failing images."""
    return hashlib.blake2b("\n".join(sorted(paths)).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def keep_heatmap(folder: Path, clusters: str, heatmap: Heatmap) -> None:
    """Keep it; `clusters` as of `rccs.clusters.run_of`."""
    arrays = heatmap._asdict()
    facts = arrays.pop("facts")
    add_run(folder, HEATMAP, {HEATMAP_FILE: lambda path: np.savez(path, **arrays)}, clusters=clusters, facts=facts)


def heatmaps_of(folder: Path, clusters: str, reasons: Mapping[str, Sequence[str]]) -> dict[str, Heatmap]:
    """The last heatmap of each of some reasons, by any name, that has one.

    Parameters
    ----------
    reasons : mapping of str to sequence of str
        Their failing images.

    Raises
    ------
    SAFEError
        One is damaged.
    """
    last = {run.facts["images"]: run for run in runs_of(folder, HEATMAP) if run.clusters == clusters}
    found = {}
    for name, images in reasons.items():
        if run := last.get(known_by(images)):
            with reading_file(run, HEATMAP_FILE) as path:
                found[name] = Heatmap(**read_arrays(path), facts=run.facts)
    return found


# --- Pictures ---------------------------------------------------------------------------------------------------


def panels(heatmap: Heatmap) -> list[tuple[str, Image.Image]]:
    """Three pictures with their captions: of failing images, of right ones, and what the first lack."""
    failing, right = (count(heatmap.facts[name], "image") for name in ("n_failing", "n_right"))
    most = max(float(np.abs(one).max()) for one in (heatmap.failing, heatmap.right)) or 1.0
    lost = np.minimum(heatmap.failing - heatmap.right, 0)
    of_failing, of_right = heatmap.grounds
    return [
        (f"{failing} that the network gets wrong", _coloured(heatmap.failing / most, of_failing)),
        (f"{right} of these classes that are right", _coloured(heatmap.right / most, of_right)),
        ("Where less speaks for the truth", _coloured(lost / (-float(lost.min()) or 1.0), of_failing)),
    ]


def _coloured(values: np.ndarray, ground: np.ndarray) -> Image.Image:
    """A heatmap from -1 to 1 over a grey picture, whose black and white give way to the colours."""
    height, width = ground.shape
    spread = np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    share = np.minimum(np.abs(spread), 1)[..., None] * MOST_COLOUR
    colour = np.where(spread[..., None] > 0, FOR, AGAINST)
    return Image.fromarray(((80 + 0.55 * ground[..., None]) * (1 - share) + colour * share).astype(np.uint8))


def sheet(heatmap: Heatmap) -> Image.Image:
    """The three pictures beside each other."""
    return Image.fromarray(np.hstack([np.asarray(picture) for _, picture in panels(heatmap)]))


def heatmaps_section(known: Material) -> Markup:
    """The report's section: the reasons whose heatmaps are kept."""
    reasons = reasons_of(known.review, known.reasons, known.folder)
    kept = heatmaps_of(known.folder, known.review.run, {one.title: one.images for one in reasons})
    return filled("heatmaps.html", named=[(name, heatmap_html(heatmap)) for name, heatmap in kept.items()])


def heatmap_html(heatmap: Heatmap) -> Markup:
    """The three pictures with their captions, and what the colours mean."""
    pictures = {caption: jpeg_uri(picture, 85) for caption, picture in panels(heatmap)}
    return filled("heatmap.html", pictures=pictures, told=heatmap.told, regression=heatmap.facts["regression"])
