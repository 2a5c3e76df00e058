"""The sections of the report: functions from the material of a run to HTML."""

import datetime
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dbscan.outcome import NOISE
from rccs.answers import commonest_confusion
from rccs.clusters import RootCauseClusters, fingerprint, headline, rccs_of, sample, told_of
from rccs.confidence import (
    BOUND,
    confidence,
    confidence_text,
    consensus_text,
    is_changed,
    is_loose,
    loose_text,
    near_text,
    no_steady_groups,
    no_steady_groups_text,
    percent_down,
    place_text,
    why_unknown,
)
from rccs.image_map import load_map, map_points
from rccs.journal import describe_edit
from rccs.nearness import nearest_rccs, rcc_centres
from rccs.notes import title
from rccs.rates import Rate, by_excess
from rccs.review import Review
from rccs.spot_notes import SpotNote, notes_elsewhere
from rccs.unsafe_set import UnsafeSet
from reasons import Reasons
from reporting.confusions import confusions_html
from reporting.elbow import elbow_svg
from reporting.markup import badge, escaped, fact_list, html_table, more, path_text, percent
from selection import chosen_by_model
from support.run_folder import CLUSTERS_FILE, EDITS_FILE, RETRAINING_FILE, RUN_FILE, SPOT_NOTES_FILE
from support.text import count, display_name
from training.certainty import (
    Certainty,
    gain_text,
    in_words,
    interval_text,
    lost_in_words,
    p_text,
    right_intervals,
)
from training.comparison import Changed, Share
from training.repetitions import repetitions_text
from training.result import Retraining, certainty_of, certainty_of_classes
from training.settings import aim_of

AIM_TEXTS = {
    "balance": "balance of accuracy and of keeping what was right",
    "accuracy": "accuracy before keeping what was right",
    "keep": "keeping what was right before accuracy",
}
MOST_CARDS = 400  # RCCs with images; the others are in the table
MOST_ROWS = 200  # of skipped images and of edits
MOST_OVERLAPS = 5  # RCCs named with a weak spot
MOST_LISTED = 20  # images that retraining has changed
MOST_MAPPED = 4000  # points on the map
MOST_NUMBERED = 20  # RCCs on the map
# Distinguishable with colour blindness as well (Okabe and Ito, 2008); the last four are darker.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000", "#5b3f8c", "#005f4b", "#a33b20")
NOISE_COLOUR = "#8a94a0"
LOOSE = "<span class='verdict unclear'>loose</span>"


class Material(NamedTuple):
    """The material of a report.

    Attributes
    ----------
    folder : Path
    review : Review
    profiles : dict of int to str
        A sentence per RCC, if the images' parameters are known.
    profiles_missing : str
        Why the profiles could not be read; otherwise empty.
    reasons : Reasons
        Weak spots, and what rates are computed from; empty if the DNN's answers to its test set are not known.
    rates : dict of int to Rate
        By RCC; empty if nothing was compared.
    reasons_missing : str
        Why they could not be read; otherwise empty.
    spot_notes : dict of str to SpotNote
        By conditions; also on those that are not among the weak spots.
    spot_notes_missing : str
        Why they could not be read; otherwise empty.
    unsafe : UnsafeSet or None
        Of these clusters.
    unsafe_missing : str
        Why there is none.
    retraining : Retraining or None
    retraining_missing : str
        Why there is none.
    run : dict
        `run.json`.
    images : dict of str to str
        Data URIs by path, without images left out to keep the report small.
    """

    folder: Path
    review: Review
    profiles: dict[int, str]
    profiles_missing: str
    reasons: Reasons
    rates: dict[int, Rate]
    reasons_missing: str
    spot_notes: dict[str, SpotNote]
    spot_notes_missing: str
    unsafe: UnsafeSet | None
    unsafe_missing: str
    retraining: Retraining | None
    retraining_missing: str
    run: dict
    images: dict[str, str]

    @property
    def clusters(self) -> RootCauseClusters:
        """With the engineer's edits applied."""
        return self.review.clusters

    def verdict(self, rcc: int) -> str:
        """The engineer's verdict on an RCC; empty if there is none."""
        return self.review.notes[rcc].verdict if rcc in self.review.notes else ""


def subject(known: Material) -> str:
    """The subject of the report: the end of the image folder's path."""
    return "/".join(known.clusters.home.parts[-2:]).removeprefix("//") or os.fspath(known.clusters.home)


