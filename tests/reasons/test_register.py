"""The register: filled in on the page or in a spreadsheet, read back without surprise, and kept as all that is said."""

import csv

import pytest

from safe_dnn.analysis import Analysis
from safe_dnn.rccs.review.journal import REGISTER, Maker, Note, describe_edit, newest
from safe_dnn.rccs.review.review import all_edits, load_review, merge_rccs, set_note, undo_edit
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.reasons.claims import CONFIRMATION_FILE
from safe_dnn.reasons.listed import Reason
from safe_dnn.reasons.probes import PROBES_FILE, Probe, probes_text
from safe_dnn.reasons.register import REGISTER_FILE, changes_in, register_of, take_over, titles_of
from safe_dnn.report.exports import write_register
from safe_dnn.report.report import report_html
from safe_dnn.SAFE_Tool import main
from safe_dnn.store.runs import CLUSTERS, CONFIRMATION, PROBES, add_run, present_runs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.tables import table_text
from tests.helpers.spots import weak_spot


@pytest.fixture
def out(explained):
    return explained.out


def filled_in(out, **fields):
    """`register.csv` as a spreadsheet leaves it: fields of rows by their reason."""
    file = out / REGISTER_FILE
    with file.open(newline="") as opened:
        header, *rows = csv.reader(opened)
    for row in rows:
        said = fields.get(row[header.index("reason")].partition(" (")[0].replace(" ", "_"), {})
        for field, text in said.items():
            row[header.index(field)] = text
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([header, *rows])
    return file


def test_a_table_that_was_filled_in_says_what_it_would_change_and_is_taken_over_on_request(out, capsys):
    assert main(["register", "--out", str(out)]) == 0
    assert ": not judged\n" in capsys.readouterr().out
    said = {"verdict": "unsafe", "hazard": "H3 Gaze lost at night", "measure": "More data", "note": "two\nlines"}
    table = filled_in(out, weak_spot_1=said, RCC_1={"status": "closed", "owner": "=J. Doe"})
    with pytest.raises(SAFEError, match=r"has 6 changes that would be lost, the first: label = night: "):
        write_register(out)
    assert main(["register", "--read", str(table), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "label = night: hazard empty → “H3 Gaze lost at night”" in told
    assert told.endswith("6 changes; nothing was taken over (--apply)\n")
    assert not load_review(out).notes
    assert main(["register", "--read", str(table), "--apply", "--user", "Ann", "--out", str(out)]) == 0
    assert {edit.engineer for edit in all_edits(out, load_review(out))} == {"Ann"}
    assert main(["register", "--user", " ", "--out", str(out)]) == 2
    spot, *_ = Analysis(out).register
    assert (spot.note.verdict, spot.note.measure, spot.note.note) == ("unsafe", "more data", "two\nlines")
    assert spot.missing == ("unsafe, but without: triggering condition, severity or ASIL, owner, status",)
    assert load_review(out).notes[1].owner == "=J. Doe"
    assert load_review(out).notes[0].verdict == "unsafe", "the RCC of the weak spot is judged with it"
    assert changes_in(table, Analysis(out).register) == []
    assert "Hazard: H3 Gaze lost at night" in report_html(out)
    probed = probes_text([Probe("RCC 0", load_review(out).subjects[1], "")])
    add_run(out, PROBES, {PROBES_FILE: probed}, clusters=present_runs(out)[CLUSTERS].itself)
    write_register(out)
    for told in ("closed, but without: acceptance criterion", "changing pixels cannot make what these images have in"):
        assert told in (out / REGISTER_FILE).read_text()


def test_what_is_missing_is_told_and_decides_about_the_exit_status(out, capsys):
    ask = ["register", "--missing", "--out", str(out)]
    assert main(ask) == 3
    told, last = capsys.readouterr().out.splitlines()
    assert told == "label = night: not judged"
    assert last.startswith("1 of ")
    assert not (out / REGISTER_FILE).exists()
    for entry in Analysis(out).register:
        set_note(out, entry.note._replace(verdict="safe"), twin=entry.about.rcc if entry.about.twin else None)
    assert main(ask) == 0


def test_a_hypothesis_stands_beside_what_a_fresh_test_set_says_and_neither_overwrites_the_other(out):
    run = present_runs(out)[CLUSTERS]
    where = Analysis(out).register[0].where
    rows = [("weak spot 1 (RCC 0)", where, "refuted"), ("RCC 0", "", "confirmed")]
    table = table_text(("reason", "where", "verdict"), rows)
    facts = {"edits": 0, "told": [], "closed": [], "notes": [], "images": 1, "wrong": 1}
    add_run(out, CONFIRMATION, {CONFIRMATION_FILE: table}, clusters=run.itself, facts=facts)
    set_note(out, Note(0, hypothesis="glare hides the pupil", belief="confirmed"))
    both, *_ = Analysis(out).register
    assert (both.reason, both.fresh, both.note.belief) == ("weak spot 1 (RCC 0)", "refuted", "confirmed")
    assert "hypothesis confirmed, but without: refutation criterion" in both.missing
    document = report_html(out)
    assert "Hypothesis: glare hides the pupil<br>State of the hypothesis: confirmed<br>Fresh test set: ref" in document
    merge_rccs(out, 1, 0)
    assert not any(entry.fresh for entry in Analysis(out).register), "RCCs were edited since"


def test_what_is_said_is_listed_undone_and_merged_as_all_else(out):
    note = Note(1, hazard="H1", status="open", measure="retraining")
    set_note(out, note)
    set_note(out, Note(0, hazard="H2"))
    *_, edit = [describe_edit(edit) for edit in all_edits(out, load_review(out)) if edit.notes[1].about == 1]
    assert edit.split("; ") == [
        "Set the hazard of RCC 1 to “H1”",
        "Set the measure of RCC 1 to “retraining”",
        "Set the status of RCC 1 to “open”",
    ]
    merged = merge_rccs(out, 1, 0).notes[0]
    assert (merged.hazard, merged.status, merged.measure) == ("H2", "open", "retraining")
    assert "RCC 1 had: Hazard: H1." in merged.note
    assert undo_edit(out).notes[1] == note
    assert load_review(out).notes[0].hazard == "H2"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"status": "done"}, "Status must be open, in treatment, closed, accepted or empty. Received: 'done' .line 2"),
        ({"hazard": "H" * (REGISTER["hazard"].longest + 1)}, "Hazard may have 300 characters. Received: 301 .line 2"),
        ({"id": "0123"}, "the id of a present reason, once in line 2"),
    ],
)
def test_a_table_that_cannot_be_taken_over_is_refused_with_its_line(out, said, problem):
    write_register(out)
    with pytest.raises(SAFEError, match=problem):
        changes_in(filled_in(out, weak_spot_1=said), Analysis(out).register)
    with pytest.raises(SAFEError, match=r"of a present reason|must be|may have"):
        write_register(out)


