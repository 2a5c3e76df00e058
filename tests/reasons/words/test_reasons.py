"""Words as reasons: in the list, the register, the report and the curves, with rates from answers."""

import numpy as np
import pytest

from safe_dnn.analysis import Analysis
from safe_dnn.rccs.review.review import load_review, set_note
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.reasons.listed import LISTED, reasons_of
from safe_dnn.reasons.words.tagging import answer, answers_to_tag, begin, open_tagging, rate
from safe_dnn.report.report import report_html
from tests.reasons.words.test_tagging import asked


def blurred(out):
    """Half of the wrong images, of all classes."""
    tested = answers_to_tag(out)
    rows = {image: row for row, image in enumerate(tested.paths)}
    return lambda image: not tested.right[rows[image]] and rows[image] % 2 == 0


def listed(out):
    review = load_review(out)
    return {reason.name: reason for reason in reasons_of(review, Analysis(out).reasons, out)}


def test_a_word_with_a_rate_is_a_reason_with_what_was_answered(explained):
    out = explained.out
    before = load_reasons(out, load_review(out).original)
    begin(out, "dark")
    assert Analysis(out).reasons.spots == before.spots, "no rate follows yet"
    tagging = asked(out, 3, "blurred", blurred(out))
    found, reason = rate(tagging), listed(out)["word blurred"]
    assert (reason.kind, reason.file) == (LISTED, "word_blurred")
    assert (reason.figures.rate, *reason.figures[2:4]) == (found.rate, found.new_low, found.new_high)
    yes = {tag.image.split("/")[1] for tag in tagging.tags if tag.answer == "yes"}
    assert reason.images
    assert {image.split("/")[-1] for image in reason.images} <= yes
    assert (
        f"about {reason.figures.wrong} of {reason.figures.tested} (by {found.tagged} answers) are wrong"
        in reason.spot.text
    )
    reasons = Analysis(out).reasons
    assert reasons.spots[: len(before.spots)] == before.spots, "the others keep their ranks"
    none_holds = before.where_none_holds
    assert reasons.where_none_holds == none_holds, "which right images have it is not known"
    assert "differs by class" not in tagging.text, "all are wrong in each"
    bars = {bar.value: bar for bar in reasons.curves if (bar.column, bar.of_class) == ("blurred", "")}
    assert bars["yes"].rate_low > bars["no"].rate_high


def test_what_is_said_of_a_word_is_in_the_register_and_the_report(explained):
    out = explained.out
    asked(out, 3, "blurred", blurred(out))
    note = next(one for one in Analysis(out).register if one.reason == "word blurred").note
    set_note(out, note._replace(verdict="unsafe", name="out of focus"))
    (entry,) = [one for one in Analysis(out).register if one.reason == "word blurred"]
    assert (entry.where, entry.note.verdict, entry.note.name) == ("blurred = yes", "unsafe", "out of focus")
    report = report_html(out)
    assert "out of focus" in report
    assert "answers</span>" in report
    tagging = open_tagging(out, "blurred")
    answer(tagging, [(tag.image, "no") for tag in tagging.tags if tag.answer == "yes"][:1])
    (entry,) = [one for one in Analysis(out).register if one.reason == "word blurred"]
    assert entry.note.name == "out of focus", "further answers lose nothing that was said"


@pytest.mark.parametrize(("named", "clear"), [("wet", True), ("any", False)])
def test_a_word_within_a_class_is_a_reason_only_where_it_matters_within_that_class(explained, named, clear):
    tested = open_tagging(explained.out, begin(explained.out, "first").name).tested
    labels, wrong = np.array(tested.answers.label), ~tested.right
    rates = {name: wrong[labels == name].mean() for name in np.unique(labels)}
    mixed = next(name for name, share in sorted(rates.items()) if 0.2 < share < 0.9)
    lot = np.random.default_rng(3).random(len(wrong)) < 0.5
    has_it = (labels == mixed) == wrong if clear else lot  # wrong ones of a class and right ones of others, or any
    rows = dict(zip(tested.paths, has_it.tolist(), strict=True))
    text = asked(explained.out, 4, named, rows.__getitem__).text
    names = [name.partition(" (")[0] for name in listed(explained.out) if name.startswith(f"word {named}")]
    assert names == ([f"word {named}, {mixed}"] if clear else []), "and no rate of all classes"
    assert f"{named}: how many are wrong differs by class: {mixed if clear else 'night'} 100%, " in text
    assert "are wrong (" not in text
    curves = Analysis(explained.out).reasons.curves
    assert {bar.of_class for bar in curves if bar.column == named} > {"", mixed}