def head(known: Material, now: datetime.datetime) -> str:
    """Title, dates, and the folders of images and results."""
    clusters = known.clusters
    written = datetime.datetime.fromtimestamp((known.folder / CLUSTERS_FILE).stat().st_mtime, now.tzinfo)
    facts = fact_list(
        [
            ("Report written", escaped(now.strftime("%Y-%m-%d %H:%M %Z"))),
            ("Clusters found", escaped(written.strftime("%Y-%m-%d %H:%M %Z"))),
            ("Failing images", path_text(clusters.image_root)),
            ("Results", path_text(known.folder)),
            ("Fingerprint of the clusters", f"<code>{fingerprint(clusters)}</code>"),
        ]
    )
    return (
        "<header><p class='kicker'>SAFE · safety analysis of a DNN's failures</p>"
        f"<h1>Why the network fails: {escaped(subject(known))}</h1>"
        f"<p class='lede'>{count(len(clusters.paths), 'image')} on which an image-processing DNN fails, grouped by "
        "the reason for failing. The images of a group, a <em>root cause cluster</em> (RCC), look alike. Where this "
        "report says so, an engineer has judged them.</p>"
        f"{facts}</header>"
    )


def _summary(known: Material) -> str:
    clusters = known.clusters
    rccs = rccs_of(clusters)
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
        was, now = known.retraining.accuracy_before, known.retraining.accuracy_after
        retrained = " retraining" if known.retraining.after is None else ""
        tiles.append((f"{was:.1%} → {now:.1%}", f"test accuracy before and after{retrained}"))
    rows = []
    per_rcc = Counter(image.rcc for image in known.unsafe.images) if known.unsafe else {}
    steady = ["Steadiness"] if clusters.steadiness and rccs else []
    for rcc in by_excess(clusters.groups, known.rates):
        size = int((clusters.labels == rcc).sum())
        selected = "–" if known.unsafe is None or rcc == NOISE else f"{per_rcc[rcc]:,}"
        name = known.review.notes[rcc].name if rcc in known.review.notes else ""
        profile = known.profiles.get(rcc, "")
        described = "<br>".join(
            [
                *([f"<b>{escaped(name)}</b>"] if name else []),
                *([f"<span class='soft small'>{escaped(profile)}</span>"] if profile else []),
            ]
        )
        link = "noise" if rcc == NOISE else f"rcc-{rcc}"
        label = f"<a href='#{link}'>{escaped(title(rcc))}</a>"
        rows.append(
            [
                label,
                described,
                f"{size:,}",
                percent(size / len(clusters.paths)),
                *([_steady_cell(clusters, rcc)] if steady else []),
                *([_rate_cell(known.rates.get(rcc))] if known.rates else []),
                badge(known.verdict(rcc)),
                selected,
            ]
        )
    about = "Name, and what its images have in common" if known.profiles else "Name"
    rate = ["Fails there"] if known.rates else []
    headers = ["RCC", about, "Images", "Share", *steady, *rate, "Judged", "To label"]
    drawn = "".join(f"<div class='tile'><b>{escaped(n)}</b><span>{escaped(what)}</span></div>" for n, what in tiles)
    nothing = f"<p class='warning'>{escaped(text)}</p>" if (text := no_steady_groups_text(clusters)) else ""
    first = f"<p class='lede'><b>{escaped(headline(clusters))}.</b></p>{nothing}<div class='tiles'>{drawn}</div>"
    return f"{first}{html_table(headers, rows, numbers=(2, 3, len(headers) - 1))}{_map(known)}"


def _steady_cell(clusters: RootCauseClusters, rcc: int) -> str:
    """How steady an RCC is, in the table of RCCs."""
    share = confidence(clusters, rcc)
    if share is None:
        return "<span class='soft small'>changed</span>" if is_changed(clusters, rcc) else "–"
    return percent_down(share) + (f" {LOOSE}" if is_loose(clusters, rcc) else "")


def _rate_cell(rate: Rate | None) -> str:
    """A failure rate in the table of RCCs."""
    if rate is None or not rate.tested:
        return "–"
    words = {"more": "more often", "as often": "as often", "less": "less often", "too few": "too few"}
    return f"{rate.rate:.0%} <span class='soft small'>{words[rate.verdict]}</span>"


