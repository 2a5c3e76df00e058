"""Words and answers as entries of an analysis."""

import pytest

from safe_dnn.store.database import speaking
from safe_dnn.support.errors import SAFEError
from safe_dnn.words.tags import MOST_WORDS, Tag, Word, add_tags, begin_word, known_word, load_tags, load_words, undo_tag
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
        ("   ", "Received: nothing"),
        ("Baby", "Received: Baby, and baby is a word already"),
        ("LIGHT", "Received: LIGHT, and light is known of the images already"),
        ("a" * 41, "up to 40 letters"),
        ("baby = yes", "letters, digits, blanks and hyphens"),
        ("old and dark", "without “and”"),
        ("../x", "Received: ../x"),
        ("ba\nby\u0000", "Expected a word"),
    ],
)
def test_an_unusable_word_is_refused_in_a_sentence(tmp_path, name, problem):
    begin_word(tmp_path, "baby", [], [])
    with pytest.raises(SAFEError, match=problem):
        begin_word(tmp_path, name, [], ["light"])
    assert [*load_words(tmp_path)] == ["baby"]


def test_there_may_be_many_words_but_not_a_thousand(tmp_path):
    for number in range(MOST_WORDS):
        begin_word(tmp_path, f"word {number}", [], [])
    with pytest.raises(SAFEError, match=f"at most {MOST_WORDS} words"):
        begin_word(tmp_path, "one more", [], [])


def test_an_unknown_word_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(SAFEError, match="there is none"):
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
