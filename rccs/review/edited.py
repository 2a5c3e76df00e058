"""RCCs with the engineer's edits applied. RCCs and a journal of edits in, RCCs out.

The paper does not say what follows from the engineer's inspection of RCCs. The effect of edits on core points, and so
on the selection, is defined here.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from rccs.clusters import RootCauseClusters, rcc_reach
from rccs.dbscan.outcome import NOISE, Steadiness
from rccs.review.journal import Edit, standing
from rccs.review.notes import title
from support.errors import SAFEError
from support.text import printable


def reviewed(
    clusters: RootCauseClusters, edits: Iterable[Edit], *, known_reach: Mapping[int, float] | None = None
) -> RootCauseClusters:
    """Apply a journal of edits.

    Ids are stable: the id of a merged or emptied RCC is missing from `groups`, the other ids do not change.

    An image moved to noise is not a core point. An image moved to an RCC becomes a core point of it: the engineer has
    confirmed that it shows this root cause, and only core points attract candidates in the selection. The reach of an
    RCC (see `rccs.clusters.rcc_reach`) is computed without the images that were moved to it, since a single outlier
    would otherwise bring all images within reach. An image moved back to its original RCC is as the clustering left it.
    Of a new RCC, made by the engineer, all images are core points and count for its reach.

    Parameters
    ----------
    known_reach : mapping of int to float, optional
        The reach of RCCs after these edits, since computing it takes a second for an RCC of 5,000 images.

    Raises
    ------
    SAFEError
        An edit is about an image or RCC that does not exist.
    """
    applied = _in_effect(edits)
    if not applied:
        return clusters
    labels, home, made, touched = _applied(clusters, applied)
    moved = labels != home
    is_core = np.where(moved | made, labels != NOISE, clusters.is_core)
    n_rccs = int(labels.max(initial=NOISE)) + 1
    reach = np.zeros(n_rccs, clusters.reach.dtype)
    reach[: len(clusters.reach)] = clusters.reach[:n_rccs]
    known_reach = known_reach or {}
    for rcc in touched & set(range(len(reach))):
        if rcc in known_reach:
            reach[rcc] = known_reach[rcc]
            continue
        found = np.flatnonzero((labels == rcc) & ~moved)
        one = np.zeros(len(found), dtype=int)
        reach[rcc] = rcc_reach(clusters.points[found], one, is_core[found])[0] if len(found) else 0
    steadiness = _steadiness_left(clusters.steadiness, len(reach), touched)
    return dataclasses.replace(clusters, labels=labels, is_core=is_core, reach=reach, steadiness=steadiness)


def labels_after(clusters: RootCauseClusters, edits: Iterable[Edit]) -> np.ndarray:
    """The RCC of each image after these edits alone (SAFEError as for `reviewed`)."""
    return _applied(clusters, _in_effect(edits))[0]


def _in_effect(edits: Iterable[Edit]) -> list[Edit]:
    by_number = {edit.number: edit for edit in edits}
    return [by_number[number] for number in standing(by_number.values())[0]]


def _applied(clusters: RootCauseClusters, edits: Iterable[Edit]) -> tuple[np.ndarray, np.ndarray, np.ndarray, set[int]]:
    """The RCC of each image, that in which it was found or which was made of it, which were made, and RCCs changed."""
    row_of = {path: row for row, path in enumerate(clusters.paths)}
    labels, home = clusters.labels.copy(), clusters.labels.copy()
    made = np.zeros(len(labels), dtype=bool)
    touched: set[int] = set()
    for edit in edits:
        target = _checked_target(edit, labels, row_of)
        touched |= {*edit.source, target}
        if edit.kind == "merge":
            labels[labels == edit.source[0]] = target
            home[home == edit.source[0]] = target
        else:
            rows = [row_of[path] for path in edit.images]
            labels[rows] = target
            if edit.kind == "new":
                home[rows], made[rows] = target, True
    return labels, home, made, touched


def _steadiness_left(steadiness: Steadiness | None, n_rccs: int, touched: set[int]) -> Steadiness | None:
    """What is still known after edits: nothing about the RCCs that were changed, for which it is NaN."""
    if steadiness is None:
        return None
    of_rccs = np.full(max(n_rccs, len(steadiness.of_rccs)), np.nan, steadiness.of_rccs.dtype)
    of_rccs[: len(steadiness.of_rccs)] = steadiness.of_rccs
    of_rccs[[rcc for rcc in touched if NOISE < rcc < len(of_rccs)]] = np.nan
    return steadiness._replace(of_rccs=of_rccs[:n_rccs])


def _checked_target(edit: Edit, labels: np.ndarray, row_of: Mapping[str, int]) -> int:
    """The target of a merge or move; a SAFEError if the edit cannot be applied to these labels."""
    target = NOISE if edit.target is None else edit.target
    if edit.kind == "merge":
        if NOISE in (edit.source[0], target):
            raise SAFEError("Expected two RCCs to merge. Received the images in no cluster; move them instead.")
        if edit.source[0] == target:
            raise SAFEError(f"Expected two RCCs to merge. Received RCC {target} twice.")
        rccs = [edit.source[0], target]
    else:
        if not edit.images:
            raise SAFEError("Expected images to move. Received none. Select some first.")
        unknown = [path for path in edit.images if path not in row_of]
        if unknown:
            raise SAFEError(f"Expected images of this clustering. Received: {printable(unknown[0])}")
        there = [path for path in edit.images if labels[row_of[path]] == target]
        if there:
            raise SAFEError(f"{printable(there[0])} is already in {title(target)}. Choose another target.")
        if edit.kind == "new" and (target in labels or target < 0):
            raise SAFEError(f"Expected a number that no RCC has for a new one. Received {target}.")
        rccs = [] if target == NOISE or edit.kind == "new" else [target]
    for rcc in rccs:
        if rcc < 0 or rcc not in labels:
            raise SAFEError(f"There is no RCC {rcc}; it may have been merged or emptied. Choose one that is displayed.")
    return target
