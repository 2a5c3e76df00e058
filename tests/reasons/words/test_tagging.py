"""A word on an analysis: images to ask, answers, the rate, its evidence, and requirements."""

import shutil

import numpy as np
import pytest
from scipy.stats import betabinom

from safe_dnn.api.confirmation import check_requirements
from safe_dnn.dnn.tested import read_predictions
from safe_dnn.options import GivenAnswers
from safe_dnn.reasons.requirements import BROKEN
from safe_dnn.reasons.words.rates import FEW, LEVEL, MANY, OTHERS
from safe_dnn.reasons.words.tagging import (
    answer,
    answers_in,
    begin,
    likely,
    next_images,
    open_tagging,
    rate,
    sample_of,
    undo,
)
from safe_dnn.report.report import report_html
from safe_dnn.SAFE_Tool import main
from safe_dnn.store.database import speaking
from safe_dnn.store.runs import DRAWING, runs_of
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import rows_in


def oracle(images):
    return [(image, "yes" if image.startswith("night/") else "no") for image in images]


def asked(out, rounds, name="dark", has_it=lambda image: image.startswith("night/")):
    """A word after so many rounds of answers."""
    begin(out, name, ["night/night_00.png", "night/night_01.png"])
    for _ in range(rounds):
        tagging, images = next_images(open_tagging(out, name))
        tagging = answer(tagging, [(image, "yes" if has_it(image) else "no") for image in images])
    return tagging


@pytest.fixture
def dark(explained):
    """Nights, all of which are wrong, as a word: 20 answers to teach, and 19 that were drawn."""
    return asked(explained.out, 2)


def test_the_first_answers_teach_and_the_next_ones_give_a_rate(explained):
    tagging = asked(explained.out, 1)
    assert rate(tagging) is None
    assert "no rate yet. 20 answers train a regression" in tagging.text
    tagging, images = next_images(tagging)
    assert tagging.frame is not None
    (run,) = runs_of(explained.out, DRAWING)
    assert (run.facts["word"], run.facts["seed"]) == ("dark", tagging.word.seed)
    assert len(images) == 20
    assert next_images(open_tagging(explained.out, "dark"))[1] == images, "the same after a reload"
    assert len({*images} & {tag.image for tag in tagging.tags}) == 1, "one in twenty is shown again"
    found = rate(answer(tagging, oracle(images)))
    assert (found.tagged, found.chosen, found.tested) == (39, 20, 74)
    assert found.rate > 0.8
    assert found.low > found.base
    assert found.high > 0.999
    assert (
        open_tagging(explained.out, "dark").text == f"dark: {found.text} Of 1 image shown again, 1 got the same answer."
    )


def test_an_assessor_computes_the_rate_again_from_the_table(dark):
    rows = [row for row in rows_in(dark.out / dark.word.file) if row["counts"] == "1"]
    assert len(rows) == 39
    known, strata = {"0": 0, "1": 0}, {}
    for row in rows:
        if row["stratum"]:
            of = strata.setdefault(row["stratum"], [row["wrong"], int(row["size"]), 0, 0])
            of[2] += 1
            of[3] += row["answer"] == "yes"
            assert float(row["chance"]) == pytest.approx(int(row["drawn"]) / int(row["size"]), abs=1e-6)
        else:
            known[row["wrong"]] += row["answer"] == "yes"

    def total(which, prior):
        """The chances of each number of wrong, or right, images that have it."""
        chances = np.ones(1)
        for of_wrong, size, drawn, yes in strata.values():
            if of_wrong == which:
                rest = betabinom(size - drawn, yes + prior, drawn - yes + OTHERS)
                chances = np.convolve(chances, np.append(np.zeros(yes), rest.pmf(np.arange(size - drawn + 1))))
        return np.append(np.zeros(known[which]), chances)

    def end(wrong, right, tail):
        """The rate that is not exceeded with this chance."""
        numbers = np.arange(len(wrong))[:, None], np.arange(len(right))[None, :]
        rates = (numbers[0] / np.maximum(numbers[0] + numbers[1], 1)).ravel()
        order = np.argsort(rates)
        return rates[order][np.searchsorted(np.cumsum(np.outer(wrong, right).ravel()[order]), tail)]

    found, tail = rate(dark), (1 - LEVEL) / 2
    low = end(total("1", FEW), total("0", MANY), tail)
    high = end(total("1", MANY), total("0", FEW), 1 - tail)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)
    wrong, right = (float(np.arange(len(of)) @ of) for of in (total("1", FEW), total("0", FEW)))
    assert found.rate == pytest.approx(wrong / (wrong + right))


