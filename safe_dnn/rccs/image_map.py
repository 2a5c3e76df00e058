"""Step 2 of SAFE, the map: the failing images as points in the plane, similar images close together.

RCCs in; a position for each image out, computed once and kept in `map.npz`; and for each parameter a histogram, by
which the page filters: the bin of every image, a byte, so that the page counts by itself whenever a bin is chosen. The
map is for viewing only: its distances are roughly right between neighbours and mean little between distant images.
Distances in the space of PCA are in `confidence.py`.

Sources: McInnes et al., arXiv 1802.03426 (UMAP). The paper has no map; it is common in tools such as FiftyOne.
"""

import base64
import contextlib
import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.dbscan.tuning import UMAP_NEIGHBOURS, load_umap
from safe_dnn.rccs.parameters import ANGLE_SUFFIX
from safe_dnn.rccs.review.journal import Note, title
from safe_dnn.store.output_folder import Writer
from safe_dnn.store.runs import CLUSTERS, MAP, add_run, present_runs, run_file
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED, read_arrays
from safe_dnn.support.text import display_name, printable

MAP_FILE = "map.npz"

MAP_VERSION = 1  # increase it when positions change, so that older maps are computed again
# With UMAP's defaults (0.1, 10), RCCs are too dense to point at an image. Both keep as many of an image's 15 nearest
# neighbours in the space of PCA: .55 and .54 in the case study gd, .63 and .65 in oc.
MIN_DISTANCE = 0.5
START_WIDTH = 1.0
STEPS = 65535  # two bytes; still finer than a pixel where the map is magnified most
FEW = 5  # percent of the images, at each end, that may lie outside the bulk
GAP = 0.2  # of the extent of all others: beyond so wide a gap they lie outside
COLOURS = 7  # as many as people who are blind to red and green can distinguish, see page/clusters/map_colours.js
SHADES = 32  # of a number, as in map_colours.js
BINS = 16  # of a number, in a histogram
MOST_CATEGORIES = 60  # the others, which are rarer, share a bar
MOST_FILTERS = 40  # 20,000 images with as many are 1 MB
UNKNOWN = 255


def map_points(clusters: RootCauseClusters) -> np.ndarray:
    """Positions of the images in the plane, similar images close together; the same for the same images.

    They are from UMAP; if the images are too few or too similar for it, from PCA.

    Returns
    -------
    ndarray of shape (n_images, 2), float32
        Between 0 and 1, at the same scale in both directions; row i belongs to `paths[i]`.
    """
    plane = plane_points(clusters)
    # UMAP leaves points on a line there, and then divides by their extent across it, which is 0.
    spread = len(plane) > UMAP_NEIGHBOURS and np.ptp(plane, axis=0).all()
    return _scaled(_umap(clusters.points, START_WIDTH * plane)) if spread else plane


def plane_points(clusters: RootCauseClusters) -> np.ndarray:
    """Positions by the first two principal components, as `map_points` gives them, at once."""
    # Points are from PCA, the largest component first, so nothing is fitted.
    return _scaled(np.pad(clusters.points[:, :2], ((0, 0), (0, max(0, 2 - clusters.points.shape[1])))))


def _umap(points: np.ndarray, start: np.ndarray) -> np.ndarray:
    """UMAP to two dimensions, with exact neighbours, which are the fastest for these numbers of images."""
    from sklearn.neighbors import NearestNeighbors

    UMAP = load_umap()
    with threadpool_limits(limits=1):
        distances, neighbours = (
            NearestNeighbors(n_neighbors=UMAP_NEIGHBOURS, algorithm="brute").fit(points).kneighbors()
        )
    # UMAP counts every point as its own first neighbour.
    itself = np.arange(len(points))[:, None]
    neighbours = np.hstack([itself, neighbours[:, :-1]])
    distances = np.hstack([np.zeros(itself.shape), distances[:, :-1]]).astype(np.float32)
    with warnings.catch_warnings():
        # It warns that new points cannot be added to the map; none will be.
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]")
        umap = UMAP(
            UMAP_NEIGHBOURS, 2, min_dist=MIN_DISTANCE, init=start, precomputed_knn=(neighbours, distances),
            random_state=0, n_jobs=1,
        )  # fmt: skip
        return umap.fit_transform(points)