def _map(known: Material) -> str:
    """All images as points, similar images close together; laid out by PCA if no map is stored."""
    clusters = known.clusters
    stored = load_map(known.folder, clusters)
    xy = stored.xy if stored else map_points(clusters, method="pca")
    if len(xy) < 3:
        return ""
    colour = {rcc: COLOURS[i % len(COLOURS)] for i, rcc in enumerate(rccs_of(clusters))}
    colour[NOISE] = NOISE_COLOUR
    drawn = np.unique(np.linspace(0, len(xy) - 1, MOST_MAPPED).astype(int))
    width, height, edge = 720, 470, 14
    places = np.column_stack([edge + xy[:, 0] * (width - 2 * edge), edge + (1 - xy[:, 1]) * (height - 2 * edge)])
    places = _filled(places, width, height, edge)
    parts = []
    for rcc in reversed(clusters.groups):  # small RCCs last would be hidden by large ones
        rows = drawn[clusters.labels[drawn] == rcc]
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places[rows])
        parts.append(
            f"<path d='{dots}' stroke='{colour[rcc]}' stroke-width='5' stroke-linecap='round' stroke-opacity='.75' "
            "fill='none'/>"
        )
    for rcc in rccs_of(clusters)[:MOST_NUMBERED]:
        x, y = np.median(places[clusters.labels == rcc], axis=0)
        parts.append(
            f"<text x='{x:.0f}' y='{y:.0f}' text-anchor='middle' dominant-baseline='middle' font-size='15' "
            "font-weight='700' stroke='var(--paper)' stroke-width='4' paint-order='stroke' fill='currentColor'>"
            f"{rcc}</text>"
        )
    how = "UMAP" if stored and stored.method == "umap" else "the first two principal components"
    n_rccs = len(rccs_of(clusters))
    numbers = f"the numbers are the {MOST_NUMBERED} largest RCCs" if n_rccs > MOST_NUMBERED else "the numbers are RCCs"
    again = ", and colours are used more than once" if n_rccs > len(COLOURS) else ""
    fewer = f" {len(drawn):,} of the {len(xy):,} are drawn." if len(drawn) < len(xy) else ""
    return (
        f"<div class='figure'><svg viewBox='0 0 {width} {height}' role='img' style='width:100%;max-width:{width}px' "
        f"aria-label='Map of the failing images, coloured by RCC'>{''.join(parts)}</svg>"
        f"<p class='soft small'>Map of all failing images, laid out by {how}: similar images are close together; "
        f"{numbers}, grey means no cluster{again}.{fewer} Large distances mean little.</p></div>"
    )


