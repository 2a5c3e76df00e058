"""The engineer's note on the RCC at hand: its name, a note and a verdict, kept as they are typed."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from dbscan.outcome import NOISE
from page.jobs import PageSettings
from page.results import Shown
from rccs.notes import LONGEST_NAME, LONGEST_NOTE, VERDICTS, RccNote, title
from rccs.review import CHANGED, load_review, set_note
from reporting.history import folder_of
from support.errors import SAFEError
from support.output_folder import writing
from support.text import printable

HERE = Path(__file__).parent
LENGTHS = {"name": LONGEST_NAME, "note": LONGEST_NOTE}
LONGEST_AHEAD = 2000  # characters of a note that a window is given before its RCC is chosen
FIELDS = ("name", "note", "verdict")


class _Place(NamedTuple):
    """Where a note belongs: the folder of a run, the RCC there, and a sentence if it is not what the window shows."""

    folder: Path
    rcc: int
    notice: str = ""


class NoteView:
    """Lay out the fields; the widget is `widget`, `show` gives what it shows. Its event `kept` follows each change.

    Not fields of Gradio's: those keep quiet about what is pasted into one right after it was filled in, and send the
    values of all fields without saying which of them the engineer has changed.
    """

    def __init__(self, settings: PageSettings):
        self._settings = settings

        # Called by the script with one value, a list; what is sent is checked as anything from outside.
        def keep_note(sent: list) -> dict:
            try:
                rcc, run, seen, mine = sent
                states, note = [_note_of(rcc, fields) for fields in seen[:2]], _note_of(rcc, mine)
                if not states:
                    raise ValueError("not seen")
            except (TypeError, ValueError, KeyError):
                return {"problem": "Not kept: the page sent something other than a note. Reload it."}
            try:
                with writing(settings.out):  # so that the run at hand stays the one at hand
                    place = self._place(str(run), rcc)
                    theirs = load_review(place.folder).notes.get(place.rcc, RccNote(place.rcc))
                    kept = set_note(place.folder, note._replace(rcc=place.rcc), seen=_before(states, theirs))
            except SAFEError as error:
                return {"problem": f"Not kept: {error}"}
            now = kept.notes.get(place.rcc, RccNote(place.rcc))
            return {
                "kept": now._asdict(),
                "conflicts": list(kept.conflicts),
                "problem": place.notice,
                "at": time.monotonic_ns(),
            }

        self.widget = gr.HTML(
            NOISE,  # the RCC that something was kept of last
            html_template=HERE.joinpath("note.html").read_text(encoding="utf-8"),
            js_on_load=HERE.joinpath("scripts", "note.js").read_text(encoding="utf-8"),
            server_functions=[keep_note],
            said=None,
            elem_id="rcc-says",
        )

    def show(self, shown: Shown, rcc: int, forced: bool = True) -> gr.HTML:
        """The note on an RCC (`NOISE`: on the images in no cluster).

        Parameters
        ----------
        forced : bool
            Whether it is shown even if another RCC was clicked meanwhile, of which the answer is still on its way.
        """
        note = shown.notes.get(rcc, RccNote(rcc))
        more = {"run": shown.run, "title": printable(title(rcc, shown.notes)), "lengths": LENGTHS, "at": shown.at}
        more |= {"forced": forced, "component": self.widget._id}
        # Of the others as well, for whoever types as soon as one is chosen.
        more["notes"] = {
            str(other): one._asdict() for other, one in shown.notes.items() if len(one.note) <= LONGEST_AHEAD
        }
        return gr.HTML(said={**note._asdict(), **more})

    def _place(self, run: str, rcc: int) -> _Place:
        """Where a note on an RCC of a run belongs by now.

        Raises
        ------
        SAFEError
            The clusters were generated anew, and those before were not kept.
        """
        out = self._settings.out
        shown = self._settings.results.shown()
        if run == shown.run:
            return _Place(out, rcc)
        earlier = folder_of(out, run)
        if earlier is None:
            raise SAFEError(CHANGED)
        before, now = load_review(earlier).clusters, shown.clusters
        if before.image_root == now.image_root:
            images = before.members(rcc)
            for other in now.groups:
                if (other == NOISE) == (rcc == NOISE) and now.members(other) == images:
                    return _Place(
                        out, other, f"Kept with {title(other)} of the new clusters, which has the same images."
                    )
        return _Place(earlier, rcc, "Kept with the earlier run, which these clusters belong to.")


def _before(states: Sequence[RccNote], theirs: RccNote) -> RccNote:
    """What a change began from: of the states that a window has seen or sent, field by field, the one that there is."""
    found = {}
    for field in FIELDS:
        there = getattr(theirs, field)
        known = any(getattr(state, field).split() == there.split() for state in states)
        found[field] = there if known else getattr(states[0], field)
    return theirs._replace(**found)


def _note_of(rcc: object, fields: object) -> RccNote:
    """What a script has sent; a TypeError, ValueError or KeyError where it is no note."""
    if not isinstance(rcc, int) or not isinstance(fields, dict):
        raise TypeError("no note")
    name, note, verdict = (fields[name] for name in FIELDS)
    if not all(isinstance(text, str) for text in (name, note, verdict)) or verdict not in VERDICTS:
        raise ValueError("no texts")
    return RccNote(rcc, name, note, verdict)
