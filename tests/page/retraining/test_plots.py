"""The bars of classes."""

import re

from safe_dnn.page.retraining.tab import class_bars
from safe_dnn.training.before_after import Counts, Share
from safe_dnn.training.certainty import certainties


def test_classes_that_are_worse_come_first_then_those_that_changed_most():
    counts = {"same": Counts(90, 50, 0, 0), "worse": Counts(90, 80, 0, 30), "better": Counts(90, 10, 60, 0)}
    there = [Share(name, of.images, of.right_before, of.right_before + of.improved - of.worsened)
             for name, of in counts.items()]  # fmt: skip
    drawn = class_bars(there, dict(zip(counts, certainties(list(counts.values())), strict=True)))
    assert re.findall("<th scope='row' title='[a-z]+'>([a-z]+)<", drawn) == ["worse", "better", "same"]
    assert "-33.3, worse beyond doubt" in drawn
    assert "89% → 56% of 90" in drawn
