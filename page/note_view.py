"""What the engineer says of the RCC at hand: its name, a note and a verdict, kept as they are typed."""

from pathlib import Path

import gradio as gr

from dbscan.outcome import NOISE
from page.jobs import PageSettings
from page.results import Shown
from rccs.notes import LONGEST_NAME, LONGEST_NOTE, VERDICTS, RccNote
from rccs.review import set_note
from reporting.history import folder_of
from support.errors import SAFEError

HERE = Path(__file__).parent
LENGTHS = {"name": LONGEST_NAME, "note": LONGEST_NOTE}


class NoteView:
    """Lay out the fields; the widget is `widget`, `show` gives what it shows. Its event `kept` follows each change.

    Not fields of Gradio's: those keep quiet about what is pasted into one right after it was filled in, and send the
    values of all fields without saying which of them the engineer has changed.
    """

    def __init__(self, settings: PageSettings):
        # Called by the script with one value, a list; what is sent is checked as anything from outside.
        def keep_note(sent: list) -> dict:
            try:
                rcc, run, seen, mine = sent
                before, note = _note_of(rcc, seen), _note_of(rcc, mine)
            except (TypeError, ValueError, KeyError):
                return {"problem": "Not kept: the page sent something else than a note. Reload it."}
            try:
                place = settings.out
                if run != settings.results.shown().run:  # generated anew meanwhile
                    place = folder_of(settings.out, str(run)) or settings.out
                kept = set_note(place, note, seen=before, run=str(run))
            except SAFEError as error:
                return {"problem": f"Not kept: {error}"}
            now = kept.notes.get(note.rcc, RccNote(note.rcc))
            problem = "" if place == settings.out else "Kept with the earlier run, which these clusters belong to."
            return {"kept": now._asdict(), "conflicts": list(kept.conflicts), "problem": problem}

        self.widget = gr.HTML(
            NOISE,  # the RCC that something was kept of last
            html_template=HERE.joinpath("note.html").read_text(encoding="utf-8"),
            js_on_load=HERE.joinpath("scripts", "note.js").read_text(encoding="utf-8"),
            server_functions=[keep_note],
            said=None,
            elem_id="rcc-says",
        )

    def show(self, shown: Shown, rcc: int) -> gr.HTML:
        """What is said of an RCC (`NOISE`: of the images in no cluster)."""
        note = shown.notes.get(rcc, RccNote(rcc))
        return gr.HTML(said={**note._asdict(), "run": shown.run, "lengths": LENGTHS})


def _note_of(rcc: object, fields: object) -> RccNote:
    """What a script has sent; a TypeError, ValueError or KeyError where it is no note."""
    if not isinstance(rcc, int) or not isinstance(fields, dict):
        raise TypeError("no note")
    name, note, verdict = (fields[name] for name in ("name", "note", "verdict"))
    if not all(isinstance(text, str) for text in (name, note, verdict)) or verdict not in VERDICTS:
        raise ValueError("no texts")
    return RccNote(rcc, name, note, verdict)
