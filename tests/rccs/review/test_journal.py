"""Edits, one after the other."""

import numpy as np
import pytest

from safe_dnn.rccs.clusters import rccs_of
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.journal import Edit, reviewed
from safe_dnn.support.errors import SAFEError


def merge(rcc: int, into: int) -> Edit:
    return Edit(0, "2024-05-01T12:00:00+00:00", "merge", (), (rcc,), into)


def move(path: str, source: int, to: int) -> Edit:
    return Edit(0, "2024-05-01T12:00:00+00:00", "move", (path,), (source,), to)


def journal(*edits: Edit) -> tuple[Edit, ...]:
    """The edits, numbered from 1."""
    return tuple(edit._replace(number=number) for number, edit in enumerate(edits, start=1))


def test_a_merged_rcc_disappears_and_no_other_id_changes(clusters):
    merged = reviewed(clusters, journal(merge(0, 1)))
    assert merged.groups == [1, 2, NOISE]
    assert rccs_of(merged) == [1, 2]
    assert merged.members(1) == sorted([*clusters.members(0), *clusters.members(1)])
    assert merged.members(2) == clusters.members(2)
    assert merged.is_core.tolist() == clusters.is_core.tolist()
    assert merged.sizes.tolist() == [0, 18, 6]
    assert clusters.groups == [0, 1, 2, NOISE]  # the input is as it was


def test_a_merged_rcc_reaches_to_its_farthest_image_and_the_others_as_far_as_before(clusters):
    merged = reviewed(clusters, journal(merge(2, 1)))
    rows = np.flatnonzero(np.isin(clusters.labels, (1, 2)))
    cores = rows[clusters.is_core[rows]]
    nearest = [
        min(np.linalg.norm(clusters.points[row].astype(float) - clusters.points[core]) for core in cores if core != row)
        for row in rows
    ]
    assert len(merged.reach) == merged.n_rccs == 2
    assert merged.reach[1] == pytest.approx(max(nearest), abs=1e-4)
    assert merged.reach[0] == clusters.reach[0]


def test_an_image_moved_to_an_rcc_is_a_core_point_that_does_not_widen_its_reach(clusters):
    plain = reviewed(clusters, journal(move("wood_00.png", 2, NOISE), move("wood_00.png", NOISE, 2)))
    moved = reviewed(clusters, journal(move("sea_00.png", NOISE, 2), move("snow_07.png", 1, 2)))
    for path in ("sea_00.png", "snow_07.png"):
        row = moved.paths.index(path)
        assert moved.labels[row] == 2
        assert moved.is_core[row]
    assert moved.reach[2] == plain.reach[2]


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([merge(1, 1)], "two RCCs to merge. Received RCC 1 twice"),
        ([merge(NOISE, 1)], "Received the images in no cluster; move them instead"),
        ([merge(1, 7)], "There is no RCC 7"),
        ([merge(1, 0), move("sea_00.png", NOISE, 1)], "There is no RCC 1; it may have been merged"),
        ([move("fire.png", NOISE, 1)], "images of this clustering. Received: fire.png"),
        ([move("night_00.png", 0, 0)], "night_00.png is already in RCC 0"),
        ([Edit(1, "", "move", (), (), 1)], "Expected images to move. Received none"),
    ],
)  # fmt: skip
def test_an_edit_that_cannot_be_is_an_error_that_says_why(clusters, edits, message):
    with pytest.raises(SAFEError, match=message):
        reviewed(clusters, journal(*edits))