def _scaled(xy: np.ndarray) -> np.ndarray:
    """Positions moved and scaled to fill the unit square, centred; identical points are all in its middle."""
    if not len(xy):
        return np.zeros((0, 2), np.float32)
    low, high = xy.min(axis=0), xy.max(axis=0)
    side = float((high - low).max()) or 1.0
    return ((xy - (low + high) / 2) / side + 0.5).clip(0, 1).astype(np.float32)


# --- The file ---------------------------------------------------------------------------------------------------


def stored_map(folder: Path, clusters: RootCauseClusters) -> np.ndarray:
    """The map in a folder; if there is none, it is computed, and saved if the folder can be written to."""
    known = load_map(folder, clusters)
    if known is not None:
        return known
    xy = map_points(clusters)
    with contextlib.suppress(SAFEError):  # a map that cannot be saved can still be displayed
        save_map(folder, clusters, xy)
    return xy


def save_map(folder: Path, clusters: RootCauseClusters, xy: np.ndarray) -> None:
    """Write `map.npz` as a run (SAFEError if it cannot be written)."""
    stamp = np.array(_stamp(clusters))
    files: dict[str, Writer] = {MAP_FILE: lambda path: np.savez(path, xy=xy, stamp=stamp)}
    runs = present_runs(folder)
    if CLUSTERS in runs:
        add_run(folder, MAP, files, clusters=runs[CLUSTERS].itself, instead_of=runs.get(MAP))


def load_map(folder: Path, clusters: RootCauseClusters) -> np.ndarray | None:
    """The map in a folder; None if it is missing, damaged, of other images, or of another version.

    It does not depend on the labels, so edits do not change the map.
    """
    try:
        stored = read_arrays(run_file(present_runs(folder)[MAP], MAP_FILE))
    except DAMAGED:
        return None  # it can be computed again
    return stored["xy"] if str(stored["stamp"]) == _stamp(clusters) else None


def _stamp(clusters: RootCauseClusters) -> str:
    """Identifies the content of a map: the images, their points, the method and its version."""
    digest = hashlib.blake2b(f"{MAP_VERSION} umap".encode(), digest_size=16)
    digest.update("\n".join(clusters.paths).encode("utf-8", "surrogateescape"))
    digest.update(np.ascontiguousarray(clusters.points).tobytes())
    return digest.hexdigest()


# --- For the page -----------------------------------------------------------------------------------------------


def map_record(
    clusters: RootCauseClusters, xy: np.ndarray, notes: Mapping[int, Note], original: RootCauseClusters
) -> dict:
    """The map for JSON: 10,000 images take less than 1 MB, however long their names are.

    Parameters
    ----------
    xy : ndarray of shape (n_images, 2), float32
        Of `map_points`.
    original : RootCauseClusters
        Before the engineer's edits. RCCs that it has keep the colours that they had there.

    Returns
    -------
    dict
        `steps`, the largest coordinate, all of them integers from 0; `x`, `y` (upwards) and `rcc` (−1 is
        noise), `packed` as uint16, uint16 and int32; `name` (the file name as plain text, shortened in the middle), a
        list with an entry per image in the order of `paths`; `told`, the DNN's answer to each image, if that is
        known; `bulk`, the left, lower, right and upper end of what the map shows at first, and `whole`, those of all
        images; `rccs`, a list, the largest RCC first, of `rcc`, `size`, `at`, the index of the image in the middle of
        the RCC on the map, `reach` (see `_reach`), `colour` (see `_colours`) and what `rcc_words` gives.
    """
    grid = np.rint(xy * STEPS).astype("<u2")
    groups = clusters.groups
    middles = [_middle(xy, np.flatnonzero(clusters.labels == rcc)) for rcc in groups]
    ends, colour_of = bulk(grid), _colours(clusters, original, xy)
    beside = (ends[2] - ends[0]) / 24
    reaches = [_reach(grid[clusters.labels == rcc], grid[at], beside) for rcc, at in zip(groups, middles, strict=True)]
    return {
        "steps": STEPS,
        "x": packed(grid[:, 0]),
        "y": packed(grid[:, 1]),
        "rcc": packed(clusters.labels.astype("<i4")),
        "name": [display_name(path) for path in clusters.paths],
        **({"told": [clusters.answer_text(row) for row in range(len(clusters.paths))]} if clusters.answers else {}),
        "bulk": ends,
        "whole": [*grid.min(axis=0, initial=STEPS).tolist(), *grid.max(axis=0, initial=0).tolist()],
        "rccs": [
            {"size": len(clusters.members(rcc)), "at": at, "reach": reach, "colour": colour_of[rcc]}
            | rcc_words(rcc, notes)
            for rcc, at, reach in zip(groups, middles, reaches, strict=True)
        ],
    }


