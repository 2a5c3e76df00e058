"""The report: all results of a run in one HTML file, for the safety case. A folder in, `report.html` out.

It needs neither a network nor scripts, and can be printed. File names, notes and other files' contents are escaped.
Limits on the number of cards, images and rows keep it at a size that a browser opens at once; if something is left out,
the report says so.

Sources: ISO 21448:2022 (safety of the intended functionality), clauses 7 and 8; Attaoui et al., ACM TOSEM 32(3):79,
2023, section 3.3 (five images suffice to recognize a root cause).
"""

import dataclasses
import datetime
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup

from safe_dnn.analysis import Analysis
from safe_dnn.dnn.confusion import ConfusionMatrix, confusion_matrices
from safe_dnn.dnn.failures import NO_IMAGES
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, headline, rccs_of, sample
from safe_dnn.rccs.confidence import (
    confidence,
    confidence_text,
    consensus_text,
    is_changed,
    is_loose,
    nearest_rccs,
    no_steady_groups_text,
    percent_down,
    why_unknown,
)
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.image_map import load_map, plane_points
from safe_dnn.rccs.review.journal import REGISTER, UNSAFE, Note, describe_edit, title
from safe_dnn.rccs.review.review import notes_elsewhere
from safe_dnn.rccs.spots.rates import by_excess
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet
from safe_dnn.reasons.listed import Reason, collected, sentence, since_earlier
from safe_dnn.reasons.probes import Probe
from safe_dnn.reasons.register import Entry, register_of
from safe_dnn.reasons.run_record import outdated, record_of
from safe_dnn.report.drawings import curves_of, heatmap_html, heatmaps_of
from safe_dnn.report.markup import escaped, filled, picture_uri
from safe_dnn.report.summary_lines import failures_summary
from safe_dnn.selection import chosen_by_model
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
MOST_CARDS = 400  # RCCs with images; the others are in the table
AIM_TEXTS = {
    "balance": "balance of accuracy and of keeping what was right",
    "accuracy": "accuracy before keeping what was right",
    "keep": "keeping what was right before accuracy",
}
MOST_IN_MATRIX = 10  # classes; a larger matrix does not fit on a printed page
TAKEN_BEFORE, TAKEN_NOW = "What was taken for what before", "And what is now"


# --- Summarize -------------------------------------------------------------------------------------------------------


T = TypeVar("T")


def plain(value: Any) -> Any:
    """A record as a dictionary, its paths as texts and its tuples as lists."""
    if isinstance(value, Path):
        return os.fspath(value)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [plain(one) for one in value]
    names = value._fields if hasattr(value, "_fields") else getattr(value, "__dataclass_fields__", ())
    return {name: plain(getattr(value, name)) for name in names} if names else value


def _tried(load: Callable[[], T]) -> tuple[T | None, str]:
    """What can be read; otherwise None, and why."""
    try:
        return load(), ""
    except SAFEError as error:
        return None, str(error)


def _selection(known: Analysis) -> UnsafeSet:
    """The unsafe set of these clusters, with the labels that follow from class folders."""
    if not known.is_selected:
        raise SAFEError("No images to label (unsafe set) have been selected.")
    if known.unsafe.clusters != fingerprint(known.clusters):
        raise SAFEError(
            "The unsafe set in this folder was selected for other clusters, or before these were last edited, and "
            "is not part of this report. Select it again."
        )
    return known.labelled


def _result(known: Analysis) -> Retraining:
    if not runs_of(known.folder, RETRAINING):
        raise SAFEError("The network has not been retrained.")
    return known.retraining


def _test(known: Analysis) -> Mapping[str, Any]:
    """The record of the test set, as `run.json` has it; empty without one."""
    if known.there:
        record: Mapping[str, Any] = known.record.get("predictions", {})
        return record
    images = [] if known.failures.has_images else [NO_IMAGES]
    return record_of(known.failures, images) | {"digest": collected(known.folder)}


