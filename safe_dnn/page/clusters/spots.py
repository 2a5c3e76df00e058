"""Weak spots: conditions in words under which the network fails more often, with their images and the notes on them."""

import gradio as gr
from markupsafe import Markup

from safe_dnn.page.assets import scripted
from safe_dnn.page.clusters.asked import LooksView, ProbeView
from safe_dnn.page.clusters.note import NoteView, OnWeakSpots, named_spots, spot_judgement
from safe_dnn.page.clusters.rcc import lay_out_player, show_gif
from safe_dnn.page.messages import pane, put_away, reveal
from safe_dnn.page.pictures import data_uri
from safe_dnn.page.results import Shown
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.texts import as_news
from safe_dnn.pipeline.reporting.markup import escaped, filled
from safe_dnn.pipeline.reporting.sections import row_html
from safe_dnn.rccs.gifs import spot_gif_path
from safe_dnn.rccs.review.notes import title
from safe_dnn.rccs.review.review import notes_elsewhere
from safe_dnn.rccs.spots.weak_spots import WeakSpot, levels_of
from safe_dnn.support.text import count, printable

MOST_OVERLAPS = 3  # RCCs named with a weak spot


class SpotsView:
    """Lay out the list and, elsewhere, the one at hand; `outputs` are the widgets, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings

    def lay_out_list(self) -> None:
        """All weak spots, to choose from."""
        with pane("spots-pane") as self.pane:
            gr.HTML(
                "<div class='safe-list-head'><h3 title='Conditions on class, parameters and measured properties of the "
                "test images, found in comparison with the images that the network gets right'>Weak spots</h3></div>"
            )
            self.widget = scripted(
                "clusters/spots", "", spots="", base=0.0, told="", more="", named="", stays=False, elem_id="spots"
            )
            self.row = gr.HTML(elem_id="in-a-row")

    def lay_out_one(self) -> None:
        """The GIF of the weak spot at hand, and the engineer's note on it."""
        with gr.Column(elem_id="spot-words"):
            with gr.Column(elem_classes="safe-above"):
                self.player = lay_out_player("spot-gif")
                self.looks = LooksView(self._settings, "spot-look")
                self.probes = ProbeView(self._settings, "probe-spot")
                self.heading = gr.HTML(elem_id="spot-heading")
            self.asked = self.looks, self.probes
            with pane("spot-note-pane") as self.note_pane:
                self.note_view = NoteView(self._settings, OnWeakSpots(self._settings))

    @property
    def outputs(self) -> list:
        gif, heading = (self.player, *self.looks.outputs), (self.heading, *self.probes.outputs)
        return [self.pane, *gif, self.widget, self.row, *heading, self.note_pane, self.note_view.widget]

    def show(self, shown: Shown, chosen: object = None) -> dict:
        """All weak spots, one with its GIF and note; nothing where the network's right images are not known.

        Parameters
        ----------
        chosen : str, optional
            The conditions of the one at hand, which stays if it is found again; otherwise the first. It comes from a
            browser, and may be older than a click that is on its way (see spots.js).
        """
        reasons = shown.reasons
        if not reasons.spots and not reasons.base:
            return {self.pane: put_away(), self.widget: gr.HTML("", spots="", stays=False)}
        stays = rank_of(chosen, shown) > 0
        rank = rank_of(chosen, shown) or min(1, len(reasons.spots))
        told = "None: no condition on what is known of the images stands out beyond chance."
        if reasons.spots:
            told = f"{reasons.base:.1%} of all test images are wrong: the upright line."
        notes = reasons.comparison.notes if reasons.comparison else ()
        more = [*notes, reasons.unexplained(shown.clusters)]
        if elsewhere := notes_elsewhere(shown.spot_notes, (spot.conditions for spot in reasons.spots)):
            kept = f"{count(elsewhere, 'note')} on other conditions"
            more.append(f"{kept} will be shown when these are found again.")
        titles = {level[0] + 1: text for text, level in levels_of(reasons.spots)}
        spots = [
            {
                "title": titles.get(place, ""), "rank": place, "key": spot.conditions,
                "said": spot_judgement(shown, spot.conditions), "where": printable(spot.where), "rate": spot.rate,
                "low": spot.interval[0], "high": spot.interval[1], "figures": _figures(spot),
                "overlaps": _overlaps(shown, place),
            }
            for place, spot in enumerate(reasons.spots, start=1)
        ]  # fmt: skip
        return {
            self.pane: reveal(),
            self.widget: gr.HTML(
                reasons.spots[rank - 1].conditions if rank else "", spots=as_news(shown.run, shown.at, spots),
                base=reasons.base, told=told, more=" ".join(filter(None, more)), named="", stays=stays,
            ),
            self.row: self._in_a_row(shown),
            self.note_pane: reveal() if rank else put_away(),
            **self.show_one(shown, rank, forced=not stays),
        }  # fmt: skip

    def _in_a_row(self, shown: Shown) -> str:
        row = shown.reasons.in_a_row(shown.clusters)
        if row is None:
            return ""
        told, paths = row
        root = shown.clusters.image_root
        return row_html(told, {path: data_uri(root / path, 96, self._settings.root) for path in paths})

    def show_one(self, shown: Shown, rank: int, forced: bool = True) -> dict:
        """A weak spot's GIF and note (see `NoteView.show`)."""
        subject = shown.reasons.spots[rank - 1].conditions if rank else ""
        paths = failing_in(shown, rank)
        asked = {**self.looks.show(shown, subject if paths else ""), **self.probes.show(shown, subject)}
        note = self._show_note(shown, rank, forced) if rank else {}
        heading = _heading(shown, rank) if rank else ""
        gif = spot_gif_path(self._settings.out, rank)
        player = show_gif(gif, f"Weak spot {rank}", len(paths) if gif.is_file() else 0)
        return {self.player: player, **asked, self.heading: heading, **note}

    def show_notes(self, shown: Shown, chosen: object) -> dict:
        """What was said meanwhile, in this window or another; the one at hand, by its conditions, stays."""
        rank = rank_of(chosen, shown)
        if not rank:
            return {}
        named = as_news(shown.run, shown.at, named_spots(shown))
        return {self.widget: gr.HTML(named=named), **self._show_note(shown, rank, forced=False)}

    def _show_note(self, shown: Shown, rank: int, forced: bool) -> dict:
        return {self.note_view.widget: self.note_view.show(shown, shown.reasons.spots[rank - 1].conditions, forced)}


