"""The report's map of all failing images."""

import numpy as np

from dbscan.outcome import NOISE
from rccs.clusters import rccs_of
from rccs.image_map import load_map, map_points
from reporting.material import Material

MOST_MAPPED = 4000  # points on the map
MOST_NUMBERED = 20  # RCCs on the map
# Distinguishable with colour blindness as well (Okabe and Ito, 2008); the last four are darker.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000", "#5b3f8c", "#005f4b", "#a33b20")
NOISE_COLOUR = "#8a94a0"


def drawn_map(known: Material) -> str:
    """All images as points, similar images close together; laid out by PCA if no map is stored."""
    clusters = known.clusters
    stored = load_map(known.folder, clusters)
    xy = stored.xy if stored else map_points(clusters, method="pca")
    if len(xy) < 3:
        return ""
    colour = {rcc: COLOURS[i % len(COLOURS)] for i, rcc in enumerate(rccs_of(clusters))}
    colour[NOISE] = NOISE_COLOUR
    drawn = np.unique(np.linspace(0, len(xy) - 1, MOST_MAPPED).astype(int))
    width, height, edge = 720, 470, 14
    places = np.column_stack([edge + xy[:, 0] * (width - 2 * edge), edge + (1 - xy[:, 1]) * (height - 2 * edge)])
    places = _filled(places, width, height, edge)
    parts = []
    for rcc in reversed(clusters.groups):  # small RCCs last would be hidden by large ones
        rows = drawn[clusters.labels[drawn] == rcc]
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places[rows])
        parts.append(
            f"<path d='{dots}' stroke='{colour[rcc]}' stroke-width='5' stroke-linecap='round' stroke-opacity='.75' "
            "fill='none'/>"
        )
    for rcc in rccs_of(clusters)[:MOST_NUMBERED]:
        x, y = np.median(places[clusters.labels == rcc], axis=0)
        parts.append(
            f"<text x='{x:.0f}' y='{y:.0f}' text-anchor='middle' dominant-baseline='middle' font-size='15' "
            "font-weight='700' stroke='var(--paper)' stroke-width='4' paint-order='stroke' fill='currentColor'>"
            f"{rcc}</text>"
        )
    how = "UMAP" if stored and stored.method == "umap" else "the first two principal components"
    n_rccs = len(rccs_of(clusters))
    numbers = f"the numbers are the {MOST_NUMBERED} largest RCCs" if n_rccs > MOST_NUMBERED else "the numbers are RCCs"
    again = ", and colours are used more than once" if n_rccs > len(COLOURS) else ""
    fewer = f" {len(drawn):,} of the {len(xy):,} are drawn." if len(drawn) < len(xy) else ""
    return (
        f"<div class='figure'><svg viewBox='0 0 {width} {height}' role='img' style='width:100%;max-width:{width}px' "
        f"aria-label='Map of the failing images, coloured by RCC'>{''.join(parts)}</svg>"
        f"<p class='soft small'>Map of all failing images, laid out by {how}: similar images are close together; "
        f"{numbers}, grey means no cluster{again}.{fewer} Large distances mean little.</p></div>"
    )


def _filled(places: np.ndarray, width: int, height: int, edge: int) -> np.ndarray:
    """Points scaled to fill the drawing in both directions, except a direction without extent."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([width - 2 * edge, height - 2 * edge])
    extent = np.where(high > low, high - low, np.inf)
    return np.where(high > low, edge + (places - low) / extent * room, places)
