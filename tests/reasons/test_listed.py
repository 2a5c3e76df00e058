from safe_dnn.analysis import Analysis
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import load_review, redo_edit, set_note, undo_edit
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.reasons.listed import CHANCE, LISTED, UNDECIDED, Reason, chosen, folded, reasons_of
from safe_dnn.report.report import report_html
from tests.helpers.spots import figures_of

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


# --- Folding ------------------------------------------------------------------------------------------------------


def with_excess(name: str, images: range, excess: int, kind: str = LISTED) -> Reason:
    found = figures_of(1000, 100 + excess, 0.1, 0.9, expected=0.1)
    return Reason(name, name, kind, figures=found, images=[f"{i}.png" for i in images])


def test_what_lies_in_another_reason_and_adds_little_is_folded_under_it():
    broad, other = with_excess("rain", range(500), 400), with_excess("dark", range(600, 900), 300)
    inner, own = with_excess("far in rain", range(90), 30), with_excess("fog", range(880, 960), 25)
    more = with_excess("wet", range(100), 60)
    listed = [broad, other, more, inner, own]
    assert folded(listed) == {"far in rain": "1 within rain"}, "one adds enough, and one lies elsewhere"
    assert folded([broad, other]) == {}


def test_at_most_ten_reasons_are_open_beside_those_that_are_folded_under_one():
    broad = with_excess("broad", range(1000), 900)
    inner = [with_excess(f"inner {i}", range(50 * i, 50 * i + 40), 20) for i in range(3)]
    others = [with_excess(f"other {i}", range(2000 + 100 * i, 2100 + 100 * i), 100 - i) for i in range(11)]
    chance = with_excess("chance", range(10), 5, CHANCE)
    found = folded([broad, *others, *inner, chance])
    assert {name for name, text in found.items() if text == "3 within broad"} == {one.name for one in inner}
    assert [name for name, text in found.items() if text == "2 more"] == ["other 9", "other 10"]
    assert found["chance"] == "1 that may be chance"
