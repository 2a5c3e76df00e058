"""The expected rate: how often the same images would be wrong without the reason."""

import numpy as np
import pytest

from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.expected import FailureModel, baselines_of, expected_rates, pooled_classes
from safe_dnn.rccs.spots.figures import Figures, Groups, assess, compared_with
from safe_dnn.rccs.spots.weak_spots import find_weak_spots, judged
from safe_dnn.reasons.known import with_new_rates
from tests.helpers.spots import weak_spot

DARK, BLURRED, RAIN = Literal("light", "<", 0.4), Literal("blur", ">=", 4.0), Literal("weather", "=", "rain")
WOMAN = Literal("label", "=", "woman")


def reasons(columns, wrong, label="", groups=None):
    """What the search finds, with rates of new images, in the order of the list."""
    classes = np.unique(columns[label], return_inverse=True)[1] if label else None

    def search(rows):
        of = groups and groups.taken(rows)
        return find_weak_spots(
            {name: column[rows] for name, column in columns.items()}, wrong[rows], label=label, groups=of
        )

    spots = with_new_rates(search(np.arange(len(wrong))), columns, wrong, search, groups=groups)
    return judged(spots, columns, wrong, label=label, classes=classes, groups=groups)


def overlapping(seed, n=4000, classes=5, people=0):
    """Two causes that overlap by a common factor; each takes a share of the images that are right without it."""
    rng = np.random.default_rng(seed)
    factor, of_class = rng.normal(size=n), rng.integers(classes, size=n)
    holds = np.array([factor + rng.normal(size=n) > 1, factor + rng.normal(size=n) > 0.5])
    power, right = rng.uniform(0.2, 0.8, 2), 1 - rng.uniform(0.01, 0.15, classes)[of_class]
    of_person = rng.integers(people, size=n) if people else None
    if of_person is not None:
        right *= 1 - rng.beta(1, 12, people)[of_person]
    kept = np.where(holds, 1 - power[:, None], 1)
    without = 1 - right * kept[::-1]
    return holds, rng.random(n) > right * kept.prod(axis=0), of_class, of_person, without


# --- The rate -----------------------------------------------------------------------------------------------------


def test_it_is_that_of_each_stratum_without_the_reason_in_the_shares_of_its_images():
    """Two classes, wrong at 10 and 50 % without the reason; three quarters of its images are of the second one."""
    classes = np.repeat([0, 1], 5000)
    holds, row = np.zeros(10000, bool), np.tile(np.arange(5000), 2)
    holds[:500], holds[5000:6500] = True, True
    wrong = (row % 10 < np.where(classes == 0, 1, 5)) | holds
    (expected,) = expected_rates(holds[None], wrong, baselines_of([(DARK,)], "label", {0}), classes)
    assert expected.rate == pytest.approx(0.25 * 0.1 + 0.75 * 0.5, abs=0.002)
    low, high = expected.limits()
    assert 0.38 < low < expected.rate < high < 0.42


def test_other_reasons_stay_as_they_are():
    """Nine of ten blurred images are dark; blur does nothing."""
    rng = np.random.default_rng(0)
    dark = rng.random(20000) < 0.3
    blurred = rng.random(20000) < np.where(dark, 0.4, 0.02)
    wrong = rng.random(20000) < np.where(dark, 0.6, 0.05)
    every = expected_rates(np.array([dark, blurred]), wrong, baselines_of([(DARK,), (BLURRED,)], "label", {0, 1}))
    assert every[1].rate == pytest.approx(wrong[blurred].mean(), abs=0.02)
    assert every[0].rate == pytest.approx(0.05, abs=0.01)


def test_a_reason_is_taken_away_with_all_that_say_more_and_one_that_says_less_stays():
    conditions = [(DARK,), (DARK, RAIN), (Literal("light", "<", 0.2),), (WOMAN,), (WOMAN, DARK)]
    every = baselines_of(conditions, "label", {*range(5)})
    assert [each.away for each in every] == [(0, 1, 2, 4), (1,), (2,), (3, 4), (4,)]
    assert [each.others for each in every] == [(), (0, 2, 4), (0, 1, 4), (0, 1, 2), (0, 1, 2)]
    assert [each.by_class for each in every] == [True, True, True, False, True]  # of a class: all other classes


