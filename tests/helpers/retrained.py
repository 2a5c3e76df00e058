"""A retraining that is not of this machine, with a final test."""

import dataclasses
from pathlib import Path

from safe_dnn.training.before_after import Answered, ByGroup, GroupCount
from safe_dnn.training.result import FinalTest
from tests.helpers.small_models import retraining_for

PERSONS = ByGroup("person", tuple(GroupCount(i, "", 10, 5, 3 + i % 2, i % 2) for i in range(8)))

IMAGE = Answered("a.png", "a", "b", "c")
FINAL = FinalTest(
    root=Path("test"), held_out=True, accuracy_before=0.5, accuracy_after=0.8, test_size=80, improved=(IMAGE,) * 28,
    worsened=(IMAGE,) * 4, per_rcc=(), per_class=(), by_group=PERSONS,
)  # fmt: skip


def retrained(**changes):
    given = {"accuracy_after": 0.5, "after": Path("after.csv"), "settings": None, "history": ()} | changes
    return dataclasses.replace(retraining_for("run"), **given)
