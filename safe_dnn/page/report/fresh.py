"""Below report and export: a fresh test set, which chose nothing, is asked of what was found."""

from functools import partial

import gradio as gr

from safe_dnn.page.forms import FormView, check_there, given, remember, remembered
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.confirmation import confirm
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.pipeline.reporting.report import confirmation_html
from safe_dnn.pipeline.run_record import GivenAnswers
from safe_dnn.store.runs import CONFIRMATION

FORM = "confirmation"


class FreshTestSet:
    """Lay out the fields and the answers; `outputs` are what changes with the folder, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self.form = FormView(lambda: remembered(settings.out, FORM))
        with gr.Column(elem_classes="safe-product", elem_id="fresh-test-set"):
            gr.HTML(filled("page/report/products.html"))
            with gr.Row(elem_classes="safe-form"):
                columns = "CSV: image, label, predicted, of the same network"
                self.form.path("predictions", "fresh-predictions", "Predictions", columns, "predictions.csv")
                unseen = "None that SAFE has seen before"
                self.form.path("tested", "fresh-tested", "Fresh test images", unseen, "fresh")
                closed = "Optional: which reasons has it closed?"
                self.form.path("after", "fresh-after", "Predictions of a later model", closed, "after.csv")
                self.ask = gr.Button("Confirm", scale=0, min_width=150, elem_id="confirm")
            self.answers = gr.HTML(elem_id="confirmed")
        self.outputs = [self.answers]

    def show(self) -> dict:
        """The answers that a fresh test set has given, if any."""
        run = self._settings.results.present(CONFIRMATION)
        edits = self._settings.results.shown().review.last_number
        return {self.answers: confirmation_html(run.facts, changed=edits != run.facts["edits"]) if run else ""}

    @property
    def stamp(self) -> str:
        """Differs where there are other answers."""
        run = self._settings.results.present(CONFIRMATION)
        return f"{run.number}" if run else ""

    def wanted(self, predictions: str | None, tested: str | None, after: str | None) -> partial:
        """The work of asking the fresh images that the fields name, which are kept.

        Raises
        ------
        SAFEError
            A field is empty or leads out of the page's root, or nothing is there.
        """
        settings = self._settings
        table = given(predictions, "table of predictions", settings)
        folder = given(tested, "folder of fresh test images", settings)
        remember(settings.out, FORM, {"predictions": predictions, "tested": tested, "after": after})
        later = settings.accept(after) or None
        check_there({"predictions": table, "fresh test images": folder, "later predictions": later or table})
        return partial(confirm, settings.out, GivenAnswers(table, folder), after=later, weights=settings.weights)