def rcc_words(rcc: int, notes: Mapping[int, Note]) -> dict:
    """What the map shows about an RCC: `rcc`, `title`, `name` (empty if it has none) and `verdict`; plain text."""
    note = notes.get(rcc, Note(rcc))
    return {"rcc": rcc, "title": printable(title(rcc, notes)), "name": printable(note.name), "verdict": note.verdict}


def packed(numbers: np.ndarray) -> str:
    """The bytes of an array as base64: a script unpacks them at once, and JSON holds them as one text."""
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode("ascii")


def bulk(grid: np.ndarray) -> list[int]:
    """The rectangle in which the bulk of the images lies, so that a few that lie far away do not shrink the rest.

    In each direction it reaches to the outermost image but for at most `FEW` percent of them that lie beyond a `GAP`.

    Parameters
    ----------
    grid : ndarray of shape (n_images, 2), int

    Returns
    -------
    list of int
        The left, lower, right and upper end.
    """
    if not len(grid):
        return [0, 0, STEPS, STEPS]
    lows = np.percentile(grid, FEW, axis=0, method="lower").tolist()
    highs = np.percentile(grid, 100 - FEW, axis=0, method="higher").tolist()
    ends = []
    for values, low, high in zip(np.sort(grid, axis=0).T, lows, highs, strict=True):
        parts = np.split(values, np.flatnonzero(np.diff(values) > GAP * (high - low)) + 1)
        usual = [part for part in parts if part[-1] >= low and part[0] <= high]
        ends.append((int(usual[0][0]), int(usual[-1][-1])))
    return [end for side in zip(*ends, strict=True) for end in side]


def colour_apart(places: np.ndarray) -> list[int]:
    """A colour for each RCC such that RCCs of the same colour lie far apart.

    The first `COLOURS` RCCs have a colour of their own. Each further one takes the colour whose RCCs are all farthest
    away.

    Parameters
    ----------
    places : ndarray of shape (n_rccs, 2), float
        On the map, in the order in which colours are given away.

    Returns
    -------
    list of int
        From 0 to `COLOURS` − 1.
    """
    colours: list[int] = []
    for place in places:
        distances = np.linalg.norm(places[: len(colours)] - place, axis=1)
        nearest = np.full(COLOURS, np.inf)
        np.minimum.at(nearest, np.array(colours, int), distances)
        colours.append(int(nearest.argmax()))
    return colours


def _colours(clusters: RootCauseClusters, original: RootCauseClusters, xy: np.ndarray) -> dict[int, int]:
    """The colour of each RCC: as it was before the edits; those that were made since come after, in their order.

    From `COLOURS` on it is that of another RCC, and drawn as a ring.
    """
    made = sorted({*clusters.groups} - {*original.groups})
    placed = [(rcc, original) for rcc in original.groups] + [(rcc, clusters) for rcc in made]
    middles = [_middle(xy, np.flatnonzero(where.labels == rcc)) for rcc, where in placed]
    colours = np.array(colour_apart(xy[middles]), int)
    colours[COLOURS:] += COLOURS
    return dict(zip([rcc for rcc, _ in placed], colours.tolist(), strict=True))


def _reach(grid: np.ndarray, middle: np.ndarray, beside: float) -> list[int]:
    """How far an RCC reaches up and down at its middle, where its label is, but for a few of its images."""
    ys = np.sort(grid[np.abs(grid[:, 0].astype(int) - int(middle[0])) <= beside, 1]).tolist()
    cut = len(ys) // 12
    return [ys[len(ys) - 1 - cut], ys[cut]]


