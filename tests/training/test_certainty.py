"""How sure an improvement is: textbook values, calibration, and sets of images that say little."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, multinomial, t

from safe_dnn.training.before_after import ByGroup, Counts, GroupCount, Share
from safe_dnn.training.certainty import (
    BETTER,
    LEVEL,
    NOT_SHOWN,
    certainties,
    certainty,
    class_lines,
    clustered,
    difference_interval,
    in_words,
    lost_in_words,
    mcnemar,
    p_text,
    what_is_missing,
    with_intervals,
)


def all_outcomes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Every possible number of improved and worsened images among n."""
    improved, worsened = (grid.ravel() for grid in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    possible = improved + worsened <= n
    return improved[possible], worsened[possible]


# --- The test and the interval ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("improved", "worsened"), [(12, 2), (1, 7), (6, 0), (5, 0), (0, 5), (9, 9), (1000, 900)])
def test_p_is_that_of_the_exact_sign_test(improved, worsened):
    p = mcnemar(np.array([improved]), np.array([worsened]))[0]
    assert p == pytest.approx(binomtest(improved, improved + worsened).pvalue)


@pytest.mark.parametrize("n", [1, 2, 7, 30, 80])
def test_the_interval_has_the_gain_and_contains_0_exactly_if_the_test_does_not_reject(n):
    improved, worsened = all_outcomes(n)
    low, high = difference_interval(np.full(len(improved), n), improved, worsened)
    gain = (improved - worsened) / n
    assert ((low <= gain) & (gain <= high) & (low >= -1) & (high <= 1)).all()
    assert (((low <= 0) & (high >= 0)) == (mcnemar(improved, worsened) >= LEVEL)).all()
    mirrored_low, mirrored_high = difference_interval(np.full(len(improved), n), worsened, improved)
    np.testing.assert_allclose([mirrored_low, mirrored_high], [-high, -low], atol=1e-9)


# --- Calibration ------------------------------------------------------------------------------------------------

RATES = [(0.01, 0.01), (0.05, 0.05), (0.25, 0.25), (0.05, 0.01), (0.2, 0.02), (0.4, 0.1), (0.02, 0.15), (0.6, 0.0)]


@pytest.mark.parametrize(("n", "rates"), list(itertools.product([1, 10, 30, 60, 100], RATES)))
def test_the_interval_holds_the_true_difference_in_94_percent_of_draws(n, rates):
    improved, worsened = all_outcomes(n)
    low, high = difference_interval(np.full(len(improved), n), improved, worsened)
    draws = np.stack([improved, worsened, n - improved - worsened], axis=1)
    chance = multinomial.pmf(draws, n, [*rates, 1 - sum(rates)])
    true = rates[0] - rates[1]
    assert chance.sum() == pytest.approx(1)
    assert chance[(low <= true) & (true <= high)].sum() >= 0.94


@pytest.mark.parametrize("n", [100, pytest.param(400, marks=pytest.mark.slow)])
def test_of_many_classes_of_equal_models_none_differs_in_95_percent_of_draws(n):
    rng = np.random.default_rng(6)
    alone = together = 0
    for _ in range(n):
        draws = rng.multinomial(150, [0.6, 0.1, 0.1, 0.2], size=30)
        groups = [Counts(150, int(a + c), int(b), int(c)) for a, b, c, _ in draws]
        together += any(one.verdict != NOT_SHOWN for one in certainties(groups))
        alone += bool((mcnemar(draws[:, 1], draws[:, 2]) < LEVEL).any())
    assert together <= 0.05 * n
    assert alone > 0.3 * n  # what the correction is for


# --- Images that are not independent ----------------------------------------------------------------------------


def by_person(images, improved, worsened, label="") -> ByGroup:
    """The counts of each person, who gets half of the images right before."""
    rows = zip(*(np.asarray(column).tolist() for column in (images, improved, worsened)), strict=True)
    counts = (GroupCount(i, label, n, max(n // 2, c), b, c) for i, (n, b, c) in enumerate(rows))
    return ByGroup("person", tuple(counts))


def certainty_by_person(images, improved, worsened):
    persons = by_person(images, improved, worsened)
    return certainty(Counts(*map(sum, zip(*(row[2:] for row in persons.counts), strict=True))), persons)


def test_the_interval_of_a_class_is_of_as_many_images_as_its_persons_are_worth():
    """Of each of ten persons, all 20 images are right after the retraining, or none."""
    persons = by_person([20] * 10, [10, 0] * 5, [0, 10] * 5, "0")
    ((_, (low, high)),) = with_intervals([Share("0", 200, 100, 100)], persons)
    of_ten = binomtest(5, 10).proportion_ci()
    assert low < of_ten.low
    assert high > of_ten.high


def drawn_by_person(rng, sizes, correlation, gain=0.0):
    """15 % of each person's images change on average; a person's share of improved ones is drawn for the person."""
    better = 0.5 + gain / 0.3
    spread = (1 - correlation) / correlation if correlation else 1e6
    changes = rng.binomial(sizes // 2, 2 * rng.beta(3, 17, len(sizes)).clip(0, 0.5))
    improved = rng.binomial(changes, rng.beta(better * spread, (1 - better) * spread, len(sizes)))
    return improved, changes - improved


SIZES = {
    "equal": lambda rng, n: np.full(n, 40),
    "unequal": lambda rng, n: np.maximum(2, rng.lognormal(3.3, 1, n).astype(int)),
    "half of one": lambda rng, n: np.r_[40 * n, np.full(n - 1, 40)],
}  # fmt: skip


@pytest.mark.parametrize("n_persons", [4, 18, 40])
@pytest.mark.parametrize("sizes", SIZES)
def test_of_answers_that_are_shuffled_within_persons_at_most_5_percent_are_said_to_differ(sizes, n_persons):
    """Up to 80 % are if images count as independent."""
    rng = np.random.default_rng(n_persons)
    wrong, alone, draws = 0, 0, 300
    for correlation in np.repeat([0.0, 0.1, 0.4], draws // 3).tolist():
        images = SIZES[sizes](rng, n_persons)
        improved, worsened = drawn_by_person(rng, images, correlation)
        p = float(mcnemar(improved.sum(), worsened.sum()))
        alone += p < LEVEL
        wrong += max(p, clustered(np.column_stack([images, images, improved, worsened]))[0]) < LEVEL
    assert wrong <= 0.05 * draws
    assert alone > 0.1 * draws


@pytest.mark.parametrize("sizes", SIZES)
def test_the_interval_holds_the_gain_on_other_persons(sizes):
    rng, held = np.random.default_rng(1), []
    for correlation in [0.0, 0.1, 0.4] * 40:
        images = SIZES[sizes](rng, 25)
        sure = certainty_by_person(images, *drawn_by_person(rng, images, correlation, gain=0.06))
        held.append(sure.low <= 0.06 <= sure.high)
    assert np.mean(held) >= 0.93


def test_a_gain_of_one_person_is_not_shown_and_what_is_missing_are_persons():
    sure = certainty_by_person([50] * 8, [25, 2, 1, 2, 1, 2, 1, 2], [0, 2, 2, 1, 2, 1, 2, 1])
    assert certainty(sure.counts).verdict == BETTER
    assert sure.verdict == NOT_SHOWN
    assert sure.low <= 0 < sure.high
    assert in_words(sure).endswith("8 persons differ too much from each other; more of them might show it")


def test_the_test_is_the_ratio_of_sums_with_the_variance_of_leaving_out_each_group():
    groups = np.array([[10, 5, 4, 1], [20, 10, 3, 3], [30, 10, 9, 2]])
    gain = np.array([(3 + 0 + 7) / 60])
    without = np.array([7 / 50, 10 / 40, 3 / 30])
    error = np.sqrt(2 / 3 * ((without - gain) ** 2).sum())
    degrees = 60**2 / (100 + 400 + 900) - 1
    p, low, high = clustered(groups)
    assert p == pytest.approx(2 * t.sf(gain[0] / error, degrees))
    assert [low, high] == pytest.approx(
        [gain[0] - t.isf(0.025, degrees) * error, gain[0] + t.isf(0.025, degrees) * error]
    )


def test_groups_never_add_a_verdict_and_images_of_a_group_each_are_independent():
    # All persons gain exactly alike: without the images' own test, nothing would be left to doubt.
    assert certainty_by_person([10] * 2, [2, 2], [0, 0]).verdict == NOT_SHOWN
    alone = certainty_by_person([1] * 40, [1] * 12 + [0] * 28, [0] * 20 + [1] * 2 + [0] * 18)
    assert alone[:-2] == certainty(alone.counts)[:-2]
    assert certainty_by_person([40], [12], [2])[:-1] == certainty(Counts(40, 20, 12, 2))[:-1]


# --- Verdicts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "missing"),
    [
        (Counts(9, 0, 0, 0), "both are right on the same test images"),
        (
            Counts(9, 4, 5, 0),
            "the networks differ on 5 test images; the second one is right on 5, and fewer than 6 cannot show anything",
        ),
        (Counts(37, 18, 14, 6), "the networks differ on 20 test images; the second one is right on 14"),
    ],
)
def test_what_is_not_shown_says_why(counts, missing):
    sure = certainty(counts)
    assert sure.verdict == NOT_SHOWN
    assert sure.low <= 0 <= sure.high
    assert what_is_missing(sure) == missing
    assert in_words(sure).endswith(missing)


def test_without_images_nothing_is_known():
    sure = certainty(Counts(0, 0, 0, 0))
    assert (sure.gain, sure.low, sure.high, sure.p, sure.verdict) == (0, -1, 1, 1, NOT_SHOWN)
    assert lost_in_words(sure) == ""
    assert certainties([]) == []


# --- Classes ----------------------------------------------------------------------------------------------------


def test_a_class_is_worse_only_after_the_correction_and_said_by_name():
    names = ["stop", "go", "turn"]
    clear = certainties([Counts(100, 80, 0, 20), Counts(100, 80, 10, 10), Counts(0, 0, 0, 0)])
    assert clear[0].p == pytest.approx(2 * 2 / 2**20)  # the class without images does not count
    worse = "Class stop: worse beyond doubt, -20.0 points (95% interval -29.4 to -12.9; p < .0001, corrected)"
    assert class_lines(names, clear) == ["Of 2 classes, none better and 1 worse beyond doubt", worse]
    assert class_lines(names[:1], clear[:1]) == []  # of a single class, the accuracy says the same
    borderline = certainties([Counts(100, 80, 0, 6), Counts(100, 80, 10, 10), Counts(50, 50, 0, 0)])
    assert class_lines(names, borderline) == ["Of 3 classes, none better and none worse beyond doubt"]
    many = certainties([*[Counts(100, 50, 10 + i, 0) for i in range(20)], Counts(100, 80, 0, 20)])
    lines = class_lines([*map(str, range(21))], many)
    assert [line.split(":")[0] for line in lines[1:]] == [f"Class {name}" for name in (20, 19, 18, 17, 16)]


@pytest.mark.parametrize(
    ("p", "text"), [(1, "p = 1"), (0.625, "p = .62"), (0.04996, "p = .04996"), (0.05, "p = .05"), (9e-5, "p < .0001")]
)
def test_p_is_not_rounded_across_the_level(p, text):
    assert p_text(p) == text
