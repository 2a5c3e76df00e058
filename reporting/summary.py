"""The report's first section: the numbers at a glance, a table of the RCCs and the map of their images."""

from collections import Counter

from dbscan.outcome import NOISE
from rccs.answers import commonest_confusion
from rccs.clusters import RootCauseClusters, headline, rccs_of
from rccs.confidence import confidence, is_changed, is_loose, loose_text, no_steady_groups_text, percent_down
from rccs.notes import title
from rccs.rates import Rate, by_excess
from reporting.drawn_map import drawn_map
from reporting.markup import badge, escaped, html_table, percent
from reporting.material import LOOSE, Material


def summary_section(known: Material) -> str:
    """The numbers at a glance, a row for each RCC, and the map."""
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
    common = {rcc: _common(known, rcc) for rcc in clusters.groups}
    per_rcc = Counter(image.rcc for image in known.unsafe.images) if known.unsafe else {}
    steady = ["Steadiness"] if clusters.steadiness and rccs else []
    for rcc in by_excess(clusters.groups, known.rates):
        size = int((clusters.labels == rcc).sum())
        selected = "–" if known.unsafe is None or rcc == NOISE else f"{per_rcc[rcc]:,}"
        name = known.review.notes[rcc].name if rcc in known.review.notes else ""
        described = "<br>".join(
            [
                *([f"<b>{escaped(name)}</b>"] if name else []),
                *(f"<span class='soft small'>{escaped(text)}</span>" for text in common[rcc]),
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
    about = "Name, and what its images have in common" if any(common.values()) else "Name"
    rate = ["Fails there"] if known.rates else []
    headers = ["RCC", about, "Images", "Share", *steady, *rate, "Judged", "To label"]
    drawn = "".join(f"<div class='tile'><b>{escaped(n)}</b><span>{escaped(what)}</span></div>" for n, what in tiles)
    nothing = f"<p class='warning'>{escaped(text)}</p>" if (text := no_steady_groups_text(clusters)) else ""
    first = f"<p class='lede'><b>{escaped(headline(clusters))}.</b></p>{nothing}<div class='tiles'>{drawn}</div>"
    return f"{first}{html_table(headers, rows, numbers=(2, 3, len(headers) - 1))}{drawn_map(known)}"


def _common(known: Material, rcc: int) -> list[str]:
    """What the images of a group have in common, and what most of an RCC's are taken for, as far as it is known."""
    confusion = commonest_confusion(known.clusters.answers_of(rcc)) if rcc != NOISE else ""
    return [text for text in (known.profiles.get(rcc, ""), confusion) if text]


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
