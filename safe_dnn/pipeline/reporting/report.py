"""The report: all results of a run in one HTML file, for the safety case. A folder in, `report.html` out.

It needs neither a network nor scripts, and can be printed. File names, notes and other files' contents are escaped.
Limits on the number of cards, images and rows keep it at a size that a browser opens at once; if something is left out,
the report says so.

Sources: ISO 21448:2022 (safety of the intended functionality), clauses 7 and 8; Attaoui et al., ACM TOSEM 32(3):79,
2023, section 3.3 (five images suffice to recognize a root cause).
"""

import datetime
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from markupsafe import Markup

from safe_dnn.dnn.confusion import ConfusionMatrix, confusion_matrices
from safe_dnn.pipeline.asking import heatmap_html, heatmaps_of
from safe_dnn.pipeline.explaining import since_earlier
from safe_dnn.pipeline.reporting.markup import escaped, filled, picture_uri, warning
from safe_dnn.pipeline.reporting.rate_curves import curves_of
from safe_dnn.pipeline.run_record import outdated
from safe_dnn.pipeline.tagging import all_words
from safe_dnn.pipeline.word_reasons import present_reasons
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, headline, rccs_of, run_record, sample
from safe_dnn.rccs.confidence import no_steady_groups_text
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.image_map import load_map, plane_points
from safe_dnn.rccs.profiles import load_profiles
from safe_dnn.rccs.review.journal import Edit
from safe_dnn.rccs.review.notes import REGISTER, UNSAFE, Note, Scope, title
from safe_dnn.rccs.review.review import Review, all_edits, load_review, load_scope, notes_elsewhere, notes_of_run
from safe_dnn.rccs.spots.rates import Rate, by_excess
from safe_dnn.rccs.unsafe_set import UnsafeSet, load_unsafe_set
from safe_dnn.reasons.comparison import Reasons
from safe_dnn.reasons.listed import Reason, baseline, fresh_verdicts, reasons_of, sentence
from safe_dnn.reasons.probes import Probe, load_probes
from safe_dnn.reasons.register import Entry, register_of
from safe_dnn.store.database import Entry as Statement
from safe_dnn.store.output_folder import check_own, save_files
from safe_dnn.store.runs import CLUSTERS, CONFIRMATION, PROBES, RETRAINING, SELECTION, present_runs, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.progress import report_progress
from safe_dnn.support.text import count, some
from safe_dnn.training import certainty
from safe_dnn.training.certainty import with_intervals
from safe_dnn.training.earlier import failing_model
from safe_dnn.training.result import (
    Retraining,
    certainty_of,
    certainty_of_classes,
    claim_text,
    retraining_of,
    shares_by_reason,
)
from safe_dnn.training.settings import aim_of

REPORT_FILE = "report.html"
MOST_IMAGE_BYTES = 20 * 2**20
# Number of images up to which they have this side and JPEG quality, to keep the report of many RCCs small.
IMAGE_SIDES = ((300, 240, 82), (1000, 176, 78))
SMALLEST_IMAGE = (128, 72)
MOST_MAPPED = 4000  # points on the map
MOST_NUMBERED = 20  # RCCs on the map
# Distinguishable with colour blindness as well (Okabe and Ito, 2008); the last four are darker.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000", "#5b3f8c", "#005f4b", "#a33b20")
NOISE_COLOUR = "#8a94a0"
MOST_OVERLAPS = 5  # RCCs named with a weak spot
MOST_REASONS, MOST_MISSING = 5, 3  # that the first page has room for
MOST_CARDS = 400  # RCCs with images; the others are in the table
LOOSE = Markup("<span class='verdict unclear'>loose</span>")
AIM_TEXTS = {
    "balance": "balance of accuracy and of keeping what was right",
    "accuracy": "accuracy before keeping what was right",
    "keep": "keeping what was right before accuracy",
}
MOST_LISTED = 20  # images that retraining has changed
MOST_IN_MATRIX = 10  # classes; a larger matrix does not fit on a printed page
MOST_CONFUSIONS = 20  # listed where there are more classes
TAKEN_BEFORE, TAKEN_NOW = "What was taken for what before", "And what is now"