def failing_in(shown: Shown, rank: int) -> list[str]:
    """The failing images in a weak spot; none if there is no such."""
    rows = shown.reasons.images[rank - 1].tolist() if 0 < rank <= len(shown.reasons.images) else []
    return [shown.clusters.paths[row] for row in rows]


def rank_of(conditions: object, shown: Shown) -> int:
    """The rank of the weak spot that a browser has named by its conditions; 0 if there is none."""
    ranks = (rank for rank, spot in enumerate(shown.reasons.spots, start=1) if spot.conditions == conditions)
    return next(ranks, 0)


def _figures(spot: WeakSpot, of_groups: str = "") -> str:
    return f"{spot.wrong:,} of {count(spot.tested, 'test image')}{of_groups} are wrong {spot.rates}"


def _heading(shown: Shown, rank: int) -> str:
    """The weak spot at hand: its condition, its rate and the RCCs that it overlaps with."""
    spot = shown.reasons.spots[rank - 1]
    values = {"spot": spot, "rank": rank, "figures": _figures(spot, spot.of_groups), "overlaps": _overlaps(shown, rank)}
    return filled("page/clusters/spot_heading.html", **values)


def _overlaps(shown: Shown, rank: int) -> Markup:
    """The RCCs that have failing images in common with a weak spot, as HTML; their names are kept up in cards.js."""
    found = shown.reasons.overlaps(shown.clusters, rank - 1)
    named = [
        f"{n:,} in <span class='safe-rcc-name' data-key='{rcc}'>{escaped(title(rcc, shown.notes))}</span>"
        for rcc, n in found[:MOST_OVERLAPS]
    ]
    more = len(found) - MOST_OVERLAPS
    return Markup(", ".join(named) + (f", others in {count(more, 'RCC')}" if more > 0 else ""))
