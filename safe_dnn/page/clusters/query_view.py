"""Queries about the current reason that run the network again: a button that starts one, and the stored answer."""

from collections.abc import Callable

import gradio as gr

from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import AWAY
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.analysis import Analysis
from safe_dnn.pipeline.asking import heatmap_html, heatmaps_of, look, model_at_hand, probe_reasons
from safe_dnn.pipeline.reporting.report import probes_html


class QueryView:
    """Lay out the button and the answer; `show` gives what they show.

    Parameters
    ----------
    settings : PageSettings
    elem_id : str
        Of the button; that of the answer ends in `-answer`.
    """

    question: str
    again: str
    ask: Callable
    _stored_answer: Callable[..., str]

    def __init__(self, settings: PageSettings, elem_id: str):
        self._settings = settings
        self.button = gr.Button(self.question, size="sm", elem_id=elem_id, elem_classes=AWAY)
        self.answer = gr.HTML(elem_id=f"{elem_id}-answer", elem_classes=AWAY)

    def show(self, state: Analysis, subject: str) -> dict:
        """Updates that show the stored answer about a reason, by its `subject`; empty without a reason."""
        answer = self._stored_answer(state, subject) if subject else ""
        there = subject and state.reasons.base and model_at_hand(state.clusters.image_root)
        return {
            self.button: gr.Button(self.again if answer else self.question, elem_classes=[] if there else AWAY),
            self.answer: gr.HTML(answer, elem_classes=[] if answer else AWAY),
        }

    def work(self, job: Job, reason: str) -> None:
        """Ask about a reason, such as `RCC 0`."""
        self.ask(self._settings.out, [reason])


class LooksView(QueryView):
    """Where the network looks, below a GIF."""

    question, again, ask = "Where it looks", "Look again", staticmethod(look)

    def _stored_answer(self, state: Analysis, subject: str) -> str:
        heatmaps = heatmaps_of(self._settings.out, state.review.run, [subject])
        return heatmap_html(heatmaps[subject]) if heatmaps else ""


class ProbeView(QueryView):
    """Whether the condition of a reason is the cause, below its heading."""

    question, again, ask = "Is it the cause?", "Ask again", staticmethod(probe_reasons)

    def _stored_answer(self, state: Analysis, subject: str) -> str:
        return probes_html([probe for probe in state.probes if probe.subject == subject])
