"""The register and the scope on the page: what is read back is taken over as it was shown, what is typed is kept."""

import base64

import pytest

from safe_dnn.page.report.register_view import lay_out_register, lay_out_scope
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.review.notes import Note, Scope
from safe_dnn.rccs.review.review import load_review, load_scope, set_note
from tests.helpers.laid_out import laid_out, settings_of


@pytest.fixture
def register(clusters, tmp_path):
    out = tmp_path / "out"
    save_clusters(clusters, out)
    settings = settings_of(out)
    return out, laid_out(lambda: lay_out_register(settings)).register_table


def test_a_table_is_taken_over_as_it_was_shown_and_shown_again_if_something_was_said_meanwhile(register):
    out, ask = register
    header, *rows = ask(["save"])["text"].splitlines()
    filled = [row.rsplit(",", 15)[0] + ",unsafe" + "," * 14 for row in rows]
    table = base64.b64encode("\n".join([header, *filled]).encode()).decode()
    answer = ask(["read", table])
    assert answer["changes"] == [f"RCC {rcc}: verdict empty → “unsafe”" for rcc in range(3)]
    set_note(out, Note(0, "night"))
    again = ask(["take", table, answer["changes"], "ann"])
    assert again["changes"] == ["RCC 0: name “night” → “”", *answer["changes"]]
    assert again["news"].startswith("Something was said meanwhile: 4 changes.")
    assert not load_review(out).notes[0].verdict
    assert ask(["take", table, again["changes"], "ann"]) == {"news": "Taken over: 4 changes."}
    assert [note.verdict for note in load_review(out).notes.values()] == ["unsafe"] * 3
    row = ask(["rows"])["rows"][0]
    assert (row["reason"], row["link"], row["cells"][0]) == ("RCC 0", ["rcc", "0"], "unsafe")
    assert row["lacks"][:2] == ["unsafe, but no hazard", "unsafe, but no triggering condition"]
    assert ask(["read", table]) == {"changes": [], "news": "It says nothing new."}


def test_a_field_of_a_reason_is_kept_and_not_written_over_what_somebody_else_has_said(register):
    out, ask = register
    row = ask(["rows"])["rows"][0]
    assert (row["link"], row["fields"]["hazard"]) == (["rcc", "0"], "")
    assert ask(["say", row["key"], "hazard", "", " H3  Gaze lost ", "ann"]) == {"kept": "H3 Gaze lost", "news": "Kept."}
    assert load_review(out).notes[0].hazard == "H3 Gaze lost"
    answer = ask(["say", row["key"], "hazard", "", "H4", "bob"])
    assert answer["kept"] == "H3 Gaze lost"
    assert "was changed to “H3 Gaze lost” by somebody else" in answer["problem"]
    assert ask(["say", row["key"], "hazard", "H3 Gaze lost", "H4", "bob"])["kept"] == "H4"
    assert "Status must be open" in ask(["say", row["key"], "status", "", "done", "ann"])["problem"]
    for odd in (["say", "0123", "hazard", "", "H4", "ann"], ["say", row["key"], "verdict", "", "safe", "ann"], ["say"]):
        assert "problem" in ask(odd)
    assert load_review(out).notes[0].verdict == ""


def test_what_is_no_table_is_refused_in_a_sentence(register):
    _, ask = register
    answer = ask(["read", base64.b64encode(b"a,b\n1,2\n").decode()])
    assert "Received the columns a, b in register.csv." in answer["problem"]
    for sent in (None, 3, [], ["missing"], ["read"], ["read", 3], ["read", "é"], ["take", ""], [["x"], None]):
        assert "problem" in ask(sent), sent


def test_a_scope_that_was_sent_is_kept_and_what_is_none_is_refused(clusters, tmp_path):
    out = tmp_path / "out"
    save_clusters(clusters, out)
    ask = laid_out(lambda: lay_out_scope(settings_of(out))).scope
    blank = Scope()._asdict()
    assert ask(["look"]) == {"said": blank}
    answer = ask(["keep", blank, blank | {"use": " a warning "}, "ann"])
    assert (answer["said"]["use"], answer["conflicts"]) == ("a warning", [])
    answer = ask(["keep", blank, blank | {"use": "control", "system": "a camera"}, "bob"])
    assert answer["conflicts"] == ["use"]
    assert "Intended use was changed to “a warning” by somebody else." in answer["problem"]
    answer = ask(["keep", blank, blank | {"system": "s" * 2_001}, "ann"])
    assert "may have 2,000 characters. Received: 2,001" in answer["problem"]
    assert load_scope(out)[0] == Scope(use="a warning", system="a camera")
    for sent in (None, 3, [], ["keep"], ["keep", {}, {"other": ""}, ""], ["keep", 1, 2, 3]):
        assert "problem" in ask(sent), sent
