"""What a summary of a retraining says."""

import dataclasses

import pytest

from safe_dnn.report.summary_lines import of_choosing_images, retraining_summary
from safe_dnn.training.before_after import Share
from safe_dnn.training.result import also_chosen, claim_text
from tests.helpers.retrained import FINAL, retrained


def test_the_headline_is_the_gain_on_images_that_chose_nothing():
    result = retrained(final=FINAL, outcomes=(Share("a.png", 1, 0, 1),))
    assert retraining_summary(result) == (
        "Better beyond doubt: +30.0 points (95% interval 16.8 to 42.8; McNemar by 8 persons p < .0001) · "
        "accuracy 50.00% → 80.00% on 80 images that were held out and chose nothing"
    )
    assert of_choosing_images(result).startswith("On the test images that also chose the RCCs and the unsafe set: +0.0")
    own = dataclasses.replace(FINAL, held_out=False, earlier=2)
    assert own.text.endswith(
        "80 images that are a test set of their own and chose nothing; they were looked at after 2 earlier retrainings "
        "as well: choose no model by them"
    )


@pytest.mark.parametrize(
    ("known", "chosen"),
    [
        ({}, ""),
        ({"unlabelled_size": 9}, "what the second pass learned"),
        (
            {"outcomes": (Share("a.png", 1, 0, 1),), "unlabelled_size": 9},
            "the RCCs, the unsafe set and what the second pass learned",
        ),
    ],
)
def test_without_such_images_the_headline_says_what_the_test_images_also_chose(known, chosen):
    result = retrained(**known)
    assert also_chosen(result) == chosen
    said = f"These test images also chose {chosen}: the gain on other images may be smaller"
    assert (f" · {said} · test accuracy" in retraining_summary(result)) == bool(chosen)
    assert claim_text(dataclasses.replace(result, after=None)) == ""  # the original model gains nothing
