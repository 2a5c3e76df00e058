"""The report's first section: a table of the RCCs and the map of their images."""

import math
from collections import Counter

import numpy as np

from dbscan.outcome import NOISE
from rccs.answers import commonest_confusion
from rccs.clusters import RootCauseClusters, rccs_of
from rccs.confidence import confidence, is_changed, is_loose, percent_down
from rccs.image_map import load_map, map_points
from rccs.review.notes import title
from rccs.spots.rates import Rate, by_excess
from reporting.markup import badge, escaped, html_table, percent
from reporting.material import LOOSE, Material

MOST_MAPPED = 4000  # points on the map
MOST_NUMBERED = 20  # RCCs on the map
# Distinguishable with colour blindness as well (Okabe and Ito, 2008); the last four are darker.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000", "#5b3f8c", "#005f4b", "#a33b20")
NOISE_COLOUR = "#8a94a0"


def summary_section(known: Material) -> str:
    """A row for each RCC, and the map."""
    clusters = known.clusters
    rccs = rccs_of(clusters)
    rows = []
    common = {rcc: _common(known, rcc) for rcc in clusters.groups}
    per_rcc = Counter(image.rcc for image in known.unsafe.images) if known.unsafe else {}
    steady = ["Steadiness"] if clusters.steadiness and rccs else []
    for rcc in by_excess(clusters.groups, known.rates):
        size = int((clusters.labels == rcc).sum())
        selected = "–" if known.unsafe is None or rcc == NOISE else f"{per_rcc[rcc]:,}"
        name = known.review.notes[rcc].name if rcc in known.review.notes else ""
        described = "<br>".join(
            [
                *([f"<b>{escaped(name)}</b>"] if name else []),
                *(f"<span class='soft small'>{escaped(text)}</span>" for text in common[rcc]),
            ]
        )
        link = "noise" if rcc == NOISE else f"rcc-{rcc}"
        label = f"<a href='#{link}'>{escaped(title(rcc))}</a>"
        rows.append(
            [
                label,
                described,
                f"{size:,}",
                percent(size / len(clusters.paths)),
                *([_steady_cell(clusters, rcc)] if steady else []),
                *([_rate_cell(known.rates.get(rcc))] if known.rates else []),
                badge(known.verdict(rcc)),
                selected,
            ]
        )
    about = "Name, and what its images have in common" if any(common.values()) else "Name"
    rate = ["Fails there"] if known.rates else []
    headers = ["RCC", about, "Images", "Share", *steady, *rate, "Judged", "To label"]
    return f"{html_table(headers, rows, numbers=(2, 3, len(headers) - 1))}{drawn_map(known)}"


def _common(known: Material, rcc: int) -> list[str]:
    """What the images of a group have in common, and what most of an RCC's are taken for, as far as it is known."""
    confusion = commonest_confusion(known.clusters.answers_of(rcc)) if rcc != NOISE else ""
    return [text for text in (known.profiles.get(rcc, ""), confusion) if text]


def _steady_cell(clusters: RootCauseClusters, rcc: int) -> str:
    """How steady an RCC is, in the table of RCCs."""
    share = confidence(clusters, rcc)
    if share is None:
        return "<span class='soft small'>changed</span>" if is_changed(clusters, rcc) else "–"
    return percent_down(share) + (f" {LOOSE}" if is_loose(clusters, rcc) else "")


def _rate_cell(rate: Rate | None) -> str:
    """A failure rate in the table of RCCs."""
    if rate is None or not rate.tested:
        return "–"
    if math.isnan(rate.elsewhere):
        return f"{rate.rate:.0%} wrong"
    words = {"more": "more than", "as often": "not clearly more than", "less": "less than", "too few": "too few:"}
    compared = f"{words[rate.verdict]} elsewhere, {rate.elsewhere:.0%}"
    return f"{rate.rate:.0%} wrong <span class='soft small'>{compared}</span>"


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
