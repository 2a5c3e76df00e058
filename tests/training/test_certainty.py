"""How sure an improvement is: textbook values, calibration, and sets of images that say little."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, binomtest, multinomial

from support.errors import SAFEError
from training.certainty import (
    BETTER,
    FEWEST,
    LEVEL,
    NOT_SHOWN,
    WORSE,
    Counts,
    certainties,
    certainty,
    class_lines,
    class_summary,
    count_classes,
    count_pairs,
    difference_interval,
    holm,
    in_words,
    least_to_show,
    lost_in_words,
    mcnemar,
    p_text,
    right_intervals,
    what_is_missing,
)
from training.comparison import Changed, Share


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


def test_p_of_a_textbook_is_reproduced():
    # Airways of 21 children before and after a transplantation, 7 and 1 discordant pairs: Fagerland, Lydersen, Laake,
    # Stat. Med. 33(16), 2014. Of the 2 ** 8 ways to toss 8 coins, 9 have at most one head.
    assert mcnemar(np.array([7]), np.array([1]))[0] == pytest.approx(2 * 9 / 2**8)


def test_without_the_correction_the_interval_is_tangos(monkeypatch):
    monkeypatch.setattr("training.certainty.CORRECTION", 0)
    # 50 pairs, 12 and 2 of them discordant; Tango's interval also in Newcombe, Stat. Med. 17(22), 1998
    low, high = difference_interval(np.array([50]), np.array([12]), np.array([2]))
    assert (low[0], high[0]) == (pytest.approx(0.0611, abs=5e-5), pytest.approx(0.3447, abs=5e-5))


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


@pytest.mark.parametrize(("n", "change"), [(6, 1.0), (20, 0.4), (40, 0.1)])
def test_of_two_equal_models_at_most_5_percent_of_draws_are_said_to_differ(n, change):
    improved, worsened = all_outcomes(n)
    said = np.array(
        [
            certainty(Counts(n, int(c), int(b), int(c))).verdict != NOT_SHOWN
            for b, c in zip(improved, worsened, strict=True)
        ]
    )
    draws = np.stack([improved, worsened, n - improved - worsened], axis=1)
    chance = multinomial.pmf(draws, n, [change / 2, change / 2, 1 - change])
    assert 0 < chance[said].sum() <= 0.05


@pytest.mark.parametrize("changes", [6, 17, 100, 201, 5000])
def test_of_as_many_changes_by_chance_at_most_5_percent_are_said_to_differ(changes):
    improved = np.arange(changes + 1)
    rejected = mcnemar(improved, changes - improved) < LEVEL
    assert 0.005 < binom.pmf(improved, changes, 0.5)[rejected].sum() <= 0.05


def test_of_many_classes_of_equal_models_none_differs_in_95_percent_of_draws():
    rng = np.random.default_rng(6)
    alone = together = 0
    for _ in range(400):
        draws = rng.multinomial(150, [0.6, 0.1, 0.1, 0.2], size=30)
        groups = [Counts(150, int(a + c), int(b), int(c)) for a, b, c, _ in draws]
        together += any(one.verdict != NOT_SHOWN for one in certainties(groups))
        alone += bool((mcnemar(draws[:, 1], draws[:, 2]) < LEVEL).any())
    assert together <= 0.05 * 400
    assert alone > 0.3 * 400  # what the correction is for


def test_holm_multiplies_each_p_by_the_number_of_those_that_are_left():
    corrected = holm(np.array([0.04, 0.01, 0.02, 0.9]))
    np.testing.assert_allclose(corrected, [0.08, 0.04, 0.06, 0.9])
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


# --- Verdicts ---------------------------------------------------------------------------------------------------


def test_pairs_are_counted():
    before = np.array([True, True, False, False, False])
    after = np.array([True, False, True, True, False])
    assert count_pairs(before, after) == Counts(images=5, right_before=2, improved=2, worsened=1)


def test_better_and_worse_are_said_with_the_interval():
    better = certainty(Counts(2400, 1824, 480, 38))
    assert better.verdict == BETTER
    assert in_words(better) == "Better beyond doubt: +18.4 points (95% interval 16.7 to 20.2; McNemar p < .0001)"
    worse = certainty(Counts(30, 20, 0, 9))
    assert worse.verdict == WORSE
    assert in_words(worse).startswith(
        "Worse beyond doubt: -30.0 points (95% interval -49.6 to -12.4; McNemar p = .0039)"
    )


@pytest.mark.parametrize(
    ("counts", "missing"),
    [
        (Counts(1, 0, 1, 0), "only 1 test image changed, and fewer than 6 cannot show anything"),
        (Counts(1, 1, 0, 0), "no test image changed"),
        (Counts(9, 0, 0, 0), "no test image changed"),
        (Counts(9, 4, 5, 0), "only 5 test images changed, and fewer than 6 cannot show anything"),
        (
            Counts(37, 18, 14, 6),
            "14 of the 20 test images that changed improved; at least 15 improved would show that it is better, at "
            "most 5 that it is worse",
        ),
    ],
)
def test_what_is_not_shown_says_what_it_would_take(counts, missing):
    sure = certainty(counts)
    assert sure.verdict == NOT_SHOWN
    assert sure.low <= 0 <= sure.high
    assert what_is_missing(counts) == missing
    assert in_words(sure).endswith(missing)


def test_what_it_would_take_is_what_the_test_says():
    assert [least_to_show(n) for n in range(FEWEST)] == [None] * FEWEST
    assert least_to_show(FEWEST) == FEWEST
    for n in range(FEWEST, 200):
        least = least_to_show(n)
        assert least is not None
        assert binomtest(least, n).pvalue < LEVEL <= binomtest(least - 1, n).pvalue


def test_where_all_images_get_right_it_is_better_and_where_all_get_wrong_it_is_worse():
    better, worse = certainty(Counts(10, 0, 10, 0)), certainty(Counts(10, 10, 0, 10))
    assert (better.gain, better.high, better.verdict) == (1, 1, BETTER)
    assert (worse.gain, worse.low, worse.verdict, worse.lost_high) == (-1, -1, WORSE, 1)
    assert better.p == worse.p == pytest.approx(2 / 2**10)
    assert better.low == pytest.approx(-worse.high)
    assert 0 < better.low < 1


def test_nothing_improved_and_nothing_worsened_are_no_special_cases():
    assert certainty(Counts(100, 80, 0, 6)).verdict == WORSE
    assert certainty(Counts(100, 80, 6, 0)).verdict == BETTER
    assert certainty(Counts(100, 80, 6, 0)).lost_low == 0


def test_without_images_nothing_is_known():
    sure = certainty(Counts(0, 0, 0, 0))
    assert (sure.gain, sure.low, sure.high, sure.p, sure.verdict) == (0, -1, 1, 1, NOT_SHOWN)
    assert lost_in_words(sure) == ""
    assert certainties([]) == []


@pytest.mark.parametrize("counts", [Counts(10, 5, 6, 0), Counts(10, 5, 0, 6), Counts(10, 5, -1, 0), Counts(4, 5, 0, 0)])
def test_counts_that_contradict_each_other_are_refused(counts):
    with pytest.raises(SAFEError, match=r"Expected at most .* Received .* Retrain again"):
        certainty(counts)


def test_images_that_were_right_and_are_wrong_have_the_exact_interval():
    sure = certainty(Counts(100, 50, 10, 4))
    exact = binomtest(4, 50).proportion_ci(0.95, "exact")
    assert (sure.lost_low, sure.lost_high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    assert lost_in_words(sure) == "Wrong now of 50 images right before: 4, 8.0% (95% interval 2.2% to 19.2%)"


def test_the_share_of_an_rcc_that_is_right_now_has_the_exact_interval():
    exact = binomtest(10, 12).proportion_ci(0.95, "exact")
    known, empty = right_intervals([Share("0", 12, 0, 10), Share("1", 0, 0, 0)])
    assert known == (pytest.approx(exact.low), pytest.approx(exact.high))
    assert empty == (0, 1)
    assert right_intervals([]) == []


# --- Classes ----------------------------------------------------------------------------------------------------


def changed(label: str, n: int) -> list[Changed]:
    return [Changed(f"{label}/{i}.png", label, "a", "b") for i in range(n)]


def test_what_changed_is_counted_by_class():
    shares = [Share("stop", 20, 10, 12), Share("go", 10, 9, 4), Share("none", 0, 0, 0)]
    counts = count_classes(shares, [*changed("stop", 3), *changed("go", 1)], [*changed("stop", 1), *changed("go", 6)])
    assert counts == [Counts(20, 10, 3, 1), Counts(10, 9, 1, 6), Counts(0, 0, 0, 0)]


def test_a_class_is_worse_only_after_the_correction_and_said_by_name():
    names = ["stop", "go", "turn"]
    clear = certainties([Counts(100, 80, 0, 20), Counts(100, 80, 10, 10), Counts(0, 0, 0, 0)])
    assert clear[0].p == pytest.approx(2 * 2 / 2**20)  # the class without images does not count
    assert class_lines(names, clear) == [
        "Class stop: worse beyond doubt, -20.0 points (95% interval -29.4 to -12.9; p < .0001, corrected for 2 classes)"
    ]
    borderline = certainties([Counts(100, 80, 0, 6), Counts(100, 80, 10, 10), Counts(50, 50, 0, 0)])
    assert class_lines(names, borderline) == ["Of 3 classes, none is worse beyond doubt"]
    assert class_lines([], []) == []
    assert class_summary(clear) == "Of 2 classes, none better and 1 worse beyond doubt"
    assert class_summary([]) == ""


@pytest.mark.parametrize(
    ("p", "text"), [(1, "p = 1"), (0.625, "p = .62"), (0.04996, "p = .04996"), (0.05, "p = .05"), (9e-5, "p < .0001")]
)
def test_p_is_not_rounded_across_the_level(p, text):
    assert p_text(p) == text


def test_ends_that_are_not_0_do_not_look_like_0():
    assert "95% interval 0.004 to 0.057" in in_words(certainty(Counts(100_000, 50_000, 100, 70)))
    assert "+0.0 points" in in_words(certainty(Counts(10, 5, 1, 1)))
