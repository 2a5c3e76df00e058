"""Failing images that SAFE has collected are known by what is recorded of the test images that they are copies of."""

from pathlib import Path

import pytest

from dnn.failures import collect_failures
from rccs.parameters import find_parameters, read_parameters
from rccs.rounds import source_folder_of
from support.run_folder import FAILURES
from tests.helpers.answered import AnsweredCase, draw_case


@pytest.fixture
def case(tmp_path: Path) -> AnsweredCase:
    """Failures that were collected to `out/failures`."""
    case = draw_case(tmp_path / "case")
    collect_failures(case.table, case.test, case.out)
    return case


def test_the_test_folder_of_copies_is_known_by_the_tables_beside_them(case):
    assert source_folder_of(case.out / FAILURES) == case.test


def test_parameters_of_the_test_set_are_found_and_those_beside_the_copies_go_first(case):
    failing = case.out / FAILURES
    assert find_parameters(failing) is None
    for folder in (case.test.parent, case.test, case.out, failing):  # each goes before the one before
        (folder / "parameters.csv").write_text("image,light\n")
        assert find_parameters(failing) == folder / "parameters.csv"


def test_a_table_of_a_test_set_outside_the_root_is_not_taken(case):
    (case.test / "parameters.csv").write_text("image,light\n")
    assert find_parameters(case.out / FAILURES, within=case.out.resolve()) is None


def test_a_copy_has_the_row_of_its_test_image_though_others_end_in_the_same_name(case):
    failing = case.out / FAILURES
    images = sorted(path.relative_to(failing).as_posix() for path in failing.rglob("*.png"))
    rows = [f"{folder}/{image},{i - k}" for k, folder in enumerate(("test", "train")) for i, image in enumerate(images)]
    table = case.test.parent / "parameters.csv"
    table.write_text("\n".join(["image,number", *rows]))
    assert read_parameters(table, failing, images).columns["number"].tolist() == list(range(26))
    table.write_text("\n".join(["image,number", *(f"{failing}/{image},{i}" for i, image in enumerate(images))]))
    assert read_parameters(table, failing, images).columns["number"].tolist() == list(range(26))