def map_shades(name: str, column: np.ndarray) -> dict:
    """A parameter as colours of the map, for JSON.

    Parameters
    ----------
    column : ndarray of shape (n_images,)
        Of `rccs.parameters.Parameters.columns`.

    Returns
    -------
    dict
        `name`; `kind` ("number", "angle" or "category"); `bins`, the colour of each image, `packed` as uint8, `UNKNOWN`
        if there is none: for a number, one of `SHADES` from the 2nd to the 98th percentile; for an angle, of as many
        around the circle; for a category, its index in `names`, the most common first, or `COLOURS` for all that are
        rarer; `told`, the values as text; `low` and `high`, the ends of a number's scale.
    """
    if column.dtype.kind == "U":
        names, texts = commonest_first(column), column.tolist()
        place = {text: min(i, COLOURS) for i, text in enumerate(names)}
        return {
            "name": printable(name), "kind": "category",
            "bins": packed(np.array([place.get(text, UNKNOWN) for text in texts], np.uint8)),
            "told": [*map(printable, texts)], "names": [*map(printable, names)],
        }  # fmt: skip
    angle = name.endswith(ANGLE_SUFFIX)
    low, high = (0.0, 360.0) if angle else (float(end) for end in np.nanpercentile(column, (2, 98)))
    share = (column % 360) / 360 if angle else ((column - low) / ((high - low) or 1.0)).clip(0, 1)
    return {
        "name": printable(name), "kind": "angle" if angle else "number", "low": f"{low:.3g}", "high": f"{high:.3g}",
        "bins": packed(np.nan_to_num(np.rint(share * (SHADES - 1)), nan=UNKNOWN).astype(np.uint8)),
        "told": ["" if np.isnan(value) else f"{value:.3g}" for value in column.tolist()],
    }  # fmt: skip


def commonest_first(column: np.ndarray) -> list[str]:
    """The known values of a category."""
    known, counts = np.unique(column[column != ""], return_counts=True)
    return known[np.argsort(-counts, kind="stable")].tolist()


def _middle(xy: np.ndarray, rows: np.ndarray) -> int:
    """The row, among those given, that is nearest to their median."""
    return int(rows[np.linalg.norm(xy[rows] - np.median(xy[rows], axis=0), axis=1).argmin()])


def map_filters(columns: Mapping[str, np.ndarray]) -> list[dict]:
    """Histograms of parameters, for JSON.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        Of `rccs.parameters.Parameters`. A parameter that is the same for all images, or unknown, is left out, and so
        are those after the first `MOST_FILTERS`.

    Returns
    -------
    list of dict
        `name`; `kind` ("number" or "category"); `bins`, the bin of each image, `packed` as uint8, `UNKNOWN` if there
        is none; for a category `names`, the bins as text, the commonest first; for a number `low` and `high`, the ends
        of each bin as text.
    """
    filters = []
    for name, column in columns.items():
        one = _category(column) if column.dtype.kind == "U" else _number(column)
        if one is not None:
            filters.append({"name": printable(name), **one})
    return filters[:MOST_FILTERS]


def _category(column: np.ndarray) -> dict | None:
    names = commonest_first(column)
    if len(names) < 2:
        return None
    listed = names if len(names) <= MOST_CATEGORIES + 1 else names[:MOST_CATEGORIES]
    place = {text: min(i, len(listed)) for i, text in enumerate(names)} | {"": UNKNOWN}
    rest = [] if len(listed) == len(names) else [f"{len(names) - len(listed):,} others"]
    bins = np.array([place[text] for text in column.tolist()], np.uint8)
    return {"kind": "category", "bins": packed(bins), "names": [*map(printable, listed), *rest]}


def _number(column: np.ndarray) -> dict | None:
    """Bins of equal width between the 1st and 99th percentiles; what lies outside is in the first or the last one."""
    known = column[np.isfinite(column)]
    if not len(known) or known.min() == known.max():
        return None
    low, high = np.percentile(known, (1, 99))
    if low == high:  # almost all are the same, and the others are what is looked for
        low, high = known.min(), known.max()
    whole = bool((known % 1 == 0).all()) and high - low < BINS  # few integers have a bin each
    edges = np.arange(np.floor(low), np.ceil(high) + 2) if whole else np.linspace(low, high, BINS + 1)
    bins = np.searchsorted(edges[1:-1], column, side="right").astype(np.uint8)
    bins[~np.isfinite(column)] = UNKNOWN
    lows, highs = edges[:-1].copy(), edges[1:] - whole
    lows[0], highs[-1] = min(lows[0], known.min()), max(highs[-1], known.max())
    ends = {name: [f"{end:.4g}" for end in part.tolist()] for name, part in (("low", lows), ("high", highs))}
    return {"kind": "number", "bins": packed(bins), **ends}
