"""The report: all results of a run in one HTML file, for the safety case. A folder in, `report.html` out.

It needs neither a network nor scripts, and can be printed. File names, notes and other files' contents are escaped.
Limits on the number of cards, images and rows keep it at a size that a browser opens at once; if something is left out,
the report says so.

Sources: ISO 21448:2022 (safety of the intended functionality), clauses 7 and 8; Attaoui et al., ACM TOSEM 32(3):79,
2023, section 3.3 (five images suffice to recognize a root cause).
"""

import datetime
import functools
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup

from safe_dnn.analysis import Analysis
from safe_dnn.dnn.confusion import ConfusionMatrix, confusion_matrices
from safe_dnn.dnn.failures import NO_IMAGES
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, headline, rccs_of, sample
from safe_dnn.rccs.confidence import no_steady_groups_text
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.image_map import load_map, plane_points
from safe_dnn.rccs.review.notes import REGISTER, UNSAFE, Note, title
from safe_dnn.rccs.review.review import notes_elsewhere
from safe_dnn.rccs.spots.rates import by_excess
from safe_dnn.rccs.unsafe_set import UnsafeSet
from safe_dnn.reasons.failure_reasons import collected, since_earlier
from safe_dnn.reasons.listed import Reason, sentence
from safe_dnn.reasons.probes import Probe
from safe_dnn.reasons.register import Entry, register_of
from safe_dnn.reasons.run_record import outdated, record_of
from safe_dnn.report.heatmaps import heatmap_html, heatmaps_of
from safe_dnn.report.markup import escaped, filled, picture_uri, warning
from safe_dnn.report.rate_curves import curves_of
from safe_dnn.report.summary_lines import failures_summary
from safe_dnn.store.output_folder import check_own, save_files
from safe_dnn.store.runs import CLUSTERS, RETRAINING, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.progress import report_progress
from safe_dnn.support.text import count
from safe_dnn.training import certainty
from safe_dnn.training.certainty import with_intervals
from safe_dnn.training.earlier import failing_model
from safe_dnn.training.result import Retraining, certainty_of, certainty_of_classes, claim_text, shares_by_reason
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


T = TypeVar("T")


