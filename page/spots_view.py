"""Weak spots: conditions in words under which the network fails more often, each with its images as a GIF."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from page.jobs import PageSettings, pane, put_away, reveal
from page.rcc_view import PLAYER_HTML, PLAYER_JS
from page.results import Shown
from rccs.gifs import spot_gif_path
from rccs.notes import title
from rccs.weak_spots import WeakSpot
from support.text import count, printable

HERE = Path(__file__).parent
MOST_OVERLAPS = 3  # RCCs named with a weak spot


class SpotsView:
    """Lay out the pane; `outputs` are its widgets, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with pane("spots-pane") as self.pane:
            gr.HTML(
                "<h3 class='safe-title' title='Conditions on class, parameters and measured properties of the test "
                "images, found in comparison with the images that the network gets right'>Weak spots: where the "
                "network fails more often than elsewhere</h3>"
            )
            with gr.Row(equal_height=True):
                with gr.Column(scale=2, min_width=320):
                    self.player = gr.HTML(
                        html_template=PLAYER_HTML, js_on_load=PLAYER_JS, source="", name="", count=0, elem_id="spot-gif"
                    )
                with gr.Column(scale=3, min_width=380):
                    self.widget = gr.HTML(
                        0,
                        html_template=HERE.joinpath("spots.html").read_text(encoding="utf-8"),
                        js_on_load=HERE.joinpath("scripts", "spots.js").read_text(encoding="utf-8"),
                        spots=[],
                        base=0.0,
                        told="",
                        elem_id="spots",
                    )
        self.outputs = [self.pane, self.player, self.widget]

    def show(self, shown: Shown) -> dict:
        """All weak spots, the first with its GIF; nothing where the network's right images are not known."""
        reasons = shown.reasons
        if not reasons.spots and not reasons.base:
            return {self.pane: put_away(), self.widget: gr.HTML(0, spots=[])}
        told = (
            f"{reasons.base:.1%} of all test images are wrong: the dark line. The bar is the rate under the condition, "
            "the thin one its 95% interval. Click one to see its images."
            if reasons.spots
            else "None: no condition on what is known of the images stands out beyond chance."
        )
        return {
            self.pane: reveal(),
            self.widget: gr.HTML(
                1 if reasons.spots else 0,
                spots=[
                    {
                        "rank": rank,
                        "where": printable(spot.where),
                        "rate": spot.rate,
                        "low": spot.low,
                        "high": spot.high,
                        "figures": _figures(spot),
                        "overlaps": _overlaps(shown, rank),
                    }
                    for rank, spot in enumerate(reasons.spots, start=1)
                ],
                base=reasons.base,
                told=told,
            ),
            **self.show_gif(shown, 1),
        }

    def show_gif(self, shown: Shown, rank: int) -> dict:
        """The GIF of a weak spot."""
        path = spot_gif_path(self._settings.out, rank)
        rows: Sequence[int] = shown.reasons.images[rank - 1].tolist() if rank <= len(shown.reasons.images) else []
        there = bool(rows) and path.is_file()
        return {
            self.player: gr.HTML(
                source=f"/gradio_api/file={quote(str(path))}?v={path.stat().st_mtime_ns}" if there else "",
                name=f"Weak spot {rank}",
                count=len(rows) if there else 0,
            )
        }


def _figures(spot: WeakSpot) -> str:
    return (
        f"{spot.wrong:,} of {count(spot.tested, 'test image')} are wrong: {spot.rate:.0%} "
        f"({100 * spot.low:.0f}–{spot.high:.0%}), elsewhere {spot.elsewhere:.0%}"
    )


def _overlaps(shown: Shown, rank: int) -> str:
    """The RCCs that have failing images in common with a weak spot."""
    found = shown.reasons.overlaps(shown.clusters, rank - 1)
    if not found:
        return ""
    named = [f"{n:,} in {printable(title(rcc, shown.notes))}" for rcc, n in found[:MOST_OVERLAPS]]
    more = len(found) - MOST_OVERLAPS
    return ", ".join(named) + (f", others in {count(more, 'RCC')}" if more > 0 else "")
