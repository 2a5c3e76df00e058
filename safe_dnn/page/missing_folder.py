"""A folder of images that is no longer where it was: the page asks once where it lies now."""

from pathlib import Path

import gradio as gr

from safe_dnn.page.events import VIEW
from safe_dnn.page.forms import required_path
from safe_dnn.page.messages import pane, put_away, reveal
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.generation import missing_folder, moved_around, take_new_place
from safe_dnn.support.text import printable


class MovedView:
    """Lay out the question, which is away as long as nothing is missing; `wire` connects it."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with pane("moved") as self._pane, gr.Row(elem_classes="safe-form"):
            self._place = gr.Textbox(
                label="Images were moved", info="Where do they lie now? They are compared with what they were.",
                placeholder="/path/to/images", max_lines=1, scale=3, elem_id="moved-to",
            )  # fmt: skip
            self._confirm = gr.Button("They are there", variant="primary", scale=0, min_width=150, elem_id="take-place")

    def wire(self, loaded: gr.events.Dependency) -> None:
        """Ask a window that has shown what there is; once an answer is right, it is loaded anew."""
        settings = self._settings

        def on_load() -> dict:
            if (missing := missing_folder(settings.out)) is None:
                return {self._pane: put_away()}
            label = f"The images of this analysis are no longer in {printable(str(missing))}"
            return {self._pane: reveal(), self._place: gr.Textbox(label=label)}

        def on_place(typed: str | None) -> None:
            place = Path(required_path(typed, "folder in which they lie now", settings))
            if missing := missing_folder(settings.out):
                take_new_place(settings.out, *moved_around(missing, place))

        loaded.then(on_load, None, [self._pane, self._place], **VIEW)
        for sent in (self._confirm.click, self._place.submit):
            taken = sent(on_place, self._place, None, **VIEW)
            taken.success(None, None, None, js="() => { location.reload(); }")
