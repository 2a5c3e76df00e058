"""A button at the reason at hand: is it the cause? The DNN is asked about changed images, and the answer is kept."""

import gradio as gr

from page.jobs import Job, PageSettings
from page.results import Shown
from pipeline.probing import model_at_hand, probe_reasons
from pipeline.reporting.probes import probes_html
from support.errors import SAFEError


class ProbeView:
    """Lay out the button and the answer; `outputs` are both, `show` gives what they show.

    Parameters
    ----------
    settings : PageSettings
    elem_id : str
        Of the button; that of the answer ends in `-answer`.
    """

    def __init__(self, settings: PageSettings, elem_id: str):
        self._settings = settings
        self.button = gr.Button("Is it the cause?", size="sm", visible=False, elem_id=elem_id)
        self.answer = gr.HTML(elem_id=f"{elem_id}-answer")
        self.outputs = [self.button, self.answer]

    def show(self, shown: Shown, subject: str) -> dict:
        """What probes say of a reason; the button only where the model can be asked."""
        there = shown.reasons.base > 0 and model_at_hand(shown.clusters.image_root, self._settings.root) is not None
        found = [probe for probe in shown.probes if probe.subject == subject]
        label = "Ask again" if found else "Is it the cause?"
        return {self.button: gr.Button(label, visible=there and bool(subject)), self.answer: probes_html(found)}

    def work(self, job: Job, reason: str) -> None:
        """Probe a reason, such as `RCC 0`."""

        def progress(what: str, done: int, total: int) -> None:
            job.tell(what, done, total)
            if job.cancelled():
                raise SAFEError("Stopped. This probe is not kept, earlier ones are.")

        probe_reasons(self._settings.out, names=[reason], within=self._settings.root, progress=progress)
