"""Why a network fails, before anything is grouped, without a browser."""

import pytest

from safe_dnn.analysis import Analysis
from safe_dnn.api.explaining import explain_collected
from safe_dnn.dnn.failures import collect_failures
from safe_dnn.page.failures.tab import cards_of, most_confused, story_of
from safe_dnn.page.pictures import PER_PAGE, beside
from safe_dnn.reasons.listed import ungrouped_reasons
from tests.helpers.answered import record_light


@pytest.fixture
def collected(case):
    """The failures of a case with a table of parameters, and an output folder."""
    record_light(case.test / "parameters.csv")
    collect_failures(case.table, case.test, case.out)
    explain_collected(case.out)
    return Analysis(case.out).failures, case.out


def test_each_page_has_wrong_and_right_images_as_long_as_there_are_any():
    wrong, right = [*range(100)], [*range(100, 140)]
    ordered = beside(wrong, right)
    assert sorted(ordered) == [*wrong, *right]
    first, second = ordered[:PER_PAGE], ordered[PER_PAGE : 2 * PER_PAGE]
    assert [sum(row >= 100 for row in page) for page in (first, second)] == [12, 12]
    assert beside([], [1, 2]) == [1, 2]
    assert beside([1, 2], []) == [1, 2]


def test_what_is_most_often_taken_for_what_stands_with_the_matrix_and_is_no_reason(collected):
    shown, out = collected
    assert most_confused(shown) == (
        "Most often: night taken for wood (12), snow taken for wood (8) and wood taken for snow (6)."
    )
    known = ungrouped_reasons(shown, out)
    assert "predicted" not in story_of(shown, known) + str(cards_of(shown, known))
