"""A word for what the engineer sees: images to answer, one after the other, and how often the network fails on those
that have it (see `reasons.words.tagging`)."""

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import gradio as gr

from safe_dnn.analysis import Analysis
from safe_dnn.page.assets import scripted, visitor_of
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import AWAY, as_text, worded
from safe_dnn.page.pictures import data_uri
from safe_dnn.page.settings import PageSettings
from safe_dnn.reasons.words.rates import BATCH
from safe_dnn.reasons.words.tagging import Tagging, answer, begin, content_hex, next_images, open_tagging, rate, undo
from safe_dnn.reasons.words.tags import LONGEST_WORD, load_words
from safe_dnn.report.markup import filled
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

TAB = "words"  # of its jobs, which no tab follows: the script does
MOST_SEEN = 10 * BATCH  # images that are kept as those that somebody had before them
SIDE = 440  # pixels of an image


@dataclass
class _Search:
    """For images to ask about: the job, what it has found, and the digest of the answers whose features are cached."""

    job: Job | None = None
    batch: tuple[Tagging, tuple[str, ...]] | None = None
    extracted: str = ""


class WordsView:
    """Lay out the field and the dialog: `widget`, whose script calls `serves`; `show` gives what it shows."""

    def __init__(self, settings: PageSettings):
        self._settings, self._lock = settings, threading.Lock()
        self._searches: dict[Path, _Search] = {}  # by analysis
        functions = (self.next_to_ask, self.keep_answers, self.rate_of_word, self.undo_answer)
        self.serves = {function.__name__: _in_sentences(function) for function in functions}
        self.widget = scripted(
            "clusters/words", "", html_template=filled("page/clusters/words.html", LONGEST_WORD=LONGEST_WORD),
            serves=self.serves, seen="", elem_id="words", elem_classes=AWAY,
        )  # fmt: skip

    def show(self, state: Analysis, heading: str, rows: list[int]) -> gr.HTML:
        """The field; what is listed are the images that somebody sees, by row of the clusters."""
        words = [*load_words(self._settings.out)]
        seen = as_text({"run": state.run, "heading": heading, "rows": rows[:MOST_SEEN], "words": words})
        return gr.HTML(seen=seen, elem_classes=[] if state.reasons.base else AWAY)

    def next_to_ask(self, name: str, rows: list[int], run: str, visitor: object, stop: bool) -> dict[str, Any]:
        """The images to ask next, or how far the work is that it takes to find them.

        Parameters
        ----------
        name : str
            A new word is begun.
        rows, run
            As for `show`.
        stop : bool
            Whether that work is no longer wanted.
        """
        settings, search = self._settings, self._searches.setdefault(self._settings.out, _Search())
        job = search.job
        tested = settings.results.latest.tested
        if job is not None and not job.finished(0):
            if stop:
                job.cancel()
            return {"working": job.state}
        search.job = None
        if job is not None and job.outcome is not None:
            raise SAFEError(str(job.outcome))
        if " ".join(name.split()) not in load_words(settings.out):
            clusters = settings.results.state(run).clusters
            listed = [clusters.paths[range(len(clusters.paths))[row]] for row in rows[:MOST_SEEN]]
            examples = [tested.paths[row] for row in tested.rows_of(clusters.image_root, listed).tolist() if row >= 0]
            begin(settings.out, name, examples, by=visitor_of(visitor))
        tagging = open_tagging(settings.out, name, tested=tested)
        if tagging.frame is None and tested.digest != search.extracted:

            def work(job: Job) -> None:
                search.batch = next_images(tagging, weights=settings.weights)
                search.extracted = tested.digest

            search.job = settings.jobs.start(TAB, work)
            if search.job is None:
                raise SAFEError(f"{settings.jobs.busy} Ask again when it is done.")
            return {"working": search.job.state}
        batch, search.batch = search.batch, None
        if batch is None or (batch[0].word, batch[0].tags) != (tagging.word, tagging.tags):
            with self._lock:
                batch = next_images(tagging, weights=settings.weights)
        tagging, images = batch
        return {**_word_record(tagging), "images": self._tiles(tagging, images)}

    def keep_answers(self, name: str, answers: list[list[str]], visitor: object) -> dict[str, Any]:
        """Keep answers, each of an image (see `_sent_as`) and a text; if one is refused, the others are kept.

        A browser may send them days later, when another test set has images of the same names.
        """
        pairs, changed, refused = list[tuple[str, str]](), list[str](), None
        with self._lock:
            tagging, by = self._open(name), visitor_of(visitor)
            known = {*tagging.tested.paths}
            for sent, text in answers:
                content, _, quoted = str(sent).rpartition(":")
                image = os.fsdecode(unquote_to_bytes(quoted))
                if image in known and content_hex(tagging.tested.root / image) != content:
                    changed.append(image)
                else:
                    pairs.append((image, str(text)))
            for some in [pairs] if {image for image, _ in pairs} <= known else [[one] for one in pairs]:
                try:
                    tagging = answer(tagging, some, by=by)
                except SAFEError as error:
                    refused = error
        if changed:
            what = f"{count(len(changed), 'answer')} about other images of these names, the first {changed[0]}"
            refused = SAFEError(f"Expected answers about the images of {tagging.tested.root}. Received {what}.")
        if refused:
            raise refused
        return {}

    def rate_of_word(self, name: str) -> dict[str, Any]:
        """The current rate of a word, by class if these clearly differ, as HTML, with the number of answers."""
        tagging = self._open(name)
        estimate = rate(tagging)
        rates = (estimate.classes or (("", estimate),)) if estimate else ()
        drawn = filled("page/clusters/word.html", rates=rates, text=tagging.text)
        return {**_word_record(tagging), "rate": drawn}

    def undo_answer(self, name: str, visitor: object) -> dict[str, Any]:
        """Take back the last answer of a visitor, which is given with its image."""
        with self._lock:
            tagging, tag = undo(self._open(name), by=visitor_of(visitor))
        again = {"image": _sent_as(tagging, tag.image), "tile": self._tiles(tagging, [tag.image])}
        return {**_word_record(tagging), "answer": tag.answer, **again}

    def _open(self, name: str) -> Tagging:
        return open_tagging(self._settings.out, name, tested=self._settings.results.latest.tested)

    def _tiles(self, tagging: Tagging, images: Iterable[str]) -> str:
        tiles = [(_sent_as(tagging, image), data_uri(tagging.tested.root / image, SIDE)) for image in images]
        return filled("page/clusters/word_tiles.html", images=tiles)


def _sent_as(tagging: Tagging, image: str) -> str:
    """An image as a script sends it back: its content and its name."""
    return f"{content_hex(tagging.tested.root / image)}:{quote(os.fsencode(image))}"


def _in_sentences(function: Callable[..., dict[str, Any]]) -> Callable[[object], dict[str, Any]]:
    """A function that a script calls with a list of its arguments; errors are a `problem`, in a sentence."""

    def answering(sent: object) -> dict[str, Any]:
        try:
            return function(*(sent if isinstance(sent, list) else ()))
        except SAFEError as error:
            return {"problem": printable(worded(error))}
        except (AttributeError, IndexError, TypeError, ValueError):  # scripts may send anything
            return {"problem": "The page sent something other than a word and answers. Reload it."}

    return answering


def _word_record(tagging: Tagging) -> dict[str, Any]:
    """A word, and how many images have an answer."""
    return {"word": tagging.word.name, "answers": len({tag.image for _, tag in tagging.counted})}