def _filled(places: np.ndarray, width: int, height: int, edge: int) -> np.ndarray:
    """Points scaled to fill the drawing in both directions, except a direction without extent."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([width - 2 * edge, height - 2 * edge])
    extent = np.where(high > low, high - low, np.inf)
    return np.where(high > low, edge + (places - low) / extent * room, places)


def _reading(known: Material) -> str:
    judged = "Its name, note and verdict are the engineer's." if known.review.notes else "No RCC has been judged yet."
    measured = known.clusters.steadiness is not None
    steady = (
        "<li><b>Steadiness</b>: random parts of the failing images are clustered again and again. The figure is how "
        "often two images of the RCC are together then, in the clusterings in which both take part, on average over "
        f"its images. Below {BOUND} an RCC is <em>loose</em>: its images may not share one reason. Small RCCs are "
        "loose more easily, since a part may hold too few of their images. Steadiness is no failure rate, and does not "
        "prove that the images of an RCC share a reason.</li>"
        "<li>An image is <b>between</b> two RCCs if it is with the images of the other at least half as often as with "
        "those of its own.</li>"
    )
    return (
        "<ul>"
        "<li>An <b>RCC</b> is a set of failing images that look alike to a network trained on everyday images. What "
        "they have in common is a hypothesis of why the DNN fails: in the terms of ISO 21448 (SOTIF), a candidate for "
        f"a triggering condition that meets a functional insufficiency. {judged}</li>"
        "<li><b>Five images</b> of each RCC are shown, drawn at random (always the same). They are enough for most "
        "people to recognize the root cause; the animated GIFs in the results show all images.</li>"
        "<li><b>Judged</b> says whether failing for this reason is a hazard in the intended use: <em>unsafe</em>, "
        "<em>safe</em>, <em>unclear</em>, or not judged.</li>"
        "<li>If the images' <b>parameters</b> are known, a line names those that vary much less within the RCC than "
        "among all failing images: the range of the middle 90% of its images and, in brackets, of all failures.</li>"
        "<li>If the network's answers to its whole test set are known, an RCC has a <b>failure rate</b>: of all tested "
        "images that look like those of the RCC, the share that the network gets wrong, with a 95% interval. Images "
        "that look alike are a reason for failing only if the network fails on them more often than elsewhere "
        "(Fisher's exact test, corrected for the number of RCCs).</li>"
        + (steady if measured else "")
        + "<li><b>Most like</b> are the RCCs whose centres are closest, the closest first; they may have the same root "
        "cause.</li>"
        "<li>The <b>images to label</b> (the unsafe set) are the new images most like the RCCs' core images; the DNN "
        "is retrained with them.</li>"
        "</ul>"
        "<p>The report supports the identification and evaluation of functional insufficiencies and triggering "
        "conditions (ISO 21448:2022, clause 7) and records the retraining as a functional modification (clause 8). It "
        "is evidence for a safety case, not an assessment: see the limits at its end.</p>"
    )


def _cards(known: Material) -> str:
    rccs = by_excess(rccs_of(known.clusters), known.rates)
    if not rccs:
        none = no_steady_groups_text(known.clusters) or "There are none: all failing images are in no cluster."
        return f"<p>{escaped(none)}</p>"
    centres = rcc_centres(known.clusters)
    cards = "".join(_card(known, rcc, centres) for rcc in rccs[:MOST_CARDS])
    rest = len(rccs) - MOST_CARDS
    problem = f"<p class='warning'>{escaped(known.profiles_missing)}</p>" if known.profiles_missing else ""
    fewer = f"<p class='warning'>Only in the table above: the smallest {count(rest, 'RCC')}.</p>" if rest > 0 else ""
    return problem + cards + fewer


def _card(known: Material, rcc: int, centres: Mapping[int, np.ndarray]) -> str:
    clusters = known.clusters
    size = int((clusters.labels == rcc).sum())
    share = size / len(clusters.paths)
    note = known.review.notes.get(rcc)
    alike = ", ".join(
        f"<a href='#rcc-{other}'>{escaped(title(other, known.review.notes))}</a>"
        for other, _ in nearest_rccs(clusters, rcc, centres=centres)
    )
    confusion = commonest_confusion(clusters.answers_of(rcc))
    detector = clusters.answers is not None and clusters.answers.detector
    near = near_text(clusters, rcc)
    facts = [
        ("Steadiness", escaped(confidence_text(clusters, rcc)) + (f"; {escaped(near)}" if near else "")),
        ("Failure rate", escaped(known.reasons.text_of(clusters, rcc, known.rates))),
        (
            "Missed or false" if detector else "Taken for",
            escaped(f"{confusion[0].lower()}{confusion[1:]}" if confusion else ""),
        ),
        ("Parameters", escaped(known.profiles.get(rcc, ""))),
        ("Most like", alike),
    ]
    if known.unsafe and known.unsafe.candidates[rcc : rcc + 1]:
        selected = sum(image.rcc == rcc for image in known.unsafe.images)
        left = " (left out by the engineer)" if rcc in known.unsafe.left_out else ""
        facts.append(("Images to label", f"{selected:,} of {count(known.unsafe.candidates[rcc], 'candidate')}{left}"))
    return (
        f"<article class='card' id='rcc-{rcc}'><header><h3>{escaped(title(rcc, known.review.notes))}</h3>"
        f"<span>{f'{LOOSE} ' if is_loose(clusters, rcc) else ''}{badge(known.verdict(rcc))}</span></header>"
        f"<p class='size'>{count(size, 'image')} · {percent(share)} of all failing images · "
        f"{count(int(clusters.is_core[clusters.labels == rcc].sum()), 'core image')}</p>"
        f"<div class='bar'><i style='width:{100 * share:.1f}%'></i></div>"
        + (f"<p class='note'>{escaped(note.note)}</p>" if note and note.note else "")
        + _five(known, rcc)
        + fact_list(facts)
        + "</article>"
    )


def _five(known: Material, rcc: int) -> str:
    paths, told = sample(known.clusters, rcc), told_of(known.clusters, rcc)
    row_of = {known.clusters.paths[row]: row for row in np.flatnonzero(known.clusters.labels == rcc).tolist()}
    figures = "".join(
        f"<figure><img alt='{escaped(display_name(path))}' src='{known.images[path]}'>"
        f"<figcaption>{escaped(display_name(path, longest=32))}{_told(told.get(path))}"
        f"{_between(place_text(known.clusters, row_of[path]))}</figcaption></figure>"
        for path in paths
        if path in known.images
    )
    if not figures:
        return "<p class='soft small'>Its images are left out to keep this report small; they are in its GIF.</p>"
    return f"<div class='five'>{figures}</div>"


def _between(text: str) -> str:
    return f"<br>{escaped(text)}" if text else ""


def _told(told: str | None) -> str:
    return f"<br><b>{escaped(told)}</b>" if told else ""


def _weak_spots(known: Material) -> str:
    reasons = known.reasons
    if known.reasons_missing:
        return f"<p class='warning'>{escaped(known.reasons_missing)}</p>"
    if not reasons.base:
        return (
            "<p>Not searched for: the network's answers to its whole test set are not known. <code>failures</code> "
            "writes them to <code>predictions.csv</code>.</p>"
        )
    if not reasons.spots:
        none = "<p>None: no condition on what is known of the test images stands out beyond chance.</p>"
        return none + _noted_elsewhere(known)
    rows = []
    for rank, spot in enumerate(reasons.spots, start=1):
        rccs = ", ".join(
            f"<a href='#rcc-{rcc}'>{escaped(title(rcc, known.review.notes))}</a> ({n:,})"
            for rcc, n in reasons.overlaps(known.clusters, rank - 1)[:MOST_OVERLAPS]
        )
        note = known.spot_notes.get(spot.conditions, SpotNote(spot.conditions, ""))
        rows.append(
            [
                str(rank),
                _named(spot.where, note),
                f"{spot.wrong:,} of {spot.tested:,}",
                f"{spot.rate:.0%} ({100 * spot.low:.0f}–{spot.high:.0%})",
                f"{spot.elsewhere:.0%}",
                badge(note.verdict),
                rccs,
            ]
        )
    notes = " ".join(reasons.comparison.notes) if reasons.comparison else ""
    headers = ["", "Condition", "Wrong", "Rate", "Elsewhere", "Judged", "Failing images in"]
    return (
        "<p>Conditions on what is known of the test images under which the network fails more often than elsewhere; of "
        f"all test images, {percent(reasons.base)} are wrong. They are found in the whole test set, right and wrong, "
        "and each is significant after correction for all conditions that were tried. The interval is that of a rate, "
        "and not corrected for the search.</p>"
        + (f"<p class='warning'>{escaped(known.spot_notes_missing)}</p>" if known.spot_notes_missing else "")
        + html_table(headers, rows, numbers=(0, 2, 3, 4))
        + (f"<p class='soft small'>{escaped(notes)}</p>" if notes else "")
        + _noted_elsewhere(known)
    )


def _named(where: str, note: SpotNote) -> str:
    """A condition with the engineer's name for it and note."""
    name = f"<br>{escaped(note.name)}" if note.name else ""
    return f"<b>{escaped(where)}</b>{name}" + (f"<p class='note'>{escaped(note.note)}</p>" if note.note else "")