def summarize(known: Analysis) -> dict[str, Any]:
    """All that the report says: texts, numbers, and lists and dictionaries of these. What cannot be read is left out.

    Returns
    -------
    dict
        For the first page: `subject`, `noun` (what was tested), `network`, `runs` and `engineers`; `test`, the record
        of the test set, empty without one; `sentence`, `headline` and `baseline` on all of it; `warnings`; `failing`,
        `clusters` and `no_cluster`, how many there are (None without clusters); `rated`, whether error rates are known;
        `reasons`, a dictionary for each in the order of the list, with what `rates` gives; `unsafe_set` and
        `retraining`, dictionaries, or why there is none; `fresh`, of how many images; `outdated`, a sentence.

        For the sections: `groups`, a dictionary for each RCC and for the images in no cluster; `spots` and `probes`;
        `scope`, `confirmation`, `words`, `skipped`, `edits`, `selection`, `earlier` and `method`, what their templates
        fill in; `missing`, why something cannot be read, by name.
    """
    known.check_found()
    clusters, reasons, test = known.clusters if known.there else None, known.reasons, _test(known)
    unsafe, no_unsafe = _tried(lambda: _selection(known))
    result, no_result = _tried(lambda: _result(known))
    words, no_words = _tried(lambda: [word.text for word in known.words.values()])
    entries, edits = register_of(known.listed, _tried(lambda: known.fresh)[0] or {}), known.edits
    unrated = "The RCCs were not compared with images that are right: their error rates are missing."
    doubts = [*test.get("doubts", ()), clusters and no_steady_groups_text(clusters), known.missing.get("counted", "")]
    doubts += [unrated] if clusters and test and not reasons.rates and not doubts[-1] else []
    scope, entry = known.scope
    notes = reasons.comparison.notes if reasons.comparison else ()
    if not clusters and known.ungrouped:
        notes = known.ungrouped.notes
    return {
        "subject": subject(known), "noun": reasons.noun, "folder": known.folder.name, "test": test,
        "network": os.fspath((clusters and failing_model(clusters.image_root)) or test.get("source", "")),
        "runs": ", ".join(f"{run.number} ({kind})" for kind, run in known.runs.items()),
        "image_root": os.fspath(clusters.image_root) if clusters else "",
        "found": known.runs[CLUSTERS].time if clusters else "", "warnings": [*filter(None, doubts)],
        "rated": bool(reasons.rates or not test or not clusters), "has_rates": bool(reasons.rates),
        "sentence": sentence(known.listed, reasons.base), "baseline": known.baseline if reasons.base else "",
        "headline": headline(clusters) if clusters else failures_summary(known.failures),
        "outdated": outdated(known.folder), "failing": len(clusters.paths if clusters else known.failures.failing),
        "clusters": len(rccs_of(clusters)) if clusters else None,
        "no_cluster": int((clusters.labels == NOISE).sum()) if clusters else None,
        "no_steady_groups": no_steady_groups_text(clusters) if clusters else "",
        "steady": bool(clusters and clusters.steadiness and rccs_of(clusters)),
        "groups": _groups(known, unsafe) if clusters else [],
        "reasons": [_reason(one, known) for one in entries],
        "unsafe_set": {
            "images": len(unsafe.images), "labelled": sum(bool(image.label) for image in unsafe.images),
        } if unsafe else no_unsafe,
        "selection": plain(dataclasses.replace(unsafe, images=())) | {
            "chosen": chosen_by_model(unsafe), "left_out": [title(rcc, known.notes) for rcc in unsafe.excluded],
        } if unsafe else {},
        "retraining": _retrained(result, known.listed) if result else no_result,
        "fresh": known.confirmation.get("images", 0), "confirmation": dict(known.confirmation),
        "changed": bool(clusters) and known.review.last_number != known.confirmation.get("edits"),
        "spots": _spots(known, {one.about.subject: one.reason for one in entries if one.about}),
        "probes": _probes(known), "notes": [*notes],
        "words": words or list(filter(None, [no_words])), "missing": dict(known.missing),
        "elsewhere": notes_elsewhere(_notes_on_spots(known), (spot.conditions for spot in reasons.spots)),
        "engineers": sorted({edit.engineer for edit in edits if edit.engineer}),
        "judged_rccs": bool(clusters and known.notes),
        "edits": [(edit.time, edit.engineer, describe_edit(edit, edits)) for edit in edits],
        "n_moved": int((known.review.original.labels != clusters.labels).sum()) if clusters and edits else 0,
        "scope": scope._asdict(), "scope_said": (entry.engineer, entry.time) if entry else (),
        "skipped": [tuple(one) for one in clusters.skipped] if clusters else [],
        "method": _method(known) if clusters else {},
        "earlier": since_earlier(known.folder, test.get("digest", "")),
    }  # fmt: skip


