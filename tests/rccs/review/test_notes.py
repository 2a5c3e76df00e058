"""The words and fields of what is said: each is in one table, from which all others take them."""

import pytest

from safe_dnn.pipeline.analysis import Analysis
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.pipeline.reporting.report import report_html
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.review.edits import merge_rccs
from safe_dnn.rccs.review.notes import VERDICTS, Note, Verdict, judgements
from safe_dnn.rccs.review.review import load_review, set_note
from safe_dnn.reasons.register import register_text


@pytest.fixture
def out(clusters, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    save_clusters(clusters, folder)
    return folder


def test_a_verdict_that_is_added_to_the_table_is_on_the_page_and_in_register_and_report(out, monkeypatch):
    monkeypatch.setitem(VERDICTS, "tolerable", Verdict(0.5, "~", "o"))
    assert judgements() == ["unsafe", "unclear", "tolerable", "safe"]
    assert "judge it: unsafe, unclear, tolerable, safe, not judged" in filled("page/clusters/screen.html")
    set_note(out, Note(0, verdict="Tolerable"))
    set_note(out, Note(1, verdict="safe"))
    assert "<span class='verdict tolerable'>tolerable</span>" in report_html(out)
    assert ",tolerable," in register_text(out, Analysis(out).register)
    merge_rccs(out, 0, 1)
    assert load_review(out).notes[1].verdict == "tolerable"