# --- The material ----------------------------------------------------------------------------------------------------


class Material(NamedTuple):
    """The material of a report.

    Attributes
    ----------
    folder : Path
    review : Review
    edits : tuple of Edit
        All edits and notes in it.
    profiles : dict of int to str
        A sentence per RCC, if the images' parameters are known.
    reasons : Reasons
        Weak spots, and what rates are computed from; empty if the DNN's answers to its test set are not known.
    confirmation : dict
        The verdicts of a fresh test set on the reasons (see `pipeline.confirmation`); empty without one.
    probes : list of Probe
    spot_notes : dict of str to Note
        By conditions; also on those that are not among the weak spots.
    scope : Scope, and Entry or None
        The note on the analysis as a whole, and its last entry.
    register : list of Entry
        The note on each weak spot and RCC.
    unsafe : UnsafeSet or None
        Of these clusters.
    retraining : Retraining or None
    missing : dict of str to str
        Why `profiles`, `reasons`, `unsafe` or `retraining` are missing, or could not be read.
    run : dict
        `run.json`.
    clustered_at : str
        When the clusters were found; ISO 8601.
    images : dict of str to str
        Data URIs by path, without images left out to keep the report small.
    rests_on : str
        The runs that it is about: their numbers and kinds.
    earlier : dict
        As of `pipeline.explaining.since_earlier`.
    words : tuple of str
        What is known of each word (see `pipeline.tagging`), or why it is not.
    """

    folder: Path
    review: Review
    edits: tuple[Edit, ...]
    profiles: dict[int, str]
    reasons: Reasons
    confirmation: dict[str, Any]
    probes: list[Probe]
    spot_notes: dict[str, Note]
    scope: tuple[Scope, Statement | None]
    register: list[Entry]
    unsafe: UnsafeSet | None
    retraining: Retraining | None
    missing: dict[str, str]
    run: dict
    clustered_at: str
    images: dict[str, str]
    rests_on: str
    earlier: Mapping[str, Any]
    words: tuple[str, ...]

    @property
    def clusters(self) -> RootCauseClusters:
        """With the engineer's edits applied."""
        return self.review.clusters

    def verdict(self, rcc: int) -> str:
        """The engineer's verdict on an RCC; empty if there is none."""
        return self.review.notes[rcc].verdict if rcc in self.review.notes else ""

    @property
    def changed(self) -> bool:
        """Whether RCCs were edited since a fresh test set was asked."""
        return self.review.last_number != self.confirmation.get("edits")

    @property
    def row_of(self) -> dict[str, int]:
        """The row of each failing image, by path."""
        return {path: row for row, path in enumerate(self.clusters.paths)}

    @property
    def reason_of(self) -> dict[int, Reason]:
        """The reason that each RCC is, by itself or with a weak spot."""
        listed = (entry.about for entry in self.register if entry.about)
        return {one.rcc: one for one in listed if one.rcc is not None}

    @property
    def selected(self) -> Counter[int]:
        """How many images of the unsafe set were selected for each RCC."""
        return Counter(image.rcc for image in self.unsafe.images) if self.unsafe else Counter()

    def title(self, rcc: int) -> str:
        """The number of an RCC with the engineer's name for it."""
        return title(rcc, self.review.notes)


def carded(clusters: RootCauseClusters, rates: Mapping[int, Rate]) -> list[int]:
    """The RCCs for which there is room with images, those on which the network fails most beyond the average first."""
    return by_excess(rccs_of(clusters), rates)[:MOST_CARDS]


T = TypeVar("T")


