"""Words and answers as entries of an analysis."""

import pytest

from safe_dnn.reasons.words.tags import (
    MOST_WORDS,
    Tag,
    Word,
    add_tags,
    begin_word,
    known_word,
    load_tags,
    load_words,
    undo_tag,
)
from safe_dnn.store.database import speaking
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import check_entries


def answers(folder, word):
    return [(tag.image, tag.answer) for tag in load_tags(folder, word)]


def test_a_word_is_begun_once_and_known_by_its_name(tmp_path):
    with speaking("Ada"):
        word = begin_word(tmp_path, "  hair over  the face ", ["a.png"], ["light"])
    assert word == Word("hair over the face", ("a.png",)) == known_word(tmp_path, "hair over the  face")
    assert word.file == "word_hair_over_the_face.csv"
    assert [*load_words(tmp_path)] == ["hair over the face"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "Received: nothing"),
        ("Baby", "Received: Baby, and baby is a word already"),
        ("LIGHT", "Received: LIGHT, and light is known of the images already"),
        ("a" * 41, "up to 40 letters"),
        ("baby = yes", "letters, digits, blanks and hyphens"),
        ("old and dark", "without “and”"),
        ("ba\nby\u0000", "Expected a word"),
        ("b\u0430by", "and baby is a word already"),
        ("\uff42aby", "and baby is a word already"),
        ("\u039dight", "and night is a word already"),
        ("blur px", "and blur_px is known of the images already"),
        *((name, f"Received: {name}, which means something else") for name in (
            "RCC 0", "rcc-12", "R\u0421C 0", "Weak spot 1", "weakspot", "all images",
            "yes", "No", "unsure", "No cluster",
        )),
    ],
)  # fmt: skip
def test_an_unusable_word_is_refused_in_a_sentence(tmp_path, name, problem):
    for word in ("baby", "night", "\u0432\u0430\u0431\u0443"):
        begin_word(tmp_path, word, [], [])
    with pytest.raises(SAFEError, match=problem):
        begin_word(tmp_path, name, [], ["light", "blur_px"])
    assert len(load_words(tmp_path)) == 3


@pytest.mark.parametrize(
    "name", ["not there", "yes man", "RCC like", "\u0432\u043e\u0434\u0430", "noise", "κύμα", "nights"]
)
def test_a_word_that_only_begins_like_another_or_is_of_another_script_is_a_word(tmp_path, name):
    begin_word(tmp_path, "night", [], [])
    assert begin_word(tmp_path, name, [], ["light"]).name == name


def test_there_may_be_many_words_but_not_a_thousand(tmp_path):
    for number in range(MOST_WORDS):
        begin_word(tmp_path, f"word {number}", [], [])
    with pytest.raises(SAFEError, match=f"at most {MOST_WORDS} words"):
        begin_word(tmp_path, "one more", [], [])


def test_an_unknown_word_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(SAFEError, match="this analysis has none"):
        known_word(tmp_path, "baby")
    begin_word(tmp_path, "baby", [], [])
    with pytest.raises(SAFEError, match=r"\(baby\). Received: old"):
        known_word(tmp_path, "old")


def test_answers_that_contradict_each_other_are_all_kept_in_order(tmp_path):
    word = begin_word(tmp_path, "baby", [], [])
    with speaking("Ada"):
        add_tags(tmp_path, word, [Tag("a.png", "00", "yes"), Tag("b.png", "01", "unsure")], by="w1")
    add_tags(tmp_path, word, [Tag("a.png", "00", "no", True)], by="w2")
    assert answers(tmp_path, word) == [("a.png", "yes"), ("b.png", "unsure"), ("a.png", "no")]
    first, _, last = load_tags(tmp_path, word)
    assert (first.engineer, first.window, first.again) == ("Ada", "w1", False)
    assert (last.engineer, last.window, last.again) == ("", "w2", True)


def test_an_undo_is_an_entry_and_takes_back_the_last_answer_of_its_window(tmp_path):
    word, other = begin_word(tmp_path, "baby", [], []), begin_word(tmp_path, "old", [], [])
    add_tags(tmp_path, word, [Tag("a.png", "00", "yes")], by="w1")
    add_tags(tmp_path, word, [Tag("a.png", "00", "no")], by="w2")
    add_tags(tmp_path, other, [Tag("a.png", "00", "no")], by="w1")
    assert undo_tag(tmp_path, word, by="w1").answer == "yes"
    assert answers(tmp_path, word) == [("a.png", "no")]
    with pytest.raises(SAFEError, match="no answer about “baby” to undo"):
        undo_tag(tmp_path, word, by="w1")
    undo_tag(tmp_path, word, by="w2")
    assert answers(tmp_path, word) == []
    assert answers(tmp_path, other) == [("a.png", "no")]
    check_entries(tmp_path)
