"""Plots of a retraining, as SVG in the colour of the text around them: learning curves, RCCs before and after."""

import html
import math
from collections.abc import Mapping, Sequence

from dbscan.outcome import NOISE
from rccs.notes import RccNote, title
from support.text import count, printable
from training.certainty import right_intervals
from training.comparison import Share
from training.finetuning import Epoch

WIDTH, LEFT, BOTTOM = 560, 46, 34
BEFORE, AFTER = "#7b8aa2", "#0d9488"  # contrast of at least 3 : 1 on a light and a dark background (WCAG AA)
MOST_BARS = 40


def learning_curves(history: Sequence[Epoch], epochs: int, *, best: int | None = None) -> str:
    """Accuracy on the held-out training images and on the unsafe images, by epoch.

    Parameters
    ----------
    history : sequence of Epoch
        Epoch 0 is the model before training.
    epochs : int
        Where the axis ends.
    best : int, optional
        The epoch that was kept.
    """
    if not history:
        return ""
    height = 250
    lowest = min(value for epoch in history for value in (epoch.validation, epoch.unsafe) if math.isfinite(value))
    bottom = math.floor(max(lowest - 0.02, 0) * 10) / 10

    def x(epoch: float) -> float:
        return LEFT + epoch / max(epochs, 1) * (WIDTH - LEFT - 110)

    def y(share: float) -> float:
        return 12 + (1 - share) / max(1 - bottom, 1e-9) * (height - BOTTOM - 12)

    parts = []
    for tick in range(round(bottom * 10), 11):
        parts.append(
            f"<path d='M{LEFT} {y(tick / 10):.1f}H{x(epochs):.1f}' stroke='currentColor' stroke-opacity='.15'/>"
            f"<text x='{LEFT - 6}' y='{y(tick / 10) + 4:.1f}' text-anchor='end'>{tick * 10}%</text>"
        )
    for epoch in range(0, epochs + 1, max(1, -(-epochs // 10))):
        parts.append(f"<text x='{x(epoch):.1f}' y='{height - 12}' text-anchor='middle'>{epoch}</text>")
    if best is not None:
        parts.append(
            f"<path d='M{x(best):.1f} 12V{height - BOTTOM}' stroke='currentColor' stroke-dasharray='4 4'/>"
            f"<text x='{x(best) + 5:.1f}' y='{height - BOTTOM - 6}'>kept</text>"
        )
    names: list[float] = []
    for name, values, colour in (
        ("held out", [epoch.validation for epoch in history], BEFORE),
        ("unsafe set", [epoch.unsafe for epoch in history], AFTER),
    ):
        known = [(epoch.epoch, value) for epoch, value in zip(history, values, strict=True) if math.isfinite(value)]
        line = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in known)
        parts.append(f"<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='2.5'/>")
        parts += [f"<circle cx='{x(epoch):.1f}' cy='{y(value):.1f}' r='3' fill='{colour}'/>" for epoch, value in known]
        if known:
            at = y(known[-1][1]) + 4
            at = at if not names or abs(at - names[-1]) > 14 else names[-1] + 14  # so that the names do not overlap
            names.append(at)
            parts.append(f"<text x='{x(known[-1][0]) + 8:.1f}' y='{at:.1f}'>{name}</text>")
    label = "Accuracy by epoch on held-out training images and on the unsafe set"
    return _svg(height, label, parts)


def shares_right(shares: Sequence[Share], notes: Mapping[int, RccNote]) -> str:
    """The share of each RCC's images that are right after the retraining, and before it (0 for failing images).

    Those of which most are still wrong come first; the names lead to the RCCs. A thin line is the 95 % interval of the
    share after it.
    """
    there = sorted((share for share in shares if share.images), key=_still_wrong)
    drawn = there[:MOST_BARS]
    if not drawn:
        return ""
    names = [printable(title(int(share.name), notes)) for share in drawn]
    names = [name if len(name) <= 28 else name[:27] + "…" for name in names]
    row, left = 24, 14 + 7 * max(len(name) for name in names)
    height = len(drawn) * row + 30
    wide = WIDTH - left - 80
    parts = []
    for i, (share, name, (low, high)) in enumerate(zip(drawn, names, right_intervals(drawn), strict=True)):
        top = 8 + i * row
        start, end = left + wide * low, left + wide * high
        after, before = share.after / share.images, share.before / share.images
        parts.append(
            f"<a href='#rcc={int(share.name)}'><title>Show its images</title>"
            f"<text x='{left - 8}' y='{top + 13}' text-anchor='end'>{html.escape(name)}</text></a>"
            f"<rect x='{left}' y='{top}' width='{wide}' height='17' fill='currentColor' fill-opacity='.10' rx='3'/>"
            f"<rect x='{left}' y='{top}' width='{wide * after:.1f}' height='17' fill='{AFTER}' rx='3'/>"
            f"<rect x='{left}' y='{top}' width='{wide * before:.1f}' height='17' fill='{BEFORE}' rx='3'/>"
            f"<path class='whisker' d='M{start:.1f} {top + 8.5}H{end:.1f}m0 -3.5v7M{start:.1f} {top + 5}v7' "
            f"stroke='currentColor' stroke-width='1.5'><title>95% interval {low:.0%} to {high:.0%}</title></path>"
            f"<text x='{left + wide + 6}' y='{top + 13}'>{share.after} / {share.images}</text>"
        )
    rest = there[len(drawn) :]
    smaller = sum(int(share.name) != NOISE for share in rest)
    more = [count(smaller, "other RCC")] if smaller else []
    more += ["the images in no cluster"] if len(rest) > smaller else []
    if more:
        parts.append(f"<text x='{left}' y='{height - 8}'>and {' and '.join(more)}</text>")
    return _svg(height, "Failing images of each RCC that are right after the retraining", parts, "group")


def _still_wrong(share: Share) -> tuple[bool, int]:
    """Orders RCCs by the images that are still wrong, the most first; the images in no cluster come last."""
    return int(share.name) == NOISE, share.after - share.images


def _svg(height: float, label: str, parts: list[str], role: str = "img") -> str:
    """A drawing; one that holds links is a group, since of an image nothing within is read."""
    return (
        f"<svg viewBox='0 0 {WIDTH} {height}' role='{role}' aria-label='{label}' fill='currentColor' font-size='12' "
        f"style='max-width:{WIDTH}px;width:100%'>{''.join(parts)}</svg>"
    )