class Material(Analysis):
    """An analysis as a report shows it: what cannot be read is left out, and `lacking` says why.

    Attributes
    ----------
    lacking : dict of str to str
        Why there is none of `selection` or `result`, or what `fresh` or `words` would be.
    selection : UnsafeSet or None
        Of these clusters, with the labels that follow from class folders.
    result : Retraining or None
    entries : list of Entry
        The register.
    words_known : list of str
        What is known of each word (see `words.tagging`), or why it is not.
    """

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.lacking = dict[str, str]()
        self.selection = self._tried("unsafe", self._selection, None)
        self.result = self._tried("retraining", self._result, None)
        self.entries = register_of(self.listed, self._tried("fresh", lambda: self.fresh, {}))
        words = self._tried("words", lambda: [word.text for word in self.words.values()], list[str]())
        self.words_known = words or list(filter(None, [self.lacking.get("words")]))

    def _tried(self, name: str, load: Callable[[], T], otherwise: T) -> T:
        try:
            return load()
        except SAFEError as error:
            self.lacking[name] = str(error)
            return otherwise

    def _selection(self) -> UnsafeSet | None:
        if not self.is_selected:
            raise SAFEError("No images to label (unsafe set) have been selected.")
        if self.unsafe.clusters != fingerprint(self.clusters):
            raise SAFEError(
                "The unsafe set in this folder was selected for other clusters, or before these were last edited, and "
                "is not part of this report. Select it again."
            )
        return self.labelled

    def _result(self) -> Retraining | None:
        if not runs_of(self.folder, RETRAINING):
            raise SAFEError("The network has not been retrained.")
        return self.retraining

    @functools.cached_property
    def test(self) -> Mapping[str, Any]:
        """The record of the test set, as `run.json` has it; empty without one."""
        if self.there:
            record: Mapping[str, Any] = self.record.get("predictions", {})
            return record
        images = [] if self.failures.has_images else [NO_IMAGES]
        return record_of(self.failures, images) | {"digest": collected(self.folder)}

    @functools.cached_property
    def carded(self) -> list[int]:
        """The RCCs for which there is room with images, the most failures beyond the average first."""
        return by_excess(rccs_of(self.clusters), self.reasons.rates)[:MOST_CARDS]

    @functools.cached_property
    def images(self) -> Mapping[str, str]:
        """Data URIs by path, without images left out to keep the report small."""
        return _images(self.clusters, self.carded)

    @property
    def notes_on_spots(self) -> Mapping[str, Note]:
        """As `spot_notes`; where a weak spot is an RCC as well, with what is said of that."""
        return {**self.spot_notes, **{one.subject: one.note for one in self.listed if one.literals}}

    @functools.cached_property
    def earlier(self) -> Mapping[str, Any]:
        """As of `api.explaining.since_earlier`."""
        return since_earlier(self.folder, self.test.get("digest", ""))

    @property
    def to_judge(self) -> list[Entry]:
        """The reasons that a verdict is asked for, or was given on."""
        return [one for one in self.entries if one.to_judge or one.note.verdict]

    @property
    def noted(self) -> list[Entry]:
        """The reasons with an entry in the register."""
        return [one for one in self.entries if any(getattr(one.note, field) for field in REGISTER)]

    @property
    def rests_on(self) -> str:
        """The runs that it is about: their numbers and kinds."""
        return ", ".join(f"{run.number} ({kind})" for kind, run in self.runs.items())

    def verdict(self, rcc: int) -> str:
        """The engineer's verdict on an RCC; empty if there is none."""
        return self.notes[rcc].verdict if rcc in self.notes else ""

    @property
    def changed(self) -> bool:
        """Whether RCCs were edited since a fresh test set was asked."""
        return self.review.last_number != self.confirmation.get("edits")

    @functools.cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each failing image, by path."""
        return {path: row for row, path in enumerate(self.clusters.paths)}

    @functools.cached_property
    def reason_of(self) -> dict[int, Reason]:
        """The reason that each RCC is, by itself or with a weak spot."""
        return {one.rcc: one for one in self.listed if one.rcc is not None}

    @functools.cached_property
    def selected(self) -> Counter[int]:
        """How many images of the unsafe set were selected for each RCC."""
        return Counter(image.rcc for image in self.selection.images) if self.selection else Counter()

    def title(self, rcc: int) -> str:
        """The number of an RCC with the engineer's name for it."""
        return title(rcc, self.notes)


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


def summarize(known: Material) -> dict[str, Any]:
    """What somebody who reads one page has to know: texts, numbers, and lists and dictionaries of these.

    Returns
    -------
    dict
        `subject`, `noun` (what was tested), `network`, `runs` and `engineers`; `test`, the record of the test set,
        empty without one; `sentence`, `headline` and `baseline` on all of it; `warnings`; `failing`, `clusters` and
        `no_cluster`, how many there are (None without clusters);
        `rated`, whether error rates are known; `reasons`, a dictionary for each in the order of the list, with what
        `rates` gives; `unsafe_set` and `retraining`, dictionaries, or why there is none; `fresh`, of how many images;
        `outdated`, a sentence; `responsible` and `reviewer`.
    """
    known.check_found()
    clusters, result, unsafe = known.clusters if known.there else None, known.result, known.selection
    test, rates = known.test, known.reasons.rates
    unrated = "The RCCs were not compared with images that are right: their error rates are missing."
    doubts = [*test.get("doubts", ()), clusters and no_steady_groups_text(clusters), known.missing.get("counted", "")]
    doubts += [unrated] if clusters and test and not rates and not doubts[-1] else []
    of = (result.final or result) if result else None
    return {
        "subject": subject(known), "noun": known.reasons.noun,
        "network": os.fspath((clusters and failing_model(clusters.image_root)) or test.get("source", "")),
        "runs": known.rests_on, "test": test, "warnings": [*filter(None, doubts)],
        "rated": bool(rates or not test or not clusters), "sentence": sentence(known.listed, known.reasons.base),
        "headline": headline(clusters) if clusters else failures_summary(known.failures),
        "baseline": known.baseline if known.reasons.base else "", "outdated": outdated(known.folder),
        "failing": len(clusters.paths if clusters else known.failures.failing),
        "clusters": len(rccs_of(clusters)) if clusters else None,
        "no_cluster": int((clusters.labels == NOISE).sum()) if clusters else None,
        "reasons": [_summary_of(one, known) for one in known.entries],
        "unsafe_set": {
            "images": len(unsafe.images), "labelled": sum(bool(image.label) for image in unsafe.images),
        } if unsafe else known.lacking["unsafe"],
        "retraining": {
            "accuracy_before": of.accuracy_before, "accuracy_after": of.accuracy_after, "claim": claim_text(result),
            "images": result.final.images_text if result.final else count(result.test_size, "image"),
            "of": "retraining" if result.after is None else "",
        } if result and of else known.lacking["retraining"],
        "fresh": known.confirmation.get("images", 0),
        "engineers": sorted({edit.engineer for edit in known.edits if edit.engineer}),
        "responsible": known.scope[0].responsible, "reviewer": known.scope[0].reviewer,
    }  # fmt: skip


