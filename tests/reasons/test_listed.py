from safe_dnn.analysis import Analysis
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import load_review, redo_edit, set_note, undo_edit
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.reasons.listed import LISTED, UNDECIDED, Reason, chosen, folded, reasons_of
from safe_dnn.report.report import report_html

FOUR = [Reason(name, "") for name in ("weak spot 1", "weak spot 10", "RCC 0", "RCC 3")]


def test_reasons_are_chosen_as_they_are_called_or_as_their_files_are_and_stay_in_order():
    found = chosen(FOUR, ["RCC_03", "Weak Spot 10", "rcc 0", "RCC_00"])
    assert [reason.name for reason in found] == ["weak spot 10", "RCC 0", "RCC 3"]
    assert chosen(FOUR, []) == []


def test_a_weak_spot_and_the_rcc_with_its_images_are_one_reason(explained):
    review = load_review(explained.out)
    reasons = load_reasons(explained.out, review.original)
    first, *others = reasons_of(review, reasons, explained.out)
    assert (first.name, first.where, first.rcc) == ("weak spot 1 (RCC 0)", "label = night", 0)
    assert set(first.images) >= set(review.clusters.members(0))
    assert {one.name for one in others} == {"RCC 1", "RCC 2"}
    assert others[0].excess >= others[1].excess
    assert chosen([first, *others], ["RCC_00"]) == chosen([first, *others], ["weak spot 1"]) == [first]
    assert first.kind == LISTED
    assert {one.kind for one in others} == {UNDECIDED}, "the network does not clearly fail more often on them"
    assert not any(one.to_judge for one in others)


def test_what_is_said_of_a_reason_is_said_of_both_halves_and_undone_as_one(explained):
    out = explained.out
    spot = Analysis(out).register[0].note
    for text in ("da", "dark"):  # as it is typed
        set_note(out, spot._replace(name=text, verdict="unsafe"), twin=0)
    assert load_review(out).notes[0][1:4] == ("dark", "", "unsafe")
    assert Analysis(out).register[0].note[1:4] == ("dark", "", "unsafe")
    undo_edit(out)
    assert load_review(out).notes[0].name == Analysis(out).register[0].note.name == "da"
    undo_edit(out)
    assert (load_review(out).notes, Analysis(out).register[0].note) == ({}, spot)
    redo_edit(out)
    assert load_review(out).notes[0].verdict == Analysis(out).register[0].note.verdict == "unsafe"


def test_verdicts_that_were_given_to_both_halves_stay_and_are_shown_where_they_differ(explained):
    out = explained.out
    spot = Analysis(out).register[0].note
    set_note(out, Note(0, name="dark", verdict="safe", owner="Ann"))
    assert Analysis(out).register[0].note[1:4] == ("dark", "", "safe"), "of the RCC alone"
    set_note(out, spot._replace(verdict="unsafe"))
    reason = Analysis(out).register[0].about
    assert (reason.note.verdict, reason.note.owner, reason.differing) == ("unsafe", "Ann", {"verdict": "safe"})
    assert "as RCC 0: safe" in report_html(out)
    set_note(out, reason.note._replace(verdict="unclear"), twin=0)
    reason = Analysis(out).register[0].about
    assert (reason.note.verdict, reason.differing) == ("unclear", {})
    assert load_review(out).notes[0].owner == "Ann"


def test_ten_reasons_are_open_and_the_rest_is_folded_under_a_line_for_each_kind():
    listed = [Reason(f"weak spot {rank}", "") for rank in range(1, 13)]
    listed += [Reason("weak spot 13", "", "chance"), Reason("RCC 1", "", "inside"), Reason("RCC 2", "", "undecided")]
    assert folded(listed) == {
        "weak spot 11": "2 more", "weak spot 12": "2 more", "weak spot 13": "1 that may be chance",
        "RCC 1": "1 inside these reasons", "RCC 2": "1 not known to fail more often",
    }  # fmt: skip
    assert folded(listed[:10]) == {}
