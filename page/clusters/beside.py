"""Two runs beside each other, as HTML: a column for each, with its name and date; RCCs that are alike share a row."""

from collections.abc import Sequence

from rccs.clusters import rccs_of
from rccs.review.notes import title
from reporting.history import Comparison, Listed
from reporting.markup import escaped
from reporting.side_by_side import Match, Side, judged, matches
from support.text import count

NOTHING = "–"


def run_title(run: Listed) -> str:
    """Name and date of a run, as text."""
    return f"{run.time:%Y-%m-%d %H:%M:%S}" + (" (present)" if run.current else "")


def beside_html(a: Side, b: Side, found: Comparison) -> str:
    """What two runs have found, and the models that they led to."""
    heads = "".join(
        f"<th scope='col'>{escaped(run_title(side.run))}<small>{escaped(side.clusters.image_root.name)}</small></th>"
        for side in (a, b)
    )
    whole = "".join(
        f"<tr><th scope='row'>{name}</th>{_cells(cells)}</tr>"
        for name, cells in _facts(a, b)
        if any(cell != NOTHING for cell in cells)
    )
    rows = "".join(_row(a, b, match) for match in matches(a.clusters, b.clusters, found))
    rccs = (
        f"<table class='safe-beside'><thead><tr><th scope='col'>Images in common</th>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        if rows
        else ""
    )
    return (
        "<div class='safe-beside-scroll' role='region' tabindex='0' aria-label='Two runs beside each other'>"
        f"<table class='safe-beside'><thead><tr><td></td>{heads}</tr></thead><tbody>{whole}</tbody></table>{rccs}</div>"
    )


def _facts(a: Side, b: Side) -> list[tuple[str, list[str]]]:
    sides = (a, b)
    accuracies = [side.accuracy for side in sides]
    return [
        ("Failing images", [f"{len(side.clusters.paths):,}" for side in sides]),
        ("Root cause clusters", [f"{len(rccs_of(side.clusters)):,}" for side in sides]),
        ("Images in no cluster", [f"{side.run.noise:,}" for side in sides]),
        ("Judged", [f"{judged(side)} of {len(rccs_of(side.clusters))}" for side in sides]),
        ("Features reduced by", [side.run.reducer.upper() for side in sides]),
        ("Wrong, of all test images", [f"{side.base:.1%}" if side.base else NOTHING for side in sides]),
        ("Accuracy before retraining", [_interval(*found[0]) if found else NOTHING for found in accuracies]),
        ("Accuracy after retraining", [_interval(*found[1]) if found else NOTHING for found in accuracies]),
        (
            "Tested on",
            [count(side.retraining.test_size, "image") if side.retraining else NOTHING for side in sides],
        ),
    ]


def _row(a: Side, b: Side, match: Match) -> str:
    in_common = f"{match.images:,} <small>{match.share:.0%} of both</small>" if match.images else NOTHING
    cells = "".join(f"<td>{_rcc(side, rcc)}</td>" for side, rcc in ((a, match.a), (b, match.b)))
    return f"<tr><th scope='row'>{in_common}</th>{cells}</tr>"


def _rcc(side: Side, rcc: int | None) -> str:
    """An RCC as its run has it, with the verdict and the name that it was given there."""
    if rcc is None:
        return NOTHING
    notes = side.review.notes
    facts = [count(len(side.clusters.members(rcc)), "image")]
    if (rate := side.rates.get(rcc)) and rate.tested:
        facts.append(f"wrong: {_interval(rate.rate, rate.low, rate.high)}")
    facts.append(notes[rcc].verdict if rcc in notes and notes[rcc].verdict else "not judged")
    return f"<b>{escaped(title(rcc, notes))}</b><small>{escaped(' · '.join(facts))}</small>"


def _interval(share: float, low: float, high: float) -> str:
    return f"{share:.1%} (95% interval {100 * low:.1f}–{high:.1%})"


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"<td>{escaped(cell)}</td>" for cell in cells)