def _noted_elsewhere(known: Material) -> str:
    """A line on notes that belong to no weak spot of this run."""
    n = notes_elsewhere(known.spot_notes, (spot.conditions for spot in known.reasons.spots))
    if not n:
        return ""
    return (
        f"<p class='soft small'>{count(n, 'note')} on conditions that are not among these weak spots: see "
        f"{SPOT_NOTES_FILE}.</p>"
    )


def _noise(known: Material) -> str:
    clusters = known.clusters
    noise = clusters.members(NOISE)
    if not noise:
        return "<p>Every failing image is in an RCC.</p>"
    note = known.review.notes.get(NOISE)
    if no_steady_groups(clusters):
        why = "No group of them is steady (see Summary). They have to be inspected one by one."
    else:
        near = confidence_text(clusters, NOISE)
        why = (
            "Too few images look like these to form a cluster: the network fails on each of them for an individual or "
            f"rare reason. {f'{near}. ' if near else ''}Statements about RCCs do not cover them; they have to be "
            "inspected one by one."
        )
    return (
        f"<article class='card'><p><b>{count(len(noise), 'image')}</b>, {percent(clusters.noise_share)} of all failing "
        f"images. {why}</p>"
        + (f"<p class='note'>{escaped(note.note)}</p>" if note and note.note else "")
        + f"{_five(known, NOISE)}</article>"
    )


def _skipped(known: Material) -> str:
    skipped = known.clusters.skipped
    if not skipped:
        return "<p>None: all images were used.</p>"
    rows = [[path_text(path), escaped(reason)] for path, reason in skipped[:MOST_ROWS]]
    return (
        f"<p>{count(len(skipped), 'file')} could not be used and are in no RCC.</p>"
        f"{html_table(['Image', 'Reason'], rows)}{more(len(skipped), len(rows), RUN_FILE)}"
    )


