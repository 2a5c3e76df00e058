import math

import numpy as np
import pytest

from dbscan.outcome import NOISE
from dbscan.projection import fit_projection
from dbscan.relevance import average_neighbours
from dbscan.tuning import tune
from rccs.intervals import clopper_pearson
from rccs.rates import (
    COLUMNS,
    LEVEL,
    Rate,
    failure_rates,
    load_rates,
    nearest_failing,
    rates_text,
    regions,
)
from support.errors import SAFEError
from support.run_folder import RATES_FILE

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


def rates_of(features: np.ndarray, wrong: np.ndarray) -> tuple[tuple[Rate, ...], np.ndarray]:
    """The rates of RCCs that are found among wrong images as `clustering.py` finds them, and the RCCs' labels."""
    projection, _ = fit_projection(features[wrong], EXTRACTOR)
    points = projection.apply(features[wrong])
    averaged = average_neighbours(points)
    labels = tune(averaged, original=points, averaged=averaged).labels
    of_failing, of_right = placed(points, labels, projection.apply(features[~wrong]))
    n_rccs = int(labels.max(initial=NOISE)) + 1
    return failure_rates(of_failing, of_right, n_rccs, labels=labels), labels


# --- Regions ----------------------------------------------------------------------------------------------------


def test_each_image_lies_in_the_region_of_the_nearest_other_failing_image():
    failing, labels = line(0, 1, 10, 11, 20), np.array([0, 0, 1, 1, NOISE])
    of_failing, of_right = placed(failing, labels, line(0.4, 9, 10.6, 19))
    assert of_right.tolist() == [0, 1, 1, NOISE]
    assert of_failing.tolist() == [0, 0, 1, 1, 1]  # the last one is placed by the fourth, not by itself


def test_the_only_failing_image_does_not_count_for_the_region_that_it_defines():
    of_failing, of_right = placed(line(0), np.array([0]), line(0.1, 5))
    assert of_failing.tolist() == [NOISE]
    assert of_right.tolist() == [0, 0]


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


def test_identical_images_are_in_one_region():
    of_failing, of_right = placed(np.zeros((6, 3)), np.zeros(6, int), np.zeros((4, 3)))
    assert of_failing.tolist() == [0] * 6
    assert of_right.tolist() == [0] * 4


@pytest.mark.parametrize(("n_failing", "n_right"), [(0, 0), (0, 3), (1, 0), (2, 0)])
def test_regions_of_hardly_any_images_are_defined(n_failing, n_right):
    of_failing, of_right = placed(np.zeros((n_failing, 2)), np.zeros(n_failing, int), np.ones((n_right, 2)))
    assert of_failing.tolist() == [0 if n_failing > 1 else NOISE] * n_failing
    assert of_right.tolist() == [NOISE] * n_right


# --- Calibration and power --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "share", "dimension", "most"),
    [([150, 120, 90, 60], 0.3, 48, 1), ([12] * 40, 0.2, 48, 1), ([6] * 80, 0.3, 300, 3), ([400], 0.5, 48, 1)],
    ids=["groups", "small-groups", "tiny-groups", "one-group"],
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
        holds += [rate.low <= wrong.mean() <= rate.high for rate in rates if rate.tested]
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


def test_the_interval_is_that_of_clopper_and_pearson():
    low, high = clopper_pearson(np.array([0, 5, 10, 0]), np.array([10, 10, 10, 0]))
    end = 0.025**0.1  # where 10 of 10 have a probability of 2.5 %
    assert low.tolist() == pytest.approx([0, 0.1871, end, 0], abs=1e-4)
    assert high.tolist() == pytest.approx([1 - end, 0.8129, 1, 1], abs=1e-4)


def test_p_is_counted_by_hand():
    """Two of the wrong images are no evidence. Of the other 8, 4 in the region are wrong: one of C(8, 4) = 70 ways."""
    (rate,) = rates_for([6], [6], outside=(4, 0))
    assert rate.p == pytest.approx(1 / 70)
    assert (rate.verdict, rate.rate, rate.elsewhere, rate.excess) == ("more", 1.0, 0.0, 6.0)
    assert (rate.low, rate.high) == (pytest.approx(0.025**0.25), 1.0)


def test_p_is_corrected_for_the_number_of_rccs():
    first, *others = rates_for([6, 1, 1, 1], [6, 0, 0, 0], outside=(1, 0))
    assert first.p == pytest.approx(4 / 70)
    assert first.verdict == "too few"
    assert [(rate.p, rate.verdict) for rate in others] == [(1.0, "too few")] * 3


def test_images_that_define_an_rcc_are_no_evidence_of_a_rate():
    (rate,) = rates_for([3], [3], outside=(500, 100))
    assert (rate.rate, rate.verdict) == (1.0, "too few")
    assert rate.low == pytest.approx(0.025)
    assert rate.p == pytest.approx(101 / 501)


def test_images_of_other_rccs_and_of_none_are_no_evidence_of_a_high_rate():
    labels = np.repeat([0, 1, NOISE], [20, 20, 60])
    of_right = np.repeat([0, 1, NOISE], [20, 20, 360])
    first, second = failure_rates(np.repeat([0, 1, NOISE], [20, 70, 10]), of_right, 2, labels=labels)
    assert (second.tested, second.wrong) == (90, 70)
    assert second.low == pytest.approx(first.low)
    assert second.high > first.high


def test_a_large_reason_does_not_hide_a_smaller_one():
    """30 % of RCC 1 are wrong, as among all images; but without RCC 0 only 5 % are."""
    large, small = rates_for([250, 100], [230, 30], outside=(600, 30))
    assert (large.verdict, small.verdict) == ("more", "more")
    assert large.elsewhere == small.elsewhere == pytest.approx(30 / 600)
    assert small.excess == pytest.approx(30 - 100 * 0.05)


