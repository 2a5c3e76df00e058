"""On the tab Report: the register, a table to fill in, and the note on the analysis as a whole."""

import tempfile
from pathlib import Path

import gradio as gr

from safe_dnn.page.events import EACH, EDITS, LATEST, VIEW
from safe_dnn.page.pictures import served_folder
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.visitors import NAME_OF_WINDOW, visitor_of
from safe_dnn.pipeline.exports import load_register
from safe_dnn.rccs.review.journal import Maker, newest
from safe_dnn.rccs.review.notes import REGISTER, SCOPE, Scope
from safe_dnn.rccs.review.review import load_scope, set_note
from safe_dnn.reasons import register
from safe_dnn.support.text import printable

FIXED = ("Reason", "About", "Judged", "Fresh test set", "Missing")  # columns that are not filled in here


class RegisterView:
    """Lay out both; `outputs` are the widgets, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._window = gr.Textbox("", label="Window", visible="hidden")
        self._newest_number, self._rows = gr.State(0), gr.State([])  # the number of the newest entry, and the table
        with gr.Column(elem_classes="safe-product"):
            gr.HTML("<h3>The analysis as a whole</h3><p>What it is about, for the safety case.</p>")
            with gr.Accordion("Scope and operating domain", open=False, elem_id="scope"), gr.Row():
                self.scope = [
                    gr.Textbox(
                        label=known.title, placeholder=f"For example: {known.example}", max_length=known.longest,
                        lines=2, min_width=340, elem_id=f"scope-{field}",
                    )
                    for field, known in SCOPE.items()
                ]  # fmt: skip
        with gr.Column(elem_classes="safe-product"):
            gr.HTML(
                "<h3>Register</h3><p>What a safety case asks about each reason, and what is still missing. SAFE saves "
                "a cell when you leave it; you can copy from and paste into a spreadsheet.</p>"
            )
            self._download = gr.DownloadButton("Download register.csv", elem_id="download-register")
            self.table = gr.Dataframe(
                headers=[*FIXED, *(known.title for known in REGISTER.values())], type="array", wrap=True, buttons=[],
                static_columns=list(range(len(FIXED))), max_height=500, elem_id="register",
                column_widths=["90px", "140px", "90px", "120px", "260px", *["150px"] * len(REGISTER)],
            )  # fmt: skip
        self.outputs = [self._newest_number, self._rows, self.table, *self.scope]

    def show(self) -> dict:
        """What is said by now."""
        number = newest(self._settings.out)
        rows = [_row(entry) for entry in load_register(self._settings.out)]
        said = dict(zip(self.scope, map(printable, load_scope(self._settings.out)[0]), strict=True))
        return {self._newest_number: number, self._rows: rows, self.table: rows, **said}

    def wire(self, loaded: gr.events.Dependency) -> None:
        """Connect the widgets."""
        loaded.then(None, None, self._window, js=NAME_OF_WINDOW)
        looked = [self._window, self._newest_number]
        typed = [event for field in self.scope for event in (field.input, field.blur)]
        gr.on(typed, self._on_scope, [*looked, *self.scope], self._newest_number, **LATEST, **EDITS)
        self.table.input(
            self._on_register, [*looked, self._rows, self.table], [self._newest_number, self._rows], **EACH, **EDITS
        )
        self._download.click(self._on_download, None, self._download, **VIEW)

    def _on_scope(self, window: object, last_entry: int, *texts: str) -> int:
        """Keep the note on the analysis as a whole; it stays in the fields if it cannot be kept."""
        out, scope = self._settings.out, Scope(*map(str, texts))
        if scope != load_scope(out)[0]:
            run = self._settings.results.state().review.run
            set_note(out, scope, maker=Maker(visitor_of(window), None, last_entry), run=run)
        return self._newest(last_entry)

    def _on_register(
        self, window: object, last_entry: int, rows_before: list[list[str]], table: list[list[object]]
    ) -> dict:
        """Keep the cells that were filled in; they stay in the table if they cannot be kept."""
        before = {row[0]: row for row in rows_before}
        entries = {printable(entry.reason): entry for entry in load_register(self._settings.out)}
        changes, rows = [], [*map(list, rows_before)]
        for reason, *cells in table:
            named = zip(REGISTER, cells[len(FIXED) - 1 :], before.get(str(reason), [])[len(FIXED) :], strict=False)
            texts = ((field, REGISTER[field].tidy(str(text or "")), was) for field, text, was in named)
            changes += [register.Change(entries[str(reason)], field, text) for field, text, was in texts if text != was]
        register.take_over(self._settings.out, changes, maker=Maker(visitor_of(window), None, last_entry))
        for change in changes:
            row = next(row for row in rows if row[0] == printable(change.entry.reason))
            row[len(FIXED) + list(REGISTER).index(change.field)] = change.now
        return {self._newest_number: self._newest(last_entry), self._rows: rows}

    def _newest(self, last_entry: int) -> int:
        """The number of the newest entry, after a change that was not refused."""
        return max(last_entry, newest(self._settings.out))

    def _on_download(self) -> gr.DownloadButton:
        entries = load_register(self._settings.out)
        file = Path(tempfile.mkdtemp(dir=served_folder())) / register.REGISTER_FILE
        file.write_text(register.register_text(self._settings.out, entries), encoding="utf-8", errors="replace")
        return gr.DownloadButton(value=str(file))


def _row(one: register.Entry) -> list[str]:
    """What the table shows of a reason."""
    about = ", ".join(filter(None, (one.note.name, one.where)))
    fixed = (one.reason, about, one.note.verdict, one.fresh, "; ".join(one.missing))
    return [*map(printable, fixed), *(printable(getattr(one.note, field)) for field in REGISTER)]