def test_the_later_answer_counts_and_both_are_in_the_table(dark):
    image = "wood/wood_10.png"
    with speaking("Ada"):
        tagging = answer(dark, [(image, "yes"), (image, "no"), (image, "unsure")], by="w")
    (row,) = [row for row in rows_in(dark.out / dark.word.file) if row["image"] == image]
    assert row["answer"] == "unsure"
    assert row["answers"].endswith("yes no unsure")
    assert row["by"] == "Ada"
    tagging, tag = undo(tagging, by="w")
    assert tag.answer == "unsure"
    assert [one.answer for one in tagging.tags if one.image == image][-1] == "no"
    with pytest.raises(SAFEError, match="to undo"):
        undo(dark, by="another window")


def test_answers_to_images_shown_again_are_compared_and_the_same_answer_twice_is_one(dark):
    assert dark.agreement == (1, 1)
    n = len(dark.tags)
    assert len(answer(dark, oracle([tag.image for tag in dark.tags])).tags) == n + bool(dark.due_again)
    shown = next(tag.image for tag in dark.tags if tag.again)
    other = answer(dark, [(shown, "unsure")])
    assert other.agreement[0] - dark.agreement[0] == 0, "a correction is no second look"


def test_people_who_disagree_are_counted_and_both_answers_are_kept(dark):
    image, other, third = "wood/wood_10.png", "wood/wood_11.png", "wood/wood_12.png"
    with speaking("Ada"):
        tagging = answer(dark, [(image, "yes"), (other, "yes"), (third, "no"), (third, "yes")])
    assert "disagree" not in tagging.text, "a correction is none"
    with speaking("Bob"):
        tagging = answer(tagging, [(image, "no"), (other, "unsure"), (third, "yes")])
    assert "People disagree about 1 image: the later answer counts, and both are in the table." in tagging.text
    (row,) = [row for row in rows_in(dark.out / dark.word.file) if row["image"] == image]
    assert (row["answer"], row["answers"].split()[-2:]) == ("no", ["yes", "no"])
    with speaking("Bob"):
        assert answer(tagging, [(image, "no")]).tags == tagging.tags, "the same person's same answer is none"
    with speaking("Ada"):
        agreed = answer(tagging, [(image, "no")])
    assert (tagging.disputed, agreed.disputed) == (1, 0), "Ada has changed her mind"
    with speaking("Cy"):
        assert answer(agreed, [(image, "yes")]).disputed == 1


def test_answers_about_images_that_are_gone_or_changed_do_not_count_and_come_back(dark):
    before, images = rate(dark), [tag.image for _, tag in dark.counted][:2]
    kept = dark.out.parent / "kept"
    shutil.copytree(dark.tested.root, kept)
    with (dark.tested.root / images[0]).open("ab") as file:
        file.write(b"changed")
    (dark.tested.root / images[1]).unlink()
    changed = open_tagging(dark.out, dark.word.name)
    assert len(changed.counted) == len(dark.tags) - sum(tag.image in images for tag in dark.tags)
    assert "about images that are gone or have changed" in changed.text
    with pytest.raises(SAFEError, match="which is gone"):
        answer(dark, [(images[1], "yes")])
    for image in images:
        shutil.copyfile(kept / image, dark.tested.root / image)
    assert rate(open_tagging(dark.out, dark.word.name)) == before


