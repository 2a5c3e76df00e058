"""A retraining that is not of this machine, with a final test."""

import dataclasses
from pathlib import Path

from safe_dnn.training.before_after import ByGroup, GroupCount
from safe_dnn.training.certainty import Counts
from safe_dnn.training.result import FinalTest
from tests.helpers.small_models import retraining_for

PERSONS = ByGroup("person", tuple(GroupCount(i, "", 10, 5, 3 + i % 2, i % 2) for i in range(8)))

FINAL = FinalTest(Path("test"), True, Counts(80, 40, 28, 4), PERSONS)


def retrained(**changes):
    given = {"accuracy_after": 0.5, "after": Path("after.csv"), "settings": None, "history": ()} | changes
    return dataclasses.replace(retraining_for("run"), **given)
