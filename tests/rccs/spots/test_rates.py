import math

import numpy as np
import pytest

from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.dbscan.projection import average_neighbours, fit_projection
from safe_dnn.rccs.dbscan.tuning import tune
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.rccs.spots.rates import (
    COLUMNS,
    LEVEL,
    Placed,
    Rate,
    among_failing,
    failure_rates,
    nearest_failing,
    rates_text,
    regions,
)
from tests.helpers.spots import figures_of

EXTRACTOR = "vgg16-fc2"  # features of any dimension


def placed(failing: np.ndarray, labels: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The regions of failing and of right images."""
    of_failing, of_right = nearest_failing(failing, right)
    return regions(of_failing, labels), regions(of_right, labels)


def line(*places: float) -> np.ndarray:
    """Points on a line."""
    return np.array(places, dtype=np.float32).reshape(-1, 1)


def rates_for(tested: list[int], wrong: list[int], *, outside: tuple[int, int] = (0, 0)) -> tuple[Rate, ...]:
    """Rates of regions with so many tested images, of which so many are wrong, and the same for the images outside."""
    rccs = [*range(len(tested)), NOISE]
    wrong = [*wrong, outside[1]]
    right = [n - k for n, k in zip([*tested, outside[0]], wrong, strict=True)]
    labels = np.repeat(rccs, wrong)
    return failure_rates(labels, np.repeat(rccs, right), len(tested), labels=labels)


def groups_of(rng: np.random.Generator, sizes: list[int], *, dimension: int = 48, inner: int = 4) -> np.ndarray:
    """Features of groups of images that look alike, each of which varies in a few directions of its own."""
    blocks = []
    for size in sizes:
        middle = rng.normal(0, 1, dimension)
        directions = rng.normal(0, 0.25, (inner, dimension))
        blocks.append(middle + rng.normal(size=(size, inner)) @ directions + rng.normal(0, 0.1, (size, dimension)))
    return np.exp(np.concatenate(blocks)).astype(np.float32)


def rates_of(
    features: np.ndarray, wrong: np.ndarray, groups: Groups | None = None
) -> tuple[tuple[Rate, ...], np.ndarray]:
    """The rates of RCCs that are found among wrong images as `clustering.py` finds them, and the RCCs' labels."""
    projection, _ = fit_projection(features[wrong], EXTRACTOR)
    points = projection.apply(features[wrong])
    averaged = average_neighbours(points)
    labels = tune(averaged, original=points, averaged=averaged).labels
    of_failing, of_right = placed(points, labels, projection.apply(features[~wrong]))
    n_rccs = int(labels.max(initial=NOISE)) + 1
    if groups:
        groups = groups.taken(np.r_[np.flatnonzero(wrong), np.flatnonzero(~wrong)])
    return failure_rates(of_failing, of_right, n_rccs, labels=labels, groups=groups), labels


# --- Regions ----------------------------------------------------------------------------------------------------


def test_an_image_lies_in_a_region_only_if_two_of_the_five_around_it_fail_whatever_it_does_itself():
    points = np.repeat(line(0, 9, 18), 6, axis=0) + np.tile(line(0.0, 0.1, 0.2, 0.3, 0.4, 0.5), (3, 1))
    wrong = np.array([1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0], bool)
    images = Placed(points, np.zeros(18, int), np.arange(18))
    among = among_failing(images, images, wrong)
    of_two = [False] * 2 + [True] * 4  # a failing one has only one other that fails
    assert among.tolist() == [*of_two, *[False] * 6, *[True] * 6]
    new = Placed(line(0.2, 9.2, 40), np.array([0, 0, 1]), np.full(3, -1))
    assert among_failing(new, images, wrong).tolist() == [True, False, True]  # nothing is known of the last one's class


def test_images_of_another_class_or_of_the_same_group_do_not_tell_whether_one_lies_in_a_region():
    points, wrong = line(*np.arange(24) / 10), np.arange(24) % 2 == 0
    alone = np.arange(24)
    assert among_failing(*[Placed(points, alone * 0, alone)] * 2, wrong).all()
    by_class = among_failing(*[Placed(points, alone % 2, alone)] * 2, wrong)
    assert np.array_equal(by_class, wrong)  # all of one class fail
    both, of_class = np.concatenate([points, points]), np.repeat([0, 1], 24)
    persons = Placed(both, of_class, np.concatenate([alone // 12, alone + 24]))  # and all of the other class fail
    among = among_failing(persons, persons, (np.arange(48) < 12) | (of_class == 1))
    assert np.array_equal(among, np.arange(48) >= 12)


def test_the_region_of_the_only_rcc_is_not_the_whole_test_set():
    rng = np.random.default_rng(0)
    failing, right = rng.normal(0, 1, (50, 4)), rng.normal(6, 1, (600, 4))
    every = Placed(np.concatenate([failing, right]), np.zeros(650, int), np.arange(650))
    nearest = np.concatenate(nearest_failing(failing, right))
    labels = np.zeros(50, int)
    (rate,) = failure_rates(*np.split(regions(nearest, labels), [50]), 1, labels=labels)
    assert (rate.figures.tested, rate.verdict) == (650, "too few")
    nearest[~among_failing(every, every, np.arange(650) < 50)] = NOISE
    (rate,) = failure_rates(*np.split(regions(nearest, labels), [50]), 1, labels=labels)
    assert (rate.figures.tested, rate.figures.wrong, rate.verdict) == (50, 50, "more")


def test_regions_agree_with_a_search_image_by_image():
    rng = np.random.default_rng(3)
    failing, right = rng.normal(size=(40, 5)).astype(np.float32), rng.normal(size=(130, 5)).astype(np.float32)
    labels = rng.integers(-1, 4, 40)
    points = np.concatenate([failing, right]).astype(float)
    expected = []
    for i, point in enumerate(points):
        _, nearest = min((math.dist(point, other), j) for j, other in enumerate(points[:40]) if j != i)
        expected.append(labels[nearest])
    of_failing, of_right = placed(failing, labels, right)
    assert [*of_failing, *of_right] == expected


@pytest.mark.parametrize(("n_failing", "n_right"), [(0, 0), (0, 3), (1, 0), (2, 0)])
def test_regions_of_hardly_any_images_are_defined(n_failing, n_right):
    of_failing, of_right = placed(np.zeros((n_failing, 2)), np.zeros(n_failing, int), np.ones((n_right, 2)))
    assert of_failing.tolist() == [0 if n_failing > 1 else NOISE] * n_failing
    assert of_right.tolist() == [NOISE] * n_right


# --- Calibration and power --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "share", "dimension", "most"),
    [([12] * 40, 0.2, 48, 1), ([6] * 80, 0.3, 300, 3)],
    ids=["small-groups", "tiny-groups"],
)
def test_no_rcc_fails_more_often_if_right_and_wrong_are_dealt_out_at_random(sizes, share, dimension, most):
    """In at least 95 % of 20 times. Tiny groups are the hardest, and at the limit: 2 of 20, and 2 of 40.

    Without `DEFINING` it would be 5 of 20, and with images of other RCCs as evidence 11.
    """
    features = groups_of(np.random.default_rng(7), sizes, dimension=dimension, inner=4 if dimension < 300 else 5)
    n = len(features)
    found, holds = 0, []
    for seed in range(20):
        wrong = np.zeros(n, bool)
        wrong[np.random.default_rng(seed).permutation(n)[: round(share * n)]] = True
        rates, _ = rates_of(features, wrong)
        found += any(rate.verdict == "more" for rate in rates)
        holds += [rate.figures.low <= wrong.mean() <= rate.figures.high for rate in rates if rate.figures.tested]
    assert len(holds) >= 20
    assert found <= most
    assert np.mean(holds) >= 0.95


def test_reasons_are_told_from_looks():
    """Six groups of images that look alike: the DNN fails on most of two of them, and on a fifth of each other one."""
    rng = np.random.default_rng(11)
    sizes = [60, 60, 150, 150, 150, 150]
    features, group = groups_of(rng, sizes), np.repeat(np.arange(6), sizes)
    wrong = rng.random(len(group)) < np.where(group < 2, 0.8, 0.2)
    rates, labels = rates_of(features, wrong)
    verdicts: dict[int, list[str]] = {}
    for rate in rates:
        verdicts.setdefault(int(np.bincount(group[wrong][labels == rate.rcc]).argmax()), []).append(rate.verdict)
    assert verdicts.keys() == set(range(6))
    assert {verdict for of_group in (0, 1) for verdict in verdicts[of_group]} == {"more"}
    assert "more" not in {verdict for of_group in range(2, 6) for verdict in verdicts[of_group]}


# --- Rates ------------------------------------------------------------------------------------------------------


def test_p_is_counted_by_hand():
    """Two of the wrong images are no evidence. Of the other 8, 4 in the region are wrong: one of C(8, 4) = 70 ways."""
    (rate,) = rates_for([6], [6], outside=(4, 0))
    assert rate.figures.p == pytest.approx(1 / 70)
    assert (rate.verdict, rate.figures.rate, rate.elsewhere) == ("more", 1.0, 0.0)
    assert rate.figures.expected == pytest.approx(0, abs=1e-3)
    assert (rate.figures.low, rate.figures.high) == (pytest.approx(0.025**0.25), 1.0)


def test_p_is_corrected_for_the_number_of_rccs():
    first, *others = rates_for([6, 1, 1, 1], [6, 0, 0, 0], outside=(1, 0))
    assert first.figures.p == pytest.approx(4 / 70)
    assert first.verdict == "too few"
    assert [(rate.figures.p, rate.verdict) for rate in others] == [(1.0, "too few")] * 3


def test_images_that_define_an_rcc_are_no_evidence_of_a_rate():
    (rate,) = rates_for([3], [3], outside=(500, 100))
    assert (rate.figures.rate, rate.verdict) == (1.0, "too few")
    assert rate.figures.low == pytest.approx(0.025)
    assert rate.figures.p == pytest.approx(101 / 501, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_a_verdict_never_contradicts_the_rate_of_all_other_images(seed):
    rng = np.random.default_rng(seed)
    tested = rng.integers(3, 300, 12)
    wrong = rng.binomial(tested, rng.uniform(0, 1, 12))
    rates = rates_for(tested.tolist(), wrong.tolist(), outside=(200, 20))
    for rate, n, k in zip(rates, tested, wrong, strict=True):
        assert rate.elsewhere == pytest.approx((wrong.sum() + 20 - k) / (tested.sum() + 200 - n))
        assert rate.verdict != "more" or rate.figures.rate > rate.elsewhere
        assert rate.verdict != "less" or rate.figures.rate < rate.elsewhere
    assert {"more", "less"} <= {rate.verdict for rate in rates}


def test_rates_like_elsewhere_and_below_it_are_called_so():
    usual, rare, unknown = rates_for([200, 200, 3], [40, 10, 1], outside=(500, 100))
    assert (usual.verdict, rare.verdict, unknown.verdict) == ("as often", "less", "too few")
    assert rare.figures.p < LEVEL
    assert rare.figures.high < rare.elsewhere
    assert usual.elsewhere == pytest.approx((10 + 1 + 100) / 703)


# --- Text and file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (
            Rate(0, figures_of(41, 32, 0.62, 0.89, expected=0.15, p=1e-9), 0.15, "more"),
            "Fails more often than expected: 78% of 41 tested images like these are wrong (62–89%), 15% expected "
            "without it.",
        ),
        (
            Rate(0, figures_of(1034, 114, 0.092, 0.131, expected=0.188, p=1e-9), 0.188, "less"),
            "These images look alike, but the network fails on them less often than expected (11%, 19% expected "
            "without it).",
        ),
        (
            Rate(0, figures_of(100, 35, 0.26, 0.45, expected=0.36, p=1.0), 0.36, "as often"),
            "These images look alike, but the network does not clearly fail on them more often than expected "
            "(35%, 36% expected without it).",
        ),
        (
            Rate(0, figures_of(2223, 178, 0.07, 0.09, expected=0.001, p=1.0), 0.001, "too few"),
            "Appearance alone does not decide: of 2,223 tested images like these, 178 are wrong, 0.1% expected "
            "without it.",
        ),
        (
            Rate(0, figures_of(3, 1, 0.01, 0.91, expected=0.998, p=1.0), 0.998, "too few"),
            "Too few tested images to be sure: of 3 tested images like these, 1 is wrong, 99.8% expected without it.",
        ),
        (
            Rate(0, figures_of(0, 0, 0, 1, expected=0.2, p=1.0), 0.2, "too few"),
            "No other tested image looks like these: nothing to compare.",
        ),
    ],
)
def test_the_rate_is_said_in_plain_words(rate, text):
    assert rate.in_words() == text


def test_the_table_has_a_row_per_rcc_and_empty_cells_for_what_is_undefined():
    rates = rates_for([250, 100, 0, 3], [230, 30, 0, 1], outside=(600, 30))
    header, _, _, empty, _ = rates_text(rates).splitlines()
    assert (
        header
        == ",".join(COLUMNS)
        == (
            "rcc,tested,wrong,rate,low,high,expected,expected_low,expected_high,excess,excess_low,excess_high,elsewhere,p,"
            "verdict,groups,group"
        )
    )
    assert empty.startswith("2,0,0,,0.0,1.0,")


def test_a_region_is_compared_with_images_of_its_classes_of_which_the_same_other_reasons_hold():
    """Half of the images at night fail whatever they look like, and most of the region's images are at night."""
    rng = np.random.default_rng(0)
    n = 2000
    night, here = rng.random(n) < 0.3, rng.random(n) < 0.1
    here[night] = rng.random(night.sum()) < 0.3
    wrong = rng.random(n) < np.where(night, 0.5, 0.02)
    order = np.argsort(~wrong, kind="stable")
    n_wrong, rccs = int(wrong.sum()), np.where(here, 0, NOISE)[order]
    of_both = np.split(rccs, [n_wrong])
    (all_images,) = failure_rates(*of_both, 1, labels=of_both[0])
    (like,) = failure_rates(*of_both, 1, labels=of_both[0], spots=night[order][None], others=[{0}])
    (of_class,) = failure_rates(*of_both, 1, labels=of_both[0], classes=night[order].astype(int))
    assert all_images.verdict == "more"
    assert like.verdict != "more"
    assert of_class.verdict != "more"
    assert like.figures[:2] == all_images.figures[:2], "all of its images are counted"
    by_night = [wrong[~here & (night == at)].mean() for at in (False, True)]
    of_region = np.average(by_night, weights=np.bincount(night[here]))
    assert like.figures.expected == pytest.approx(of_region, abs=0.02)
    assert of_class.figures.expected == pytest.approx(of_region, abs=0.02)
