"""The confusions before and after, in the report."""

import dataclasses
import re

from safe_dnn.pipeline.reporting.report import confused_before_and_now, confusions_html, matrices_of
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
    page = confusions_html(FEW)
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


def test_of_many_classes_the_confusions_with_the_most_images_are_listed():
    names = [f"sign {i:02d}" for i in range(43)]
    rows = [(name, name, name) for name in names]
    rows += [("sign 00", "sign 01", "sign 00")] * 30 + [("sign 02", "sign 03", "sign 03")] * 20
    rows += [("sign 04", "sign 04", "sign 05")] * 10 + [(name, "sign 06", name) for name in names[7:37]]
    result = result_of(*rows)
    assert confused_before_and_now(result)[:3] == [
        ("sign 02", "sign 03", 20, 20),
        ("sign 00", "sign 01", 30, 0),
        ("sign 04", "sign 05", 0, 10),
    ]
    head, *listed, rest = rows_of(confusions_html(result))
    assert head == ["Class", "Taken for", "Before", "Now", "Change"]
    assert len(listed) == 20
    assert listed[:3] == [
        ["sign 02", "sign 03", "20", "20", "0"],
        ["sign 00", "sign 01", "30", "0", "-30"],
        ["sign 04", "sign 05", "0", "10", "+10"],
    ]
    assert rest == ["13 other confusions", "", "13", "0", "-13"]
    before, _ = matrices_of(result)
    assert before.wrong.sum() == 80 == sum(int(row[2]) for row in (*listed, rest))
