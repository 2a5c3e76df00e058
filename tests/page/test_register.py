"""The register on the page: what a table says is shown, and taken over only as it was shown."""

import base64

import pytest

from page.jobs import Jobs, PageSettings
from page.report.register import lay_out_register
from page.results import Results
from rccs.clusters import save_clusters
from rccs.review.notes import RccNote
from rccs.review.review import load_review, set_note
from tests.helpers.laid_out import laid_out


@pytest.fixture
def register(clusters, tmp_path):
    out = tmp_path / "out"
    save_clusters(clusters, out)
    settings = PageSettings(out, Jobs(), Results(out))
    return out, laid_out(lambda: lay_out_register(settings)).register_table


def test_a_table_is_taken_over_as_it_was_shown_and_shown_again_if_something_was_said_meanwhile(register):
    out, ask = register
    header, *rows = ask(["save"])["text"].splitlines()
    filled = [row.rsplit(",", 11)[0].rsplit(",", 1)[0] + ",unsafe" + "," * 11 for row in rows]
    table = base64.b64encode("\n".join([header, *filled]).encode()).decode()
    answer = ask(["read", table])
    assert answer["changes"] == [f"RCC {rcc}: verdict empty → “unsafe”" for rcc in range(3)]
    set_note(out, RccNote(0, "night"))
    again = ask(["take", table, answer["changes"], "ann"])
    assert again["changes"] == ["RCC 0: name “night” → “”", *answer["changes"]]
    assert again["news"].startswith("Something was said meanwhile: 4 changes.")
    assert not load_review(out).notes[0].verdict
    assert ask(["take", table, again["changes"], "ann"]) == {"news": "Taken over: 4 changes."}
    assert [note.verdict for note in load_review(out).notes.values()] == ["unsafe"] * 3
    assert ask(["missing"])["missing"][0].startswith("RCC 0: unsafe, but without: hazard, triggering condition")
    assert ask(["read", table]) == {"changes": [], "news": "It says nothing new."}


def test_what_is_no_table_is_refused_in_a_sentence(register):
    _, ask = register
    answer = ask(["read", base64.b64encode(b"a,b\n1,2\n").decode()])
    assert "Received the columns a, b in register.csv." in answer["problem"]
    for sent in (None, 3, [], ["read"], ["read", 3], ["read", "é"], ["take", ""], [["x"], None]):
        assert "problem" in ask(sent), sent
