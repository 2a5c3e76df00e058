"""All RCCs as cards (the paper's Figure 4), sorted and filtered, from which the RCC at hand is chosen."""

import math
from typing import Any
from urllib.parse import quote

import gradio as gr

from safe_dnn.page.assets import scripted
from safe_dnn.page.pictures import picture_file
from safe_dnn.page.results import Shown
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.texts import as_news
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.rccs.confidence import confidence, is_loose
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.nearness import representative
from safe_dnn.rccs.profiles import LEAST_BITS
from safe_dnn.rccs.review.notes import UNSAFE, VERDICTS, Note, title
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

FIRST_PICTURES = 12  # hundreds would hold up the page for seconds when they are first drawn
MOST_AT_ONCE = 60  # pictures that the script asks for
FAILS = {"more": "fails more", "as often": "as others", "less": "fails less", "too few": "undecided"}


class CardsView:
    """Lay out the cards; their widget is `widget`, whose value is the RCC that is chosen.

    Not a gallery of Gradio's: that builds all of its pictures anew with every answer, also while one is being clicked,
    and tells which was clicked in the data of an event, of which Gradio repeats an older one where clicks come faster
    than answers. A value is read when the event is sent.
    """

    def __init__(self, settings: PageSettings):
        self._settings = settings

    def lay_out(self) -> None:
        def card_pictures(sent: list) -> dict[str, str]:
            """By RCC, for a list of RCCs and a run that a script has sent; without those that the run does not have."""
            try:
                rccs, run = sent
                shown = self._settings.results.shown(str(run))
                there = {int(rcc) for rcc in list(rccs)[:MOST_AT_ONCE]} & set(shown.clusters.groups)
                return {str(rcc): self._picture(shown, rcc) for rcc in there}
            except (SAFEError, TypeError, ValueError, OverflowError, KeyError):
                return {}

        self.widget = scripted(
            "clusters/cards", NOISE, html_template=filled("page/clusters/cards.html", unsafe=UNSAFE),
            serves={"card_pictures": card_pictures}, cards="", named="", elem_id="rcc-list",
        )  # fmt: skip

    def show(self, shown: Shown, chosen: int) -> gr.HTML:
        """All RCCs. Of those that are first in sight with a representative image; the script asks for the others."""
        cards = [
            {
                **card(shown, rcc),
                **judgement(shown, rcc),
                "place": place,
                "picture": self._picture(shown, rcc) if place < FIRST_PICTURES else "",
            }
            for place, rcc in enumerate(shown.groups)
        ]
        return gr.HTML(chosen, cards=as_news(shown.run, shown.at, cards), named="")

    def _picture(self, shown: Shown, rcc: int) -> str:
        """Address of an image that represents an RCC."""
        path = shown.clusters.image_root / representative(shown.clusters, rcc)
        return f"gradio_api/file={quote(picture_file(path, 160, self._settings.root))}"

    def rename(self, shown: Shown, *rccs: int) -> gr.HTML:
        """What the engineer says of some RCCs; all else, and what is clicked meanwhile, stays as it is."""
        return gr.HTML(named=as_news(shown.run, shown.at, [judgement(shown, rcc) for rcc in rccs]))


def card(shown: Shown, rcc: int) -> dict[str, Any]:
    """What the card of an RCC says, as plain text and numbers, but for what the engineer says (see `judgement`).

    Returns
    -------
    dict
        `rcc`; `number`; `images` and `share` (of all failing images); `words`, the first of what its images have in
        common; `confusion`; `fails` (as `FAILS`); `rate`, `low`, `high` and `elsewhere`, with which it was compared
        (None where unknown); `steady` (0 to 1, None where not measured), `loose`; `spot`, the weak spot that holds most
        of its images, 0 if there is none.
    """
    clusters = shown.clusters
    images = len(clusters.members(rcc))
    rate = shown.rates.get(rcc)
    rate = rate if rate and rate.tested else None  # nothing was compared
    spot = shown.spot_of.get(rcc)
    return {
        "rcc": rcc, "number": title(rcc), "spot": 0 if spot is None else spot + 1,
        "images": images, "share": images / len(clusters.paths), "size": count(images, "image"),
        "words": printable(words_of(shown, rcc)),
        "confusion": printable(clusters.confusion_of(rcc)),
        "fails": FAILS[rate.verdict] if rate else "", "more": rate is not None and rate.verdict == "more",
        **{name: getattr(rate, name) if rate else None for name in ("rate", "low", "high")},
        "elsewhere": rate.elsewhere if rate and not math.isnan(rate.elsewhere) else None,
        "steady": confidence(clusters, rcc), "loose": is_loose(clusters, rcc),
    }  # fmt: skip


def judgement(shown: Shown, rcc: int) -> dict[str, Any]:
    """What the engineer says of an RCC on its card: `rcc`, and what `said` gives."""
    return {"rcc": rcc, **said(shown.notes.get(rcc, Note(rcc)))}


def said(note: Note) -> dict[str, str]:
    """What lists show of a note: `name` (may be empty), `verdict`, and `mark`, the same in words."""
    mark = f"{VERDICTS[note.verdict].mark} {note.verdict}".strip()
    return {"name": printable(note.name), "verdict": note.verdict, "mark": mark}


def named(shown: Shown, rcc: int) -> str:
    """An RCC by its name or, without one, with what its card says it is."""
    words = "" if rcc in shown.notes and shown.notes[rcc].name else words_of(shown, rcc)
    return " · ".join(filter(None, [title(rcc, shown.notes), printable(words)]))


def words_of(shown: Shown, rcc: int) -> str:
    """The weak spot that nearly all images of an RCC alone lie in, or what says most: a parameter, or two words."""
    spot, profile = shown.spot_of.get(rcc), shown.profiles.get(rcc)
    # Not what most other images have as well
    mentioned = [one for one in profile.mentioned if one.information >= LEAST_BITS] if profile else []
    if spot is not None and (not mentioned or [*shown.spot_of.values()].count(spot) == 1):
        return shown.reasons.spots[spot].where
    # Several RCCs may be noisy, and one of them dark as well.
    words = mentioned if all(finding.measured for finding in mentioned) else mentioned[:1]
    return ", ".join(finding.short for finding in words)