def test_what_is_no_reason_is_taken_away_from_nothing():
    every = baselines_of([(DARK,), (DARK, RAIN), (BLURRED,)], "label", {0})
    assert [(each.others, each.away) for each in every] == [((), (0,)), ((0,), (1,)), ((0,), (2,))]


def test_without_images_on_either_side_it_is_not_known():
    every, none = np.ones(10, bool), np.zeros(10, bool)
    wrong = np.arange(10) < 5
    for holds in (every, none):
        (expected,) = expected_rates(holds[None], wrong, baselines_of([(DARK,)], "", {0}))
        assert np.isnan(expected.rate)
        assert np.isnan(expected.limits()).all()
        (figures,) = assess([holds], wrong, expected=[expected])
        assert figures.compared == figures.more == ""


def test_many_classes_become_some_of_like_rates():
    rng = np.random.default_rng(0)
    classes = rng.integers(200, size=20000)
    wrong = rng.random(20000) < classes / 200
    pooled = pooled_classes(classes, wrong)
    assert 20 <= len(np.unique(pooled)) <= 24
    assert np.corrcoef(pooled, classes)[0, 1] > 0.98
    assert (pooled_classes(classes % 50, wrong) == classes % 50).all()


@pytest.mark.parametrize("people", [0, 60])
def test_given_the_causes_it_is_right_and_its_intervals_hold(people):
    off, held, of_excess = [], [], []
    for seed in range(150):
        holds, wrong, classes, of, without = overlapping(seed, people=people)
        groups = Groups("person", of) if people else None
        baselines = baselines_of([(DARK,), (BLURRED,)], "label", {0, 1})
        every = expected_rates(holds, wrong, baselines, classes, of)
        for row, figures in enumerate(assess(holds, wrong, groups, expected=every, for_new=False)):
            truth = without[row][holds[row]].mean()
            off.append(figures.expected - truth)
            held.append(figures.expected_low <= truth <= figures.expected_high)
            of_excess.append(figures.excess_low <= figures.wrong - truth * figures.tested <= figures.excess_high)
    assert np.abs(off).mean() <= 0.01
    assert abs(np.mean(off)) <= 0.003
    assert np.mean(held) >= 0.93
    assert np.mean(of_excess) >= 0.93


def test_a_shuffled_column_has_no_excess():
    """Of twenty reasons that say nothing, one excess in twenty is outside of its interval; those of groups as well."""
    for people in (0, 60):
        outside = []
        for seed in range(40):
            holds, wrong, classes, of, _ = overlapping(seed, people=people)
            rng = np.random.default_rng(seed)
            value = rng.random(people)[of] if people else rng.random(len(wrong))
            every = np.array([holds[0], holds[1], value < 0.3])
            away = baselines_of([(DARK,), (BLURRED,), (RAIN,)], "label", {0, 1, 2})
            groups = Groups("person", of) if people else None
            figures = assess(
                every, wrong, groups, expected=expected_rates(every, wrong, away, classes, of), for_new=False
            )
            outside.append(not figures[2].excess_low <= 0 <= figures[2].excess_high)
        assert np.mean(outside) <= 0.125  # 95 % of 40 runs have at most this


def test_a_model_of_independent_causes_and_one_of_log_odds_explain_their_own():
    from safe_dnn.rccs.spots.expected import LOGISTIC, NOISY_OR

    rng = np.random.default_rng(3)
    holds = rng.random((3, 40000)) < 0.4
    of_causes = 1 - 0.95 * np.where(holds, np.array([0.3, 0.5, 0.6])[:, None], 1).prod(axis=0)
    of_odds = 1 / (1 + np.exp(3 - np.array([2.5, 2.0, 1.5]) @ holds))
    for rates, link in ((of_causes, NOISY_OR), (of_odds, LOGISTIC)):
        model = FailureModel(holds, rng.random(40000) < rates)
        assert model._link is link


