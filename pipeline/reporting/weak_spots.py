"""The report's sections of weak spots, and of what a fresh test set says."""

import itertools
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipeline.reporting.markup import filled, picture_uri, warning
from pipeline.reporting.material import Material
from pipeline.reporting.probes import probes_html
from rccs.review.review import notes_elsewhere
from rccs.spots.weak_spots import levels_of

SMALL = (96, 70)  # pixels and quality of pictures in a row
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
        row=_in_a_row(known), probes=_probes(known),
        spots=[(text, [{"index": i, "spot": reasons.spots[i]} for i in level]) for text, level in levels],
        elsewhere=notes_elsewhere(known.spot_notes, (spot.conditions for spot in reasons.spots)),
    )  # fmt: skip


def _probes(known: Material) -> list[tuple[str, Markup]]:
    """What probes say of the weak spots and RCCs that are there, with their names."""
    names = {spot.conditions: spot.where for spot in known.reasons.spots}
    names |= {subject: known.title(rcc) for rcc, subject in known.review.subjects.items()}
    by_subject = itertools.groupby(known.probes, lambda probe: probe.subject)
    return [(names[subject], probes_html(list(own))) for subject, own in by_subject if subject in names]


def row_html(told: str, pictures: Mapping[str, str]) -> Markup:
    """Failing images in a row (see `reasons.comparison.Reasons.in_a_row`), each path with its picture's address."""
    return filled("in_a_row.html", told=told, pictures=pictures)


def _in_a_row(known: Material) -> Markup:
    row = known.reasons.in_a_row(known.clusters)
    if row is None:
        return Markup()
    told, paths = row
    return row_html(told, {path: picture_uri(known.clusters.image_root / path, *SMALL) for path in paths})


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