def _gather(folder: Path) -> Material:
    runs = present_runs(folder)  # first: what is not there any more after it is an error in one sentence
    review, missing = load_review(folder), dict[str, str]()

    def read(name: str, load: Callable[[], T], otherwise: T) -> T:
        """What is read or, if that is not possible, something else and the reason in `missing`."""
        try:
            return load()
        except SAFEError as error:
            missing[name] = str(error)
            return otherwise

    reasons = read("reasons", lambda: present_reasons(folder, review), Reasons())
    fresh = read("fresh", lambda: fresh_verdicts(runs.get(CONFIRMATION), review), dict[str, str]())
    register = register_of(folder, review, reasons, fresh)
    words = read("words", lambda: [word.text for word in all_words(folder).values()], list[str]())
    run, spot_notes = run_record(folder), notes_of_run(folder, reasons.spots)
    spot_notes |= {one.about.subject: one.note for one in register if one.about and one.about.spot}
    return Material(
        folder=folder, review=review, edits=all_edits(folder, review),
        profiles=read("profiles", lambda: {profile.rcc: profile.text for profile in load_profiles(folder)}, {}),
        reasons=reasons, spot_notes=spot_notes, missing=missing,
        confirmation=confirmation.facts if (confirmation := runs.get(CONFIRMATION)) else {},
        probes=read("probes", lambda: load_probes(runs.get(PROBES)), []),
        register=register, scope=load_scope(folder),
        unsafe=read("unsafe", lambda: _unsafe_set(folder, fingerprint(review.clusters)), None),
        retraining=read("retraining", lambda: _retraining(folder, review), None),
        run=run, clustered_at=runs[CLUSTERS].time,
        earlier=since_earlier(folder, run.get("predictions", {}).get("digest", "")),
        rests_on=", ".join(f"{run.number} ({kind})" for kind, run in runs.items()),
        images=_images(review.clusters, carded(review.clusters, reasons.rates)),
        words=tuple(words or filter(None, [missing.get("words")])),
    )  # fmt: skip


def _unsafe_set(folder: Path, clusters: str) -> UnsafeSet | None:
    """The unsafe set of these clusters; a SAFEError if there is none."""
    if SELECTION not in present_runs(folder):
        raise SAFEError("No images to label (unsafe set) have been selected.")
    unsafe = load_unsafe_set(folder)
    if unsafe.clusters != clusters:
        raise SAFEError(
            "The unsafe set in this folder was selected for other clusters, or before these were last edited, and is "
            "not part of this report. Select it again."
        )
    return unsafe


def _retraining(folder: Path, review: Review) -> Retraining | None:
    """The result of retraining with the unsafe set of these clusters; a SAFEError if there is none."""
    if not runs_of(folder, RETRAINING):
        raise SAFEError("The network has not been retrained.")
    return retraining_of(folder, review)


def _images(clusters: RootCauseClusters, rccs: list[int]) -> dict[str, str]:
    """Data URIs of the samples, in the order of the RCCs, until the report would become too large."""
    groups = [*rccs, *([NOISE] if NOISE in clusters.groups else [])]
    paths = [path for rcc in groups for path in sample(clusters, rcc)]
    side, quality = next((kind for most, *kind in IMAGE_SIDES if len(paths) <= most), SMALLEST_IMAGE)

    def uri(path: str) -> str:
        return picture_uri(clusters.image_root / path, side, quality)

    images: dict[str, str] = {}
    used = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done, (path, data) in enumerate(zip(paths, pool.map(uri, paths), strict=True), start=1):
            used += len(data)
            if used <= MOST_IMAGE_BYTES:
                images[path] = data
            report_progress("Collecting images for the report", done, len(paths))
    return images


# --- The first page --------------------------------------------------------------------------------------------------


