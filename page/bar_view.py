"""The row of all RCCs along the bottom (the paper's Figure 4), from which the RCC at hand is chosen."""

from pathlib import Path
from urllib.parse import quote

import gradio as gr

from dbscan.outcome import NOISE
from page.jobs import PageSettings
from page.pictures import picture_file
from page.results import Shown
from rccs.confidence import is_loose
from rccs.nearness import representative
from rccs.notes import title
from support.text import printable

HERE = Path(__file__).parent
MARKS = {"safe": "✓", "unsafe": "⚠", "unclear": "?", "": ""}
FAILS = {"more": "fails more", "as often": "as often as others", "less": "fails less"}


class BarView:
    """Lay out the row; its widget is `widget`, whose value is the RCC that is chosen.

    Not a gallery of Gradio's: that builds all of its pictures anew with every answer, also while one is being clicked,
    and tells which was clicked in the data of an event, of which Gradio repeats an older one where clicks come faster
    than answers. A value is read when the event is sent.
    """

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self.widget = gr.HTML(
            NOISE,
            html_template=HERE.joinpath("bar.html").read_text(encoding="utf-8"),
            js_on_load=HERE.joinpath("scripts", "bar.js").read_text(encoding="utf-8"),
            faces=[],
            named=None,
            elem_id="rcc-bar",
        )

    def show(self, shown: Shown, chosen: int) -> gr.HTML:
        """All RCCs, with a representative image of each."""
        clusters = shown.clusters
        faces = [
            {
                "rcc": rcc,
                "caption": caption(shown, rcc),
                "loose": is_loose(clusters, rcc),
                "picture": _address(
                    picture_file(clusters.image_root / representative(clusters, rcc), 160, self._settings.root)
                ),
            }
            for rcc in shown.groups
        ]
        return gr.HTML(chosen, faces=faces, named=None)

    def choose(self, chosen: int) -> gr.HTML:
        """Another RCC at hand."""
        return gr.HTML(chosen)

    def rename(self, shown: Shown, *rccs: int) -> gr.HTML:
        """What is written below some RCCs; the others, and what is clicked meanwhile, stay as they are."""
        return gr.HTML(named=[{"rcc": rcc, "caption": caption(shown, rcc)} for rcc in rccs])


def caption(shown: Shown, rcc: int) -> str:
    """An RCC's number, name and verdict, how many images it has, and whether it is loose; plain text."""
    mark = f" {MARKS[shown.notes[rcc].verdict]}".rstrip() if rcc in shown.notes else ""
    rate = shown.rates.get(rcc)
    told = f" · {FAILS[rate.verdict]}" if rate and rate.verdict in FAILS else ""
    spot = shown.reasons.spot_of(shown.clusters, rcc)
    if spot is not None and not (rate and rate.verdict == "more"):
        told = f" · weak spot {spot + 1}"
    if is_loose(shown.clusters, rcc):
        told = f" · loose{told}"
    return f"{printable(title(rcc, shown.notes))} · {len(shown.clusters.members(rcc)):,}{mark}{told}"


def _address(path: str) -> str:
    return f"/gradio_api/file={quote(path)}"