# --- The list -----------------------------------------------------------------------------------------------------


def test_a_cause_that_other_causes_hide_is_no_chance():
    """A third of the blurred images are wrong, as of all images, most of which fail for other causes."""
    rng = np.random.default_rng(1)
    cause = rng.choice(["none", "glasses", "dark", "blur"], 1800, p=[0.58, 0.17, 0.15, 0.1])
    light, blur = np.where(cause == "dark", 0.1, rng.uniform(0.6, 1, 1800)), np.where(cause == "blur", 9.0, 0.0)
    wrong = rng.random(1800) < np.select(
        [cause == name for name in ("glasses", "dark", "blur")], [0.95, 0.9, 0.33], 0.01
    )
    columns = {"light": light, "glasses": np.where(cause == "glasses", "yes", "no"), "blur": blur}
    spots = reasons(columns, wrong)
    assert [{literal.column for literal in spot.literals} for spot in spots[:2]] == [{"glasses"}, {"light"}]
    blurred = next(spot for spot in spots if "blur" in spot.where)
    assert blurred.elsewhere > blurred.figures.low > blurred.figures.expected
    assert not blurred.may_be_chance


def test_a_condition_inside_classes_is_compared_with_these_classes():
    rng = np.random.default_rng(2)
    label = rng.choice(["nv", "mel", "bkl"], 6000, p=[0.6, 0.2, 0.2])
    site = np.where(label == "nv", rng.choice(["back", "arm"], 6000), rng.choice(["arm", "leg"], 6000))
    rates = np.select([label == "mel", label == "bkl"], [0.65, 0.5], 0.03) + 0.09 * ((label == "nv") & (site == "back"))
    spots = reasons({"label": label, "site": site}, rng.random(6000) < rates, "label")
    spot = next(spot for spot in spots if "site = back" in spot.where)
    assert spot.elsewhere > spot.figures.high > spot.figures.low > spot.figures.expected
    assert not spot.may_be_chance


def test_the_reason_with_most_failures_in_excess_comes_first_and_chance_last():
    rng = np.random.default_rng(0)
    dark, blurred, rain = rng.random((3, 4000)) < np.array([[0.05], [0.3], [0.1]])
    wrong = rng.random(4000) < 1 - 0.95 * np.where(dark, 0.05, 1) * np.where(blurred, 0.6, 1)
    columns = {
        "light": np.where(dark, 0.1, 0.9), "blur": np.where(blurred, 9.0, 0.0),
        "weather": np.where(rain, "rain", "sun"),
    }  # fmt: skip
    spots = [
        weak_spot((one,), int(holds.sum()), int((holds & wrong).sum()), 0, 1)
        for one, holds in ((RAIN, rain), (DARK, dark), (BLURRED, blurred))
    ]
    listed = judged(spots, columns, wrong)
    assert [spot.literals[0].column for spot in listed][:2] == ["blur", "light"]
    assert listed[0].figures.excess > listed[1].figures.excess > 0
    assert not any(spot.may_be_chance for spot in listed[:2])
    assert all(spot.may_be_chance for spot in listed[2:])
    assert judged([], columns, wrong) == []


def test_a_reason_is_beyond_chance_by_the_interval_of_its_excess():
    assert weak_spot((DARK,), 44, 24, 0.31, 0.7, 0.69, new_rate=0.5).may_be_chance
    assert not weak_spot((DARK,), 44, 24, 0.31, 0.7, 0.3, new_rate=0.5).may_be_chance


def test_the_rate_and_what_is_expected_are_about_the_same_images_in_one_sentence():
    figures = Figures(115, 102)
    (expected,) = expected_rates(
        np.arange(1150)[None] < 115,
        np.r_[np.arange(115) < 102, np.arange(1035) % 50 < 3],
        baselines_of([(DARK,)], "", {0}),
    )
    figures = compared_with(figures, expected)
    assert figures.compared == ", 6% expected without it"
    assert figures.more == ": about 95 failures more"
    assert figures.excess_low < figures.excess < figures.excess_high
    assert figures.excess == pytest.approx(102 - 115 * figures.expected)
