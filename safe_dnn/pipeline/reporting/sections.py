"""The report's sections, and their order.

The first page says what fails and how often, what was done, what is open, and has lines to sign on.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from safe_dnn.pipeline.reporting.heatmap_panels import heatmaps_section
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.pipeline.reporting.material import LOOSE, Material, carded
from safe_dnn.pipeline.reporting.rate_curves import curves_of
from safe_dnn.pipeline.reporting.retraining_section import retraining_section
from safe_dnn.rccs.clusters import RootCauseClusters, headline, rccs_of
from safe_dnn.rccs.confidence import no_steady_groups_text
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.image_map import load_map, plane_points
from safe_dnn.rccs.nearness import rcc_centres
from safe_dnn.rccs.review.notes import REGISTER, UNSAFE
from safe_dnn.rccs.review.review import notes_elsewhere
from safe_dnn.rccs.spots.rates import by_excess
from safe_dnn.rccs.spots.weak_spots import levels_of
from safe_dnn.reasons.probes import Probe
from safe_dnn.reasons.register import Entry
from safe_dnn.reasons.story import sentence
from safe_dnn.support.text import count, some
from safe_dnn.training.result import Retraining, claim_text

MOST_MAPPED = 4000  # points on the map
MOST_NUMBERED = 20  # RCCs on the map
# Distinguishable with colour blindness as well (Okabe and Ito, 2008); the last four are darker.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000", "#5b3f8c", "#005f4b", "#a33b20")
NOISE_COLOUR = "#8a94a0"
MOST_OVERLAPS = 5  # RCCs named with a weak spot
MOST_REASONS, MOST_MISSING = 5, 3  # that the first page has room for


def summary_section(known: Material) -> Markup:
    """A row for each RCC, and the map."""
    clusters = known.clusters
    common = {rcc: _common(known, rcc) for rcc in clusters.groups}
    return filled(
        "summary.html", known=known, rccs=by_excess(clusters.groups, known.rates), common=common, loose=LOOSE,
        steady=bool(clusters.steadiness and rccs_of(clusters)), carded=set(carded(clusters, known.rates)),
        **_map(known),
    )  # fmt: skip


def _common(known: Material, rcc: int) -> list[str]:
    """What the images of a group have in common, and what most of an RCC's are taken for, as far as it is known."""
    confusion = known.clusters.confusion_of(rcc) if rcc != NOISE else ""
    return [text for text in (known.profiles.get(rcc, ""), confusion) if text]


def _map(known: Material) -> dict[str, Any]:
    """All images as points, similar images close together; laid out by PCA if no map is stored."""
    clusters, rccs = known.clusters, rccs_of(known.clusters)
    stored = load_map(known.folder, clusters)
    xy = plane_points(clusters) if stored is None else stored
    if len(xy) < 3:
        return {}
    colour = {rcc: COLOURS[i % len(COLOURS)] for i, rcc in enumerate(rccs)} | {NOISE: NOISE_COLOUR}
    drawn = np.unique(np.linspace(0, len(xy) - 1, MOST_MAPPED).astype(int))
    width, height, edge = 720, 470, 14
    # Fills the drawing in both directions, except a direction without extent
    low, high = xy.min(axis=0), xy.max(axis=0)
    filling = np.where(high > low, (xy - low) / np.where(high > low, high - low, np.inf), xy)
    places = edge + np.column_stack([filling[:, 0], 1 - filling[:, 1]]) * [width - 2 * edge, height - 2 * edge]
    return {
        # Small RCCs last would be hidden by large ones
        "clouds": [(colour[rcc], places[drawn[clusters.labels[drawn] == rcc]]) for rcc in reversed(clusters.groups)],
        "numbers": {rcc: np.median(places[clusters.labels == rcc], axis=0) for rcc in rccs[:MOST_NUMBERED]},
        "how": "the first two principal components" if stored is None else "UMAP",
        **{"n_rccs": len(rccs), "n_colours": len(COLOURS), "n_drawn": len(drawn), "width": width, "height": height},
    }


def rccs_section(known: Material) -> Markup:
    """A card for each RCC that there is room for."""
    rccs = carded(known.clusters, known.rates)
    rest, centres = len(rccs_of(known.clusters)) - len(rccs), rcc_centres(known.clusters)
    return filled("rccs.html", known=known, rccs=rccs, rest=rest, centres=centres, loose=LOOSE)


