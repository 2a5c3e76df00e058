"""The confusions before and after, in the report."""

import dataclasses
import re

from safe_dnn.report.markup import filled
from safe_dnn.report.report import _confusions
from safe_dnn.training.before_after import Answered
from tests.helpers.small_models import retraining_for


def result_of(*rows: tuple[str, str, str], task: str = "classification"):
    """A retraining with these classes and answers before and after, an image each."""
    answers = tuple(Answered(f"{i}.png", *row) for i, row in enumerate(rows))
    return dataclasses.replace(retraining_for(""), task=task, test_size=len(rows), answers=answers)


def rows_of(page: str) -> list[list[str]]:
    """The texts of each row of all tables."""
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


FEW = result_of(
    ("cat", "cat", "cat"), ("cat", "dog", "cat"), ("cat", "dog", "dog"), ("dog", "dog", "cat"),
    ("<fox>", "cat", "<fox>"),
)  # fmt: skip


def test_of_few_classes_both_matrices_are_tables_with_headings():
    page = filled("confusions.html", **_confusions(FEW))
    head = ["", "&lt;fox&gt;", "cat", "dog"]  # by name
    assert rows_of(page) == [
        head, ["&lt;fox&gt;", "0", "1", "0"], ["cat", "0", "1", "2"], ["dog", "0", "0", "1"],
        head, ["&lt;fox&gt;", "1", "0", "0"], ["cat", "0", "2", "1"], ["dog", "0", "1", "0"],
    ]  # fmt: skip
    assert page.count("scope='col'") == page.count("scope='row'") == 6
    captions = re.findall("<caption>(.*?)</caption>", page)
    assert captions == ["What was taken for what before", "And what is now"]
    assert "Rows: the true class. Columns: what the network said." in page
    # The darkest cell has most wrong images, of both matrices.
    assert re.findall(r"class='n wrong' style='--shade:(\d+)%'>(\d)", page) == [
        ("28", "1"), ("45", "2"), ("28", "1"), ("28", "1")
    ]  # fmt: skip