def test_an_unknown_column_and_a_reason_twice_are_refused(out):
    write_register(out)
    file, text = out / REGISTER_FILE, (out / REGISTER_FILE).read_text()
    file.write_text(text.replace("hazard", "danger", 1))
    with pytest.raises(SAFEError, match=r"Received the columns danger in .*register\.csv"):
        changes_in(file, Analysis(out).register)
    file.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(SAFEError, match=r"Received: \w+ twice"):
        changes_in(file, Analysis(out).register)


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(out):
    write_register(out)
    table = filled_in(out, weak_spot_1={"hazard": "mine"})
    maker = Maker(last_entry=newest(out))
    changes = changes_in(table, Analysis(out).register)
    set_note(out, Note(0, hazard="theirs"))
    with pytest.raises(SAFEError, match="Changed elsewhere"):
        take_over(out, changes, maker=maker)
    assert load_review(out).notes[0].hazard == "theirs"


def test_entries_are_called_as_in_the_list_and_equal_names_are_told_apart():
    dark, blurred = (
        Reason(f"weak spot {at}", name, spot=weak_spot((Literal(name, "<", 0.4),), 10, 9, 0.6, 1, 0.1), note=Note(name))
        for at, name in enumerate(("light", "focus"), 1)
    )
    named = [one._replace(note=one.note._replace(name="tunnel")) for one in (dark, blurred)]
    entries = register_of([dark, *named[1:], Reason("RCC 3", "x", rcc=3)], {})
    assert [*titles_of(entries).values()] == ["light < 0.4", "tunnel", "RCC 3"]
    assert [*titles_of(register_of(named, {})).values()] == ["tunnel (weak spot 1)", "tunnel (weak spot 2)"]