def weak_spots_section(known: Material) -> Markup:
    """A row for each weak spot with its rates and the engineer's judgement; or why there are none."""
    reasons = known.reasons
    return filled(
        "weak_spots.html", known=known, reasons=reasons, most_overlaps=MOST_OVERLAPS,
        curves=curves_of(reasons, reasons.spots).values(), probes=_probes(known),
        levels=levels_of(reasons.spots),
        elsewhere=notes_elsewhere(known.spot_notes, (spot.conditions for spot in reasons.spots)),
    )  # fmt: skip


def _probes(known: Material) -> list[tuple[str, Markup]]:
    """What probes say of the weak spots and RCCs that are there, with their names."""
    names = {spot.conditions: spot.where for spot in known.reasons.spots}
    names |= {subject: known.title(rcc) for rcc, subject in known.review.subjects.items()}
    by_subject = itertools.groupby(known.probes, lambda probe: probe.subject)
    return [(names[subject], probes_html(list(own))) for subject, own in by_subject if subject in names]


def confirmation_html(found: Mapping[str, Any], *, changed: bool) -> Markup:
    """The facts of a confirmation (see `pipeline.confirmation`); without any, that no fresh test set was asked.

    Parameters
    ----------
    changed : bool
        RCCs were edited since.
    """
    return filled("confirmation.html", found=found, changed=changed)


def probes_html(probes: Sequence[Probe]) -> Markup:
    """The clearest probe of a reason, and the others; empty without any."""
    return filled("probes.html", probes=probes) if probes else Markup()


def run_section(known: Material) -> Markup:
    """The features, the settings tried and chosen, and how steady the RCCs are."""
    return filled("run.html", known=known, curve=elbow_svg(known.review.original))


def register_section(known: Material) -> Markup:
    """A row for each reason of which anything is said, and what a safety case would ask for."""
    entries = known.register
    said = [(one, _said(one)) for one in entries if any(getattr(one.note, field) for field in REGISTER)]
    missing = [f"{one.reason}: {text}" for one in entries for text in one.missing]
    return filled("register.html", said=said, missing=missing, words=known.words)


def _said(entry: Entry) -> list[tuple[str, str]]:
    """The fields that are filled in, each with its name."""
    said = ((known.title, getattr(entry.note, field)) for field, known in REGISTER.items() if field != "status")
    return [(title, text) for title, text in (*said, ("Fresh test set", entry.fresh)) if text]


def elbow_svg(clusters: RootCauseClusters) -> Markup:
    """The k-distance curve with its knee and the chosen eps, as an SVG drawing in the colour of the text around it."""
    curve = clusters.k_distances
    if len(curve) < 2 or curve[-1] <= 0:
        return Markup("")
    width, height, left, bottom = 560, 240, 46, 206
    ranks = np.unique(np.linspace(0, len(curve) - 1, 300).astype(int))
    x = left + np.arange(len(curve)) / (len(curve) - 1) * (width - left - 10)
    y = 10 + (1 - np.append(curve, min(clusters.eps, curve[-1])) / curve[-1]) * (bottom - 10)
    return filled(
        "elbow.svg", clusters=clusters, curve=curve, width=width, height=height, left=left, bottom=bottom,
        line=" ".join(f"{x[rank]:.1f},{y[rank]:.1f}" for rank in ranks), eps=round(float(y[-1]), 1),
        knee=None if clusters.knee is None else round(float(x[clusters.knee]), 1),
    )  # fmt: skip


# The sections in order: key, title, and the function that writes it; without one, a template of that name says all.
SECTIONS: tuple[tuple[str, str, Callable[[Material], Markup] | None], ...] = (
    ("scope", "Scope and operating domain", None),
    ("summary", "Summary", summary_section),
    ("reading", "How to read this report", None),
    ("rccs", "Root cause clusters", rccs_section),
    ("weak-spots", "Weak spots", weak_spots_section),
    ("heatmaps", "Where the network looks", heatmaps_section),
    ("confirmation", "On a fresh test set", lambda known: confirmation_html(known.confirmation, changed=known.changed)),
    ("register", "Register", register_section),
    ("noise", "Images in no cluster", None),
    ("skipped", "Skipped images", None),
    ("edits", "What was changed by hand", None),
    ("unsafe-set", "The images to label (the unsafe set)", None),
    ("retraining", "Retraining", retraining_section),
    ("earlier", "Since the analysis before", None),
    ("run", "How the clusters were found", run_section),
    ("limits", "Limits", None),
)


# --- The first page -------------------------------------------------------------------------------------------------