def _edits(known: Material) -> str:
    edits = known.review.edits
    if not edits:
        return "<p>Nothing: the RCCs are as they were found.</p>"
    rows = [
        [escaped(edit.time.replace("T", " ").replace("+00:00", " UTC")), escaped(describe_edit(edit, edits))]
        for edit in edits[-MOST_ROWS:]
    ]
    found = len(rccs_of(known.review.original))
    changed = int((known.review.original.labels != known.clusters.labels).sum())
    return (
        f"<p>The clustering found {count(found, 'RCC')}; after the edits there are "
        f"{len(rccs_of(known.clusters)):,}, and {count(changed, 'image')} changed cluster. All edits are recorded, "
        f"including undone ones.</p>{html_table(['Time', 'Edit'], rows)}"
        f"{more(len(edits), len(rows), EDITS_FILE)}"
    )


def _unsafe_set(known: Material) -> str:
    unsafe = known.unsafe
    if unsafe is None:
        return f"<p class='warning'>{escaped(known.unsafe_missing)}</p>"
    rows = []
    for rcc in rccs_of(known.clusters):
        images = [image for image in unsafe.images if image.rcc == rcc]
        candidates = unsafe.candidates[rcc] if rcc < len(unsafe.candidates) else 0
        rows.append(
            [
                escaped(title(rcc, known.review.notes)) + (" (left out)" if rcc in unsafe.left_out else ""),
                f"{candidates:,}",
                f"{len(images):,}",
                f"{sum(image.within_eps for image in images):,}",
                f"{sum(bool(image.label) for image in images):,}",
            ]
        )
    labelled = sum(bool(image.label) for image in unsafe.images)
    by_size = unsafe.quota == "size"
    share = "in proportion to its failing images" if by_size else "the same number for each RCC"
    facts = fact_list(
        [
            (
                "Improvement set",
                f"{path_text(unsafe.improvement_root)}, {count(unsafe.n_improvement, 'readable image')}",
            ),
            ("Size", escaped(unsafe.formula)),
            ("Chosen with", path_text(Path(unsafe.model)) if unsafe.model else ""),
            (
                "Selected",
                f"{len(unsafe.images):,}"
                + (f" of {unsafe.wanted:,} wanted: all candidates" if len(unsafe.images) < unsafe.wanted else ""),
            ),
            ("Labelled", f"{labelled:,}"),
            ("Skipped", f"{len(unsafe.skipped):,}" if unsafe.skipped else ""),
            ("Left out", escaped(", ".join(title(rcc, known.review.notes) for rcc in unsafe.left_out))),
        ]
    )
    return (
        "<p>Every improvement image is a candidate of the RCC of its nearest core image. From each RCC's candidates, "
        f"the nearest are selected, {share}, as far as it has candidates. {escaped(chosen_by_model(unsafe))} "
        "<em>Within reach</em>: as near to a core image as the RCC's own images.</p>"
        + facts
        + html_table(["RCC", "Candidates", "Selected", "Within reach", "Labelled"], rows, numbers=(1, 2, 3, 4))
    )


def _retraining(known: Material) -> str:
    result = known.retraining
    if result is None:
        return f"<p class='warning'>{escaped(known.retraining_missing)}</p>"
    was, now = result.accuracy_before, result.accuracy_after
    sure = certainty_of(result)
    facts = fact_list(
        [
            *_sources(result),
            ("Test set", f"{path_text(result.test_root)}, {count(result.test_size, 'image')}"),
            ("Test accuracy before", percent(was)),
            ("Test accuracy after", f"<b>{percent(now)}</b> ({100 * (now - was):+.1f} percentage points)"),
            ("How sure", escaped(in_words(sure)) if sure else ""),
            ("Improved", f"{count(len(result.improved), 'image')} that the network got wrong before"),
            ("Worsened", f"{count(len(result.worsened), 'image')} that the network got right before"),
            ("Lost", escaped(lost_in_words(sure)) if sure else ""),
            *_training(result),
            ("Failure", f"an error above {result.threshold:g}" if result.threshold is not None else ""),
            ("Skipped", count(len(result.skipped), "image") if result.skipped else ""),
        ]
    )
    assumed = "".join(f"<li>{escaped(assumption)}</li>" for assumption in result.assumptions)
    # Older files do not name their clusters: the numbers and sizes of the RCCs show whether they are these.
    sizes = {str(rcc): int((known.clusters.labels == rcc).sum()) for rcc in known.clusters.groups}
    ours = all(share.images <= sizes.get(share.name, -1) for share in result.per_rcc)
    per_rcc = _shares("RCC", result.per_rcc, "Failing images of each RCC that were found in the test set")
    return (
        facts
        + (f"<h4>What was assumed</h4><ul>{assumed}</ul>" if assumed else "")
        + (per_rcc if ours else "<p class='warning'>The shares per RCC are for other clusters and left out.</p>")
        + _shares("Class", result.per_class, "Test images of each class")
        + _classes(result.per_class, certainty_of_classes(result))
        + confusions_html(result)
        + _trade_off(result)
        + _changes("Worsened: right before, wrong now", result.worsened)
        + _changes("Improved: wrong before, right now", result.improved)
    )


