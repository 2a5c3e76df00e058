"""The report's sections of the RCCs: a table and the map of their images, and a card for each with five images."""

from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.reporting.markup import filled
from pipeline.reporting.material import LOOSE, Material, carded
from rccs.clusters import rccs_of
from rccs.dbscan.outcome import NOISE
from rccs.image_map import load_map, map_points
from rccs.nearness import rcc_centres
from rccs.spots.rates import by_excess

MOST_MAPPED = 4000  # points on the map
MOST_NUMBERED = 20  # RCCs on the map
# Distinguishable with colour blindness as well (Okabe and Ito, 2008); the last four are darker.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000", "#5b3f8c", "#005f4b", "#a33b20")
NOISE_COLOUR = "#8a94a0"


def summary_section(known: Material) -> Markup:
    """A row for each RCC, and the map."""
    clusters = known.clusters
    common = {rcc: _common(known, rcc) for rcc in clusters.groups}
    return filled(
        "summary.html", known=known, rccs=by_excess(clusters.groups, known.rates), common=common, loose=LOOSE,
        steady=bool(clusters.steadiness and rccs_of(clusters)), carded=set(carded(clusters, known.rates)),
        **_map(known),
    )  # fmt: skip


def _common(known: Material, rcc: int) -> list[str]:
    """What the images of a group have in common, and what most of an RCC's are taken for, as far as it is known."""
    confusion = known.clusters.confusion_of(rcc) if rcc != NOISE else ""
    return [text for text in (known.profiles.get(rcc, ""), confusion) if text]


def _map(known: Material) -> dict[str, Any]:
    """All images as points, similar images close together; laid out by PCA if no map is stored."""
    clusters, rccs = known.clusters, rccs_of(known.clusters)
    stored = load_map(known.folder, clusters)
    xy = stored.xy if stored else map_points(clusters, method="pca")
    if len(xy) < 3:
        return {}
    colour = {rcc: COLOURS[i % len(COLOURS)] for i, rcc in enumerate(rccs)} | {NOISE: NOISE_COLOUR}
    drawn = np.unique(np.linspace(0, len(xy) - 1, MOST_MAPPED).astype(int))
    width, height, edge = 720, 470, 14
    # Fills the drawing in both directions, except a direction without extent
    low, high = xy.min(axis=0), xy.max(axis=0)
    filling = np.where(high > low, (xy - low) / np.where(high > low, high - low, np.inf), xy)
    places = edge + np.column_stack([filling[:, 0], 1 - filling[:, 1]]) * [width - 2 * edge, height - 2 * edge]
    return {
        # Small RCCs last would be hidden by large ones
        "clouds": [(colour[rcc], places[drawn[clusters.labels[drawn] == rcc]]) for rcc in reversed(clusters.groups)],
        "numbers": {rcc: np.median(places[clusters.labels == rcc], axis=0) for rcc in rccs[:MOST_NUMBERED]},
        "how": "UMAP" if stored and stored.method == "umap" else "the first two principal components",
        **{"n_rccs": len(rccs), "n_colours": len(COLOURS), "n_drawn": len(drawn), "width": width, "height": height},
    }


def rccs_section(known: Material) -> Markup:
    """A card for each RCC that there is room for."""
    rccs = carded(known.clusters, known.rates)
    rest, centres = len(rccs_of(known.clusters)) - len(rccs), rcc_centres(known.clusters)
    return filled("rccs.html", known=known, rccs=rccs, rest=rest, centres=centres, loose=LOOSE)
