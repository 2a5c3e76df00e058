"""A further kind of reason is one function: all that lists reasons takes what it adds, and knows no kind."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from safe_dnn import analysis as module
from safe_dnn import api as safe
from safe_dnn.analysis import Analysis
from safe_dnn.page.clusters.reasons import cards_of
from safe_dnn.rccs.review.review import set_note
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.report.report import REPORT_FILE
from safe_dnn.report.summary_lines import rate_lines
from tests.helpers.spots import figures_of


def by_last_digit(reasons, analysis):
    """Failing images of which the name ends in 1, as three quarters of all tested ones."""
    clusters = analysis.original
    rows = np.array([row for row, path in enumerate(clusters.paths) if path.endswith("1.png")])
    figures = figures_of(len(rows) * 4 // 3, len(rows), 0.5, 0.9, expected=0.1)
    spot = WeakSpot((Literal("last digit", "=", "1"),), figures)
    return dataclasses.replace(reasons, spots=(*reasons.spots, spot), images=(*reasons.images, rows))


def test_whoever_takes_reasons_asks_none_whether_it_is_a_weak_spot():
    package = Path(module.__file__).parent
    files = (path for path in package.rglob("*") if path.suffix in (".py", ".html") and path.name != "listed.py")
    asking = [file.name for file in files if re.search(r"\b(one|reason|about)\.spot\b", file.read_text("utf-8"))]
    assert asking == []


@pytest.fixture
def out(explained, monkeypatch):
    monkeypatch.setattr(module, "REASON_KINDS", (*module.REASON_KINDS, by_last_digit))
    return explained.out


def test_a_reason_of_a_further_kind_is_listed_judged_registered_and_reported_as_any_other(out):
    analysis = Analysis(out)
    (reason,) = [one for one in analysis.listed if one.where == "last digit = 1"]
    assert reason.fails_more
    assert {image[-5:] for image in reason.images} == {"1.png"}
    assert "last digit = 1" in cards_of(analysis)
    assert any("last digit = 1: " in line for line in rate_lines(analysis))
    set_note(out, reason.note._replace(verdict="unsafe", name="first of ten"))
    (entry,) = [one for one in Analysis(out).register if one.where == "last digit = 1"]
    assert (entry.note.name, entry.note.verdict) == ("first of ten", "unsafe")
    safe.register(out)
    assert "first of ten" in (out / "register.csv").read_text(encoding="utf-8")
    (row,) = [one for one in safe.report(out).value["reasons"] if one["where"] == "last digit = 1"]
    assert (row["name"], row["verdict"], row["fails_more"]) == ("first of ten", "unsafe", True)
    report = (out / REPORT_FILE).read_text(encoding="utf-8")
    assert "first of ten" in report
    assert "last digit = 1" in report
