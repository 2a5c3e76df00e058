"""Images that are not independent: the statistics by hand, and that a group's own rate is not taken for a reason."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, hypergeom

from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.spots.figures import (
    Groups,
    Tally,
    chance_of_excess,
    design_effect,
    effective_share,
    share_of,
    tally,
)
from safe_dnn.rccs.spots.rates import Rate, failure_rates
from safe_dnn.rccs.spots.weak_spots import WeakSpot, find_weak_spots
from safe_dnn.support.intervals import clopper_pearson
from tests.rccs.spots.test_rates import rates_of

MEASURED = ("brightness", "contrast", "hue_deg", "saturation")


# --- By hand ----------------------------------------------------------------------------------------------------


def test_the_correlation_is_that_of_an_analysis_of_variance():
    # 4 groups of 5, of which 0, 1, 2 and 5 are wrong: p = .4; between 5 (.16 + .04 + 0 + .36) / 3 = 2.8 / 3,
    # within (0 + .8 + 1.2 + 0) / 16 = .125; (2.8 / 3 − .125) / (2.8 / 3 + 4 · .125)
    told = Tally(np.full(4, 5), np.array([0, 1, 2, 5]))
    assert told.correlation == pytest.approx((2.8 / 3 - 0.125) / (2.8 / 3 + 0.5))
    assert told.chance == pytest.approx(0.0026, abs=0.001)  # F(3, 16) = 7.47
    assert Tally(np.full(4, 5), np.full(4, 2)).correlation == 0  # groups differ less than by chance
    assert Tally(np.full(4, 5), np.array([0, 0, 5, 5])).correlation == 1


def test_the_design_effect_is_that_of_a_difference_of_two_rates():
    told = Tally(np.array([10, 10, 20]), np.array([1, 2, 3]))
    held = np.array([[10, 0, 0], [5, 5, 10]])
    # The first group against the others: a = 1, −1/3 and −2/3. Half of each: a = 0.
    by_group = 0.7 + 0.3 * (1 + 1 / 9 + 4 / 9) / (1 / 10 + 1 / 30)
    assert design_effect(held, told, 0.3) == pytest.approx([by_group, 1.0])
    assert design_effect(held, told, 0.0).tolist() == [1.0, 1.0]
    assert design_effect(np.array([[0, 0, 0], [10, 10, 20]]), told, 0.3).tolist() == [1.0, 1.0]


def test_independent_images_are_compared_as_ever_at_half_the_error_rate():
    told = Tally(np.ones(100, int), np.r_[np.ones(30, int), np.zeros(70, int)])
    held = np.r_[np.ones(12, int), np.zeros(88, int)][None, :]
    assert chance_of_excess(held, np.array([12]), told, correlation=0.0) == pytest.approx(
        [2 * hypergeom.sf(11, 100, 30, 12)]
    )


def test_within_a_single_group_the_comparison_is_exact():
    told = Tally(np.array([40, 10]), np.array([20, 10]))  # all of the second group are wrong, which says nothing
    (chance,) = chance_of_excess(np.array([[15, 10]]), np.array([14 + 10]), told, correlation=1.0)
    assert chance == pytest.approx(2 * hypergeom.sf(13, 40, 20, 15))


@pytest.mark.parametrize("seed", range(6))
def test_the_sum_over_groups_is_as_likely_as_its_convolution(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 60, 18)
    told = Tally(sizes, rng.binomial(sizes, rng.beta(2, 8, 18)))
    held = rng.binomial(sizes, 0.3)
    exact = np.ones(1)
    for n, k, drawn in zip(sizes, told.wrong, held, strict=True):
        exact = np.convolve(exact, hypergeom.pmf(np.arange(drawn + 1), n, k, drawn))
    tail = np.cumsum(exact[::-1])[::-1]
    for level in (1e-2, 1e-4, 1e-6):
        seen = int(np.argmax(tail <= level))
        (chance,) = chance_of_excess(held[None, :], np.array([seen]), told, correlation=0.999)
        assert math.log10(chance / (2 * tail[seen])) == pytest.approx(0, abs=0.3)


def test_the_interval_is_that_of_the_effective_number_of_images():
    # 3 groups of 20: 1 + .25 · 19 = 5.75; Student's t for 59 degrees is 2.001, for 2 degrees 4.303
    three, alike = np.array([[20, 20, 20]]), np.array([[5, 5, 5]])
    of_groups = (2.0010 / 4.3027) ** 2
    assert effective_share(three, alike, 0.25) == pytest.approx([of_groups / 5.75], rel=1e-3)
    # Where the condition holds, groups differ more: all wrong, all wrong and all right
    assert effective_share(three, np.array([[20, 20, 0]]), 0.25) == pytest.approx([of_groups / 20], rel=1e-3)
    single = effective_share(np.array([[0, 60, 0], [1, 1, 0]]), np.array([[0, 9, 0], [1, 0, 0]]), 0.25)
    assert single.tolist() == pytest.approx([1.0, 1.0])
    assert effective_share(three, alike, 0.0).tolist() == [1.0]
    low, high = clopper_pearson(np.array([0.0, 2.5, 4.0]), np.array([4.0, 5.0, 4.0]))
    assert (low[0], high[2]) == (0, 1)
    assert 0 < low[1] < 0.5 < high[1] < 1


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.4])
def test_intervals_hold_the_rate_of_other_persons(correlation):
    """Of a condition that was not chosen. Those of independent images hold it in 44 % of runs where ρ is .4."""
    held = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        groups = Groups("person", np.repeat(np.arange(15), rng.integers(20, 130, 15)))
        wrong = rng.random(len(groups.of)) < failing(groups, correlation, rng)
        holds = rng.random(len(groups.of)) < 0.3
        share = np.array([share_of(groups.of[holds], wrong[holds], tally(groups.of, wrong).correlation)])
        low, high = clopper_pearson(share * np.count_nonzero(wrong & holds), share * np.count_nonzero(holds))
        held.append(low[0] <= 0.2 <= high[0])
    assert np.mean(held) > 0.93


# --- Weak spots -------------------------------------------------------------------------------------------------


def people(rng: np.random.Generator, n_persons: int) -> tuple[dict[str, np.ndarray], Groups]:
    """About 75 images of each person; what is measured in them depends on the person, as in real images."""
    person = np.repeat(np.arange(n_persons), rng.integers(30, 120, n_persons))
    n = len(person)

    def of_person(low: float, high: float, spread: float) -> np.ndarray:
        return rng.uniform(low, high, n_persons)[person] + rng.normal(0, spread, n)

    glasses = (rng.permutation(n_persons) < 0.4 * n_persons)[person]
    columns = {
        "person": np.array([f"p{i:02d}" for i in person]), "label": rng.choice(["left", "centre", "right"], n),
        "glasses": np.where(glasses, "yes", "no"), "head_deg": rng.normal(0, 20, n), "distance": of_person(50, 70, 3),
        "brightness": of_person(0.3, 0.6, 0.05), "contrast": of_person(0.2, 0.3, 0.03),
        "hue_deg": of_person(0, 40, 8) % 360, "saturation": of_person(0.2, 0.6, 0.04),
    }  # fmt: skip
    return columns, Groups("person", person, "person")


def failing(groups: Groups, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """The probability of failing of each image: that of its person, from a beta distribution with mean .2."""
    n = int(groups.of.max()) + 1
    parts = 1 / correlation - 1 if correlation else 0
    return rng.beta(0.2 * parts, 0.8 * parts, n)[groups.of] if correlation else np.full(len(groups.of), 0.2)


def columns_of(spots: list[WeakSpot]) -> list[list[str]]:
    return [[literal.column for literal in spot.literals] for spot in spots]


def run(seed: int, correlation: float, *, more: float = 0, at: str = "", n_persons: int = 18) -> list[WeakSpot]:
    """The weak spots where failing depends on the person alone or, in addition, on a condition."""
    rng = np.random.default_rng(seed)
    columns, groups = people(rng, n_persons)
    holds = {"": False, "head_deg": np.abs(columns["head_deg"]) > 25, "glasses": columns["glasses"] == "yes"}[at]
    wrong = rng.random(len(groups.of)) < failing(groups, correlation, rng) + more * holds
    return find_weak_spots(columns, wrong, measured=MEASURED, groups=groups)


@pytest.mark.parametrize("correlation", [0.1, 0.4])
def test_where_only_the_person_matters_no_other_weak_spot_is_found(correlation):
    found = [columns_of(run(seed, correlation)) for seed in range(8)]
    assert all(each == ["person"] for spots in found for each in spots)


def test_a_person_is_a_weak_spot_whose_images_are_independent():
    rng = np.random.default_rng(0)
    columns, groups = people(rng, 18)
    wrong = rng.random(len(groups.of)) < np.where(groups.of == 3, 0.6, 0.1)
    (spot,) = find_weak_spots(columns, wrong, measured=MEASURED, groups=groups)
    assert (spot.where, spot.figures.groups, spot.figures.group) == ("person = p03", 1, "person")
    exact = binomtest(spot.figures.wrong, spot.figures.tested).proportion_ci(0.95, "exact")
    assert (spot.figures.low, spot.figures.high) == pytest.approx((exact.low, exact.high))


def test_what_varies_within_persons_is_found_and_its_interval_is_wider():
    rng = np.random.default_rng(1)
    columns, groups = people(rng, 18)
    wrong = rng.random(len(groups.of)) < failing(groups, 0.1, rng) + 0.4 * (np.abs(columns["head_deg"]) > 25)
    spots = find_weak_spots(columns, wrong, measured=MEASURED, groups=groups)
    turned = [spot for spot in spots if spot.literals[0].column == "head_deg"]
    assert turned
    assert all(spot.figures.groups == 18 and "(of 18 persons)" in spot.text for spot in turned)
    exact = binomtest(turned[0].figures.wrong, turned[0].figures.tested).proportion_ci(0.95, "exact")
    assert turned[0].figures.low < exact.low < exact.high < turned[0].figures.high


# --- RCCs -------------------------------------------------------------------------------------------------------


def rates_by(held: list[tuple[int, int, int, int]], *, grouped: bool) -> tuple[Rate, ...]:
    """Rates of regions: RCC, group, wrong images and right ones of each part of the test set."""
    rccs, of, wrong, right = (np.array(column) for column in zip(*held, strict=True))
    failing_rccs, right_rccs = np.repeat(rccs, wrong), np.repeat(rccs, right)
    groups = Groups("person", np.concatenate([np.repeat(of, wrong), np.repeat(of, right)]), "person")
    return failure_rates(
        failing_rccs, right_rccs, int(rccs.max()) + 1, labels=failing_rccs, groups=groups if grouped else None
    )


def test_an_rcc_of_few_persons_who_fail_often_anyway_is_not_said_to_fail_more_often():
    # Two of eight persons fail on half of their images, wherever these lie
    held = [(0, person, 20, 20) for person in (0, 1)] + [(NOISE, person, 4, 36) for person in range(2, 8)]
    held += [(NOISE, person, 20, 20) for person in (0, 1)]
    (plain,), (rate,) = rates_by(held, grouped=False), rates_by(held, grouped=True)
    assert (plain.verdict, rate.verdict) == ("more", "too few")
    assert (rate.figures.groups, rate.figures.group) == (2, "person")
    assert rate.figures.low < plain.figures.low < plain.figures.high < rate.figures.high
    assert (rate.figures.tested, rate.figures.wrong, rate.elsewhere) == (
        plain.figures.tested,
        plain.figures.wrong,
        plain.elsewhere,
    )


def test_an_rcc_of_one_person_stands_for_this_person():
    held = [(0, 3, 30, 10), (0, 2, 3, 1)] + [(NOISE, person, 5, 50) for person in range(8)]
    (rate,), (plain,) = rates_by(held, grouped=True), rates_by(held, grouped=False)
    assert (rate.verdict, rate.figures.groups) == ("more", 1)
    assert (rate.figures.low, rate.figures.high) == (plain.figures.low, plain.figures.high)
    assert "(nearly all of one person)" in rate.in_words()


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.4])
def test_an_rcc_of_several_persons_is_rarely_said_to_fail_more_often_where_only_the_person_matters(correlation):
    """Three persons each look alike, of 18, so that RCCs are of three."""
    false = alone = 0
    person = np.repeat(np.arange(18), 50)
    for seed in range(200):
        rng, groups = np.random.default_rng(seed), Groups("person", person, "person")
        looks = rng.normal(0, 1, (6, 48))[person // 3]
        features = np.exp(looks + rng.normal(0, 0.25, (len(person), 48))).astype(np.float32)
        wrong = rng.random(len(person)) < failing(groups, correlation, rng)
        false += any(
            rate.verdict == "more" and rate.figures.groups != 1 for rate in rates_of(features, wrong, groups)[0]
        )
        if correlation == 0.4 and seed < 50:
            alone += any(rate.verdict == "more" for rate in rates_of(features, wrong)[0])
    assert false <= 16
    assert alone > 25 or correlation < 0.4  # as many are found then if images count as independent