def test_other_answers_of_the_network_make_a_new_frame_in_which_what_was_said_stands(dark, explained):
    other = explained.table.with_name("other.csv")
    text = explained.table.read_text()
    other.write_text(text.replace("wood_40.png,wood,wood,0.9,true", "wood_40.png,wood,snow,0.9,false"))
    tested = read_predictions(other, explained.test)
    tagging = open_tagging(dark.out, "dark", tested=tested)
    assert tagging.frame is None
    assert rate(tagging) is None
    assert (tagging.known == dark.known).all()
    assert next_images(tagging)[0].frame is not None
    assert open_tagging(dark.out, "dark", tested=tested).frame is not None
    assert rate(open_tagging(dark.out, "dark")) == rate(dark), "the first one is still about the first answers"


def test_all_no_has_no_rate_but_a_sentence(explained):
    begin(explained.out, "sea")
    tagging = open_tagging(explained.out, "sea")
    for _ in range(4):
        tagging, images = next_images(tagging)
        tagging = answer(tagging, [(image, "no") for image in images])
    assert rate(tagging) is None
    assert tagging.text.startswith("sea: no rate. By 74 answers, no image has it.")


def test_requirements_on_a_word_are_decided_by_its_answers(dark, explained, tmp_path):
    file = tmp_path / "required.yaml"
    file.write_text(
        "dark = yes: at most 5 % wrong\n"
        "label = night and dark = yes: at most 5 % wrong\n"
        "dark != yes: at most 90 % wrong\n"
        "dark = no: at most 25 % wrong\n"
        "label = wood: at most 30 % wrong\n"
    )
    checked = check_requirements(file, explained.out)
    texts = [finding.text for finding in checked.findings]
    assert [finding.requirement.most for finding in checked.findings] == [0.05, 0.05, 0.9, 0.25, 0.3]
    assert checked.findings[0].verdict == checked.findings[1].verdict == BROKEN
    assert ", by 39 answers; with 95 % confidence, at least " in texts[0]
    assert "6 of 46 images are wrong" in texts[4]
    assert "answers about these images would decide it" in texts[3] or "more answers would decide it" in texts[3]
    assert checked.findings[2].verdict == "holds"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("dark = maybe: at most 5 % wrong", "Expected “dark = yes” or “= no”"),
        ("dark = yes and sea = no: at most 5 % wrong", "Expected one word at most"),
        ("sea = yes: at most 5 % wrong", "Expected more answers about “sea”"),
        ("dark = yes and light < 3: at most 5 % wrong", "Expected a column that is known"),
    ],
)  # fmt: skip
def test_a_requirement_that_answers_cannot_decide_is_refused(dark, explained, tmp_path, line, problem):
    begin(explained.out, "sea")
    (tmp_path / "required.yaml").write_text(line)
    with pytest.raises(SAFEError, match=problem):
        check_requirements(tmp_path / "required.yaml", explained.out)


def test_a_requirement_on_a_word_is_about_the_images_that_were_asked(dark, explained, tmp_path):
    (tmp_path / "required.yaml").write_text("dark = yes: at most 5 % wrong")
    other = explained.table.with_name("other.csv")
    other.write_text(explained.table.read_text().replace("night,wood,0.9,false", "night,night,0.9,true"))
    with pytest.raises(SAFEError, match="about which “dark” was asked"):
        check_requirements(tmp_path / "required.yaml", explained.out, GivenAnswers(other, explained.test))


