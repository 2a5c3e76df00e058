"""From tab to tab: the reasons for failures, and the folder of the classes."""

from typing import Any

import gradio as gr

from safe_dnn.page.clusters.tab import ClustersTab
from safe_dnn.page.events import VIEW
from safe_dnn.page.failures.tab import FailuresTab
from safe_dnn.page.labels.tab import LabelsTab
from safe_dnn.page.messages import warn
from safe_dnn.page.retraining.tab import RetrainingTab
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import CLUSTERS_TAB
from safe_dnn.pipeline.run_record import specified_parameters, specified_predictions
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
        return {**filled_fields, **clusters.generate(fields)}

    failures.view.find.click(on_find, [*form.widgets, form.filled], outputs, js=TO_CLUSTERS, **VIEW)


def wire_classes(labels: LabelsTab, retraining: RetrainingTab) -> None:
    """Connect the two fields for the training folder: what is typed into one fills in the other, if that is empty."""

    for here, there in ((labels, retraining), (retraining, labels)):

        def copied(typed: str | None, other: str | None, filled: dict, *, there: Any = there) -> dict:
            if (other or "").strip() or not (typed or "").strip():
                return gr.skip()
            return {there.train: typed, there.form.filled: {**filled, "train": typed}}  # not typed there: as filled in

        sent = [here.train, there.train, there.form.filled]
        filled_in = gr.on([here.train.blur, here.train.submit], copied, sent, [there.train, there.form.filled], **VIEW)
        if there is labels:  # the tab may have been opened before the field was filled in
            labels.show_after(filled_in)