def _reason(entry: Entry, known: Analysis) -> dict[str, Any]:
    reason, note = entry.about, entry.note
    assert reason  # only the analysis as a whole has none
    known_rate = reason.figures if reason.figures and reason.figures.tested else None
    return {
        "reason": entry.reason, "title": entry.title, "where": entry.where, "name": note.name, "verdict": note.verdict,
        **{field: getattr(note, field) for field in REGISTER}, "images": len(reason.images),
        "profile": known.profile_of(reason.rcc), "to_judge": entry.to_judge,
        "counts": entry.to_judge or bool(note.verdict), "is_due": entry.to_judge or note.verdict == UNSAFE,
        "noted": any(getattr(note, field) for field in REGISTER), "missing": entry.missing,
        "differing": reason.differing, "rcc": reason.rcc, "fails_more": reason.fails_more, "fresh": entry.fresh,
        "rates": {
            "tested": known_rate.tested, "wrong": known_rate.wrong, "rate": known_rate.rate, "low": known_rate.low,
            "high": known_rate.high, "expected": None if isnan(known_rate.expected) else known_rate.expected,
            "interval": known_rate.interval, "compared": known_rate.compared, "more": known_rate.more,
        } if known_rate else {},
    }  # fmt: skip


def _groups(known: Analysis, unsafe: UnsafeSet | None) -> list[dict[str, Any]]:
    """The RCCs and the images in no cluster; for the first ones there is room with images."""
    clusters, rates = known.clusters, known.reasons.rates
    carded = {*by_excess(rccs_of(clusters), rates)[:MOST_CARDS], NOISE}
    row_of = {path: row for row, path in enumerate(clusters.paths)}
    reason_of, to_label = {one.rcc: one for one in known.listed}, defaultdict[int, list[UnsafeImage]](list)
    for image in unsafe.images if unsafe else ():
        to_label[image.rcc].append(image)
    groups = []
    for rcc in by_excess(clusters.groups, rates):
        reason, note, mine = reason_of.get(rcc), known.notes.get(rcc, Note(rcc)), to_label[rcc]
        together, images = confidence(clusters, rcc), sample(clusters, rcc) if rcc in carded else ()
        # Of an RCC that is a weak spot as well, the rate is that of the condition
        rate = reason.figures if reason and reason.figures and reason.figures.tested and rates else None
        groups.append({
            "rcc": rcc, "number": title(rcc), "title": title(rcc, known.notes), "name": note.name, "note": note.note,
            "verdict": note.verdict, "images": len(clusters.members(rcc)), "profile": known.profile_of(rcc),
            "core": int(clusters.is_core[clusters.labels == rcc].sum()), "is_loose": is_loose(clusters, rcc),
            "together": "" if together is None else percent_down(together), "changed": is_changed(clusters, rcc),
            "steadiness": confidence_text(clusters, rcc), "error_rate": known.reasons.text_of(rcc),
            "confusion": clusters.confusion_of(rcc) if rcc != NOISE else "", "carded": rcc in carded,
            "rate": rate.rate if rate else None, "expected": rate.expected if rate and rate.compared else None,
            "fails": "more" if reason and reason.fails_more else rates[rcc].verdict if rcc in rates else "",
            "sample": [(path, clusters.answer_text(row_of[path])) for path in images],
            "alike": [
                (other, title(other, known.notes)) for other, _ in nearest_rccs(clusters, rcc)
            ] if rcc in carded and rcc != NOISE else [],
            "candidates": sum(unsafe.candidates[rcc : rcc + 1]) if unsafe and rcc != NOISE else 0,
            "selected": len(mine), "within_eps": sum(image.within_eps for image in mine),
            "labelled": sum(bool(image.label) for image in mine), "left_out": bool(unsafe and rcc in unsafe.excluded),
        })  # fmt: skip
    return groups


def _notes_on_spots(known: Analysis) -> Mapping[str, Note]:
    """By conditions; where a weak spot is an RCC as well, with what is said of that."""
    return {**known.spot_notes, **{one.subject: one.note for one in known.listed if one.literals}}


def _spots(known: Analysis, names: Mapping[str, str]) -> list[dict[str, Any]]:
    spots, notes = [], _notes_on_spots(known)
    for index, spot in enumerate(known.reasons.spots):
        of, note = spot.figures, notes.get(spot.conditions, Note(spot.conditions))
        overlaps = [(rcc, title(rcc, known.notes), n) for rcc, n in known.reasons.overlaps(index)]
        spots.append({
            "reason": names.get(spot.conditions, ""), "where": spot.where, "name": note.name, "note": note.note,
            "verdict": note.verdict, "doubted": spot.doubted, "may_be_chance": spot.may_be_chance,
            "answers": of.answers, "groups": of.of_groups.strip() if of.groups else "", "wrong": of.wrong,
            "tested": of.tested, "rate": of.rate, "interval": of.interval, "expected": of.expected, "excess": of.excess,
            "of_values": spot.of_values, "overlaps": overlaps,
        })  # fmt: skip
    return spots


