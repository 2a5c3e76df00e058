"""All reasons as cards (the paper's Figure 4), sorted and filtered, from which the selected one is chosen."""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import gradio as gr

from safe_dnn.page.assets import scripted
from safe_dnn.page.pictures import picture_file
from safe_dnn.page.results import AnalysisState
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.texts import as_news
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.rccs.confidence import is_loose, representative
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.profiles import LEAST_BITS
from safe_dnn.rccs.review.notes import UNSAFE, VERDICTS, Note, title
from safe_dnn.rccs.review.review import notes_elsewhere
from safe_dnn.reasons.listed import LISTED, Reason, folded
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

FIRST_PICTURES = 12  # hundreds would hold up the page for seconds when they are first drawn
MOST_AT_ONCE = 60  # pictures that the script asks for


class ReasonList:
    """Lay out the cards; their widget is `widget`, whose value is the key of the reason that is chosen: the number of
    an RCC, or the conditions of a weak spot.

    Not a gallery of Gradio's: that builds all of its pictures anew with every answer, also while one is being clicked,
    and sends which was clicked in the data of an event; Gradio repeats an older one where clicks come faster
    than answers. A value is read when the event is sent.
    """

    def __init__(self, settings: PageSettings):
        self._settings = settings

    def lay_out(self) -> None:
        def card_pictures(sent: list) -> dict[str, str]:
            """By key, for a list of keys and a run that a script has sent; without those that the run does not have."""
            try:
                keys, run = sent
                state = self._settings.results.state(str(run))
                wanted = {str(key) for key in list(keys)[:MOST_AT_ONCE]}
                asked = {str(entry_key(one)): one for one in state.listed if str(entry_key(one)) in wanted}
                images = {key: _image_of(state, one) for key, one in asked.items()}
                if str(NOISE) in wanted and NOISE in state.clusters.groups:
                    images[str(NOISE)] = representative(state.clusters, NOISE)
                return {key: self._picture(state, image) for key, image in images.items() if image}
            except (SAFEError, TypeError, ValueError, OverflowError, KeyError):
                return {}

        self.widget = scripted(
            "clusters/reason_list", NOISE,
            html_template=filled("page/clusters/reason_list.html", unsafe=UNSAFE),
            serves={"card_pictures": card_pictures}, cards="", named="", told="", more="", elem_id="reason-list",
        )  # fmt: skip

    def show(self, state: AnalysisState, chosen: int | str) -> dict:
        """All reasons. Of those that are first in sight with an image; the script asks for the others."""
        folds = folded(state.listed)
        cards = [card(state, reason, folds) | judgement(reason) for reason in state.listed]
        if NOISE in state.clusters.groups:
            cards.append(noise_card(state))
        for place, entry in enumerate(cards):
            image = entry.pop("image")
            picture = self._picture(state, image) if place < FIRST_PICTURES and image else ""
            entry |= {"place": place, "picture": picture}
        reasons = state.reasons
        more = [*(reasons.comparison.notes if reasons.comparison else ())]
        if elsewhere := notes_elsewhere(state.spot_notes, (spot.conditions for spot in reasons.spots)):
            more.append(f"{count(elsewhere, 'note')} on other conditions will be shown when these are found again.")
        return {
            self.widget: gr.HTML(
                chosen, cards=as_news(state.run, cards), named="", more=" ".join(more),
                told=looks_tell_nothing(state),
            )
        }  # fmt: skip

    def _picture(self, state: AnalysisState, image: str) -> str:
        """Address of an image that represents a reason."""
        path = state.clusters.image_root / image
        return f"gradio_api/file={quote(picture_file(path, 160))}"

    def rename(self, state: AnalysisState) -> gr.HTML:
        """The notes on all reasons; all else, and what is clicked meanwhile, stays as it is."""
        news = [judgement(reason) for reason in state.listed]
        if NOISE in state.clusters.groups:
            news.append({"key": NOISE, **note_fields(state.notes.get(NOISE, Note(NOISE)))})
        return gr.HTML(named=as_news(state.run, news))


def entry_key(reason: Reason) -> int | str:
    """By which the page knows a reason."""
    return reason.subject if reason.spot or reason.rcc is None else reason.rcc