def test_at_least_half_of_the_tested_images_remain_to_compare_with():
    """The region of the second RCC is not left out as well: only 300 of 1,000 images would remain."""
    clearest, second, third = rates_for([400, 300, 300], [360, 150, 20])
    assert (clearest.verdict, second.verdict, third.verdict) == ("more", "more", "less")
    assert clearest.elsewhere == pytest.approx((150 + 20) / 600)
    assert second.elsewhere == pytest.approx(20 / 300)
    assert third.elsewhere == pytest.approx(150 / 300)


def test_rates_like_elsewhere_and_below_it_are_called_so():
    usual, rare, unknown = rates_for([200, 200, 3], [40, 10, 1], outside=(500, 100))
    assert (usual.verdict, rare.verdict, unknown.verdict) == ("as often", "less", "too few")
    assert rare.p < LEVEL
    assert rare.high < rare.elsewhere
    assert usual.elsewhere == pytest.approx((10 + 1 + 100) / 703)


def test_twenty_tested_images_give_a_defined_answer():
    features = groups_of(np.random.default_rng(0), [10, 10])
    rates, labels = rates_of(features, np.arange(20) % 2 == 0)
    assert len(rates) == labels.max() + 1
    assert {rate.verdict for rate in rates} <= {"as often", "too few"}


@pytest.mark.parametrize("of_right", [np.full(5, NOISE), np.zeros(0, int)])
def test_without_rccs_there_are_no_rates(of_right):
    assert failure_rates(np.full(4, NOISE), of_right, 0, labels=np.full(4, NOISE)) == ()


def test_without_right_images_nothing_can_be_said():
    rates = rates_for([30, 20], [30, 20], outside=(5, 5))
    assert [(rate.rate, rate.elsewhere, rate.p, rate.verdict) for rate in rates] == [(1.0, 1.0, 1.0, "too few")] * 2


def test_a_region_of_all_tested_images_has_no_elsewhere():
    (rate,) = rates_for([50], [10])
    assert math.isnan(rate.elsewhere)
    assert (rate.excess, rate.verdict) == (0.0, "too few")
    assert "elsewhere" not in rate.text


# --- Text and file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (
            Rate(0, 41, 32, 0.62, 0.89, 0.15, 1e-9, "more"),
            "Fails more often than elsewhere: 78% of 41 tested images like these are wrong (62–89%), elsewhere 15%.",
        ),
        (
            Rate(0, 1034, 114, 0.092, 0.131, 0.188, 1e-9, "less"),
            "These images look alike, but the network fails on them less often than on others (11%, elsewhere 19%).",
        ),
        (
            Rate(0, 100, 35, 0.26, 0.45, 0.36, 1.0, "as often"),
            "These images look alike, but the network does not fail on them more often than on others "
            "(35%, elsewhere 36%).",
        ),
        (
            Rate(0, 3, 1, 0.01, 0.91, 0.998, 1.0, "too few"),
            "Too few tested images to be sure: of 3 tested images like these, 1 is wrong, elsewhere 99.8%.",
        ),
        (
            Rate(0, 1, 0, 0, 1, 0.001, 1.0, "too few"),
            "Too few tested images to be sure: of 1 tested image like these, none is wrong, elsewhere 0.1%.",
        ),
        (
            Rate(0, 2223, 178, 0.07, 0.09, 0.001, 1.0, "too few"),
            "Looks alone do not tell: of 2,223 tested images like these, 178 are wrong, elsewhere 0.1%.",
        ),
        (Rate(0, 0, 0, 0, 1, 0.2, 1.0, "too few"), "No other tested image looks like these: nothing to compare."),
    ],
)
def test_the_rate_is_said_in_plain_words(rate, text):
    assert rate.text == text


def test_rates_that_are_saved_are_loaded_again(tmp_path):
    rates = rates_for([250, 100, 0, 3], [230, 30, 0, 1], outside=(600, 30))
    (tmp_path / RATES_FILE).write_text(rates_text(rates), encoding="utf-8")
    assert load_rates(tmp_path) == rates
    header, _, _, empty, _ = rates_text(rates).splitlines()
    assert header == ",".join(COLUMNS) == "rcc,tested,wrong,rate,low,high,elsewhere,p,verdict"
    assert empty.startswith("2,0,0,,0.0,1.0,")


def test_an_unknown_rate_elsewhere_is_saved_as_an_empty_cell(tmp_path):
    (tmp_path / RATES_FILE).write_text(rates_text(rates_for([5], [2])), encoding="utf-8")
    assert math.isnan(load_rates(tmp_path)[0].elsewhere)


def test_without_the_file_there_are_no_rates(tmp_path):
    assert load_rates(tmp_path) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0,41,32", "0,31,32"),
        ("0,41,32", "1,41,32"),
        ("0,41,32", "0,many,32"),
        ("0.15", "1.5"),
        ("0.15", "inf"),
        ("0.62", "nan"),
        ("more", "mostly"),
        ("verdict", "opinion"),
        (",1e-09,more", ""),
        ("more", "\xff"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path, old, new):
    text = rates_text([Rate(0, 41, 32, 0.62, 0.89, 0.15, 1e-9, "more")])
    assert old in text
    (tmp_path / RATES_FILE).write_bytes(text.replace(old, new).encode("latin-1"))
    with pytest.raises(SAFEError, match=r"rcc_rates\.csv is damaged"):
        load_rates(tmp_path)