def _sources(result: Retraining) -> list[tuple[str, str]]:
    """What was compared: a model and its retraining, or the answers of two networks."""
    if result.after is not None:
        return [
            ("Compared by", "tables of the answers of two networks, taken as they are; SAFE has trained neither"),
            ("Answers before", path_text(result.model)),
            ("Answers after", path_text(result.after)),
        ]
    images = f"{count(result.train_size, 'training image')} and {count(result.unsafe_size, 'unsafe image')}"
    return [("Model given", path_text(result.model)), ("Trained with", images)]


def _training(result: Retraining) -> list[tuple[str, str]]:
    """How the model was trained; nothing if SAFE has not trained one."""
    if result.settings is None:
        return []
    epochs = len(result.history) - 1
    return [
        ("Aim", AIM_TEXTS.get(aim_of(result.settings), "")),
        ("Training", escaped(f"{count(epochs, 'epoch')}; epoch {result.best} was kept")),
        ("Seeds", escaped(repetitions_text(result.repetitions, result.seed))),
        ("Stopped", escaped(result.stopped)),
        ("Settings", escaped(", ".join(f"{name} {value:g}" for name, value in result.settings._asdict().items()))),
    ]


def _shares(group: str, shares: tuple[Share, ...], caption: str) -> str:
    if not shares:
        return ""
    rows = [
        [
            escaped(title(int(share.name)) if group == "RCC" and share.name.lstrip("-").isdigit() else share.name),
            f"{share.images:,}",
            f"{share.before:,}",
            f"{share.after:,}",
            percent(share.after / share.images) if share.images else "–",
            f"{percent(low)} to {percent(high)}" if share.images else "–",
        ]
        for share, (low, high) in zip(shares, right_intervals(shares), strict=True)
    ]
    headers = [group, "Images", "Right before", "Right after", "Share after", "95% interval"]
    return html_table(headers, rows, caption=caption, numbers=range(1, 6))


def _trade_off(result: Retraining) -> str:
    """What would be right and worsened if the original network had a share in the answers."""
    if not result.trade_off or result.settings is None:
        return ""
    mine = result.settings.original_share
    rows = [
        [
            f"{one.share:.0%}{' (this model)' if one.share == mine else ''}",
            percent(one.right / result.test_size),
            f"{one.worsened:,}",
        ]
        for one in result.trade_off
    ]
    caption = "Both networks answering together, by the share of the original one"
    return html_table(["Share", "Test accuracy", "Worsened"], rows, caption=caption, numbers=(1, 2))


def _classes(shares: tuple[Share, ...], sure: list[Certainty]) -> str:
    """The difference for each class in which an image changed, with how sure it is."""
    changed = [
        (share, one) for share, one in zip(shares, sure, strict=bool(sure)) if one.counts.improved + one.counts.worsened
    ]
    rows = [
        [
            escaped(share.name),
            f"{one.counts.improved:,}",
            f"{one.counts.worsened:,}",
            f"{gain_text(one)} ({interval_text(one)})",
            p_text(one.p),
            one.verdict,
        ]
        for share, one in changed
    ]
    if not rows:
        return ""
    headers = ["Class", "Improved", "Worsened", "Points", "McNemar", "Verdict"]
    caption = (
        "Classes in which an image changed. Each interval is for the class by itself; p and verdict are corrected for "
        "the number of classes (Holm), so that with a probability of 95% none is called better or worse by chance"
    )
    return html_table(headers, rows, caption=caption, numbers=range(1, 5))


def _changes(what: str, images: tuple[Changed, ...]) -> str:
    if not images:
        return ""
    rows = [
        [path_text(image.image), *(escaped(value) for value in (image.label, image.before, image.after))]
        for image in images[:MOST_LISTED]
    ]
    table = html_table(["Image", "Class", "Predicted before", "Predicted after"], rows, caption=what)
    return table + more(len(images), len(rows), RETRAINING_FILE)


