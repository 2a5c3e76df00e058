"""Answers about words, as entries of the analysis: the answer to each image, its author and the time.

Each answer is an entry, also one that takes an earlier one back (an undo). An image is known by its path and content.
Of several answers about an image the last one counts; the earlier ones stay.
"""

import re
import unicodedata
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from safe_dnn.rccs.parameters import spelt_alike
from safe_dnn.store.database import append, changing, entries, present, reading
from safe_dnn.support.errors import SAFEError, quoted
from safe_dnn.support.text import some

WORD, TAG = "word", "answer about a word"
"""Kinds of entries."""
ANSWERS = ("no", "yes", "unsure")
"""In the order of `NO`, `YES` and `UNSURE` in `rates.py`."""
LONGEST_WORD = 40  # characters
MOST_WORDS = 100
_NAME = re.compile(r"(?!.*\b(and|or|from)\b)[^\W_]([^\W_]|[ -])*")  # of a column in conditions, and of a file
_MEANT = re.compile(r"(rccs?|weakspots?)\d*|allimages|nocluster|yes|no|unsure")  # as returned by `_looks`
_ALIKE = str.maketrans(  # Greek, Cyrillic and Armenian letters, and Latin ones that they look like
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαβγεηικνορτυχϲϳАВЕЅІЈКМНОРСТУХҮавеѕіјкмнорстухһԁԛԝѵӏґүоոսօհցզıɑɡ",
    "ABEZHIKMNOPTYXabyenikvoptuxcjABESIJKMHOPCTYXYabesijkmhopctyxhdqwvlryonuohgqiag",
)


class Word(NamedTuple):
    """A word that was begun.

    Attributes
    ----------
    name : str
    examples : tuple of str
        Images that the person was looking at then.
    """

    name: str
    examples: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The table of its answers."""
        return f"word_{self.name.replace(' ', '_')}.csv"

    @property
    def seed(self) -> int:
        """That of everything random about it."""
        return zlib.crc32(self.name.encode())


class Tag(NamedTuple):
    """An answer: whether an image has a word.

    Attributes
    ----------
    image : str
        Relative to the test folder.
    content : str
        As of `support.images.content_of`, in hexadecimal; empty if the image could not be read.
    answer : one of ANSWERS
    again : bool
        Whether the image was shown a second time, to see whether the answers agree.
    number, time, window, engineer
        As in `store.database.Entry`.
    """

    image: str
    content: str
    answer: str
    again: bool = False
    number: int = 0
    time: str = ""
    window: str = ""
    engineer: str = ""

    @property
    def person(self) -> str:
        """Whose answer it is: of whoever gave no name, the window's."""
        return self.engineer or self.window


def load_words(folder: Path) -> dict[str, Word]:
    """The words of an analysis, by name, in the order in which they were begun."""
    with reading(folder) as db:
        return {name: Word(name, tuple(value["seen"])) for name, value in present(db, WORD).items()}


def begin_word(folder: Path, name: str, examples: Sequence[str], columns: Collection[str], *, by: str = "") -> Word:
    """Begin a word.

    Parameters
    ----------
    examples
        As of `Word`.
    columns : collection of str
        What is known of the images already: a word is another column.
    by : str
        The window.

    Raises
    ------
    SAFEError
        The name is unusable or in use, or there are `MOST_WORDS`.
    """
    word = Word(" ".join(name.split()), tuple(examples))
    if len(word.name) > LONGEST_WORD or not _NAME.fullmatch(word.name):
        expected = f"up to {LONGEST_WORD} letters, digits, blanks and hyphens, without “and”, “or” and “from”"
        raise SAFEError(f"Expected a word of {expected}. Received: {quoted(word.name) or 'nothing'}")
    if _MEANT.fullmatch(_looks(word.name)):
        raise SAFEError(f"Expected a word for what images show. Received: {word.name}, which means something else.")
    with changing(folder) as db:
        words = load_words(folder)
        for taken, what in ((words, "a word"), (columns, "known of the images")):
            if same := [one for one in taken if any(of(one) == of(word.name) for of in (spelt_alike, _looks))]:
                raise SAFEError(f"Expected a new word. Received: {word.name}, and {same[0]} is {what} already.")
        if len(words) >= MOST_WORDS:
            raise SAFEError(f"Expected at most {MOST_WORDS} words in an analysis. Received one more: {word.name}")
        append(db, WORD, word.name, {"seen": word.examples}, author=by)
    return word


def _looks(name: str) -> str:
    """The same for names whose letters look alike, whatever their case and the blanks between them."""
    visible = unicodedata.normalize("NFKC", name).translate(_ALIKE).casefold().translate(_ALIKE)
    return "".join(filter(str.isalnum, visible))


def known_word(folder: Path, name: str) -> Word:
    """A word that was begun; SAFEError if there is none of this name."""
    words, name = load_words(folder), " ".join(name.split())
    if name not in words:
        expected = f"a word of this analysis ({some(words)})" if words else "an existing word; this analysis has none"
        raise SAFEError(f"Expected {expected}. Received: {quoted(name)}")
    return words[name]


def add_tags(folder: Path, word: Word, tags: Sequence[Tag], *, by: str = "") -> None:
    """Add answers, all of them or none."""
    with changing(folder) as db:
        for tag in tags:
            value = {"image": tag.image, "content": tag.content, "answer": tag.answer}
            append(db, TAG, word.name, value | ({"again": True} if tag.again else {}), author=by)


def load_tags(folder: Path, word: Word) -> list[Tag]:
    """The answers that stand, in order; several of an image if it was answered several times."""
    tags: dict[int, Tag] = {}
    with reading(folder) as db:
        standing = list(entries(db, "kind = ? AND subject = ?", TAG, word.name))
    for entry in standing:
        if "undo" in entry.value:
            tags.pop(entry.value["undo"], None)
        else:
            image, content, answer = (entry.value[name] for name in ("image", "content", "answer"))
            who = entry.number, entry.time, entry.window, entry.engineer
            tags[entry.number] = Tag(image, content, answer, entry.value.get("again", False), *who)
    return list(tags.values())


def undo_tag(folder: Path, word: Word, *, by: str = "") -> Tag:
    """Take back the last answer that was given in a window; what was answered before counts again.

    Raises
    ------
    SAFEError
        There is no answer to take back.
    """
    with changing(folder) as db:
        last = next((tag for tag in reversed(load_tags(folder, word)) if tag.window == by), None)
        if last is None:
            raise SAFEError(f"There is no answer about “{word.name}” to undo.")
        append(db, TAG, word.name, {"undo": last.number}, author=by)
    return last
