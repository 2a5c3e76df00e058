import numpy as np

from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.training.before_after import GroupCount, Outcome, Share, count_by_group, shares_by_rcc


def test_each_class_of_each_group_is_counted_by_hand():
    groups, labels = np.array([0, 0, 0, 2, 2]), np.array([1, 1, 0, 1, 1])
    before, after = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 1, 1, 1], bool)
    assert count_by_group(groups, labels, ("cat", "dog"), before, after) == (
        GroupCount(0, "cat", 1, 0, 1, 0), GroupCount(0, "dog", 2, 2, 0, 1), GroupCount(2, "dog", 2, 1, 1, 0),
    )  # fmt: skip


def test_the_share_of_an_rcc_is_of_its_images_that_are_in_the_test_set(clusters):
    nights = clusters.members(0)
    found = [Outcome(path, False, i < 2) for i, path in enumerate(nights[:5])]
    shares = shares_by_rcc(clusters, found)
    assert shares[0] == Share("0", 5, 0, 2)
    assert {share.name for share in shares} == {"0", "1", "2", str(NOISE)}
    assert sum(share.images for share in shares) == 5
