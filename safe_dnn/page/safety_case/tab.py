"""Tab beside the paper's steps: what a safety case asks about each reason and the analysis as a whole, as a table to
fill in, and the same reasons on a fresh test set, which chose nothing."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from safe_dnn import api
from safe_dnn.analysis import NOTES
from safe_dnn.page.assets import EDITS, LATEST, NAME_OF_WINDOW, VIEW, visitor_of
from safe_dnn.page.forms import remembered
from safe_dnn.page.messages import done, empty, pane, reveal
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import SAFETY_TAB
from safe_dnn.page.work_tab import Work, WorkTab, widgets_in
from safe_dnn.rccs.review.journal import ELSEWHERE, REGISTER, SCOPE, Maker, Scope, newest
from safe_dnn.rccs.review.review import set_note
from safe_dnn.reasons import register
from safe_dnn.report.report import confirmation_html
from safe_dnn.store.output_folder import writing
from safe_dnn.store.runs import CONFIRMATION
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

FIXED = ("Reason", "About", "Judged", "Fresh test set", "Missing")  # columns that are not filled in here
EMPTY = empty(
    "No reasons for a safety case yet.",
    [
        ("Generate RCCs", "In the tab Root cause clusters: the reasons for which the network fails."),
        ("Fill in the register", "Hazard, measure and owner of each reason."),
        ("Give a fresh test set", "Images that SAFE has never seen confirm or refute each reason."),
    ],
)


class RegisterView:
    """Lay out the register, and the note on the analysis as a whole; `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._window = gr.Textbox("", label="Window", visible="hidden")
        # The number of the newest entry; and by what the table calls a reason, its key and its row
        self._newest_number, self._rows = gr.State(0), gr.State({})
        with gr.Accordion("The analysis as a whole: scope, operating domain", open=False, elem_id="scope"), gr.Row():
            self.scope = [
                gr.Textbox(
                    label=known.title, placeholder=f"For example: {known.example}", max_length=known.longest, lines=2,
                    min_width=340, elem_id=f"scope-{field}",
                )
                for field, known in SCOPE.items()
            ]  # fmt: skip
        with gr.Column(elem_classes="safe-product"):
            gr.HTML(
                "<h3>Register</h3><p>What a safety case asks about each reason, and what is still missing. SAFE saves "
                "a cell when you leave it; you can copy from and paste into a spreadsheet.</p>"
                "<p class='safe-made-links'><a href='register.csv' download>Download register.csv</a></p>",
                elem_id="download-register",
            )
            self.table = gr.Dataframe(
                headers=[*FIXED, *(known.title for known in REGISTER.values())], type="array", wrap=True, buttons=[],
                static_columns=list(range(len(FIXED))), max_height=500, elem_id="register",
                column_widths=["150px", "120px", "90px", "120px", "260px", *["150px"] * len(REGISTER)],
            )  # fmt: skip

    def show(self) -> dict:
        """What is said by now."""
        number = newest(self._settings.out)
        entries = self._settings.results.latest.register
        titles = register.titles_of(entries)
        rows = {entry.key: _row(entry, titles[entry.key]) for entry in entries}
        texts = dict(zip(self.scope, map(printable, self._settings.results.latest.scope[0]), strict=True))
        by_name = {row[0]: (key, row) for key, row in rows.items()}
        return {self._newest_number: number, self._rows: by_name, self.table: [*rows.values()], **texts}

    def wire(self, loaded: gr.events.Dependency) -> None:
        """Connect the widgets."""
        loaded.then(None, None, self._window, js=NAME_OF_WINDOW)
        looked = [self._window, self._newest_number]
        typed = [event for field in self.scope for event in (field.input, field.blur)]
        gr.on(typed, self._on_scope, [*looked, *self.scope], self._newest_number, **LATEST, **EDITS)
        self.table.input(
            self._on_register, [*looked, self._rows, self.table], [self._newest_number, self._rows], **LATEST, **EDITS
        )

    def _on_scope(self, window: object, last_entry: int, *texts: str) -> int:
        """Keep the note on the analysis as a whole; it stays in the fields if it cannot be kept."""
        out, scope = self._settings.out, Scope(**dict(zip(SCOPE, map(str, texts), strict=True)))
        if scope != self._settings.results.latest.scope[0]:
            state = self._settings.results.state()
            run = state.review.run if state.there else ""
            set_note(out, scope, maker=Maker(visitor_of(window), None, last_entry), run=run)
        return self._newest(last_entry)

    def _on_register(
        self, window: object, last_entry: int, shown: dict[str, tuple[str, list[str]]], table: list[list[object]]
    ) -> dict:
        """Keep the cells that were filled in; they stay in the table if they cannot be kept.

        They belong to the reasons that the window shows: `RCC 0` may be another one by now.
        """
        settings, changes, rows = self._settings, list[register.Change](), dict(shown)
        with writing(settings.out):
            entries = {entry.key: entry for entry in settings.results.latest.register}
            for name, *cells in table:
                key, before = shown.get(str(name), ("", []))
                named = zip(REGISTER, cells[len(FIXED) - 1 :], before[len(FIXED) :], strict=False)
                texts = {field: (REGISTER[field].tidy(str(text or "")), was) for field, text, was in named}
                changed = {field: text for field, (text, was) in texts.items() if text != was}
                if changed and key not in entries:
                    raise SAFEError(ELSEWHERE)
                changes += [register.Change(entries[key], field, text) for field, text in changed.items()]
                if changed:
                    rows[str(name)] = key, [*before[: len(FIXED)], *(text for text, _ in texts.values())]
            register.take_over(settings.out, changes, maker=Maker(visitor_of(window), None, last_entry))
        return {self._newest_number: self._newest(last_entry), self._rows: rows}

    def _newest(self, last_entry: int) -> int:
        """The number of the newest entry, after a change that was not refused."""
        return max(last_entry, newest(self._settings.out))


def _row(one: register.Entry, title: str) -> list[str]:
    """What the table shows of a reason."""
    about = ", ".join(text for text in (one.where, one.reason) if text != one.title)
    fixed = (title, about, one.note.verdict, one.fresh, "; ".join(one.missing))
    return [*map(printable, fixed), *(printable(getattr(one.note, field)) for field in REGISTER)]


class SafetyCaseTab(WorkTab):
    """Lay out the tab; `wire` connects its widgets."""

    name = SAFETY_TAB
    stopped = "Stopped. Nothing was changed."

    def __init__(self, settings: PageSettings):
        super().__init__(settings)
        self._lay_out_state()
        with pane("safety-pane") as self.pane:
            self.register = RegisterView(settings)
            with gr.Column(elem_classes="safe-product", elem_id="fresh-test-set"):
                gr.HTML(
                    "<h3>A fresh test set</h3><p>The reasons were chosen because the network fails there. Images that "
                    "chose nothing confirm, weaken or refute each of them by name, without another search.</p>"
                )
                with gr.Row(elem_classes="safe-form"):
                    self.form.lay_out("predictions", "tested", "after", scale=3, min_width=220)
                    self.start = gr.Button("Confirm", scale=0, min_width=150, elem_id="confirm")
                self.answers = gr.HTML(elem_id="confirmed")

    def _guide(self) -> str:
        latest = self._settings.results.latest
        return "" if latest.there or latest.has_tables_alone else EMPTY

    def _last_form(self) -> Mapping[str, Any]:
        return remembered(self._settings.out, SAFETY_TAB)

    def _now(self) -> tuple:
        latest = self._settings.results.latest
        return latest.marks.run, latest.stamp, latest.stamp_of(NOTES, CONFIRMATION)

    def show(self) -> dict:
        """What the widgets show of the folder.

        Raises
        ------
        SAFEError
            The clusters, or what is said of them, are damaged.
        """
        results = self._settings.results.state()
        entries, run = results.register, results.runs.get(CONFIRMATION)
        lacking = sum(bool(entry.missing) for entry in entries)
        lacks = f"Something is missing for {lacking:,} of {count(len(entries), 'reason')}: see the register."
        changed = run is not None and results.review.last_number != run.facts["edits"]
        return {
            self.status: done(f"{count(len(entries), 'reason')} in the register", lacks if lacking else ""),
            self.pane: reveal(),
            **self.register.show(),
            self.answers: confirmation_html(run.facts, changed=changed) if run else "",
        }

    def _work_of(self, fields: Mapping[str, Any]) -> Work:
        settings, paths = self._settings, self.form.taken(fields, ["predictions", "tested"], ["after"])
        table, folder, later = (paths.get(name) for name in ("predictions", "tested", "after"))
        return lambda _: api.confirm(table, folder, settings.out, after=later, weights=settings.weights)

    def on_confirm(self, marks: tuple | None, *values: Any) -> dict:
        """Ask a fresh test set with the values of the form."""
        fields = self.form.named(values)
        started = self._work_on(marks, lambda: self._work_of(fields))
        return {**self.form.sent(self._now()[0], fields), **started}

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        sent = [self.marks, *self.form.widgets]
        self.start.click(self.on_confirm, sent, widgets_in(tab), **VIEW)
        self.register.wire(loaded)
        self._wire(loaded, tab)
