"""The report's cards: each RCC with five of its images, and the images in no cluster."""

from collections.abc import Mapping

import numpy as np

from dbscan.outcome import NOISE
from rccs.answers import commonest_confusion
from rccs.clusters import rccs_of, sample, told_of
from rccs.confidence import confidence_text, is_loose, near_text, no_steady_groups, no_steady_groups_text, place_text
from rccs.nearness import nearest_rccs, rcc_centres
from rccs.review.notes import title
from rccs.spots.rates import by_excess
from reporting.markup import badge, escaped, fact_list, percent, warning
from reporting.material import LOOSE, Material
from support.text import count, display_name

MOST_CARDS = 400  # RCCs with images; the others are in the table


def rccs_section(known: Material) -> str:
    """A card for each RCC, those on which the network fails most beyond the average first, as far as there is room."""
    rccs = by_excess(rccs_of(known.clusters), known.rates)
    if not rccs:
        none = no_steady_groups_text(known.clusters) or "There are none: all failing images are in no cluster."
        return f"<p>{escaped(none)}</p>"
    centres = rcc_centres(known.clusters)
    cards = "".join(_card(known, rcc, centres) for rcc in rccs[:MOST_CARDS])
    rest = len(rccs) - MOST_CARDS
    fewer = warning(f"Only in the table above: the smallest {count(rest, 'RCC')}." if rest > 0 else "")
    return warning(known.missing.get("profiles", "")) + cards + fewer


def _card(known: Material, rcc: int, centres: Mapping[int, np.ndarray]) -> str:
    clusters = known.clusters
    size = int((clusters.labels == rcc).sum())
    share = size / len(clusters.paths)
    alike = ", ".join(
        f"<a href='#rcc-{other}'>{escaped(title(other, known.review.notes))}</a>"
        for other, _ in nearest_rccs(clusters, rcc, centres=centres)
    )
    confusion = commonest_confusion(clusters.answers_of(rcc))
    detector = clusters.answers is not None and clusters.answers.detector
    near = near_text(clusters, rcc)
    taken = escaped(f"{confusion[0].lower()}{confusion[1:]}" if confusion else "")
    facts = [
        ("Steadiness", escaped(confidence_text(clusters, rcc)) + (f"; {escaped(near)}" if near else "")),
        ("Failure rate", escaped(known.reasons.text_of(clusters, rcc, known.rates))),
        ("Missed or false" if detector else "Taken for", taken),
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
        + _note(known, rcc)
        + _five(known, rcc)
        + fact_list(facts)
        + "</article>"
    )


def _five(known: Material, rcc: int) -> str:
    paths, told = sample(known.clusters, rcc), told_of(known.clusters, rcc)
    row_of = {known.clusters.paths[row]: row for row in np.flatnonzero(known.clusters.labels == rcc).tolist()}
    figures = "".join(
        f"<figure><img alt='{escaped(display_name(path))}' src='{known.images[path]}'>"
        f"<figcaption>{escaped(display_name(path, longest=32))}{_line(told.get(path), 'b')}"
        f"{_line(place_text(known.clusters, row_of[path]))}</figcaption></figure>"
        for path in paths
        if path in known.images
    )
    if not figures:
        return "<p class='soft small'>Its images are left out to keep this report small; they are in its GIF.</p>"
    return f"<div class='five'>{figures}</div>"


def _line(text: str | None, tag: str = "span") -> str:
    return f"<br><{tag}>{escaped(text)}</{tag}>" if text else ""


def _note(known: Material, rcc: int) -> str:
    note = known.review.notes.get(rcc)
    return f"<p class='note'>{escaped(note.note)}</p>" if note and note.note else ""


def noise_section(known: Material) -> str:
    """The images in no cluster, and why they are in none."""
    clusters = known.clusters
    noise = clusters.members(NOISE)
    if not noise:
        return "<p>Every failing image is in an RCC.</p>"
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
        f"images. {why}</p>" + f"{_note(known, NOISE)}{_five(known, NOISE)}</article>"
    )
