"""What was found, in a sentence: whoever reads it finds the same figures in the tables."""

import csv
import re

import pytest

from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.weak_spots import WeakSpot, read_conditions
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.reasons.listed import CAUSES, CLASSES, OTHERS, Reason, reasons_of
from safe_dnn.reasons.story import figures, sentence
from safe_dnn.support.text import rate_text

OLD = Literal("age", "outside", (3.5, 65.0))


def reason(kind: str, rate: float, excess: float, *literals: Literal) -> Reason:
    spot = WeakSpot(literals, 100, round(100 * rate), rate - 0.1, rate + 0.1, 0.04, new_rate=rate) if literals else None
    figures = (100, round(100 * rate), rate, rate - 0.1, rate + 0.1)
    return Reason(
        "weak spot 1" if spot else "RCC 4", "", kind=kind, spot=spot, figures=figures, excess=excess, rate=rate
    )


def test_the_figures_of_the_sentence_are_those_of_the_tables(explained):
    out = explained.out
    review = load_review(out)
    reasons = load_reasons(out, review.original)
    listed = reasons_of(review, reasons, out)
    with (out / "weak_spots.csv").open() as file:
        [row] = csv.DictReader(file)
    [literal] = read_conditions(row["conditions"])
    assert sentence(listed, reasons.base) == (
        f"It fails most often where the class is {literal.value} "
        f"({rate_text(float(row['new_rate']))}, elsewhere {rate_text(float(row['elsewhere']))})."
    )
    with (out / "tested_images.csv").open() as file:
        images = list(csv.DictReader(file))
    wrong = [image for image in images if image["wrong"] == "1"]
    held = [image for image in wrong if image["label"] == literal.value]
    told = figures(listed, reasons.base, len(review.clusters.paths))
    share = rate_text(len(wrong) / len(images))
    assert told == f"{share} of all test images are wrong · 1 reason holds {len(held)} of {len(wrong)} failures"


def test_what_explains_more_comes_first_and_what_explains_little_is_left_to_the_list():
    women = reason(CLASSES, 0.59, 1200, Literal("label", "=", "woman"))
    grey = reason(CAUSES, 0.5, 20, Literal("saturation", "<", 0.1))
    old = reason(CAUSES, 0.87, 300, OLD)
    told = "the class is woman (59%, elsewhere 4%), and where age is below 3.5 or from 65 on (87%, elsewhere 4%)."
    assert sentence([women, old, grey], 0.35) == f"It fails most often where {told}"
    assert sentence([old._replace(excess=2000), women], 0.35).startswith("It fails most often where age is below 3.5")


def test_several_causes_are_told_and_images_that_look_alike_by_the_name_of_their_rcc():
    dark, glasses = (reason(CAUSES, 0.9, 70, Literal(*one)) for one in (("light", "<", 0.4), ("eyewear", "=", "yes")))
    told = "light is below 0.4 (90%, elsewhere 4%), eyewear is yes (90%) or an image looks like those of RCC 4 (60%)."
    assert sentence([dark, glasses, reason(CAUSES, 0.6, 40)], 0.3) == f"It fails most often where {told}"


@pytest.mark.parametrize(
    ("literal", "words"),
    [
        (Literal("label", "=", "woman"), "the class is woman"),
        (Literal("predicted", "!=", "man"), "the answer is not man"),
        (Literal("speed", ">=", 30.5), "speed is from 30.5 on"),
        (Literal("gaze_deg", "from", (350.0, 20.0)), "gaze_deg is from 350 to 20"),
        (Literal("label", ">=", 0.4), "label is from 0.4 on"),
    ],
)
def test_a_condition_is_a_clause(literal, words):
    assert literal.words == words


def test_without_a_reason_or_a_comparison_nothing_is_made_up():
    assert sentence([], 0.3) == "No condition on what is known of the images stands out beyond chance."
    assert sentence([reason(OTHERS, 0.4, 3)], 0.3) == sentence([], 0.3)
    assert sentence([reason(CAUSES, 0.4, 3)], 0.0) == ""
    assert not re.search(r"\d", sentence([], 0.3))
