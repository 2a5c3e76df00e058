"""The plug-in of pytest: a requirement that is not shown to hold is a test that fails."""

import pytest

from tests.helpers.answered import draw_case, record_light

pytest_plugins = ["pytester"]


@pytest.fixture
def case(tmp_path):
    case = draw_case(tmp_path)
    record_light(case.test / "parameters.csv")
    return case


def test_each_requirement_and_each_reason_is_a_test(case, pytester):
    file = pytester.makefile(".yaml", requirements="light >= 0.5: at most 40 %\nlight < 0.5: at most 5 %\n")
    given = ("--safe-predictions", case.table, "--safe-tested", case.test)
    before = case.table.with_name("before.csv")
    before.write_text(case.table.read_text())
    options = ("-p", "safe_dnn.pytest_plugin", "-p", "no:cacheprovider", "-v")
    result = pytester.runpytest_inprocess(*options, file, *given, "--safe-no-worse", before)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*light < 0.5: at most 5 % wrong at 95 %: broken. 12 of 12 images are wrong*"])


def test_what_cannot_be_checked_is_an_error_in_a_sentence(case, pytester):
    file = pytester.makefile(".yaml", requirements="rain = yes: at most 40 %\n")
    given = ("--safe-predictions", case.table, "--safe-tested", case.test)
    result = pytester.runpytest_inprocess("-p", "safe_dnn.pytest_plugin", "-p", "no:cacheprovider", file, *given)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Expected a column that is known of the images*"])