def _probes(known: Analysis) -> list[tuple[str, list[dict[str, str]]]]:
    """What probes say of the weak spots and RCCs that are there, with their names."""
    names = {spot.conditions: spot.where for spot in known.reasons.spots}
    names |= {
        subject: title(rcc, known.notes) for rcc, subject in (known.review.subjects if known.there else {}).items()
    }
    by_subject = itertools.groupby(known.probes, lambda probe: probe.subject)
    return [(names[subject], _of_probes(own)) for subject, own in by_subject if subject in names]


def _of_probes(probes: Iterable[Probe]) -> list[dict[str, str]]:
    return [{"verdict": probe.verdict, "text": probe.text} for probe in probes]


def _method(known: Analysis) -> dict[str, Any]:
    """The features, the settings tried and chosen, and how steady the RCCs are."""
    clusters, versions = known.review.original, known.record.get("versions", {})
    return {
        "features": clusters.extractor.name, "notice": clusters.extractor.notice, "reducer": clusters.reducer,
        "identity": clusters.extractor.identity, "components": clusters.points.shape[1], "eps": clusters.eps,
        "min_samples": clusters.min_samples, "rccs": len(rccs_of(clusters)), "noise": clusters.noise_share,
        "versions": [f"{name} {version}" for name, version in versions.items() if version],
        "agreed": consensus_text(clusters) or why_unknown(clusters),
        "settings": plain(clusters.settings),
        "once": len(clusters.k_distances), "images": len(clusters.paths),
        "steady": clusters.steadiness is not None,
    }  # fmt: skip


def _retrained(result: Retraining, listed: Sequence[Reason]) -> dict[str, Any]:
    """What retraining changed, how sure that is, and the images concerned."""
    of, final, sure, settings = result.final or result, result.final, certainty_of(result), result.settings
    classes = certainty_of_classes(result)
    in_doubt = zip(result.per_class, classes, strict=True) if classes else ()
    return plain(dataclasses.replace(result, answers=(), by_group=None)) | {
        "accuracy_before": of.accuracy_before, "accuracy_after": of.accuracy_after, "claim": claim_text(result),
        "images": final.images_text if final else count(result.test_size, "image"),
        "of": "retraining" if result.after is None else "", "final_root": os.fspath(final.root) if final else "",
        "test_before": result.accuracy_before, "test_after": result.accuracy_after,
        "sure": certainty.in_words(sure) if sure else "", "lost": certainty.lost_in_words(sure) if sure else "",
        "aim": AIM_TEXTS.get(aim_of(settings), "") if settings else "", **reason_changes(listed, result),
        "per_class": [(share._asdict(), *ends) for share, ends in with_intervals(result.per_class, result.by_group)],
        "changed_classes": [
            (share.name, one.counts.improved, one.counts.worsened, certainty.gain_text(one),
             certainty.interval_text(one), certainty.p_text(one.p), one.verdict)
            for share, one in in_doubt if one.counts.improved + one.counts.worsened
        ],
        "confusions": _confusions(result),
    }  # fmt: skip


def reason_changes(listed: Sequence[Reason], result: Retraining) -> dict[str, Any]:
    """`changes`, a dictionary for each reason of a list with what is right before and after; `apart`, of what images
    the same is known that chose nothing, if there are any."""
    known, final = shares_by_reason(listed, result), result.final
    intervals = with_intervals([share for _, share, _ in known])
    rows = [
        {"reason": reason.name, "title": reason.title, "to_judge": reason.to_judge, "low": low, "high": high,
         **share._asdict(), "held": held._asdict() if held else {}}
        for (reason, share, held), (_, (low, high)) in zip(known, intervals, strict=True)
    ]  # fmt: skip
    return {"changes": rows, "apart": ("Held out" if final.held_out else "Final test set") if final else ""}


def _confusions(result: Retraining) -> dict[str, Any]:
    """The confusions before and after: matrices of few classes, or else a list; empty for a regression."""
    if result.task != "classification" or not result.answers:
        return {}
    if len({name for row in result.answers for name in row[1:]}) > MOST_IN_MATRIX:
        return {"listed": confused_before_and_now(result)}
    both = matrices_of(result)
    tables = zip((TAKEN_BEFORE, TAKEN_NOW), both, strict=True)
    return {
        "matrices": [(caption, one.counts.tolist(), one.wrong.astype(int).tolist()) for caption, one in tables],
        "names": list(both[0].names),
        "darkest": int(max(both[0].wrong.max(), both[1].wrong.max(), 1)),
    }


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


