"""A later model on the reasons of an earlier one: closed, reduced, unchanged, worse or new, and at what certainty."""

import csv
import io

import numpy as np
import pytest

from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.reasons.claims import Claim
from safe_dnn.training.certainty import (
    CLOSED,
    NEW,
    REDUCED,
    REST,
    UNCHANGED,
    WORSENED,
    by_answers,
    closure_text,
    closures,
)

N = 400


def claim(rows: slice, reason: str = "weak spot 1") -> Claim:
    holds = np.zeros(N, bool)
    holds[rows] = True
    return Claim(reason, (Literal("light", "<", 0.1),), holds, 0.5, 0.4, 0.6)


def right(**wrong: slice) -> np.ndarray:
    """All right but for some images."""
    found = np.ones(N, bool)
    for rows in wrong.values():
        found[rows] = False
    return found


BEFORE = {"dark": slice(0, 50), "others": slice(100, 130)}  # 50 of 100 in the dark, 30 of 300 elsewhere: 10 %


@pytest.mark.parametrize(
    ("after", "states"),
    [
        ({"dark": slice(0, 1), "others": slice(100, 130)}, (CLOSED, UNCHANGED)),
        ({"dark": slice(0, 20), "others": slice(100, 130)}, (REDUCED, UNCHANGED)),
        ({"dark": slice(0, 48), "others": slice(100, 130)}, (UNCHANGED, UNCHANGED)),
        ({"dark": slice(0, 80), "others": slice(100, 130)}, (WORSENED, UNCHANGED)),
        ({"dark": slice(0, 1), "others": slice(100, 160)}, (CLOSED, NEW)),
    ],
)  # fmt: skip
def test_a_reason_is_closed_if_nothing_stands_out_any_more(after, states):
    found = closures([claim(slice(0, 100))], right(**BEFORE), right(**after))
    assert tuple(one.state for one in found) == states
    assert (found[0].after.tested, found[0].before.wrong, found[0].before.expected) == (
        100,
        50,
        pytest.approx(0.1, abs=0.01),
    )
    assert [row["state"] for row in csv.DictReader(io.StringIO(closure_text(found)))] == list(states)


def test_given_the_class_what_these_classes_alone_would_give_is_not_exceeded_either():
    before, after = right(dark=slice(0, 60), others=slice(100, 105), other=slice(200, 320)), right(dark=slice(0, 30))
    given = claim(slice(0, 100))
    for classes, state, expected in ((None, CLOSED, 125 / 300), (np.arange(N) // 200, REDUCED, 5 / 100)):
        found = closures([given], before, after, None, classes)[0]
        assert (found.state, found.before.expected) == (state, pytest.approx(expected, abs=0.02))


def test_without_a_failure_each_group_counts_once():
    groups = Groups("person", np.arange(N) // 10)
    found = closures([claim(slice(0, 100))], right(**BEFORE), right(), groups)
    assert found[0].limit == pytest.approx(1 - 0.05 ** (1 / 10))
    assert "Of 100 images (of 10 persons), 50 were wrong and 0 are" in found[0].text


def test_what_is_not_known_of_the_images_is_no_reason_and_none_is_in_two_rests():
    unknown = claim(slice(0, 0))._replace(holds=None)
    found = closures([unknown, claim(slice(0, 100), "RCC 3")], right(**BEFORE), right(**BEFORE))
    assert [one.claim.reason for one in found] == ["RCC 3", REST]
    assert [one.after.tested for one in found] == [100, 300]
    assert [one.after.tested for one in closures([], right(), right())] == [N]


@pytest.mark.parametrize("n", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_a_model_that_is_equally_good_seldom_closes_or_worsens_anything(n):
    """Of persons that are alike within, too: images that change are drawn by person."""
    groups, claims = Groups("person", np.arange(N) // 10), [claim(slice(0, 100)), claim(slice(150, 260), "weak spot 2")]
    changed = 0
    for seed in range(n):
        rng = np.random.default_rng(seed)
        before = rng.random(N) < np.repeat(rng.beta(4, 2, N // 10), 10)
        flips, share = np.repeat(rng.beta(0.8, 3, N // 10), 10), np.repeat(rng.beta(2, 2, N // 10), 10)
        swapped = rng.random(N) < flips
        both = np.where(swapped, rng.random(N) < share, before)
        first = np.where(swapped, ~both, before)
        if rng.random() < 0.5:
            first, both = both, first
        changed += any(one.state != UNCHANGED for one in closures(claims, first, both, groups))
    assert changed <= n * 0.08


def test_a_model_that_is_as_good_is_rarely_called_worse_where_conditions_name_its_answers():
    rng, label, states = np.random.default_rng(0), np.arange(N) % 3, []

    def draw() -> np.ndarray:
        return np.where(rng.random(N) < 0.3, rng.integers(0, 3, N), label)  # for both models alike

    for _ in range(100):
        before, after = draw(), draw()
        claims = [
            Claim("", (Literal(name, "=", str(value)),), values == value, 0.3)
            for name, values in (("label", label), ("predicted", after))
            for value in range(3)
        ]
        closed = closures(claims, before == label, after == label)
        states.append({one.state for one in closed})
        assert len(closed) == 4
    assert by_answers(claims) == [
        "Not compared, since each model gives other answers: predicted = 0, predicted = 1, predicted = 2."
    ]
    assert sum(bool({WORSENED, NEW, CLOSED, REDUCED} & each) for each in states) <= 8  # 5 % beside chance
