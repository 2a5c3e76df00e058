"""The report's sections of weak spots, and of what a fresh test set says."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from rccs.review.spot_notes import notes_elsewhere
from rccs.spots.weak_spots import levels_of
from reporting.markup import filled, warning
from reporting.material import Material

MOST_OVERLAPS = 5  # RCCs named with a weak spot


def weak_spots_section(known: Material) -> Markup:
    """A row for each weak spot with its rates and the engineer's judgement; or why there are none."""
    reasons = known.reasons
    if "reasons" in known.missing:
        return warning(known.missing["reasons"])
    if not reasons.base:
        return Markup(
            "<p>Not searched for: the network's answers to its whole test set are not known. <code>failures</code> "
            "writes them to <code>predictions.csv</code>.</p>"
        )
    levels = levels_of(reasons.spots) if reasons.spots else []
    return filled(
        "weak_spots.html", known=known, reasons=reasons, most_overlaps=MOST_OVERLAPS, whole="{:.0%}".format,
        spots=[(text, [{"index": i, "spot": reasons.spots[i]} for i in level]) for text, level in levels],
        elsewhere=notes_elsewhere(known.spot_notes, (spot.conditions for spot in reasons.spots)),
    )  # fmt: skip


def confirmation_section(known: Material) -> Markup:
    """What a fresh test set says of RCCs and weak spots."""
    if not known.confirmation:
        return Markup(
            "<p>RCCs and weak spots have not been asked of a fresh test set, which they were not found with. "
            "<code>confirm</code> does so.</p>"
        )
    return confirmation_html(known.confirmation, changed=known.review.last_number != known.confirmation["edits"])


def confirmation_html(found: Mapping[str, Any], *, changed: bool) -> Markup:
    """The facts of a confirmation (see `pipeline.confirmation`).

    Parameters
    ----------
    changed : bool
        RCCs were edited since.
    """
    return filled("confirmation.html", found=found, changed=changed)
