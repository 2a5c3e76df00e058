"""The cases: what they draw, and why their networks fail."""

import dataclasses
import hashlib

import pytest

from safe_dnn.casestudies.cases import CASES, EYES
from tests.helpers import cases

NAMES = [field.name for field in dataclasses.fields(EYES.type)]


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_case_is_drawn_with_its_root_causes_situations_and_sets(case):
    cases.lacks_its_causes_in_training(case)
    cases.has_each_situation_by_itself(case, "eyewear")
    cases.has_sets_that_differ_and_repeat(case)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("gd", "6dc380df421964c8f8242790e8979da2d4b83a84430f52ee9e69626e87c46695"),
        ("oc", "63563c2b43731b0e7e64e6c015865d6ff62da78aecafd9e1e0c4623057feeefa"),
    ],
)
def test_the_cases_draw_the_same_images_as_in_release_1_0(name, digest):
    drawn = [
        (label, *(getattr(eye, field) for field in NAMES))
        for part in ("train", "improvement", "test")
        for label, eye in CASES[name].draw(part, 200, 0)
    ]
    assert hashlib.sha256(repr(drawn).encode()).hexdigest() == digest
