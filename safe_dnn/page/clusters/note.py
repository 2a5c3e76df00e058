"""The engineer's note on the RCC or the weak spot at hand: its name, a note and a verdict, kept as they are typed."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from safe_dnn.page.assets import scripted
from safe_dnn.page.clusters.reason_list import judgement, said
from safe_dnn.page.results import Shown
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.texts import as_text
from safe_dnn.page.visitors import visitor_of
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.rccs.clusters import find_clusters, load_clusters
from safe_dnn.rccs.image_map import rcc_words
from safe_dnn.rccs.review.notes import FIELDS, REGISTER, VERDICTS, Kept, Note, title
from safe_dnn.rccs.review.review import CHANGED, checked_conditions, folder_tested, load_review, set_note
from safe_dnn.rccs.spots.weak_spots import read_conditions
from safe_dnn.reasons.listed import Reason
from safe_dnn.store.output_folder import writing
from safe_dnn.store.runs import CLUSTERS, present_runs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import printable

LONGEST_AHEAD = 2000  # characters of a note that a window is given before it is chosen what that is about


KeptNote = tuple[Kept[Note], list[dict[str, Any]], str]
"""A note after a change; the entries of lists that show what it is about, none where the folder holds another run than
the window shows; and a sentence on where it is kept."""


class NoteView:
    """Lay out the fields of notes on RCCs or weak spots; the widget is `widget`, `show` gives what it shows.

    Each change is written at once, and the scripts of the lists that show it hear of it in the browser: an event of
    Gradio's, for which its page copies what all of its widgets hold, would take longer than all else.

    Not fields of Gradio's: those keep quiet about what is pasted into one right after it was filled in, and send the
    values of all fields without saying which of them the engineer has changed.
    """

    def __init__(self, settings: PageSettings, subject: "OnRccs | OnWeakSpots"):
        self._subject = subject

        # Called by the script with one value, a list; what is sent is checked as anything from outside.
        def keep_note(sent: list) -> dict:
            try:
                key, run, seen, mine, visitor = sent
                blank = subject.blank(key)
                states, note = [_noted(blank, fields) for fields in seen[:2]], _noted(blank, mine)
                if not states:
                    raise ValueError("not seen")
            except (TypeError, ValueError, KeyError):
                return {"problem": "Not kept: the page sent something other than a note. Reload it."}
            try:
                with writing(settings.out):  # so that the run at hand stays the one at hand
                    before = settings.results.notes_stamp
                    kept, listed, notice = subject.keep(str(run), note, states, visitor_of(visitor))
                    stamps, at = [before, settings.results.notes_stamp], time.monotonic_ns()
            except SAFEError as error:
                return {"problem": f"Not kept: {error}"}
            return {
                "kept": _fields(kept.note), "conflicts": list(kept.conflicts), "problem": notice,
                "at": at, "listed": {"run": run, "at": at, "entries": listed}, "stamps": stamps,
            }  # fmt: skip

        self.widget = scripted(
            "clusters/note", "", html_template=filled("page/clusters/note.html", about=subject.about),
            serves={"keep_note": keep_note}, said="", elem_id=f"{subject.about}-says",
        )  # fmt: skip

    def show(self, shown: Shown, key: int | str, forced: bool = True) -> gr.HTML:
        """The note on what has a key.

        Parameters
        ----------
        forced : bool
            Whether it is shown even if another one was clicked meanwhile, of which the answer is still on its way.
        """
        subject = self._subject
        notes: Mapping[Any, Note] = subject.notes(shown)
        said = _fields(notes[key] if key in notes else subject.blank(key))
        said |= {"key": key, "run": shown.run, "title": printable(subject.title(shown, key))}
        said |= {"noun": subject.noun, "at": shown.at, "forced": forced}
        # Of the others as well, for whoever types as soon as one is chosen.
        said["notes"] = {str(other): _fields(one) for other, one in notes.items() if len(one.note) <= LONGEST_AHEAD}
        return gr.HTML(said=as_text(said))


class OnRccs:
    """Notes on RCCs (`NOISE`: on the images in no cluster), which belong to a run.

    Attributes
    ----------
    about : str
        The beginning of the widgets' ids, and of the event that says which one was clicked (see note.js).
    noun : str
    """

    about, noun = "rcc", "RCC"

    def __init__(self, settings: PageSettings):
        self._settings = settings

    def blank(self, key: object) -> Note:
        """An empty note on what a browser has named; a TypeError or ValueError if it is not a key."""
        if not isinstance(key, int):
            raise TypeError("no RCC")
        return Note(key)

    def title(self, shown: Shown, key: Any) -> str:
        return title(key, shown.notes)

    def notes(self, shown: Shown) -> Mapping[int, Note]:
        """All notes, by key: of an RCC that is a weak spot as well, what is said of the reason."""
        both = [one.note._replace(about=one.rcc) for one in shown.listed if one.twin and any(one.note[1:])]
        return {**shown.notes, **{note.about: note for note in both}}

    def keep(self, run: str, note: Any, states: Sequence[Any], by: str) -> KeptNote:
        """Write a note that somebody typed when a window showed a run and the note had been in these states."""
        out, results, rcc = self._settings.out, self._settings.results, note.about
        present = results.original(run)
        reason = results.shown().reason(rcc) if present is not None else None
        if reason and reason.spot:
            return _keep_both(self._settings, reason, note, states, by)
        earlier = find_clusters(out, run) if present is None else None
        if present is None and earlier is None:
            raise SAFEError(CHANGED)
        original = present or load_clusters(out, earlier)
        kept = set_note(out, note, *states, by=by, original=original)
        if present is not None:
            return kept, [{**rcc_words(rcc, {rcc: kept.note}), "key": rcc, **said(kept.note)}], ""
        subject = load_review(out, original=original).subjects[rcc]
        now = {there: number for number, there in results.shown().review.subjects.items()}
        notice = "Kept with the earlier run, which these clusters belong to."
        if subject in now:
            notice = f"Kept with {title(now[subject])} of the new clusters, which has the same images."
        return kept, [], notice


class OnWeakSpots:
    """Notes on weak spots, which belong to a condition on a test set, whatever run has found it."""

    about, noun = "spot", "weak spot"

    def __init__(self, settings: PageSettings):
        self._settings = settings

    def blank(self, key: object) -> Note:
        if not isinstance(key, str) or checked_conditions(key) != key:
            raise TypeError("no weak spot")
        return Note((key, ""))

    def title(self, shown: Shown, key: Any) -> str:
        return " and ".join(map(str, read_conditions(key)))

    def notes(self, shown: Shown) -> Mapping[str, Note]:
        said_of = {one.subject: one.note for one in shown.listed if one.twin and any(one.note[1:])}
        return {**shown.spot_notes, **said_of}

    def keep(self, run: str, note: Any, states: Sequence[Any], by: str) -> KeptNote:
        out, notice = self._settings.out, ""
        shown = self._settings.results.shown()
        conditions = note.about[0]
        reason = shown.reason(conditions) if run == shown.run else None
        if reason:
            return _keep_both(self._settings, reason, note, states, by)
        about = present_runs(out).get(CLUSTERS) if run == shown.run else find_clusters(out, run)
        if about is None:
            raise SAFEError(CHANGED)
        tested = folder_tested(out, about)
        kept = set_note(out, note._replace(about=(conditions, tested)), *states, by=by, run=about.clusters)
        if tested != folder_tested(out) or not shown.reason(conditions):
            notice = "Kept. This condition is not among the new weak spots; the note returns when it is found again."
        return kept, [], notice


def _keep_both(settings: PageSettings, reason: Reason, note: Note, states: Sequence[Note], by: str) -> KeptNote:
    """Write a note on a weak spot and, if it is an RCC as well, on that."""
    about, twin = reason.note.about, reason.rcc if reason.twin else None
    run = present_runs(settings.out)[CLUSTERS]
    original = settings.results.shown().review.original if twin is not None else None
    seen = [state._replace(about=about) for state in states]
    kept = set_note(
        settings.out, note._replace(about=about), *seen, by=by, run=run.clusters, original=original, twin=twin
    )
    now = settings.results.shown()
    reason = now.reason(reason.subject) or reason
    on_map = {} if twin is None else rcc_words(twin, {twin: kept.note})
    return kept, [{**on_map, **judgement(reason)}], ""


def _fields(note: Note) -> dict[str, Any]:
    return dict(zip(FIELDS, note[1:], strict=True))


def _noted(blank: Any, fields: object) -> Any:
    """A note with the fields that a script has sent; a TypeError, ValueError or KeyError where it is no note."""
    if not isinstance(fields, dict):
        raise TypeError("no note")
    texts = {field: fields[field] for field in FIELDS if field in fields or field not in REGISTER}
    if not all(isinstance(text, str) for text in texts.values()) or texts["verdict"] not in VERDICTS:
        raise ValueError("no texts")
    return blank._replace(**texts)
