"""What was found, in a sentence: whoever reads it finds the same figures in the tables."""

import re

import pytest

from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.weak_spots import WeakSpot, read_conditions
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.reasons.listed import LISTED, UNDECIDED, Reason, baseline, reasons_of, sentence
from safe_dnn.support.text import rate_text
from tests.helpers.places import rows_in
from tests.helpers.spots import figures_of

OLD = Literal("age", "outside", (3.5, 65.0))


def reason(rate: float, *literals: Literal, kind: str = LISTED, name: str = "") -> Reason:
    figures = figures_of(100, round(100 * rate), rate - 0.1, rate + 0.1, expected=0.04)
    spot = WeakSpot(literals, figures) if literals else None
    named = "weak spot 1" if spot else "RCC 4"
    return Reason(named, "", kind=kind, spot=spot, figures=figures, note=Note(4, name))


def test_the_figures_of_the_sentence_are_those_of_the_tables(explained):
    out = explained.out
    review = load_review(out)
    reasons = load_reasons(out, review.original)
    listed = reasons_of(review, reasons, out)
    [row] = rows_in(out / "weak_spots.csv")
    [literal] = read_conditions(row["conditions"])
    assert sentence(listed, reasons.base) == (
        f"Most failures: the class is {literal.value} ({rate_text(float(row['rate']))} wrong)."
    )
    images = rows_in(out / "tested_images.csv")
    wrong = [image["wrong"] == "1" for image in images]
    rest = [image for image in images if image["label"] != literal.value]
    rest_wrong = sum(image["wrong"] == "1" for image in rest)
    assert reasons.where_none_holds == (rest_wrong, len(rest))
    assert baseline(listed, reasons.base, reasons.tested, (rest_wrong, len(rest))) == (
        f"{rate_text(sum(wrong) / len(wrong))} of all {len(images)} test images are wrong, "
        f"{rate_text(rest_wrong / len(rest))} where this reason does not hold"
    )


def test_the_first_three_of_the_list_are_named_in_its_order_and_images_that_look_alike_are_counted():
    women, old = reason(0.59, Literal("label", "=", "woman")), reason(0.87, OLD)
    dark, grey = reason(0.9, Literal("light", "<", 0.4)), reason(0.5, Literal("saturation", "<", 0.1))
    assert sentence([women, old, dark, grey], 0.35) == (
        "Most failures: the class is woman (59% wrong), age is below 3.5 or from 65 on (87%) and light is below 0.4 "
        "(90%)."
    )
    assert sentence([dark, reason(0.6), reason(0.7), women], 0.35) == (
        "Most failures: light is below 0.4 (90% wrong) and the class is woman (59%); and 2 groups of images that look "
        "alike."
    )
    assert sentence([reason(0.6, name="glare"), dark], 0.35).startswith("Most failures: glare (60% wrong) and light")
    assert sentence([reason(0.6)], 0.35) == "Most failures: 1 group of images that look alike."


@pytest.mark.parametrize(
    ("literal", "words"),
    [
        (Literal("label", "=", "woman"), "the class is woman"),
        (Literal("predicted", "!=", "man"), "the answer is not man"),
        (Literal("gaze_deg", "from", (350.0, 20.0)), "gaze_deg is from 350 to 20"),
        (Literal("label", ">=", 0.4), "label is from 0.4 on"),
    ],
)
def test_a_condition_is_a_clause(literal, words):
    assert literal.words == words


def test_without_a_reason_or_a_comparison_nothing_is_made_up():
    assert sentence([], 0.3) == "No condition on what is known of the images stands out beyond chance."
    assert sentence([reason(0.4, kind=UNDECIDED)], 0.3) == sentence([], 0.3)
    assert sentence([reason(0.4)], 0.0) == ""
    assert baseline([], 0.25, 1800, (0, 0)) == "25% of all 1,800 test images are wrong"
    assert not re.search(r"\d", sentence([], 0.3))
