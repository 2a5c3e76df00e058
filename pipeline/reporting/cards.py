"""The report's cards: each RCC with five of its images, and the images in no cluster."""

from markupsafe import Markup

from pipeline.reporting.markup import filled
from pipeline.reporting.material import LOOSE, Material, carded
from rccs.answers import commonest_confusion
from rccs.clusters import rccs_of
from rccs.confidence import confidence_text, is_loose, near_text, no_steady_groups, no_steady_groups_text
from rccs.dbscan.outcome import NOISE
from rccs.nearness import nearest_rccs, rcc_centres


def rccs_section(known: Material) -> Markup:
    """A card for each RCC that there is room for."""
    rccs = carded(known.clusters, known.rates)
    if not rccs:
        none = no_steady_groups_text(known.clusters) or "There are none: all failing images are in no cluster."
        return Markup("<p>{}</p>").format(none)
    return filled(
        "rccs.html", known=known, rccs=rccs, rest=len(rccs_of(known.clusters)) - len(rccs), loose=LOOSE,
        centres=rcc_centres(known.clusters), selected=known.selected, row_of=_row_of(known), is_loose=is_loose,
        common_confusion=commonest_confusion, confidence_text=confidence_text, near_text=near_text,
        nearest_rccs=nearest_rccs,
    )  # fmt: skip


def noise_section(known: Material) -> Markup:
    """The images in no cluster, and why they are in none."""
    size = len(known.clusters.members(NOISE))
    if not size:
        return Markup("<p>Every failing image is in an RCC.</p>")
    near, steady = confidence_text(known.clusters, NOISE), not no_steady_groups(known.clusters)
    return filled("noise.html", known=known, size=size, near=near, steady=steady, row_of=_row_of(known))


def _row_of(known: Material) -> dict[str, int]:
    return {path: row for row, path in enumerate(known.clusters.paths)}
