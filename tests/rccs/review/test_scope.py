"""The scope: said of the analysis as a whole; listed, undone, read back and shown as all else that is said."""

import csv

from safe_dnn.rccs.review.journal import SCOPE, Maker, Scope, describe_edit
from safe_dnn.rccs.review.review import all_edits, load_review, load_scope, redo_edit, set_note, undo_edit
from safe_dnn.report.report import report_html
from safe_dnn.SAFE_Tool import main
from safe_dnn.store.database import speaking


def say(out, by="ann", **fields):
    seen = load_scope(out)[0]
    return set_note(out, seen._replace(**fields), maker=Maker(by), run=load_review(out).run)


def test_what_is_said_is_listed_undone_and_said_again(out):
    with speaking("Ann"):
        say(out, domain="day\r\nand night ", responsible="J. Doe")
    say(out, "bob", domain="day")
    edits = all_edits(out, load_review(out))
    assert [(edit.engineer, describe_edit(edit)) for edit in edits] == [
        ("Ann", "Set the operational design domain of the analysis to “day\nand night”; "
                "Set the responsible person of the analysis to “J. Doe”"),
        ("", "Set the operational design domain of the analysis to “day” (was “day\nand night”)"),
    ]  # fmt: skip
    undo_edit(out)
    undo_edit(out)
    assert load_scope(out)[0] == Scope()
    redo_edit(out)
    assert load_scope(out)[0] == Scope(domain="day\nand night", responsible="J. Doe")


def test_a_table_of_it_is_filled_in_and_read_back(out, capsys):
    say(out, use="a warning alone")
    assert main(["register", "--out", str(out)]) == 0
    table = out / "scope.csv"
    with table.open(newline="") as file:
        rows = [row | {"said": "HARA-12"} if row["field"] == "hazards" else row for row in csv.DictReader(file)]
    assert [row["meaning"] for row in rows] == [known.title for known in SCOPE.values()]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert main(["register", "--out", str(out)]) == 2, "it would be lost"
    capsys.readouterr()
    assert main(["register", "--read", str(table), "--apply", "--user", "Ann", "--out", str(out)]) == 0
    assert "scope: hazards empty → “HARA-12”" in capsys.readouterr().out
    scope, last = load_scope(out)
    assert (scope.use, scope.hazards, last.engineer) == ("a warning alone", "HARA-12", "Ann")
    table.write_text("field,said\nsafety,none\n")
    assert main(["register", "--read", str(table), "--out", str(out)]) == 2
    assert "one of the fields system, use" in capsys.readouterr().err


def test_the_report_shows_it(out):
    assert "Nothing is said of: system and function" in report_html(out)
    with speaking("Ann"):
        say(out, domain="<day> & night", reviewer="A. Roe")
    document = report_html(out)
    assert "<dd>&lt;day&gt; &amp; night</dd>" in document
    assert "Last changed by Ann" in document
    assert "<td>Reviewed by</td><td>A. Roe</td>" in document
