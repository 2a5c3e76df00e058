"""Why a network fails, before its failures are grouped: its reasons as cards, the curve of each, and their images."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.page.grid_view import Listed, beside
from safe_dnn.page.pictures import data_uri
from safe_dnn.pipeline.explaining import Under, failure_reasons, images_under
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.pipeline.reporting.rate_curves import curves_of
from safe_dnn.rccs.review.review import folder_tested, notes_of_run
from safe_dnn.reasons.comparison import Reasons
from safe_dnn.reasons.listed import LISTED, Reason, baseline, folded, sentence, ungrouped, with_notes
from safe_dnn.support.text import printable

CURVE = 860  # width of a curve, in pixels, at most


class Ungrouped(NamedTuple):
    """The reasons of collected failures, in the order of the list.

    Attributes
    ----------
    listed : list of Reason
    under : Under
    notes : tuple of str
        Sentences on what could not be used.
    """

    listed: list[Reason]
    under: Under
    notes: tuple[str, ...]


def ungrouped_reasons(answered: AnsweredImages, out: Path) -> Ungrouped | None:
    """The reasons that were found in an output folder, with their notes; None if there are none."""
    searched, under = failure_reasons(out), images_under(out)
    if searched is None:
        return None
    wrong = {path for path, right in zip(answered.paths, answered.right.tolist(), strict=True) if not right}
    spots = searched.spots or ()
    failing = [[image for image in under.images.get(spot.conditions, ()) if image in wrong] for spot in spots]
    listed = with_notes(ungrouped(spots, failing), {}, notes_of_run(out, spots), folder_tested(out))
    return Ungrouped(listed, under, searched.notes)


def cards_of(answered: AnsweredImages, known: Ungrouped) -> Markup:
    """The headline, a card for each reason, and the curve of each."""
    listed, under, base = known.listed, known.under, 1 - answered.accuracy
    folds, curves, cards = folded(listed), Reasons(base=base, curves=under.curves), list[dict[str, Any]]()
    for at, reason in enumerate(listed):
        picture = data_uri(answered.root / reason.picture, 128) if reason.picture else ""
        drawn = curves_of(curves, [reason.spot], width=CURVE) if reason.spot else {}
        curve, fold = next(iter(drawn.values()), ""), folds.get(reason.name, "")
        title = printable(reason.title)
        cards.append({"at": at, "reason": reason, "title": title, "picture": picture, "curve": curve, "fold": fold})
    certain = (under.images.get(one.subject, ()) for one in listed if one.kind == LISTED)
    rest = ~np.isin(answered.paths, [*{image for images in certain for image in images}])
    where_none = (int((rest & ~answered.right).sum()), int(rest.sum())) if under.images else (0, 0)
    return filled(
        "page/failures/reason_cards.html", cards=cards, notes=known.notes, story=sentence(listed, base),
        baseline=baseline(listed, base, len(answered.paths), where_none),
    )  # fmt: skip


def images_with(answered: AnsweredImages, reason: Reason, images: Iterable[str]) -> Listed:
    """The tested images of a reason: on each page right ones beside wrong ones, the surest answers first."""
    answers, rows = answered.answers, np.flatnonzero(np.isin(answered.paths, [*images]))
    rows = rows[np.lexsort((rows, -np.nan_to_num(answers.score[rows], nan=-1.0)))]
    wrong, right = (rows[of].tolist() for of in (~answered.right[rows], answered.right[rows]))
    ordered = beside(wrong, right)

    def caption(place: int) -> str:
        return answers.text(ordered[place]).removesuffix(" (100%)")

    return Listed(
        f"{printable(reason.title)}: {len(wrong):,} wrong, {len(right):,} right", answered.root,
        [answered.paths[row] for row in ordered], caption, wrong=[not answered.right[row] for row in ordered],
    )  # fmt: skip
