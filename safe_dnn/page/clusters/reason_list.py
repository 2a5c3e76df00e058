"""All reasons as cards (the paper's Figure 4), sorted and filtered, from which the selected one is chosen."""

from collections.abc import Mapping
from typing import Any

import gradio as gr
from markupsafe import Markup

from safe_dnn.analysis import Analysis
from safe_dnn.page.assets import scripted
from safe_dnn.page.messages import noticed
from safe_dnn.rccs.confidence import is_loose, representative
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.profiles import LEAST_BITS
from safe_dnn.rccs.review.journal import UNSAFE, VERDICTS, Note, title
from safe_dnn.rccs.review.review import notes_elsewhere
from safe_dnn.reasons.listed import LISTED, Reason, folded
from safe_dnn.report.markup import filled
from safe_dnn.support.text import count, printable


def lay_out_reasons() -> gr.HTML:
    """Lay out the cards, in a widget whose value is the key of the reason that is chosen: the number of an RCC, or the
    conditions of a weak spot.

    Not a gallery of Gradio's: that builds all of its pictures anew with every answer, also while one is being clicked,
    and sends which was clicked in the data of an event; Gradio repeats an older one where clicks come faster
    than answers. A value is read when the event is sent.
    """
    template = filled("page/clusters/reason_list.html", unsafe=UNSAFE)
    return scripted("clusters/reason_list", NOISE, html_template=template, cards="", notice="", elem_id="reason-list")


def show_reasons(state: Analysis, chosen: int | str) -> gr.HTML:
    """All reasons, and the one at hand."""
    reasons = state.reasons
    notes = [*(reasons.comparison.notes if reasons.comparison else ())]
    if elsewhere := notes_elsewhere(state.spot_notes, (spot.conditions for spot in reasons.spots)):
        notes.append(f"{count(elsewhere, 'note')} on other conditions will be shown when these are found again.")
    notice = noticed(looks_tell_nothing(state)) + noticed(" ".join(notes))
    return gr.HTML(chosen, cards=cards_of(state), notice=notice)


def cards_of(state: Analysis) -> Markup:
    """The cards of all reasons and, last, that of the images in no cluster, which are no reason."""
    folds = folded(state.listed)
    cards = [card(state, reason, folds) for reason in state.listed]
    if NOISE in state.clusters.groups:
        cards.append(noise_card(state))
    row_of = {path: row for row, path in enumerate(state.clusters.paths)}
    for one in cards:
        one["picture"] = f"image/{state.run}/{row_of[one['image']]}" if one["image"] else ""
    return filled("page/clusters/cards.html", cards=cards)


def card(state: Analysis, reason: Reason, folds: Mapping[str, str]) -> dict[str, Any]:
    """What the card of a reason says.

    Returns
    -------
    dict
        `key`; `rcc` (None if it is not one); `number`, the reason's name; `images`, how many, and `share` of all
        failing ones; `title`, its condition or, of an RCC alone, its name; `words`, what the images of such an RCC have
        in common; `facts`; `confusion`; `kind`; `fold`, what it is folded under (empty if it is not); `more`; `of`, its
        figures (None where unknown); `loose`; `image`, which represents it; `otherwise`, if its halves differ; and
        `note_fields`.
    """
    clusters, rcc, n = state.clusters, reason.rcc, len(reason.images)
    of = reason.figures if reason.figures and reason.figures.tested else None
    facts = [reason.facts] if of else [reason.facts, f"{n / len(clusters.paths):.0%}"]
    facts += [reason.inside] if reason.inside else []
    facts += reason.names[2:]  # the RCC that is about the same images
    other = reason.differing.get("verdict", "")
    return {
        "key": reason.key, "rcc": rcc,
        "number": reason.name, "images": n, "share": n / len(clusters.paths), "title": reason.where or reason.name,
        "words": "" if reason.where else words_of(state, rcc), "facts": " · ".join(facts),
        "confusion": "" if reason.where or rcc is None else clusters.confusion_of(rcc),
        "kind": reason.kind, "fold": folds.get(reason.name, ""), "more": reason.fails_more, "of": of,
        "loose": rcc is not None and is_loose(clusters, rcc), "image": _image_of(state, reason),
        "otherwise": f"{reason.names[-1]}: {other}" if other else "", **note_fields(reason.note),
    }  # fmt: skip


def _image_of(state: Analysis, reason: Reason) -> str:
    """Of an RCC alone the most typical image, unless another reason holds it as well."""
    typical = "" if reason.where or reason.rcc is None else representative(state.clusters, reason.rcc)
    images_of_others = (one.images for one in state.listed if one.kind == LISTED and one.name != reason.name)
    return reason.picture if not typical or any(typical in images for images in images_of_others) else typical


def looks_tell_nothing(state: Analysis) -> str:
    """A sentence where clusters say nothing about why images fail; otherwise empty."""
    explained = state.clusters.beyond_class
    return state.clusters.explained_text if explained and explained.is_nothing else ""


def noise_card(state: Analysis) -> dict[str, Any]:
    """That of the images in no cluster (see `card`)."""
    n, share = len(state.clusters.members(NOISE)), state.clusters.noise_share
    return {
        "key": NOISE, "rcc": NOISE, "number": title(NOISE), "images": n,
        "share": share, "title": title(NOISE), "facts": f"{count(n, 'image')} · {share:.0%}",
        "image": representative(state.clusters, NOISE), "more": False, "loose": False, "of": None, "fold": "",
        **note_fields(state.notes.get(NOISE, Note(NOISE))),
    }  # fmt: skip


def note_fields(note: Note) -> dict[str, str]:
    """What lists show of a note: `name` (may be empty), `verdict`, and `mark`, the same in words."""
    mark = f"{VERDICTS[note.verdict].mark} {note.verdict}".strip()
    return {"name": printable(note.name), "verdict": note.verdict, "mark": mark}


def named(state: Analysis, rcc: int) -> str:
    """An RCC by its number and, if it has one, its name."""
    return title(rcc, state.notes)


def words_of(state: Analysis, rcc: int | None) -> str:
    """What the images of an RCC have in common, a parameter or two measured attributes: no condition of failing."""
    profile = None if rcc is None else state.profiles.get(rcc)
    # Not what most other images have as well
    mentioned = [one for one in profile.mentioned if one.information >= LEAST_BITS] if profile else []
    # Several RCCs may be noisy, and one of them dark as well.
    words = mentioned if all(finding.measured for finding in mentioned) else mentioned[:1]
    return ", ".join(finding.short for finding in words)
