"""All RCCs as cards (the paper's Figure 4), sorted and filtered, from which the RCC at hand is chosen."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from dbscan.outcome import NOISE
from page.jobs import PageSettings
from page.pictures import picture_file
from page.results import Shown
from page.texts import as_text
from rccs.answers import commonest_confusion
from rccs.confidence import confidence, is_loose
from rccs.nearness import representative
from rccs.notes import RccNote, title
from support.text import count, printable

HERE = Path(__file__).parent
MARKS = {"safe": "✓", "unsafe": "⚠", "unclear": "?", "": ""}
FAILS = {
    "more": "fails more",
    "as often": "as others",
    "less": "fails less",
    "too few": "too few tested",
}


class CardsView:
    """Lay out the cards; their widget is `widget`, whose value is the RCC that is chosen.

    Not a gallery of Gradio's: that builds all of its pictures anew with every answer, also while one is being clicked,
    and tells which was clicked in the data of an event, of which Gradio repeats an older one where clicks come faster
    than answers. A value is read when the event is sent.
    """

    def __init__(self, settings: PageSettings):
        self._settings = settings

    def lay_out(self) -> None:
        self.widget = gr.HTML(
            NOISE,
            html_template=HERE.joinpath("cards.html").read_text(encoding="utf-8"),
            js_on_load=list_script("cards.js"),
            cards="",
            named="",
            elem_id="rcc-list",
        )

    def show(self, shown: Shown, chosen: int) -> gr.HTML:
        """All RCCs, with a representative image of each."""
        clusters, root = shown.clusters, self._settings.root
        cards = [
            {
                **card(shown, rcc),
                "place": place,
                "picture": _address(picture_file(clusters.image_root / representative(clusters, rcc), 160, root)),
            }
            for place, rcc in enumerate(shown.groups)
        ]
        return gr.HTML(chosen, cards=as_text(cards), named="")

    def choose(self, chosen: int) -> gr.HTML:
        """Another RCC at hand."""
        return gr.HTML(chosen)

    def rename(self, shown: Shown, *rccs: int) -> gr.HTML:
        """What the cards of some RCCs say; the others, and what is clicked meanwhile, stay as they are."""
        return gr.HTML(named=as_text([card(shown, rcc) for rcc in rccs]))


def list_script(name: str) -> str:
    """The script of a list of reasons, behind the parts that such lists share."""
    return "".join(HERE.joinpath("scripts", part).read_text(encoding="utf-8") for part in ("parts.js", name))


def card(shown: Shown, rcc: int) -> dict[str, Any]:
    """What the card of an RCC says, as plain text and numbers.

    Returns
    -------
    dict
        `rcc`; `number` and `name` (the engineer's, or empty); `images` and `share` (of all failing images); `words`,
        the first of what its images have in common; `confusion`; `verdict` (the engineer's), `fails` (as `FAILS`);
        `rate`, `low`, `high` (None where not compared) and `base`; `steady` (0 to 1, None where not measured), `loose`;
        `spot`, the weak spot that holds most of its images, 0 if there is none.
    """
    clusters = shown.clusters
    note = shown.notes.get(rcc, RccNote(rcc))
    images = len(clusters.members(rcc))
    rate = shown.rates.get(rcc)
    rate = rate if rate and rate.tested else None  # nothing was compared
    spot = shown.reasons.spot_of(clusters, rcc)
    return {
        "rcc": rcc,
        "number": title(rcc),
        "name": printable(note.name),
        "images": images,
        "share": images / len(clusters.paths),
        "size": count(images, "image"),
        "words": printable(_words(shown, rcc, spot)),
        "confusion": printable(commonest_confusion(clusters.answers_of(rcc))),
        "verdict": note.verdict,
        "mark": f"{MARKS[note.verdict]} {note.verdict}".strip(),
        "fails": FAILS[rate.verdict] if rate else "",
        "more": rate is not None and rate.verdict == "more",
        "rate": rate.rate if rate else None,
        "low": rate.low if rate else None,
        "high": rate.high if rate else None,
        "base": shown.reasons.base,
        "steady": confidence(clusters, rcc),
        "loose": is_loose(clusters, rcc),
        "spot": 0 if spot is None else spot + 1,
    }


def _words(shown: Shown, rcc: int, spot: int | None) -> str:
    """The weak spot that nearly all images of an RCC lie in, or the finding that says most about them."""
    if spot is not None:
        return shown.reasons.spots[spot].where
    profile = shown.profiles.get(rcc)
    return profile.mentioned[0].short if profile and profile.mentioned else ""


def _address(path: str) -> str:
    return f"gradio_api/file={quote(path)}"