def card(state: AnalysisState, reason: Reason, folds: Mapping[str, str]) -> dict[str, Any]:
    """What the card of a reason says, as plain text and numbers, but for what the engineer says (see `judgement`).

    Returns
    -------
    dict
        `key`; `rcc` (None if it is not one); `number`, its name; `images`, `size` and `share` (of all failing images);
        `title`, its condition or, of an RCC alone, its name; `words`, what the images of such an RCC have in common;
        `facts`; `confusion`; `kind`; `fold`, what it is folded under (empty if it is not); `more`; `rate`, `low`,
        `high` and `other`, that with which it is compared (None where unknown); `loose`; `image`, which represents it.
    """
    clusters, spot, rcc = state.clusters, reason.spot, reason.rcc
    n = len(reason.images)
    of = reason.figures if reason.figures and reason.figures.tested else None
    facts = [reason.facts] if of else [reason.facts, f"{n / len(clusters.paths):.0%}"]
    facts += [reason.inside] if reason.inside else []
    facts += [f"RCC {rcc}"] if rcc is not None and spot else []
    return {
        "key": entry_key(reason), "rcc": rcc, "number": reason.name, "images": n, "size": count(n, "image"),
        "share": n / len(clusters.paths), "title": printable(reason.where or reason.name),
        "words": "" if spot else printable(words_of(state, rcc)), "facts": " · ".join(facts),
        "confusion": printable(clusters.confusion_of(rcc)) if rcc is not None and not spot else "",
        "kind": reason.kind, "fold": folds.get(reason.name, ""), "more": reason.fails_more,
        "rate": of and of.rate, "low": of and of.low, "high": of and of.high,
        "other": None if of is None or math.isnan(of.like) else of.like,
        "loose": rcc is not None and is_loose(clusters, rcc), "image": _image_of(state, reason),
    }  # fmt: skip


def _image_of(state: AnalysisState, reason: Reason) -> str:
    """Of an RCC alone the most typical image, unless another reason holds it as well."""
    typical = representative(state.clusters, reason.rcc) if reason.spot is None and reason.rcc is not None else ""
    images_of_others = (one.images for one in state.listed if one.kind == LISTED and one.name != reason.name)
    return reason.picture if not typical or any(typical in images for images in images_of_others) else typical


def looks_tell_nothing(state: AnalysisState) -> str:
    """A sentence where clusters say nothing about why images fail; otherwise empty."""
    explained = state.clusters.beyond_class
    return explained.text if explained and explained.is_nothing else ""


def noise_card(state: AnalysisState) -> dict[str, Any]:
    """That of the images in no cluster, which are no reason."""
    n, share = len(state.clusters.members(NOISE)), state.clusters.noise_share
    blank = dict.fromkeys(("rate", "low", "high", "other"))
    return {
        "key": NOISE, "rcc": NOISE, "number": title(NOISE), "images": n, "size": count(n, "image"), "share": share,
        "title": title(NOISE), "words": "", "facts": f"{count(n, 'image')} · {share:.0%}", "confusion": "", "kind": "",
        "fold": "", "more": False, "loose": False, "image": representative(state.clusters, NOISE), **blank,
        **note_fields(state.notes.get(NOISE, Note(NOISE))),
    }  # fmt: skip


def judgement(reason: Reason) -> dict[str, Any]:
    """The note on a reason for its card: `key`, its `note_fields`, `otherwise` if its halves differ."""
    other = reason.differing.get("verdict", "")
    otherwise = f"RCC {reason.rcc}: {other}" if other else ""
    return {"key": entry_key(reason), **note_fields(reason.note), "otherwise": otherwise}


def note_fields(note: Note) -> dict[str, str]:
    """What lists show of a note: `name` (may be empty), `verdict`, and `mark`, the same in words."""
    mark = f"{VERDICTS[note.verdict].mark} {note.verdict}".strip()
    return {"name": printable(note.name), "verdict": note.verdict, "mark": mark}


def named(state: AnalysisState, rcc: int) -> str:
    """An RCC by its number and, if it has one, its name."""
    return title(rcc, state.notes)


def words_of(state: AnalysisState, rcc: int | None) -> str:
    """What the images of an RCC have in common, a parameter or two measured attributes: no condition of failing."""
    profile = None if rcc is None else state.profiles.get(rcc)
    # Not what most other images have as well
    mentioned = [one for one in profile.mentioned if one.information >= LEAST_BITS] if profile else []
    # Several RCCs may be noisy, and one of them dark as well.
    words = mentioned if all(finding.measured for finding in mentioned) else mentioned[:1]
    return ", ".join(finding.short for finding in words)
