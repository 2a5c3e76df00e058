"""The report's sections of weak spots, and of what a fresh test set says."""

import itertools
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipeline.reporting.markup import filled, picture_uri
from pipeline.reporting.material import Material
from pipeline.reporting.probes import probes_html
from rccs.review.review import notes_elsewhere
from rccs.spots.weak_spots import levels_of

SMALL = (96, 70)  # pixels and quality of pictures in a row
MOST_OVERLAPS = 5  # RCCs named with a weak spot


def weak_spots_section(known: Material) -> Markup:
    """A row for each weak spot with its rates and the engineer's judgement; or why there are none."""
    reasons = known.reasons
    return filled(
        "weak_spots.html", known=known, reasons=reasons, most_overlaps=MOST_OVERLAPS,
        row=_in_a_row(known), probes=_probes(known), levels=levels_of(reasons.spots),
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
    told, paths = known.reasons.in_a_row(known.clusters) or ("", [])
    pictures = {path: picture_uri(known.clusters.image_root / path, *SMALL) for path in paths}
    return row_html(told, pictures) if told else Markup()


def confirmation_html(found: Mapping[str, Any], *, changed: bool) -> Markup:
    """The facts of a confirmation (see `pipeline.confirmation`); without any, that no fresh test set was asked.

    Parameters
    ----------
    changed : bool
        RCCs were edited since.
    """
    return filled("confirmation.html", found=found, changed=changed)
