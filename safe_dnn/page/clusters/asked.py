"""What the network says of the reason at hand when it is asked again: a button to ask it, and what is kept."""

from collections.abc import Callable

import gradio as gr

from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import AWAY
from safe_dnn.page.results import Shown
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.asking import heatmap_html, heatmaps_of, look, model_at_hand, probe_reasons
from safe_dnn.pipeline.reporting.report import probes_html


class AskedView:
    """Lay out the button and the answer; `outputs` are both, `show` gives what they show.

    Parameters
    ----------
    settings : PageSettings
    elem_id : str
        Of the button; that of the answer ends in `-answer`.
    """

    question: str
    again: str
    ask: Callable
    _kept: Callable[..., str]

    def __init__(self, settings: PageSettings, elem_id: str):
        self._settings = settings
        self.button = gr.Button(self.question, size="sm", elem_id=elem_id, elem_classes=AWAY)
        self.answer = gr.HTML(elem_id=f"{elem_id}-answer", elem_classes=AWAY)
        self.outputs = [self.button, self.answer]

    def show(self, shown: Shown, subject: str) -> dict:
        """What is kept of a reason, as of `reasons.listed.Reason`; nothing if it is empty."""
        answer = self._kept(shown, subject) if subject else ""
        there = subject and shown.reasons.base and model_at_hand(shown.clusters.image_root, self._settings.root)
        return {
            self.button: gr.Button(self.again if answer else self.question, elem_classes=[] if there else AWAY),
            self.answer: gr.HTML(answer, elem_classes=[] if answer else AWAY),
        }

    def work(self, job: Job, reason: str) -> None:
        """Ask about a reason, such as `RCC 0`."""
        self.ask(self._settings.out, [reason], within=self._settings.root, progress=job.progress)


class LooksView(AskedView):
    """Where the network looks, below a GIF."""

    question, again, ask = "Where it looks", "Look again", staticmethod(look)

    def _kept(self, shown: Shown, subject: str) -> str:
        kept = heatmaps_of(self._settings.out, shown.review.run, [subject])
        return heatmap_html(kept[subject]) if kept else ""


class ProbeView(AskedView):
    """Whether the condition of a reason is the cause, below its heading."""

    question, again, ask = "Is it the cause?", "Ask again", staticmethod(probe_reasons)

    def _kept(self, shown: Shown, subject: str) -> str:
        return probes_html([probe for probe in shown.probes if probe.subject == subject])
