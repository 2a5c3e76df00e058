"""Step 2 of SAFE: how steady the RCCs are, in words; and distances between RCCs, and from images to the core of theirs.

`rccs.dbscan.consensus` measures how often images are together when random samples of them are clustered. This holds for
the RCCs as SAFE found them: nothing is known about an RCC that the engineer has merged, or moved images into or out of.

Distances are those in the space of PCA.
"""

import math

import numpy as np

from safe_dnn.rccs.clusters import RootCauseClusters, rccs_of
from safe_dnn.rccs.dbscan.consensus import FEWEST_IMAGES, LARGEST_SHARE, MOST_IMAGES, SMALLEST_SHARE
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE, STEADY
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count

LEAST_IMAGES, LEAST_SHARE = 5, 0.1  # of an RCC's images, in each of its two parts


def nearest_rccs(clusters: RootCauseClusters, rcc: int, *, n: int = 3) -> list[tuple[int, float]]:
    """The `n` RCCs nearest to an RCC (or to `NOISE`), with the distance of their centres, nearest first.

    Raises
    ------
    SAFEError
        The RCC does not exist.
    """
    _rows(clusters, rcc)  # raises if it does not exist
    centres = clusters.centres
    candidates = [other for other in centres if other not in (rcc, NOISE)]
    distances = [(float(np.linalg.norm(centres[other] - centres[rcc])), other) for other in candidates]
    return [(other, distance) for distance, other in sorted(distances)[:n]]


def by_closeness(clusters: RootCauseClusters, rcc: int) -> list[tuple[str, float]]:
    """The images of an RCC with their distance from the middle of its core, nearest first; ties by path.

    The middle is the core point nearest to the mean of the RCC's core points; it comes first with distance 0. (The
    distance to the nearest core point would be 0 for every core point, and most images are core points.) Images in no
    cluster are ordered by their distance to the nearest core point of any RCC: those that almost belong to one come
    first.

    Raises
    ------
    SAFEError
        The RCC does not exist.
    """
    rows = _rows(clusters, rcc)
    points = clusters.points[rows].astype(np.float64)
    cores = np.flatnonzero(clusters.is_core)
    if rcc == NOISE and len(cores):
        _, distances = Points(clusters.points[cores]).nearest_to(points)
    else:
        candidates = np.flatnonzero(clusters.is_core[rows]) if clusters.is_core[rows].any() else np.arange(len(rows))
        middle = candidates[np.linalg.norm(points[candidates] - clusters.centres[rcc], axis=1).argmin()]
        distances = np.linalg.norm(points - points[middle], axis=1)
    order = np.argsort(distances.round(6), kind="stable")  # paths are sorted already
    return [(clusters.paths[rows[i]], float(distances[i])) for i in order]


def most_similar(clusters: RootCauseClusters, row: int, n: int) -> list[int]:
    """The failing images that look most like one of them, as rows: itself, then up to `n` − 1 others, nearest first.

    Ties are in the order of the rows.
    """
    points = clusters.points.astype(np.float64)
    distances = np.linalg.norm(points - points[row], axis=1)
    distances[row] = -1  # before its copies
    return np.argsort(distances, kind="stable")[:n].tolist()


def _rows(clusters: RootCauseClusters, rcc: int) -> np.ndarray:
    rows = np.flatnonzero(clusters.labels == rcc)
    if not len(rows):
        raise SAFEError(f"There is no RCC {rcc}; it may have been merged or emptied. Choose one that is displayed.")
    return rows


def representative(clusters: RootCauseClusters, rcc: int) -> str:
    """Path of the image nearest to the mean of an RCC's images, which represents it in an overview."""
    rows = np.flatnonzero(clusters.labels == rcc)
    points = clusters.points[rows]
    return clusters.paths[rows[np.linalg.norm(points - points.mean(axis=0), axis=1).argmin()]]


def percent_down(share: float) -> str:
    """For example `64%`, also for .649: rounded down, so that a loose RCC does not seem to reach the bound."""
    return f"{math.floor(round(100 * share, 4))}%"


BOUND = percent_down(STEADY)

# --- RCCs -------------------------------------------------------------------------------------------------------


def confidence(clusters: RootCauseClusters, rcc: int) -> float | None:
    """How often two images of an RCC are together, from 0 to 1 (see `rccs.dbscan.outcome`); None if unknown."""
    steadiness = clusters.steadiness
    if steadiness is None or not 0 <= rcc < len(steadiness.of_rccs):
        return None
    share = float(steadiness.of_rccs[rcc])
    return None if math.isnan(share) else share


def is_loose(clusters: RootCauseClusters, rcc: int) -> bool:
    """Whether an RCC is known not to be steady."""
    steadiness = clusters.steadiness
    return steadiness is not None and confidence(clusters, rcc) is not None and not steadiness.is_steady[rcc]


