"""Reasons on a fresh test set: what is said of drawn images, and that it is right as often as it says."""

import numpy as np
import pytest

from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.reasons.claims import CONFIRMED, OPEN, REFUTED, WEAKENED, Answer, answers_to, claims_of, confirmation_text
from safe_dnn.reasons.listed import UNDECIDED, Reason, reason_of
from tests.helpers.spots import figures_of, weak_spot

NIGHT = weak_spot((Literal("light", "<", 0.2),), 100, 80, 0.68, 0.87, 0.1, new_rate=0.78)


def fresh(rate: float, *, n: int = 400, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Images of which a quarter is dark, and wrong at this rate; of all others, 10 % are wrong."""
    rng = np.random.default_rng(seed)
    light = np.where(np.arange(n) % 4 == 0, 0.1, 0.8)
    return {"light": light}, rng.random(n) < np.where(light < 0.2, rate, 0.1)


def verdict(rate: float, **drawn) -> str:
    columns, wrong = fresh(rate, **drawn)
    (answer,) = answers_to(claims_of([reason_of(NIGHT, 1)], columns, np.zeros(len(wrong), int)), wrong)
    return answer.verdict


def test_a_reason_is_confirmed_weakened_refuted_or_open():
    assert verdict(0.78) == CONFIRMED
    assert verdict(0.4) == WEAKENED
    assert verdict(0.1) == REFUTED
    assert {verdict(0.78, n=n) for n in (0, 1, 8)} == {OPEN}


def test_a_reason_is_compared_with_images_of_the_same_other_reasons():
    light, blur = np.where(np.arange(400) % 4 == 0, 0.1, 0.8), np.where(np.arange(400) % 9 == 0, 0.9, 0.1)
    spot = weak_spot((Literal("blur", ">=", 0.5),), 100, 30, 0.15, 0.5, 0.1, new_rate=0.3)
    listed = [reason_of(NIGHT, 1), reason_of(spot, 2)]
    claims = claims_of(listed, {"light": light, "blur": blur}, np.zeros(400, int))
    confirmed = {}
    for rate in (0.2, 0.01):
        drawn = [
            np.random.default_rng(seed).random(400) < np.select([light < 0.2, blur > 0.5], [0.8, rate], 0.01)
            for seed in range(100)
        ]
        answers = [answers_to(claims, wrong)[1] for wrong in drawn]
        by_night = 0.8 * (light[blur > 0.5] < 0.2).mean() + 0.01 * (light[blur > 0.5] > 0.2).mean()
        assert np.mean([one.figures.expected for one in answers]) == pytest.approx(by_night, abs=0.02)
        confirmed[rate] = sum(one.figures.p < 0.05 for one in answers)
    assert confirmed[0.2] > 75
    assert confirmed[0.01] <= 5


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
            (answer,) = answers_to(claims_of([reason_of(NIGHT, 1)], columns, np.zeros(800, int)), wrong, groups)
            confirmed[name] += answer.figures.p < 0.05
    assert confirmed["with"] <= 5
    assert confirmed["without"] > 10


def test_rccs_that_fail_more_often_are_asked_and_others_are_not():
    columns, wrong = fresh(0.8)
    more, as_often = figures_of(50, 40, 0.66, 0.9, expected=0.1), figures_of(50, 5, 0.02, 0.2, expected=0.1)
    listed = [Reason("RCC 0", "", rcc=0, figures=more), Reason("RCC 1", "", UNDECIDED, rcc=1, figures=as_often)]
    claims = claims_of(listed, columns, np.where(columns["light"] < 0.2, 0, 1))
    (answer,) = answers_to(claims, wrong)
    assert (answer.claim.reason, answer.figures.tested, answer.verdict) == ("RCC 0", 100, CONFIRMED)
    assert answer.text.startswith("RCC 0: confirmed. ")


def test_what_is_not_known_of_fresh_images_is_open_and_said():
    (answer,) = answers_to(
        claims_of([reason_of(NIGHT, 1)], {"rain": np.zeros(50)}, np.zeros(50, int)), np.arange(50) < 5
    )
    assert answer.verdict == OPEN
    assert answer.text == "light < 0.2: open. What it is about is not known of the fresh images."
    now_texts = {"light": np.full(50, "dark")}
    assert claims_of([reason_of(NIGHT, 1)], now_texts, np.zeros(50, int))[0].holds is None
    lines = confirmation_text([answer]).splitlines()
    assert lines[1] == "weak spot 1,light < 0.2,open,0,0,,0.0,1.0,,,,,,1.0,0.78,0.68,0.87,,"


# --- Given the class --------------------------------------------------------------------------------------------


GIVEN = weak_spot(NIGHT.literals, 100, 80, 0.55, 0.75, 0.1, class_rate=0.45, new_rate=0.65)


def given_answer(hard: int, easy: int, times: float, *, seed: int = 0) -> Answer:
    """Half of 400 images are of a class that is wrong at 70 %, half at 20 %; some are dark, with other odds."""
    rng = np.random.default_rng(seed)
    classes, row = np.repeat([0, 1], 200), np.tile(np.arange(200), 2)
    columns = {"light": np.where(row < np.where(classes == 0, hard, easy), 0.1, 0.8)}
    rates = np.where(classes == 0, 0.7, 0.2)
    odds = rates / (1 - rates) * np.where(columns["light"] < 0.2, times, 1)
    claims = claims_of([reason_of(GIVEN, 1)], columns, np.zeros(400, int), of_classes=rates)
    (answer,) = answers_to(claims, rng.random(400) < odds / (1 + odds), None, classes)
    return answer


def test_what_was_found_given_the_class_is_compared_within_classes():
    # What only goes with a class that is often wrong stands out among all images, and is not confirmed.
    assert sum(given_answer(160, 20, 1, seed=seed).figures.p < 0.05 for seed in range(100)) <= 10
    # What matters in a class that is seldom wrong does not stand out among all, and is.
    within = [given_answer(5, 150, 4, seed=seed) for seed in range(20)]
    assert sum(one.figures.p < 0.05 for one in within) >= 19
    assert np.mean([one.figures.rate > one.figures.expected for one in within]) == 1


def test_other_shares_of_classes_make_no_weaker_reason_of_it():
    for hard, easy in ((100, 100), (10, 150), (150, 10)):
        verdicts = [given_answer(hard, easy, 3, seed=seed).verdict for seed in range(40)]
        assert verdicts.count(CONFIRMED) >= 35
    answer = given_answer(10, 150, 3)
    assert f"), {answer.figures.expected:.0%} expected without it; " in answer.text


def test_all_images_of_a_person_are_compared_as_independent():
    of = np.arange(200) // 20
    spot = NIGHT._replace(literals=(Literal("person", "=", "3"),))
    claims = claims_of([reason_of(spot, 1)], {"person": of.astype(str)}, np.zeros(200, int))
    wrong = (np.arange(200) % 10 == 0) | ((of == 3) & (np.arange(200) % 5 > 0))
    (answer,) = answers_to(claims, wrong, Groups("person", of, "person"))
    assert answer.verdict == CONFIRMED
    assert answers_to(claims, wrong, Groups("person", of, "driver"))[0].verdict == OPEN