def test_the_round_trip_by_command_needs_no_browser(explained, tmp_path, capsys):
    out, table = str(explained.out), tmp_path / "answers.csv"
    for _ in range(3):
        assert main(["word", "dark", "--next", "20", "--out", out]) == 0
        header, *rows = capsys.readouterr().out.splitlines()
        assert header == "image,answer"
        table.write_text("\n".join([header, *(row + dict(oracle([row[:-1]]))[row[:-1]] for row in rows)]))
        assert main(["word", "dark", "--tags", str(table), "--user", "Ada", "--out", out]) == 0
        told = capsys.readouterr().out
    assert "dark: " in told
    assert "are wrong (" in told
    assert "Written: word_dark.csv" in told
    assert main(["word", "drak", "--out", out]) == 2
    assert "Expected a word of this analysis (dark). Received: drak" in capsys.readouterr().err
    assert main(["word", "--out", out]) == 0
    assert capsys.readouterr().out.startswith("dark: ")
    assert {row["by"] for row in rows_in(explained.out / "word_dark.csv")} == {"Ada"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,answer\nnight/gone.png,yes\n", "line 2"),
        ("image,answer\nnight/night_00.png,yes\nnight/night_01.png,perhaps\n", "one of no, yes, unsure"),
        ("image,tag\nnight/night_00.png,yes\n", "The column 'answer' is missing"),
        (
            "image,answer\nnight/night_00.png,yes\nwood/wood_01.png,no\nnight/night_00.png,No\n",
            "one answer about night/night_00.png in line 4 of .*: no, after yes",
        ),
        ("", "answer"),
    ],
)  # fmt: skip
def test_a_table_with_an_invalid_row_is_refused_as_a_whole(explained, tmp_path, text, problem):
    begin(explained.out, "dark")
    (tmp_path / "answers.csv").write_text(text)
    with pytest.raises(SAFEError, match=problem):
        answers_in(tmp_path / "answers.csv", open_tagging(explained.out, "dark"))
    assert not open_tagging(explained.out, "dark").tags


def test_answers_must_be_known_and_images_be_test_images(explained, tmp_path, capsys):
    begin(explained.out, "dark")
    tagging = open_tagging(explained.out, "dark")
    for given, problem in (([("night/x.png", "yes")], "1 other: night/x.png"), ([("night/night_00.png", "y")], "y")):
        with pytest.raises(SAFEError, match=f"Received.*{problem}"):
            answer(tagging, given)
    with pytest.raises(SAFEError, match="with the network's answers to its test images"):
        begin(tmp_path / "nothing", "dark")
    with pytest.raises(SAFEError, match="label is known of the images already"):
        begin(explained.out, "label")
    assert main(["word", "dark", "--next", "0", "--out", str(explained.out)]) == 2
    assert "Expected 1 to 74 images. Received: 0 (--next)." in capsys.readouterr().err
    assert sample_of(tagging) is None


def test_a_column_that_is_known_is_no_word_also_if_all_its_values_are_the_same(explained):
    images = open_tagging(explained.out, begin(explained.out, "dark").name).tested.paths
    (explained.test / "parameters.csv").write_text("image,Site\n" + "".join(f"{image},Bonn\n" for image in images))
    with pytest.raises(SAFEError, match="Received: site, and Site is known of the images already"):
        begin(explained.out, "site")


def test_the_report_names_words(dark):
    document = report_html(dark.out)
    assert "<h4>Words</h4>" in document
    assert f"<li>{dark.text}</li>" in document.replace("&#39;", "'")


def test_other_images_that_are_likely_to_have_the_word_come_first_and_no_rate_follows(
    dark, draw_folder, tmp_path, capsys
):
    others = draw_folder(tmp_path / "others", {"night": 5, "wood": 9, "snow": 6})
    found = likely(dark, others)
    assert {image.split("_")[0] for image, _ in found[:5]} == {"night"}
    assert sorted({chance for _, chance in found}, reverse=True) == list(dict.fromkeys(chance for _, chance in found))
    assert main(["word", "dark", "--likely", str(others), "--next", "3", "--out", str(dark.out)]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header == "image,predicted_probability"
    assert [row.split(",")[0] for row in rows] == [image for image, _ in found[:3]]
    begin(dark.out, "sea")
    with pytest.raises(SAFEError, match="Expected answers yes and no about “sea”"):
        likely(open_tagging(dark.out, "sea"), others)