def is_changed(clusters: RootCauseClusters, rcc: int) -> bool:
    """Whether the confidence in an RCC was measured, but is no longer known, since the RCC was changed by hand."""
    return clusters.steadiness is not None and rcc != NOISE and confidence(clusters, rcc) is None


def confidence_text(clusters: RootCauseClusters, rcc: int) -> str:
    """A clause on an RCC, without a full stop; empty if nothing was measured."""
    if is_changed(clusters, rcc):
        return "Changed by hand: how steady it is now is not known"
    share = confidence(clusters, rcc)
    if share is None:
        return ""
    kind, only = ("Loose", "only ") if is_loose(clusters, rcc) else ("Steady", "")
    part = clusters.parts[rcc : rcc + 1]  # empty if none was divided
    divided = f"; one of {np.count_nonzero(clusters.parts == part)} parts of a huge RCC" if (part > NOISE).any() else ""
    together = f"two of its images are together in {only}{percent_down(share)} of the clusterings of random parts"
    return f"{kind}: {together}{divided}"


def confidence_means(clusters: RootCauseClusters) -> str:
    """What the figure of an RCC is, in sentences; empty if nothing was measured."""
    if clusters.steadiness is None:
        return ""
    return (
        f"{_parts(clusters)} were clustered. The figure is how often two images of the RCC are in the same cluster, in "
        f"the clusterings in which both take part: the mean over its images. Below {BOUND} an RCC is loose: its "
        "images may not share one reason, so look at more of them. Small RCCs are loose more easily, since a part may "
        "hold too few of their images."
    )


def loose_text(clusters: RootCauseClusters) -> str:
    """For example `3 of 31 are loose`; empty if none is known to be."""
    rccs = rccs_of(clusters)
    n = sum(is_loose(clusters, rcc) for rcc in rccs)
    if not n:
        return ""
    return f"{n:,} of {len(rccs):,} {'is' if n == 1 else 'are'} loose" if len(rccs) > 1 else "it is loose"


# --- The run ----------------------------------------------------------------------------------------------------


def no_steady_groups(clusters: RootCauseClusters) -> bool:
    """Whether clusters were found in random parts of the images, but none of them again often enough to be an RCC."""
    return clusters.steadiness is not None and not len(clusters.steadiness.of_rccs)


def no_steady_groups_text(clusters: RootCauseClusters) -> str:
    """What was found then, and what to do next, in sentences; empty if there are RCCs."""
    if not no_steady_groups(clusters):
        return ""
    known = clusters.answers is not None
    spots = "See the weak spots" if known else "Give the network's answers to its whole test set to find weak spots"
    return (
        f"No steady groups: in {_parts(clusters).lower()}, no group of images was found again in {BOUND} of the "
        f"clusterings or more, so no image is in an RCC. {spots}, which need no groups, or give more failing images."
    )


def consensus_text(clusters: RootCauseClusters) -> str:
    """How RCCs follow from the clusterings, in sentences; empty if all images were clustered once."""
    if clusters.steadiness is None:
        return ""
    n = len(clusters.paths)
    each = f"each {SMALLEST_SHARE:.0%} to {LARGEST_SHARE:.0%} of them, were clustered in the same way"
    if n > MOST_IMAGES:
        smallest, largest = (round(share * MOST_IMAGES) for share in (SMALLEST_SHARE, LARGEST_SHARE))
        each = (
            f"each {smallest:,} to {largest:,} of the {n:,}, were clustered in the same way, and every other image "
            "joined the cluster of its nearest neighbour. SAFE cannot find a cause that has only a few images in such "
            f"a sample. The settings are those tried on {MOST_IMAGES:,} random images"
        )
    may_change = math.ceil(100 * clusters.steadiness.may_change)
    left_out = (
        f" Further parts would hardly change that, for at most {may_change}% of the images." if may_change else ""
    )
    return (
        f"{_parts(clusters)}, {each}. Each clustering votes on every two images in it, and the RCCs are the groups "
        f"that agree with the votes best.{left_out} An RCC is steady if two of its images are together in {BOUND} of "
        "the clusterings or more, and loose otherwise."
    )


def why_unknown(clusters: RootCauseClusters) -> str:
    """Why it was not measured how steady RCCs are, a sentence; empty if it was.

    Parameters
    ----------
    clusters : RootCauseClusters
        As the clustering found them.
    """
    if clusters.steadiness is not None:
        return ""
    few = len(clusters.paths) < FEWEST_IMAGES
    if not few and clusters.n_rccs > 1:
        return ""
    reason = f"there are fewer than {FEWEST_IMAGES} images" if few else "the images were not divided into groups"
    return f"How steady RCCs are was not measured: {reason}."


def _parts(clusters: RootCauseClusters) -> str:
    n = clusters.steadiness.n_samples if clusters.steadiness else 0
    return f"{count(n, 'random part')} of the images"