def _summary_of(entry: Entry, known: Material) -> dict[str, Any]:
    reason, note = entry.about, entry.note
    assert reason  # only the analysis as a whole has none
    known_rate = reason.figures if reason.figures and reason.figures.tested else None
    return {
        "reason": entry.reason, "where": entry.where, "name": note.name, "hazard": note.hazard,
        "images": len(reason.images),
        "profile": known.profile_of(reason.rcc), "to_judge": entry.to_judge, "verdict": note.verdict,
        "status": note.status, "missing": entry.missing, "differing": reason.differing, "rcc": reason.rcc,
        "fails_more": reason.fails_more, "fresh": entry.fresh, "rates": {
            "tested": known_rate.tested, "wrong": known_rate.wrong, "rate": known_rate.rate, "low": known_rate.low,
            "high": known_rate.high, "comparable": known_rate.like, "interval": known_rate.interval,
        } if known_rate else {},
    }  # fmt: skip


def first_page(summary: Mapping[str, Any], known: Material) -> Markup:
    """The summary in words, with what retraining changed of its first reasons."""
    # The reasons to judge and those judged unsafe, which come first, or else all
    judged = [one for one in summary["reasons"] if one["to_judge"] or one["verdict"]]
    first = [one for one in judged if one["to_judge"] or one["verdict"] == UNSAFE] or summary["reasons"]
    first = sorted(first, key=lambda one: one["verdict"] != UNSAFE)
    by_name = {one.name: one for one in known.listed}
    changed = changed_reasons([by_name[one["reason"]] for one in first[:MOST_REASONS]], known.result)
    return filled(
        "first_page.html", **summary, judged=judged, first=first[:MOST_REASONS], left=len(first) - MOST_REASONS,
        most=MOST_MISSING, changed=changed,
    )  # fmt: skip


# --- The sections ----------------------------------------------------------------------------------------------------


def summary_section(known: Material) -> Markup:
    """A row for each RCC, and the map."""
    clusters = known.clusters
    common = {rcc: _common(known, rcc) for rcc in clusters.groups}
    return filled(
        "summary.html", known=known, rccs=by_excess(clusters.groups, known.reasons.rates), common=common,
        steady=bool(clusters.steadiness and rccs_of(clusters)), carded=set(known.carded),
        **_map(known),
    )  # fmt: skip


def _common(known: Material, rcc: int) -> list[str]:
    """What the images of a group have in common, and what most of an RCC's are taken for, as far as it is known."""
    confusion = known.clusters.confusion_of(rcc) if rcc != NOISE else ""
    return [text for text in (known.profile_of(rcc), confusion) if text]


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


def weak_spots_section(known: Material) -> Markup:
    """A row for each weak spot with its rates and the engineer's judgement; or why there are none."""
    reasons, notes = known.reasons, tuple[str, ...]()
    if reasons.comparison:
        notes = reasons.comparison.notes
    elif not known.there and known.ungrouped:
        notes = known.ungrouped.notes
    return filled(
        "weak_spots.html", known=known, notes=notes, reasons=reasons, most_overlaps=MOST_OVERLAPS,
        curves=curves_of(reasons, [spot.literals for spot in reasons.spots]).values(), probes=_probes(known),
        baseline=known.baseline, names={one.about.subject: one.reason for one in known.entries if one.about},
        elsewhere=notes_elsewhere(known.notes_on_spots, (spot.conditions for spot in reasons.spots)),
    )  # fmt: skip