def first_page(known: Material) -> Markup:
    """What somebody who reads one page has to know."""
    reasons = _fails(known)
    return filled(
        "first_page.html", headline=_headline(known), nothing=no_steady_groups_text(known.clusters),
        tiles=_tiles(known), base=known.reasons.base, baseline=_baseline(known),
        tested=known.run.get("predictions", {}), profiles=known.profiles, reasons=reasons[:MOST_REASONS],
        left=len(reasons) - MOST_REASONS, lacking=_lacking(known), done=filter(None, _done(known)),
        open=filter(None, _open(known)), scope=known.scope[0],
        changed=changed_reasons([one.about for one in reasons[:MOST_REASONS] if one.about], known.retraining),
    )  # fmt: skip


def _headline(known: Material) -> str:
    """What was found: the first reasons, and how the failing images are grouped."""
    listed = [entry.about for entry in known.register if entry.about]
    return f"{sentence(listed, known.reasons.base)} {headline(known.clusters)}".strip()


def _lacking(known: Material) -> str:
    """What was stopped or could not be read, so that figures are missing; empty if nothing is."""
    stopped = known.run.get("predictions") and not known.reasons.rates and not known.missing.get("reasons")
    rates = "The RCCs were not compared with images that are right: their error rates are missing." if stopped else ""
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
    """The accuracy before and after retraining; the section on the method says what its images also chose."""
    proof = result.final or result
    of_images = result.final.images_text if result.final else count(result.test_size, "image")
    retrained = " retraining" if result.after is None else ""
    figure = f"{proof.accuracy_before:.2%} → {proof.accuracy_after:.2%}"
    return figure, f"test accuracy before and after{retrained}, of {of_images}"


def _fails(known: Material) -> list[Entry]:
    """The reasons to judge and those judged unsafe, which come first, or else all."""
    listed = [one for one in known.register if one.to_judge or one.note.verdict == UNSAFE] or known.register
    return sorted(listed, key=lambda one: one.note.verdict != UNSAFE)


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
        yield f"Checked the reasons on {count(known.confirmation['images'], 'fresh image')} that chose nothing."


def _open(known: Material) -> Iterator[str]:
    """What a safety case would ask for, and what was not done."""
    yield outdated(known.folder)
    lacking = [one for one in known.register if one.missing]
    for one in lacking[:MOST_MISSING]:
        yield f"{one.reason}: {'; '.join(one.missing)}."
    if len(lacking) > MOST_MISSING:
        yield f"{count(len(lacking) - MOST_MISSING, 'more reason')} of the kind, in the register."
    if n := sum(one.note.status == "open" for one in known.register):
        yield f"{count(n, 'reason')} open."
    if known.run.get("predictions") and not known.reasons.rates:
        yield "Error rates of RCCs: generate them again."
    if noise := int((known.clusters.labels == NOISE).sum()):
        yield f"{count(noise, 'failing image')} in no cluster."
    yield from (known.missing[what] for what in ("unsafe", "retraining") if what in known.missing)
    if not known.confirmation:
        yield "The reasons were not checked on a fresh test set."


# --- The sections ----------------------------------------------------------------------------------------------------