def subject(known: Analysis) -> str:
    """The subject of the report: the end of the image folder's path or, without clusters, of that of the answers."""
    if not known.there:
        return "/".join(known.failures.source.parts[-2:])
    return "/".join(known.clusters.home.parts[-2:]).removeprefix("//") or os.fspath(known.clusters.home)


# --- Draw ------------------------------------------------------------------------------------------------------------


def _drawings(known: Analysis, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The pictures and drawings that the sections show beside what they say."""
    curves = curves_of(known.reasons, [spot.literals for spot in known.reasons.spots])
    if not known.there:
        return {"curves": [*curves.values()]}
    subjects = ((subject, one.title) for one in known.listed for subject in (one.subject, one.twin) if subject)
    title_of = {subject: f"{name[0].upper()}{name[1:]}" for subject, name in subjects}
    heatmaps = heatmaps_of(known.folder, known.review.run, title_of)
    cards = sorted(summary["groups"], key=lambda one: one["rcc"] == NOISE)
    return {
        "pictures": _pictures(known.clusters, [path for one in cards for path, _ in one["sample"]]),
        "map": _map(known), "curves": [*curves.values()], "elbow": elbow_svg(known.review.original),
        "heatmaps": [(title_of[name], heatmap_html(heatmap)) for name, heatmap in heatmaps.items()],
    }  # fmt: skip


def _pictures(clusters: RootCauseClusters, paths: Sequence[str]) -> dict[str, str]:
    """Data URIs of images by path, in their order, until the report would become too large."""
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


def _map(known: Analysis) -> dict[str, Any]:
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


# --- Render ----------------------------------------------------------------------------------------------------------


def confirmation_html(facts: Mapping[str, Any], *, changed: bool) -> Markup:
    """The facts of a confirmation (see `api.confirmation`); without any, that no fresh test set was asked.

    Parameters
    ----------
    changed : bool
        RCCs were edited since.
    """
    return filled("confirmation.html", confirmation=facts, changed=changed)


def probes_html(probes: Sequence[Probe]) -> Markup:
    """The clearest probe of a reason, and the others; empty without any."""
    return filled("probes.html", probes=_of_probes(probes)) if probes else Markup()


def changed_reasons(listed: Sequence[Reason], result: Retraining | None) -> Markup:
    """Each reason of a list with its rates before and after; those that are no reasons for failing are folded."""
    return filled("changed_reasons.html", **reason_changes(listed, result)) if result else Markup()


# The sections in order: key, which names the template, and title.
SECTIONS = (
    ("scope", "Scope and operating domain"), ("summary", "Summary"), ("reading", "How to read this report"),
    ("rccs", "Root cause clusters"), ("weak-spots", "Weak spots"), ("heatmaps", "Where the network looks"),
    ("confirmation", "On a fresh test set"), ("register", "Register"), ("noise", "Images in no cluster"),
    ("skipped", "Skipped images"), ("edits", "What was changed by hand"),
    ("unsafe-set", "The images to label (the unsafe set)"), ("retraining", "Retraining"),
    ("earlier", "Since the analysis before"), ("run", "How the clusters were found"), ("limits", "Limits"),
)  # fmt: skip

WITHOUT_CLUSTERS = ("scope", "weak-spots", "register", "earlier")
"""The sections that there are where failures were collected, but not grouped."""


def write_report(folder: Path) -> dict[str, Any]:
    """Write `report.html` for the run in a folder; what `summarize` gives.

    Raises
    ------
    SAFEError
        There are no clusters, one of the files is damaged, or the report cannot be written.
    """
    prepare_folder(folder)
    check_own(folder, REPORT_FILE)
    known = Analysis(folder)
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
    known = Analysis(folder)
    return _rendered(known, summarize(known))


def _rendered(known: Analysis, summary: Mapping[str, Any]) -> str:
    now, values = datetime.datetime.now().astimezone(), {**summary, **_drawings(known, summary)}
    found = datetime.datetime.fromisoformat(summary["found"]).astimezone(now.tzinfo) if summary["found"] else None
    keys = [key for key, _ in SECTIONS] if known.there else WITHOUT_CLUSTERS
    page = filled(
        "report.html", **values, now=now, found_at=found,
        first_page=filled("first_page.html", **values),
        sections=[(key, name, filled(f"{key}.html", **values)) for key, name in SECTIONS if key in keys],
    )  # fmt: skip
    # It goes to others, and the folder may be moved: of what lies in that, it says where in it.
    return page.replace(escaped(f"{known.folder}/"), "")
