"""The rate of images that have a word, and its interval."""

import math

import numpy as np
import pytest
from scipy.stats import betabinom

from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.reasons.words.rates import (
    FEW,
    MANY,
    NO,
    OTHERS,
    UNSURE,
    UNTAGGED,
    YES,
    Sample,
    Total,
    clear_rates,
    make_frame,
    next_drawn,
    quantile,
    rate_of,
    total_of,
)

N = 600


def asked(has_it, wrong, scores, *, drawn=80, chosen=20, seed=0, unsure=()):
    """The sample after so many answers."""
    rng = np.random.default_rng(seed)
    tags = np.full(len(wrong), UNTAGGED)
    rows = rng.choice(len(wrong), chosen, replace=False)
    tags[rows] = has_it[rows]
    frame = make_frame(scores, wrong, tags != UNTAGGED, seed)
    for _ in range(drawn // 20):
        rows = next_drawn(frame, tags, 20)
        tags[rows] = has_it[rows]
    tags[[row for row in unsure if tags[row] != UNTAGGED]] = UNSURE
    return Sample(frame, tags, np.ones(len(wrong), bool))


def population(seed, share=0.15, rate=0.5):
    rng = np.random.default_rng(seed)
    has_it = rng.random(N) < share
    return has_it, rng.random(N) < np.where(has_it, rate, 0.2), rng


def test_the_distribution_of_a_total_is_that_of_its_strata():
    found = total_of(np.array([[9, 4, 3], [20, 5, 0]]), known=7, prior=MANY)
    one, other = (betabinom(n, yes + MANY, no + OTHERS) for n, yes, no in ((5, 3, 1), (15, 0, 5)))
    expected = np.convolve(one.pmf(range(6)), other.pmf(range(16)))
    assert found.least == 10
    assert np.allclose(found.chances, expected)
    assert math.isclose(found.mean, 10 + one.mean() + other.mean())


def test_a_stratum_that_was_asked_as_a_whole_is_counted():
    found = total_of(np.array([[4, 4, 3], [6, 6, 1]]), known=2, prior=FEW)
    assert (found.least, found.chances.tolist()) == (6, [1.0])
    assert total_of(np.zeros((0, 3), int), known=2, prior=FEW).mean == 2


def test_quantiles_are_those_of_the_ratio():
    wrong, right = Total(2, np.array([0.5, 0.25, 0.25])), Total(1, np.array([0.75, 0.25]))
    values = sorted((w / (w + r), p * q) for w, p in zip((2, 3, 4), wrong.chances, strict=True)
                    for r, q in zip((1, 2), right.chances, strict=True))  # fmt: skip
    for chance in (0.1, 0.3, 0.6, 0.95):
        sums = np.cumsum([weight for _, weight in values])
        assert math.isclose(quantile(wrong, right, chance), values[int(np.searchsorted(sums, chance))][0], abs_tol=1e-5)


@pytest.mark.parametrize("good", [True, False])
def test_the_interval_holds_the_rate_also_if_the_probe_is_worth_nothing(good):
    held, runs = 0, 150
    for run in range(runs):
        has_it, wrong, rng = population(run)
        found = rate_of(asked(has_it, wrong, rng.normal(size=N) + 3 * good * has_it, seed=run))
        held += found.low <= wrong[has_it].mean() <= found.high
    assert held >= 0.93 * runs


def test_a_word_by_chance_is_hardly_ever_said_to_fail_more_often():
    more = 0
    for run in range(100):
        _, wrong, rng = population(run, rate=0.2)
        found = rate_of(asked(rng.random(N) < 0.15, wrong, rng.normal(size=N), seed=run))
        more += found.low > found.base
    assert more <= 5


def test_a_good_probe_and_more_answers_narrow_the_interval():
    has_it, wrong, rng = population(0)
    noise = rng.normal(size=N)
    by_chance, good, more = (
        rate_of(asked(has_it, wrong, noise + weight * has_it, drawn=drawn))
        for weight, drawn in ((0, 80), (4, 80), (4, 160))
    )
    assert more.half_width < good.half_width < by_chance.half_width
    assert good.half_width_after < good.half_width
    assert (good.new_low, good.new_high) < (good.low, 1.0)
    assert good.new_high > good.high


def test_unsure_is_counted_both_ways_and_the_interval_holds_both():
    has_it, wrong, rng = population(0)
    scores = rng.normal(size=N) + 3 * has_it
    unsure = asked(has_it, wrong, scores, unsure=range(0, N, 5))
    found, ways = rate_of(unsure), []
    for answer in (NO, YES):
        ways.append(rate_of(unsure._replace(tags=np.where(unsure.tags == UNSURE, answer, unsure.tags))))
    assert found.unsure == (unsure.tags == UNSURE).sum() > 5
    assert math.isclose(found.low, min(way.low for way in ways))
    assert math.isclose(found.high, max(way.high for way in ways))
    assert math.isclose(found.images, sum(way.images for way in ways) / 2)
    assert " count as both" in found.text


def test_all_yes_gives_the_rate_of_all_and_all_no_gives_none():
    _, wrong, rng = population(0)
    scores = rng.normal(size=N)
    found = rate_of(asked(np.ones(N, bool), wrong, scores))
    assert found.low <= wrong.mean() <= found.high
    assert rate_of(asked(np.zeros(N, bool), wrong, scores)) is None
    assert rate_of(asked(np.zeros(N, bool), wrong, scores)._replace(has_it=False)) is not None
    assert rate_of(asked(np.ones(N, bool), wrong, scores, drawn=0)) is None, "what was chosen shows nothing"


def test_answers_about_all_images_leave_nothing_open():
    has_it, wrong, rng = population(0)
    found = rate_of(asked(has_it, wrong, rng.normal(size=N), drawn=N))
    assert math.isclose(found.rate, wrong[has_it].mean())
    assert found.half_width < 1e-5
    assert math.isclose(found.elsewhere, wrong[~has_it].mean())
    assert found.new_high - found.new_low > 0.1


def test_a_part_of_the_images_has_a_rate_of_its_own():
    has_it, wrong, rng = population(0, share=0.3)
    within = np.arange(N) % 2 == 0
    sample = asked(has_it, wrong, rng.normal(size=N) + 3 * has_it, drawn=200)._replace(within=within)
    found = rate_of(sample)
    assert found.tested == within.sum()
    assert found.tagged == (sample.tags[within] != UNTAGGED).sum()
    assert found.low <= wrong[has_it & within].mean() <= found.high


def of_three_classes(seed, rates):
    """The samples of three classes with a word, and the share of wrong ones of each that have it."""
    rng = np.random.default_rng(seed)
    has_it, of = rng.random(N) < 0.3, np.arange(N) % 3
    wrong = rng.random(N) < np.where(has_it, np.array(rates)[of], 0.2)
    sample = asked(has_it, wrong, rng.normal(size=N) + 3 * has_it, drawn=160, seed=seed)
    return {name: sample._replace(within=of == i) for i, name in enumerate(("man", "woman", "girl"))}, wrong, has_it


def test_rates_that_clearly_differ_are_those_of_classes_the_highest_first():
    samples, wrong, has_it = of_three_classes(0, (0.05, 0.95, 0.5))
    found = clear_rates(samples)
    assert [name for name, _ in found] == ["woman", "girl", "man"]
    for name, of_it in found:
        assert of_it.new_low < rate_of(samples[name]).new_low < of_it.rate, "with 95 % for all three together"
        assert of_it.low <= wrong[has_it & samples[name].within].mean() <= of_it.high
    whole = rate_of(samples["man"]._replace(within=np.ones(N, bool)))._replace(classes=found)
    rates = ", ".join(f"{name} {of_it.rate:.0%}" for name, of_it in found)
    assert whole.text.startswith(f"how many are wrong differs by class: {rates}. An estimated ")
    assert "are wrong (" not in whole.text
    assert clear_rates({}) == ()


def test_rates_of_classes_hardly_ever_differ_by_chance():
    assert sum(bool(clear_rates(of_three_classes(seed, (0.4, 0.4, 0.4))[0])) for seed in range(60)) <= 1


def test_what_classes_alone_would_give_is_expected():
    has_it, wrong, rng = population(0)
    classes = has_it.astype(int)
    found = rate_of(asked(has_it, wrong, rng.normal(size=N)), classes)
    assert math.isclose(found.class_rate, wrong[has_it].mean())


def test_images_of_few_persons_say_less_of_new_ones():
    has_it, wrong, rng = population(0)
    persons = np.arange(N) // 50
    wrong |= has_it & (persons % 2 == 0)
    sample = asked(has_it, wrong, rng.normal(size=N) + 3 * has_it)
    alone, grouped = (rate_of(sample._replace(groups=groups)) for groups in (None, Groups("person", persons)))
    assert (grouped.low, grouped.high) == (alone.low, alone.high), "the tested images are what they are"
    assert grouped.new_low < alone.new_low
    assert grouped.new_high > alone.new_high
    assert 1 < grouped.groups <= 12
    of = sample._replace(groups=Groups("person", persons))
    upper = [of.limits(0.95, of.totals(), limit=limit)[1] for limit in (False, True)]
    assert upper[0] < upper[1]
