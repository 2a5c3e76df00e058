"""Reasons on a fresh test set: what is said of drawn images, and that it is right as often as it says."""

import numpy as np

from rccs.spots.conditions import Literal
from rccs.spots.groups import Groups
from rccs.spots.rates import Rate
from rccs.spots.weak_spots import WeakSpot
from reasons.confirmation import CONFIRMED, OPEN, REFUTED, WEAKENED, answers_to, claims_of, confirmation_text

NIGHT = WeakSpot((Literal("light", "<", 0.2),), 100, 80, 0.71, 0.87, 0.1, new_rate=0.78, new_low=0.68, new_high=0.87)


def fresh(rate: float, *, n: int = 400, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Images of which a quarter is dark, and wrong at this rate; of all others, 10 % are wrong."""
    rng = np.random.default_rng(seed)
    light = np.where(np.arange(n) % 4 == 0, 0.1, 0.8)
    return {"light": light}, rng.random(n) < np.where(light < 0.2, rate, 0.1)


def verdict(rate: float, **drawn) -> str:
    columns, wrong = fresh(rate, **drawn)
    (answer,) = answers_to(claims_of([NIGHT], columns, {}, np.zeros(len(wrong), int)), wrong)
    return answer.verdict


def test_a_reason_is_confirmed_weakened_refuted_or_open():
    assert verdict(0.78) == CONFIRMED
    assert verdict(0.4) == WEAKENED
    assert verdict(0.1) == REFUTED
    assert {verdict(0.78, n=n) for n in (0, 1, 8)} == {OPEN}


def test_where_nothing_matters_nothing_is_confirmed_but_by_chance():
    said = [verdict(0.1, seed=seed) for seed in range(400)]
    assert sum(one in (CONFIRMED, WEAKENED) for one in said) <= 0.05 * 400 + 12
    assert said.count(REFUTED) > 350


def test_what_differs_between_persons_alone_is_not_confirmed_with_groups():
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(16), 50)
    columns = {"light": np.where(person < 4, 0.1, 0.8)}
    wrong_of = [rng.random(800) < rng.beta(0.8, 3.2, 16)[person] for _ in range(60)]
    confirmed = {"with": 0, "without": 0}
    for wrong in wrong_of:
        for name, groups in (("with", Groups("person", person)), ("without", None)):
            (answer,) = answers_to(claims_of([NIGHT], columns, {}, np.zeros(800, int)), wrong, groups)
            confirmed[name] += answer.p < 0.05
    assert confirmed["with"] <= 5
    assert confirmed["without"] > 10


def test_rccs_that_fail_more_often_are_asked_and_others_are_not():
    columns, wrong = fresh(0.8)
    rates = {
        0: Rate(0, 50, 40, 0.66, 0.9, 0.1, 1e-9, "more"),
        1: Rate(1, 50, 5, 0.02, 0.2, 0.1, 0.9, "as often"),
    }
    claims = claims_of([], columns, rates, np.where(columns["light"] < 0.2, 0, 1))
    (answer,) = answers_to(claims, wrong)
    assert (answer.claim.reason, answer.tested, answer.verdict) == ("RCC 0", 100, CONFIRMED)
    assert answer.text.startswith("RCC 0: confirmed. ")


def test_what_is_not_known_of_fresh_images_is_open_and_said():
    (answer,) = answers_to(claims_of([NIGHT], {"rain": np.zeros(50)}, {}, np.zeros(50, int)), np.arange(50) < 5)
    assert answer.verdict == OPEN
    assert answer.text == "weak spot 1, light < 0.2: open. What it is about is not known of the fresh images."
    lines = confirmation_text([answer]).splitlines()
    assert lines[1] == "weak spot 1,light < 0.2,open,0,0,,0.0,1.0,0.1,1.0,0.78,0.68,0.87,,"
