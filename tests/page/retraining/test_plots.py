"""The bars of classes and RCCs."""

import re

from safe_dnn.page.retraining.plots import class_bars, shares_right
from safe_dnn.training.before_after import Share
from safe_dnn.training.certainty import Counts, certainties


def shares(rccs: int, noise: int) -> list[Share]:
    known = [Share(str(rcc), images=5, before=0, after=3) for rcc in range(rccs)]
    return [*known, *[Share("-1", images=noise, before=0, after=1)][: bool(noise)]]


def test_rccs_of_which_most_is_still_wrong_come_first_and_lead_to_their_images():
    there = [Share("-1", images=90, before=0, after=0), Share("0", images=9, before=0, after=8)]
    drawn = shares_right([*there, Share("3", images=8, before=0, after=1)], {})
    assert re.findall("href='#rcc=(-?[0-9]+)'", drawn) == ["3", "0", "-1"]


def test_classes_that_are_worse_come_first_then_those_that_changed_most():
    counts = {"same": Counts(90, 50, 0, 0), "worse": Counts(90, 80, 0, 30), "better": Counts(90, 10, 60, 0)}
    there = [Share(name, of.images, of.right_before, of.right_before + of.improved - of.worsened)
             for name, of in counts.items()]  # fmt: skip
    drawn = class_bars(there, dict(zip(counts, certainties(list(counts.values())), strict=True)))
    assert re.findall("<th scope='row' title='[a-z]+'>([a-z]+)<", drawn) == ["worse", "better", "same"]
    assert "-33.3, worse beyond doubt" in drawn
    assert "89% → 56% of 90" in drawn