def _run(known: Material) -> str:
    clusters = known.review.original
    versions = known.run.get("versions")
    facts = fact_list(
        [
            ("Features", escaped(clusters.extractor) + (f": {escaped(clusters.notice)}" if clusters.notice else "")),
            ("Identity of the features", f"<code>{escaped(clusters.extractor_identity)}</code>"),
            (
                "Reduced by",
                f"PCA to {clusters.points.shape[1]} components"
                + (", then UMAP" if clusters.reducer == "umap" else ", then neighbour averaging"),
            ),
            (
                "DBSCAN",
                f"eps {clusters.eps:.4g}, min_samples {clusters.min_samples}"
                if clusters.settings
                else "nothing to tune: too few images, or all of them alike",
            ),
            ("Found", f"{count(len(rccs_of(clusters)), 'RCC')}, {percent(clusters.noise_share)} in no cluster"),
            (
                "Versions",
                escaped(", ".join(f"{name} {version}" for name, version in versions.items() if version))
                if isinstance(versions, dict)
                else "",
            ),
        ]
    )
    best = sorted(clusters.settings, key=lambda setting: -setting.score)[:10]
    rows = [
        [
            f"{s.eps:.4f}" + (" (knee)" if s.at_knee else ""),
            str(s.min_samples),
            f"{s.n_rccs:,}",
            percent(s.noise),
            percent(s.largest),
            f"{s.silhouette:.3f}",
            f"{s.score:.3f}",
        ]
        for s in best
    ]
    tried = (
        html_table(
            ["eps", "min_samples", "RCCs", "In no cluster", "Largest RCC", "Silhouette", "Score"],
            rows,
            caption=f"The best {len(best)} of {count(len(clusters.settings), 'setting')} tried; the first was used"
            + (" for all images" if clusters.steadiness else ""),
            numbers=range(7),
        )
        if rows
        else ""
    )
    curve = elbow_svg(clusters)
    what = f"Sorted distances of the images to neighbour number {clusters.min_samples}, with the knee and the eps used."
    agreed = consensus_text(clusters) or why_unknown(clusters, known.run)
    agreed = f"<p>{escaped(agreed)}</p>" if agreed else ""
    figure = f"<div class='figure'>{curve}<p class='soft small'>{what}</p></div>" if curve else ""
    return f"{facts}{agreed}{tried}{figure}"


def _limits(known: Material) -> str:
    return (
        "<ul>"
        "<li>The RCCs contain only the failing images that were given. Failures that do not occur in the test set are "
        "missing; the completeness of the test set has to be argued elsewhere.</li>"
        "<li>Images are grouped by what a network trained on everyday images responds to: texture, colour, shape, "
        "blur, darkness. Two causes that look alike may share an RCC, and one cause may be spread over several.</li>"
        "<li>That the images of an RCC have something in common does not prove that this makes the network fail. The "
        "profiles and the retraining are evidence for or against it.</li>"
        f"<li>{count(int((known.clusters.labels == NOISE).sum()), 'image')} in no cluster and "
        f"{count(len(known.clusters.skipped), 'skipped file')} are covered by no RCC.</li>"
        "<li>Names and verdicts are an engineer's judgement, based on samples.</li>"
        "<li>The authors of the method give no formula for the size of the unsafe set; SAFE's is in the README.</li>"
        "</ul>"
        "<p class='small soft'>Method: Attaoui, Pastore, Briand, “SAFE: Safety Analysis and Retraining of DNNs”, "
        "ICSE-Companion 2024, doi 10.1145/3639478.3640028; Attaoui, Fahmy, Pastore, Briand, ACM TOSEM 32(3):79, 2023, "
        "doi 10.1145/3550271.</p>"
    )


def _sign_off(known: Material) -> str:
    rows = [[role, "", "", ""] for role in ("Analysed by", "Reviewed by")]
    return f"<div class='sign'>{html_table(['Role', 'Name', 'Date', 'Signature'], rows)}</div>"


# The sections in order: key, title, and the function that writes it.
SECTIONS = (
    ("summary", "Summary", _summary),
    ("reading", "How to read this report", _reading),
    ("rccs", "Root cause clusters", _cards),
    ("weak-spots", "Weak spots", _weak_spots),
    ("noise", "Images in no cluster", _noise),
    ("skipped", "Skipped images", _skipped),
    ("edits", "What was changed by hand", _edits),
    ("unsafe-set", "The images to label (the unsafe set)", _unsafe_set),
    ("retraining", "Retraining", _retraining),
    ("run", "How the clusters were found", _run),
    ("limits", "Limits", _limits),
    ("sign-off", "Sign-off", _sign_off),
)
