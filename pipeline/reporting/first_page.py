"""The report's first page: what fails and how often, what was done, what is open, and lines to sign on."""

from collections import Counter
from collections.abc import Iterator

from markupsafe import Markup

from pipeline.reporting.markup import filled, percent
from pipeline.reporting.material import Material
from rccs.clusters import headline, rccs_of
from rccs.confidence import is_loose, loose_text, no_steady_groups_text
from rccs.dbscan.outcome import NOISE
from reasons.register import Entry
from support.text import count, some
from training.result import Retraining, claim_text

MOST_REASONS, MOST_MISSING = 5, 3  # that a page has room for


def first_page(known: Material) -> Markup:
    """What somebody who reads one page has to know."""
    shown = _fails(known)
    return filled(
        "first_page.html", headline=headline(known.clusters), nothing=no_steady_groups_text(known.clusters),
        tiles=_tiles(known), base=known.reasons.base, tested=known.run.get("predictions", {}), profiles=known.profiles,
        reasons=shown[:MOST_REASONS], left=len(shown) - MOST_REASONS,
        done=filter(None, _done(known)), open=filter(None, _open(known)), scope=known.scope[0],
    )  # fmt: skip


def _tiles(known: Material) -> list[tuple[str, str]]:
    """The numbers at a glance."""
    clusters, rccs = known.clusters, rccs_of(known.clusters)
    verdicts = Counter(known.verdict(rcc) for rcc in rccs)
    tiles = [
        (f"{len(clusters.paths):,}", "failing images"),
        (f"{len(rccs):,}", "root cause clusters"),
        (percent(clusters.noise_share), "in no cluster"),
        (f"{verdicts['unsafe']:,}", "RCCs judged unsafe"),
        (f"{verdicts['']:,}", "RCCs not judged yet"),
    ]
    if loose_text(clusters):
        tiles.append((f"{sum(is_loose(clusters, rcc) for rcc in rccs):,}", "loose RCCs"))
    if known.reasons.spots:
        judged = [known.spot_notes[s.conditions] for s in known.reasons.spots if s.conditions in known.spot_notes]
        tiles.append((f"{sum(note.verdict == 'unsafe' for note in judged):,}", "weak spots judged unsafe"))
    if known.unsafe:
        tiles.append((f"{len(known.unsafe.images):,}", "images to label (the unsafe set)"))
    if known.retraining:
        tiles.append(_accuracy(known.retraining))
    return tiles


def _accuracy(result: Retraining) -> tuple[str, str]:
    """The accuracy before and after retraining; what its images also chose is said where it says what was done."""
    shown = result.final or result
    of_images = result.final.images_text if result.final else count(result.test_size, "image")
    retrained = " retraining" if result.after is None else ""
    figure = f"{shown.accuracy_before:.1%} → {shown.accuracy_after:.1%}"
    return figure, f"test accuracy before and after{retrained}, of {of_images}"


def _fails(known: Material) -> list[Entry]:
    """The reasons that fail more often or are judged unsafe, or else all: those with the most failures beyond the rate
    of all test images first."""
    entries, base = known.register, known.reasons.base
    shown = [one for one in entries if one.more or one.note.verdict == "unsafe"] or entries
    return sorted(shown, key=lambda one: one.figures[0] * base - one.figures[1] if one.figures else 0.0)


def _done(known: Material) -> Iterator[str]:
    """What has been judged, changed, labelled, trained and checked."""
    entries, who = known.register, sorted({edit.engineer for edit in known.edits if edit.engineer})
    yield f"{sum(bool(one.note.verdict) for one in entries):,} of {len(entries):,} RCCs and weak spots judged."
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
    if known.basis:
        yield "All that this rests on is recorded, by digest."


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
    if noise := int((known.clusters.labels == NOISE).sum()):
        yield f"{count(noise, 'failing image')} in no cluster."
    yield from (known.missing[what] for what in ("unsafe", "retraining") if what in known.missing)
    if not known.confirmation:
        yield "No fresh test set was asked of what was found."
    if not known.basis:
        yield "There is no evidence of the present state."