def _probes(known: Material) -> list[tuple[str, Markup]]:
    """What probes say of the weak spots and RCCs that are there, with their names."""
    names = {spot.conditions: spot.where for spot in known.reasons.spots}
    names |= {subject: known.title(rcc) for rcc, subject in (known.review.subjects if known.there else {}).items()}
    by_subject = itertools.groupby(known.probes, lambda probe: probe.subject)
    return [(names[subject], probes_html(list(own))) for subject, own in by_subject if subject in names]


def confirmation_html(facts: Mapping[str, Any], *, changed: bool) -> Markup:
    """The facts of a confirmation (see `api.confirmation`); without any, that no fresh test set was asked.

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
    subjects = ((subject, one.name) for one in known.listed for subject in (one.subject, one.twin) if subject)
    title_of = {subject: f"{name[0].upper()}{name[1:]}" for subject, name in subjects}
    heatmaps = heatmaps_of(known.folder, known.review.run, title_of)
    return filled(
        "heatmaps.html", named=[(title_of[name], heatmap_html(heatmap)) for name, heatmap in heatmaps.items()]
    )


# --- What retraining changed -----------------------------------------------------------------------------------------


def retraining_section(known: Material) -> Markup:
    """What retraining changed, how sure that is, and the images concerned; or why there is nothing."""
    result = known.result
    if result is None:
        return warning(known.lacking["retraining"])
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
        reasons=changed_reasons(known.listed, result),
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
    ("rccs", "Root cause clusters", None),
    ("weak-spots", "Weak spots", weak_spots_section),
    ("heatmaps", "Where the network looks", heatmaps_section),
    ("confirmation", "On a fresh test set", lambda known: confirmation_html(known.confirmation, changed=known.changed)),
    ("register", "Register", None),
    ("noise", "Images in no cluster", None),
    ("skipped", "Skipped images", None),
    ("edits", "What was changed by hand", None),
    ("unsafe-set", "The images to label (the unsafe set)", None),
    ("retraining", "Retraining", retraining_section),
    ("earlier", "Since the analysis before", None),
    ("run", "How the clusters were found", run_section),
    ("limits", "Limits", None),
)


WITHOUT_CLUSTERS = ("scope", "weak-spots", "register", "earlier")
"""The sections that there are where failures were collected, but not grouped."""


def subject(known: Material) -> str:
    """The subject of the report: the end of the image folder's path or, without clusters, of that of the answers."""
    if not known.there:
        return "/".join(known.failures.source.parts[-2:])
    return "/".join(known.clusters.home.parts[-2:]).removeprefix("//") or os.fspath(known.clusters.home)


def write_report(folder: Path) -> dict[str, Any]:
    """Write `report.html` for the run in a folder; what `summarize` gives.

    Raises
    ------
    SAFEError
        There are no clusters, one of the files is damaged, or the report cannot be written.
    """
    prepare_folder(folder)
    check_own(folder, REPORT_FILE)
    known = Material(folder)
    summary = summarize(known)
    save_files(folder, {REPORT_FILE: _rendered(known, summary)})
    return summary


def report_html(folder: Path) -> str:
    """The report of the run in a folder, an HTML document.

    Raises
    ------
    SAFEError
        There are no clusters, or one of the files is damaged.
    """
    known = Material(folder)
    return _rendered(known, summarize(known))


def _rendered(known: Material, summary: Mapping[str, Any]) -> str:
    now = datetime.datetime.now().astimezone()
    page = filled(
        "report.html", known=known, **summary, now=now,
        found=known.there and datetime.datetime.fromisoformat(known.runs[CLUSTERS].time).astimezone(now.tzinfo),
        first_page=first_page(summary, known),
        sections=[
            (key, name, write(known) if write else filled(f"{key}.html", known=known))
            for key, name, write in SECTIONS
            if known.there or key in WITHOUT_CLUSTERS
        ],
    )  # fmt: skip
    # It goes to others, and the folder may be moved: of what lies in that, it says where in it.
    return page.replace(escaped(f"{known.folder}/"), "")
