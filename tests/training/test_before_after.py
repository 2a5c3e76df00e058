import numpy as np

from safe_dnn.analysis import Analysis
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.training import result
from safe_dnn.training.before_after import GroupCount, Share, count_by_group, shares_by_rcc
from safe_dnn.training.result import load_retraining, shares_by_reason


def test_each_class_of_each_group_is_counted_by_hand():
    groups, labels = np.array([0, 0, 0, 2, 2]), np.array([1, 1, 0, 1, 1])
    before, after = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 1, 1, 1], bool)
    assert count_by_group(groups, labels, ("cat", "dog"), before, after) == (
        GroupCount(0, "cat", 1, 0, 1, 0), GroupCount(0, "dog", 2, 2, 0, 1), GroupCount(2, "dog", 2, 1, 1, 0),
    )  # fmt: skip


def test_the_share_of_an_rcc_is_of_the_test_images_nearest_to_its_images(clusters):
    nights = clusters.members(0)
    found = [Share(path, 1, 0, int(i < 2)) for i, path in enumerate(nights[:5])]
    shares = shares_by_rcc(clusters, found)
    assert shares[0] == Share("0", 5, 0, 2)
    assert {share.name for share in shares} == {"0", "1", "2", str(NOISE)}
    assert sum(share.images for share in shares) == 5
    assert shares_by_rcc(clusters, [Share(nights[0], 3, 1, 2), Share("gone.png", 9, 9, 9)])[0] == Share("0", 3, 1, 2)


def test_each_reason_has_its_rates_before_and_after_also_of_images_that_chose_nothing(explained, monkeypatch):
    given, held = explained, ("night/night_00.png", "night/night_01.png")
    monkeypatch.setattr(result, "held_out_among", lambda _, root, paths: np.isin(paths, held))
    answers = [row.split(",")[:3] for row in given.table.read_text().splitlines()[1:]]
    right_now = {f"night/night_{i:02d}.png" for i in (1, 5, 6, 7)}
    for name, predicted in (("before.csv", 2), ("after.csv", 1)):
        lines = (f"{row[0]},{row[predicted if row[0] in right_now else 2]}" for row in answers)
        (given.out.parent / name).write_text("\n".join(["image,predicted", *lines]))
    tables = given.out.parent / "before.csv", given.out.parent / "after.csv"
    result.compare_answers(*tables, given.test, given.out)
    night, *rccs = shares_by_reason(Analysis(given.out).listed, load_retraining(given.out))
    assert night[0].title == "label = night"
    assert night[1][1:] == (10, 0, 3)
    assert night[2] is not None
    assert night[2][1:] == (2, 0, 1)
    [(looks, share, apart)] = rccs
    assert (looks.title, share.images, apart) == ("RCC 1", looks.figures[0], None)
    assert share.images > 8, "right images that look like its own count as well"
