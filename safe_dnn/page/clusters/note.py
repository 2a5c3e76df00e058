"""The engineer's note on the selected reason: its name, a note and a verdict, kept when a field is left."""

import json
import time
from typing import Any, NamedTuple

import gradio as gr

from safe_dnn.analysis import Analysis
from safe_dnn.page.assets import NAME_OF_WINDOW, scripted, visitor_of
from safe_dnn.page.messages import as_text
from safe_dnn.page.settings import PageSettings
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.journal import FIELDS, VERDICTS, Maker, Note, judgements, tidy_note
from safe_dnn.rccs.review.review import CHANGED, set_note
from safe_dnn.store.output_folder import writing
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import printable

EXAMPLES = {int: "What its images have in common", str: "The reason behind the condition"}  # of a name, by kind of key
PRESSED = f"Keys {', '.join(VERDICTS[word].key for word in judgements())}"
TYPED = ("name", "verdict", "note")

# Which reason the address names (screen.js), the window's name, and what was typed in one that is gone (note.js).
ON_LOAD = f"""() => {{
  const named = new URLSearchParams(location.hash.slice(1)), rcc = named.get("rcc");
  let typed = null;  // as where the browser may not store anything
  try {{ typed = JSON.parse(localStorage.getItem(`safe-note ${{location.pathname}}`)); }} catch {{}}
  return [rcc ? Number(rcc) : named.get("spot"), ({NAME_OF_WINDOW})(), typed];
}}"""


class About(NamedTuple):
    """What the fields of a window are about, and what it has seen.

    Attributes
    ----------
    key : int or str
        Of the reason, as in `reasons.listed.Reason.key`.
    run : str
        As of `Analysis`.
    last_entry : int
        The number of the newest entry.
    saved : list of str
        What the fields held when they were filled in or kept.
    """

    key: int | str
    run: str
    last_entry: int
    saved: list[object]


class NoteView:
    """Lay out the fields; `outputs` are the widgets, `show` gives what they show.

    Attributes
    ----------
    parts : list
        The inputs of a handler that changes anything, from which `keep` keeps what is typed.
    run : State
        Fingerprint of the clusters that the window shows, as they were found.
    key : State
        Of the reason that it was last given.
    draft : JSON
        What was typed in a window that is gone, and was not kept.
    """

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self.run, self.key = gr.State(""), gr.State(NOISE)
        self.visitor = gr.Textbox(
            "", label="Visitor", info="A name of this window's", visible="hidden", elem_id="visitor"
        )
        with gr.Column(elem_id="note"):
            self.name = gr.Textbox(
                label="Name",
                placeholder=EXAMPLES[int],
                max_lines=1,
                max_length=FIELDS["name"].longest,
                elem_id="note-name",
            )
            choices = [("Not judged", ""), *((word.capitalize(), word) for word in judgements())]
            self.verdict = gr.Radio(choices, value="", label="It is", info=PRESSED, elem_id="note-verdict")
            self.note = gr.Textbox(
                label="Note", placeholder="Evidence, open questions", lines=1, max_lines=6,
                max_length=FIELDS["note"].longest, elem_id="note-text",
            )  # fmt: skip
            self.about = scripted("clusters/note", "", html_template="<p role='status'></p>", problem="",
                                  elem_id="note-about")  # fmt: skip
        self.draft = gr.JSON(None, visible=False)
        fields = [self.name, self.verdict, self.note]
        self.parts = [self.visitor, self.about, *fields]
        self.outputs = [self.run, self.key, self.about, *fields]

    def show(self, state: Analysis, key: int | str, problem: str = "") -> dict:
        """The note on a reason, and why something else was not kept."""
        note = _note_on(state, key)
        about = About(key, state.run, state.number, [getattr(note, field) for field in TYPED])
        return {
            self.run: state.run, self.key: key,
            self.about: self._about(about, problem),
            self.name: gr.Textbox(note.name, placeholder=EXAMPLES[type(key)]),
            self.verdict: note.verdict, self.note: note.note,
        }  # fmt: skip

    def keep(self, visitor: object, about: object, *typed: object) -> tuple[Maker, dict]:
        """Write what the fields of a window hold.

        Returns
        -------
        Maker
            Whoever makes a change in this window.
        dict
            Updates of the fields' state; empty if nothing was to be written.

        Raises
        ------
        SAFEError
            It cannot be kept, since something was changed elsewhere, or the clusters are others by now.
        """
        settings, where = self._settings, about_of(about)
        maker = Maker(visitor_of(visitor), where.run, where.last_entry)
        if [*typed] == where.saved:
            return maker, {}
        # What was typed later may arrive earlier: the fields that were not changed are left alone.
        changed = {
            name: str(text) for name, text, saved in zip(TYPED, typed, where.saved, strict=True) if text != saved
        }
        with writing(settings.out):
            state = settings.results.state(where.run)
            note, reason = _note_on(state, where.key), state.reason(where.key)
            mine = tidy_note(note._replace(**changed))
            if mine == note:  # as where the answer did not reach a window that was closed
                return maker, {}
            twin = reason.twin_rcc if reason else None
            review = state.review
            set_note(settings.out, mine, maker=maker, run=review.run, original=review.original, twin=twin)
            where = where._replace(last_entry=settings.results.state(where.run).number, saved=[*typed])
        return maker._replace(last_entry=where.last_entry), {self.about: self._about(where)}

    def refuse(self, error: SAFEError, about: object) -> dict:
        """Why what is typed is not kept; it stays in the fields, also if another reason was chosen.

        `about` is what they are about, as it was sent.
        """
        about_of(about)
        again = {**json.loads(str(about)), "at": time.monotonic_ns()}
        return {self.about: gr.HTML(as_text(again), problem=f"Not kept: {printable(str(error))}")}

    def recover(self, visitor: object, draft: object) -> str:
        """Keep what was typed in a window that is gone; what it was and why not, if it cannot be kept."""
        if not isinstance(draft, list) or len(draft) != len(self.parts) - 1:
            return ""
        saved: list[object] = [""] * len(TYPED)
        try:
            saved = about_of(draft[0]).saved
            self.keep(visitor, *draft)
        except SAFEError as error:
            texts = ", ".join(f"“{text}”" for text, before in zip(draft[1:], saved, strict=True) if text != before)
            return f"Not kept when this page was left: {printable(texts)}. {printable(str(error))}"
        return ""

    def _about(self, about: About, problem: str = "") -> gr.HTML:
        value = {**about._asdict(), "at": time.monotonic_ns()}  # `at`: the same again is an answer, too
        return gr.HTML(as_text(value), problem=problem)


def about_of(sent: object) -> About:
    """What the fields of a window are about, as it has sent; a SAFEError if it is something else."""
    try:
        about = json.loads(str(sent))
        at = About(*(about[field] for field in About._fields))
        numbered = isinstance(at.key, int | str) and isinstance(at.run, str) and isinstance(at.last_entry, int)
        if numbered and isinstance(at.saved, list) and len(at.saved) == len(TYPED):
            return at
    except (ValueError, TypeError, KeyError):
        pass
    raise SAFEError("The page sent something other than a note. Reload it.")


def _note_on(state: Analysis, key: int | str) -> Any:
    reason = state.reason(key)
    if reason is None and key != NOISE:
        raise SAFEError(CHANGED)
    return reason.note if reason else state.notes.get(NOISE, Note(NOISE))
