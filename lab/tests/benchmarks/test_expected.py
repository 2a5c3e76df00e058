import numpy as np
import pytest

from lab.benchmarks.expected import KINDS, curve, drawn, found_causes, given_causes, page, shuffled
from lab.tests.test_documents import RESULTS


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_expected_by_construction_is_what_is_counted_where_a_cause_is_taken_away(kind):
    one = drawn(0, images=40000, **KINDS[kind])
    assert one.holds.shape == one.without.shape
    for cause, expected in enumerate(one.expected):
        assert one.wrong[one.holds[cause]].mean() > expected + 0.1
    none_holds = ~one.holds.any(axis=0)
    assert one.wrong[none_holds].mean() == pytest.approx(one.without[0][none_holds].mean(), abs=0.015)


def test_given_causes_are_expected_nearly_right_and_found_ones_are_told_from_mixtures():
    tables = [drawn(seed) for seed in range(6)]
    given = given_causes(tables)
    assert np.mean(given.errors) < 0.015
    assert np.mean(given.held) >= 0.8
    each = [found_causes(one) for one in tables]
    assert sum(one.alone for one in each) >= 16
    assert all(0 <= one.mixed <= one.causes for one in each)


def test_shuffles_keep_what_they_say():
    one = drawn(0, classes=5, groups=40)
    dealt = shuffled(one, np.random.default_rng(0))
    assert dealt.keys() == {"among all", "within classes", "by group"}
    assert dealt["among all"].sum() == one.wrong.sum()
    assert (np.bincount(one.classes, dealt["within classes"]) == np.bincount(one.classes, one.wrong)).all()


def test_a_curve_is_at_three_quarters_and_a_quarter_of_its_height_where_it_says():
    values, wrong, first, last = curve(0, 200000)
    ends = [wrong[abs(values - end) < 1].mean() for end in (0, first, last, 99)]
    height = ends[0] - ends[3]
    assert [(end - ends[3]) / height for end in ends[1:3]] == pytest.approx([0.75, 0.25], abs=0.06)


@pytest.mark.slow
def test_the_page_has_a_row_for_each_kind():
    text = page(1, lambda name: None)
    assert all(text.count(f"| {kind} |") == 3 for kind in KINDS)
    assert (RESULTS / "expected.md").is_file()