def first_page(known: Material) -> Markup:
    """What somebody who reads one page has to know."""
    shown = _fails(known)
    return filled(
        "first_page.html", headline=_headline(known), nothing=no_steady_groups_text(known.clusters),
        tiles=_tiles(known), base=known.reasons.base, tested=known.run.get("predictions", {}), profiles=known.profiles,
        reasons=shown[:MOST_REASONS], left=len(shown) - MOST_REASONS, lacking=_lacking(known),
        done=filter(None, _done(known)), open=filter(None, _open(known)), scope=known.scope[0],
    )  # fmt: skip


def _headline(known: Material) -> str:
    """What was found: the first reasons, and how the failing images are grouped."""
    listed = [entry.about for entry in known.register if entry.about]
    return f"{sentence(listed, known.reasons.base)} {headline(known.clusters)}".strip()


def _lacking(known: Material) -> str:
    """What was stopped or could not be read, so that figures are missing; empty if nothing is."""
    stopped = known.run.get("predictions") and not known.rates and not known.missing.get("reasons")
    rates = "The RCCs were not compared with images that are right: their failure rates are missing." if stopped else ""
    return " ".join(filter(None, (rates, known.missing.get("reasons"))))


def _tiles(known: Material) -> list[tuple[str, str]]:
    """The numbers at a glance."""
    clusters, rccs = known.clusters, rccs_of(known.clusters)
    verdicts = Counter(one.note.verdict for one in known.register if one.to_judge or one.note.verdict)
    tiles = [_accuracy(known.retraining)] if known.retraining else []
    tiles += [
        (f"{len(clusters.paths):,}", "failing images"),
        (f"{len(rccs):,}", "root cause clusters"),
        (f"{verdicts[UNSAFE]:,}", "reasons judged unsafe"),
        (f"{verdicts['']:,}", "reasons not judged yet"),
    ]
    if known.unsafe:
        tiles.append((f"{len(known.unsafe.images):,}", "images to label (the unsafe set)"))
    return tiles


def _accuracy(result: Retraining) -> tuple[str, str]:
    """The accuracy before and after retraining; what its images also chose is said where it says what was done."""
    shown = result.final or result
    of_images = result.final.images_text if result.final else count(result.test_size, "image")
    retrained = " retraining" if result.after is None else ""
    figure = f"{shown.accuracy_before:.2%} → {shown.accuracy_after:.2%}"
    return figure, f"test accuracy before and after{retrained}, of {of_images}"


def _fails(known: Material) -> list[Entry]:
    """The reasons to judge and those judged unsafe, which come first, or else all."""
    shown = [one for one in known.register if one.to_judge or one.note.verdict == UNSAFE] or known.register
    return sorted(shown, key=lambda one: one.note.verdict != UNSAFE)


def _done(known: Material) -> Iterator[str]:
    """What has been judged, changed, labelled, trained and checked."""
    entries, who = known.register, sorted({edit.engineer for edit in known.edits if edit.engineer})
    judged = [bool(one.note.verdict) for one in entries if one.to_judge or one.note.verdict]
    yield f"{sum(judged):,} of {count(len(judged), 'reason')} judged."
    yield f"Said and changed by {some(who)}." if who else ""
    for status in ("in treatment", "closed", "accepted"):
        if n := sum(one.note.status == status for one in entries):
            yield f"{count(n, 'reason')} {status}."
    if known.unsafe:
        labelled = sum(bool(image.label) for image in known.unsafe.images)
        yield f"{labelled:,} of {count(len(known.unsafe.images), 'image')} of the unsafe set labelled."
    if known.retraining and (claim := claim_text(known.retraining)):
        yield f"{claim.removesuffix('.')}."
    if known.confirmation:
        yield f"{count(known.confirmation['images'], 'image')} that chose nothing asked of what was found."


def _open(known: Material) -> Iterator[str]:
    """What a safety case would ask for, and what was not done."""
    lacking = [one for one in known.register if one.missing]
    for one in lacking[:MOST_MISSING]:
        yield f"{one.reason}: {'; '.join(one.missing)}."
    if len(lacking) > MOST_MISSING:
        yield f"{count(len(lacking) - MOST_MISSING, 'more reason')} of the kind, in the register."
    if n := sum(one.note.status == "open" for one in known.register):
        yield f"{count(n, 'reason')} open."
    yield known.reasons.unexplained(known.clusters)
    if known.run.get("predictions") and not known.rates:
        yield "Failure rates of RCCs: generate them again."
    if noise := int((known.clusters.labels == NOISE).sum()):
        yield f"{count(noise, 'failing image')} in no cluster."
    yield from (known.missing[what] for what in ("unsafe", "retraining") if what in known.missing)
    if not known.confirmation:
        yield "No fresh test set was asked of what was found."