def summary_section(known: Material) -> Markup:
    """A row for each RCC, and the map."""
    clusters = known.clusters
    common = {rcc: _common(known, rcc) for rcc in clusters.groups}
    return filled(
        "summary.html", known=known, rccs=by_excess(clusters.groups, known.reasons.rates), common=common, loose=LOOSE,
        steady=bool(clusters.steadiness and rccs_of(clusters)), carded=set(carded(clusters, known.reasons.rates)),
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
    rccs = carded(known.clusters, known.reasons.rates)
    rest = len(rccs_of(known.clusters)) - len(rccs)
    return filled("rccs.html", known=known, rccs=rccs, rest=rest, loose=LOOSE)


def weak_spots_section(known: Material) -> Markup:
    """A row for each weak spot with its rates and the engineer's judgement; or why there are none."""
    reasons = known.reasons
    return filled(
        "weak_spots.html", known=known, reasons=reasons, most_overlaps=MOST_OVERLAPS,
        curves=curves_of(reasons, reasons.spots).values(), probes=_probes(known),
        baseline=_baseline(known), names={one.about.subject: one.reason for one in known.register if one.about},
        elsewhere=notes_elsewhere(known.spot_notes, (spot.conditions for spot in reasons.spots)),
    )  # fmt: skip


def _baseline(known: Material) -> str:
    reasons, listed = known.reasons, [one.about for one in known.register if one.about]
    return baseline(listed, reasons.base, reasons.tested, reasons.where_none_holds)


def _probes(known: Material) -> list[tuple[str, Markup]]:
    """What probes say of the weak spots and RCCs that are there, with their names."""
    names = {spot.conditions: spot.where for spot in known.reasons.spots}
    names |= {subject: known.title(rcc) for rcc, subject in known.review.subjects.items()}
    by_subject = itertools.groupby(known.probes, lambda probe: probe.subject)
    return [(names[subject], probes_html(list(own))) for subject, own in by_subject if subject in names]


def confirmation_html(facts: Mapping[str, Any], *, changed: bool) -> Markup:
    """The facts of a confirmation (see `pipeline.confirmation`); without any, that no fresh test set was asked.

    Parameters
    ----------
    changed : bool
        RCCs were edited since.
    """
    return filled("confirmation.html", facts=facts, changed=changed)


def probes_html(probes: Sequence[Probe]) -> Markup:
    """The clearest probe of a reason, and the others; empty without any."""
    return filled("probes.html", probes=probes) if probes else Markup()


def run_section(known: Material) -> Markup:
    """The features, the settings tried and chosen, and how steady the RCCs are."""
    return filled("run.html", known=known, curve=elbow_svg(known.review.original))


def register_section(known: Material) -> Markup:
    """A row for each reason with an entry in the register, and what a safety case lacks."""
    entries = known.register
    said = [(one, _filled_in(one)) for one in entries if any(getattr(one.note, field) for field in REGISTER)]
    missing = [f"{one.reason}: {text}" for one in entries for text in one.missing]
    return filled("register.html", said=said, missing=missing, words=known.words)


def _filled_in(entry: Entry) -> list[tuple[str, str]]:
    """The fields that are filled in, each with its name."""
    fields = ((known.title, getattr(entry.note, field)) for field, known in REGISTER.items() if field != "status")
    return [(title, text) for title, text in (*fields, ("Fresh test set", entry.fresh)) if text]


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


def heatmaps_section(known: Material) -> Markup:
    """The report's section: the reasons whose heatmaps are kept."""
    listed = reasons_of(known.review, known.reasons, known.folder)
    subjects = ((subject, one.name) for one in listed for subject in (one.subject, one.twin) if subject)
    title_of = {subject: f"{name[0].upper()}{name[1:]}" for subject, name in subjects}
    heatmaps = heatmaps_of(known.folder, known.review.run, title_of)
    return filled(
        "heatmaps.html", named=[(title_of[name], heatmap_html(heatmap)) for name, heatmap in heatmaps.items()]
    )


# --- What retraining changed -----------------------------------------------------------------------------------------


def retraining_section(known: Material) -> Markup:
    """What retraining changed, how sure that is, and the images concerned; or why there is nothing."""
    result = known.retraining
    if result is None:
        return warning(known.missing["retraining"])
    sure = certainty_of_classes(result)
    changed = [
        (share, one)
        for share, one in zip(result.per_class, sure, strict=bool(sure))
        if one.counts.improved + one.counts.worsened
    ]
    settings = result.settings._asdict() if result.settings else {}
    return filled(
        "retraining.html", result=result, claim=claim_text(result), sure=certainty_of(result), changed=changed,
        certainty=certainty, aim=AIM_TEXTS.get(aim_of(result.settings), "") if result.settings else "",
        confusions=confusions_html(result),
        settings=", ".join(f"{name} {value:g}" for name, value in settings.items()), most_listed=MOST_LISTED,
        reasons=changed_reasons([one.about for one in known.register if one.about], result),
        per_class=with_intervals(result.per_class, result.by_group),
    )  # fmt: skip


def changed_reasons(listed: Sequence[Reason], result: Retraining | None) -> Markup:
    """Each reason of a list with its rates before and after; those that are no reasons for failing are folded."""
    if result is None:
        return Markup("")
    known = shares_by_reason(listed, result)
    intervals = dict(with_intervals([share for _, share, _ in known]))
    parts = [[(*one, intervals[one[1]]) for one in known if one[0].to_judge is first] for first in (True, False)]
    apart = ("Held out" if result.final.held_out else "Final test set") if result.final else ""
    return filled("changed_reasons.html", parts=parts, apart=apart)


def matrices_of(result: Retraining) -> tuple[ConfusionMatrix, ConfusionMatrix]:
    """The confusion matrices before and after, with the same classes in the same order; there must be answers."""
    _, label, before, after = (np.array(column) for column in zip(*result.answers, strict=True))
    return confusion_matrices(label, before, after)


def confused_before_and_now(result: Retraining) -> list[tuple[str, str, int, int]]:
    """Every confusion: the class, what its images were taken for, how many before, and how many now.

    Those with the most images before and now together come first, ties by name.
    """
    before, now = (
        Counter((row.label, taken) for row in result.answers if row.label != (taken := getattr(row, when)))
        for when in ("before", "after")
    )
    confusions = [(*pair, before[pair], now[pair]) for pair in before.keys() | now.keys()]
    return sorted(confusions, key=lambda one: (-one[2] - one[3], *one))


def confusions_html(result: Retraining) -> Markup:
    """The confusions before and after; empty for a regression."""
    if result.task != "classification" or not result.answers:
        return Markup("")
    if len({name for row in result.answers for name in row[1:]}) > MOST_IN_MATRIX:
        return filled("confusions.html", listed=confused_before_and_now(result), most=MOST_CONFUSIONS)
    before, now = matrices_of(result)
    return filled(
        "confusions.html",
        matrices=[(TAKEN_BEFORE, before), (TAKEN_NOW, now)],
        # Long names are broken where they have parts
        names=[Markup(re.sub("([_/-])", r"\1<wbr>", escaped(name))) for name in before.names],
        most=int(max(before.wrong.max(), now.wrong.max(), 1)),
    )


# --- The whole -------------------------------------------------------------------------------------------------------


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


def subject(known: Material) -> str:
    """The subject of the report: the end of the image folder's path."""
    return "/".join(known.clusters.home.parts[-2:]).removeprefix("//") or os.fspath(known.clusters.home)


def write_report(folder: Path) -> Path:
    """Write `report.html` for the run in a folder, and return its path.

    Raises
    ------
    SAFEError
        There are no clusters, one of the files is damaged, or the report cannot be written.
    """
    prepare_folder(folder)
    check_own(folder, REPORT_FILE)
    save_files(folder, {REPORT_FILE: report_html(folder)})
    return folder / REPORT_FILE


def report_html(folder: Path) -> str:
    """The report of the run in a folder, an HTML document.

    Raises
    ------
    SAFEError
        There are no clusters, or one of the files is damaged.
    """
    known = _gather(folder)
    now = datetime.datetime.now().astimezone()
    page = filled(
        "report.html", known=known, subject=subject(known), now=now,
        found=datetime.datetime.fromisoformat(known.clustered_at).astimezone(now.tzinfo),
        first_page=first_page(known), network=failing_model(known.clusters.image_root),
        sections=[
            (key, name, write(known) if write else filled(f"{key}.html", known=known)) for key, name, write in SECTIONS
        ],
    )  # fmt: skip
    # It goes to others, and the folder may be moved: of what lies in that, it says where in it.
    return page.replace(escaped(f"{known.folder}/"), "")
