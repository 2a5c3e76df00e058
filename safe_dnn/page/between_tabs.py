"""From tab to tab: the reasons for failures, and the folder of the classes."""

from pathlib import Path
from typing import Any

import gradio as gr

from safe_dnn.api.generation import missing_folder, moved_around, take_new_place
from safe_dnn.page.clusters.tab import ClustersTab
from safe_dnn.page.events import VIEW
from safe_dnn.page.failures.tab import FailuresTab
from safe_dnn.page.forms import field_of, required_path
from safe_dnn.page.labels.tab import LabelsTab
from safe_dnn.page.messages import pane, put_away, reveal, warn
from safe_dnn.page.retraining.tab import RetrainingTab
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import CLUSTERS_TAB
from safe_dnn.reasons.run_record import specified_parameters, specified_predictions
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.text import printable

TO_CLUSTERS = f"""(...sent) => {{
  document.querySelector('.tab-container [role="tab"][data-tab-id="{CLUSTERS_TAB}"]')?.click();
  return sent;
}}"""


def wire_reasons(failures: FailuresTab, clusters: ClustersTab, outputs: list, settings: PageSettings) -> None:
    """Connect *Group failing images*: the first tab's failing images become root cause clusters in the second."""

    form = clusters.form

    def on_find(*sent: Any) -> dict:
        """Generate RCCs, unless something was typed there that would be lost."""
        *values, last = sent
        fields, filled_in = form.named(values), last.get("folder") or ""
        failing = printable(str(settings.out / FAILURES))
        specified = tuple(map(printable, specified_predictions(settings.out)))
        # Of an earlier run, and about its images; `predictions.csv` beside the failing ones is found by itself.
        of_run = ((fields["predictions"] or ""), (fields["tested"] or "")) in (("", ""), specified)
        if (fields["folder"] or "").strip() not in ("", filled_in, failing) or not of_run:
            warn(
                "Not started",
                f"What you have typed there has not been used yet. The failing images are in {failing}: give this "
                "folder, with nothing under Predictions and Test images, and click Generate RCCs.",
            )
            return clusters.fold.show(folded=False)
        fields |= {"folder": failing, "predictions": "", "tested": ""}
        if filled_in not in ("", failing) and fields["parameters"] == printable(specified_parameters(settings.out)):
            fields["parameters"] = ""  # about the images of an earlier run as well
        # A start that is refused, since other work is running, leaves the form filled in.
        filled_fields = {form[name]: fields[name] for name in ("folder", "predictions", "tested", "parameters")}
        return {**filled_fields, **clusters.begin(fields)}

    failures.view.find.click(on_find, [*form.widgets, form.filled], outputs, js=TO_CLUSTERS, **VIEW)


def wire_classes(labels: LabelsTab, retraining: RetrainingTab) -> None:
    """Connect the two fields for the training folder: what is typed into one fills in the other, if that is empty."""

    for here, there in ((labels, retraining), (retraining, labels)):

        def copied(typed: str | None, other: str | None, filled: dict, *, there: Any = there) -> dict:
            if (other or "").strip() or not (typed or "").strip():
                return gr.skip()
            return {
                there.form["train"]: typed,
                there.form.filled: {**filled, "train": typed},
            }  # not typed there: as filled in

        train, filled = here.form["train"], [there.form["train"], there.form.filled]
        filled_in = gr.on([train.blur, train.submit], copied, [train, *filled], filled, **VIEW)
        if there is labels:  # the tab may have been opened before the field was filled in
            labels.show_after(filled_in)


class MovedView:
    """Lay out the question, which is away as long as nothing is missing; `wire` connects it."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with pane("moved") as self._pane, gr.Row(elem_classes="safe-form"):
            self._place = field_of("moved", "place", scale=3)
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
