"""The selected weak spot: its images as a GIF, its rate, and the RCCs that it overlaps with."""

import gradio as gr
from markupsafe import Markup

from safe_dnn.page.clusters.query_view import LooksView, ProbeView
from safe_dnn.page.clusters.rcc import lay_out_player, show_gif
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.analysis import Analysis
from safe_dnn.pipeline.reporting.markup import escaped, filled
from safe_dnn.rccs.gifs import spot_gif_path
from safe_dnn.rccs.review.notes import title
from safe_dnn.support.text import count

MOST_OVERLAPS = 3  # RCCs named with a weak spot


class SpotView:
    """Lay out the pane; `show` gives what it shows."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with gr.Column(elem_id="spot-words"):
            with gr.Column(elem_classes="safe-above"):
                self.player = lay_out_player("spot-gif")
                self.looks = LooksView(settings, "spot-look")
                self.probes = ProbeView(settings, "probe-spot")
                self.heading = gr.HTML(elem_id="spot-heading")
            self.queries = self.looks, self.probes

    def show(self, state: Analysis, conditions: object) -> dict:
        """A weak spot's GIF and heading; nothing of one that is not there."""
        rank = rank_of(conditions, state)
        reason = state.reason(conditions) if rank else None
        subject, images = (reason.subject, len(reason.images)) if reason else ("", 0)
        gif = spot_gif_path(self._settings.out, rank)
        by_answers = bool(reason and reason.figures and reason.figures.answers)
        values = {"reason": reason, "overlaps": _overlaps(state, rank) if rank else ""}
        return {
            self.player: show_gif(gif, f"Weak spot {rank}", images if gif.is_file() else 0, ever=not by_answers),
            **self.looks.show(state, subject if images else ""), **self.probes.show(state, subject),
            self.heading: filled("page/clusters/spot_heading.html", **values) if reason else "",
        }  # fmt: skip


def rank_of(conditions: object, state: Analysis) -> int:
    """The rank of the weak spot that a browser has named by its conditions; 0 if there is none."""
    ranks = (rank for rank, spot in enumerate(state.reasons.spots, start=1) if spot.conditions == conditions)
    return next(ranks, 0)


def _overlaps(state: Analysis, rank: int) -> Markup:
    """The RCCs that have failing images in common with a weak spot, as HTML; their names are kept up in the list."""
    overlaps = state.reasons.overlaps(rank - 1)
    named = [
        f"{n:,} in <button type='button' class='safe-rcc-name' data-open-rcc='{rcc}'>"
        f"{escaped(title(rcc, state.notes))}</button>"
        for rcc, n in overlaps[:MOST_OVERLAPS]
    ]
    unlisted = len(overlaps) - MOST_OVERLAPS
    return Markup(", ".join(named) + (f", others in {count(unlisted, 'RCC')}" if unlisted > 0 else ""))
