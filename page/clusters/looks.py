"""Where the network looks, below the GIF of an RCC or weak spot: asked for where the network is at hand."""

from collections.abc import Sequence

import gradio as gr

from page.jobs import PageSettings
from page.results import Shown
from pipeline.heatmaps import network_at_hand
from pipeline.reporting.heatmaps import heatmap_html, heatmaps_in, known_by


class LooksView:
    """Lay out the button and the pictures; `outputs` are the widgets, `show` gives what they show."""

    def __init__(self, settings: PageSettings, of: str):
        self._settings = settings
        self.button = gr.Button("Where it looks", size="sm", visible=False, elem_id=f"{of}-look")
        self.pictures = gr.HTML(visible=False, elem_id=f"{of}-looks", elem_classes="safe-looks")

    @property
    def outputs(self) -> list:
        return [self.button, self.pictures]

    def show(self, shown: Shown, paths: Sequence[str]) -> dict:
        """What is kept of a reason, by its failing images; a button to ask for it if there are any."""
        images, settings = known_by(paths), self._settings
        kept = heatmaps_in(settings.out, shown.review.run, only=images).get(images)
        here = bool(paths and shown.reasons.base) and network_at_hand(shown.clusters.image_root, settings.root)
        return {
            self.button: gr.Button("Look again" if kept else "Where it looks", visible=bool(here)),
            self.pictures: gr.HTML(heatmap_html(kept) if kept else "", visible=kept is not None),
        }
