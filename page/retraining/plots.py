"""Drawings of a retraining, as wide as there is room: learning curves, classes and RCCs before and after, shares."""

import html
import math
from collections.abc import Mapping, Sequence

from dbscan.outcome import NOISE
from page.tables import rate_bar, rate_table
from rccs.review.notes import RccNote, title
from support.text import count, printable
from training.certainty import NOT_SHOWN, WORSE, Certainty, right_intervals
from training.comparison import Share
from training.finetuning import Epoch

HEIGHT, TOP, BOTTOM = 250, 12, 34  # pixels
LEFT, WIDTH = 7.0, 80.0  # of the plot, in percent of the drawing; the rest is for the words beside it
BEFORE, AFTER = "#7b8aa2", "#0d9488"  # contrast of at least 3 : 1 on a light and a dark background (WCAG AA)
MOST_BARS = 40


def learning_curves(
    history: Sequence[Epoch], epochs: int, *, best: int | None = None, first_pass: int | None = None
) -> str:
    """Accuracy on the held-out training images and on the unsafe images, by epoch.

    Parameters
    ----------
    history : sequence of Epoch
        Epoch 0 is the model before training.
    epochs : int
        Where the axis ends.
    best : int, optional
        The epoch that was kept.
    first_pass : int, optional
        The last epoch of the first pass, if another one followed, which began with the original model again.
    """
    if not history:
        return ""
    lowest = min(value for epoch in history for value in (epoch.validation, epoch.unsafe) if math.isfinite(value))
    bottom = math.floor(max(lowest - 0.02, 0) * 10) / 10

    def across(epoch: float) -> float:
        return epoch / max(epochs, 1)

    def x(epoch: float) -> str:
        return f"{LEFT + WIDTH * across(epoch):.2f}%"

    def across_at(height: float) -> str:
        return f"x1='{x(0)}' x2='{x(epochs)}' y1='{height:.1f}' y2='{height:.1f}'"

    def y(share: float) -> float:
        return TOP + (1 - share) / max(1 - bottom, 1e-9) * (HEIGHT - BOTTOM - TOP)

    parts = []
    for tick in range(round(bottom * 10), 11):
        at = y(tick / 10)
        parts.append(
            f"<line {across_at(at)} stroke='currentColor' stroke-opacity='.15'/>"
            f"<text x='{x(0)}' dx='-6' y='{at + 4:.1f}' text-anchor='end'>{tick * 10}%</text>"
        )
    for epoch in range(0, epochs + 1, max(1, -(-epochs // 10))):
        parts.append(f"<text x='{x(epoch)}' y='{HEIGHT - 12}' text-anchor='middle'>{epoch}</text>")
    if best is not None:
        parts.append(
            f"<line x1='{x(best)}' x2='{x(best)}' y1='{TOP}' y2='{HEIGHT - BOTTOM}' stroke='currentColor' "
            f"stroke-dasharray='4 4'/><text x='{x(best)}' dx='5' y='{HEIGHT - BOTTOM - 6}'>kept</text>"
        )
    if first_pass is not None:
        between = x(first_pass + 0.5)
        parts.append(
            f"<line x1='{between}' x2='{between}' y1='{TOP}' y2='{HEIGHT - BOTTOM}' stroke='currentColor' "
            f"stroke-opacity='.4'/><text x='{between}' dx='5' y='{HEIGHT - BOTTOM - 22}'>second pass</text>"
        )
    names: list[float] = []
    for name, values, colour in (
        ("held out", [epoch.validation for epoch in history], BEFORE),
        ("unsafe set", [epoch.unsafe for epoch in history], AFTER),
    ):
        known = [(epoch.epoch, value) for epoch, value in zip(history, values, strict=True) if math.isfinite(value)]
        end = epochs if first_pass is None else first_pass
        passes = [one for one in known if one[0] <= end], [one for one in known if one[0] > end]
        for part in filter(None, passes):
            line = " ".join(f"{100 * across(epoch):.2f},{y(value):.1f}" for epoch, value in part)
            # A drawing within the drawing: only there do points know percent.
            parts.append(
                f"<svg x='{LEFT}%' y='0' width='{WIDTH}%' height='{HEIGHT}' viewBox='0 0 100 {HEIGHT}' "
                f"preserveAspectRatio='none' overflow='visible'><polyline points='{line}' fill='none' "
                f"stroke='{colour}' stroke-width='2.5' vector-effect='non-scaling-stroke'/></svg>"
            )
        parts += [f"<circle cx='{x(epoch)}' cy='{y(value):.1f}' r='3' fill='{colour}'/>" for epoch, value in known]
        if known:
            at = y(known[-1][1]) + 4
            at = at if not names or abs(at - names[-1]) > 14 else names[-1] + 14  # so that the names do not overlap
            names.append(at)
            parts.append(f"<text x='{x(known[-1][0])}' dx='8' y='{at:.1f}'>{name}</text>")
    label = "Accuracy by epoch on held-out training images and on the unsafe set"
    return (
        f"<svg role='img' aria-label='{label}' fill='currentColor' font-size='12' width='100%' height='{HEIGHT}'>"
        f"{''.join(parts)}</svg>"
    )


def shares_right(shares: Sequence[Share], notes: Mapping[int, RccNote]) -> str:
    """The share of each RCC's images that are right after the retraining, and before it (0 for failing images).

    Those of which most are still wrong come first; the names lead to the RCCs. A thin line is the 95 % interval of the
    share after it.
    """
    there = sorted((share for share in shares if share.images), key=_still_wrong)
    drawn = there[:MOST_BARS]
    if not drawn:
        return ""
    rows = []
    for share, (low, high) in zip(drawn, right_intervals(drawn), strict=True):
        name = html.escape(printable(title(int(share.name), notes)))
        rows.append(
            f"<tr><th scope='row'><a href='#rcc={int(share.name)}' title='Show its images'>{name}</a></th>"
            f"<td>{share.after:,} of {share.images:,}</td><td>{_bar(share, low, high)}</td></tr>"
        )
    rest = there[len(drawn) :]
    smaller = sum(int(share.name) != NOISE for share in rest)
    more = [count(smaller, "other RCC")] if smaller else []
    more += ["the images in no cluster"] if len(rest) > smaller else []
    left_out = f"<p class='safe-spots-base'>and {' and '.join(more)}</p>" if more else ""
    heads = ("RCC", "Right now", "Share")
    return rate_table("Failing images of each RCC that are right after the retraining", heads, rows) + left_out


def class_bars(shares: Sequence[Share], sure: Mapping[str, Certainty]) -> str:
    """The share of each class's test images that is right, before and after; worse and then changed classes first.

    Parameters
    ----------
    shares : sequence of Share
        Each with images.
    sure : mapping of str to Certainty
        By class; empty if the model is the given one.
    """

    def order(share: Share) -> tuple[bool, bool, int]:
        one = sure.get(share.name)
        verdict = one.verdict if one else NOT_SHOWN
        return verdict != WORSE, share.after >= share.before, -abs(share.after - share.before)

    rows = []
    ordered = sorted(shares, key=order)
    for share, (low, high) in zip(ordered, right_intervals(ordered), strict=True):
        one = sure.get(share.name)
        verdict = html.escape(f", {one.verdict}") if one and one.verdict != NOT_SHOWN else ""
        name = html.escape(printable(share.name), quote=True)
        change = 100 * (share.after - share.before) / share.images
        rows.append(
            f"<tr><th scope='row' title='{name}'>{name}</th>"
            f"<td>{share.before / share.images:.0%} → {share.after / share.images:.0%} of {share.images:,}</td>"
            f"<td>{_bar(share, low, high)}</td><td>{change:+.1f}{verdict}</td></tr>"
        )
    return rate_table("Each class before and after", ("Class", "Right before → now", "Share", "Points"), rows)


def _bar(share: Share, low: float, high: float) -> str:
    """The share that is right now, with its interval, and a line at the share before."""
    return rate_bar(share.after / share.images, low, high, share.before / share.images, "safe-right-bar")


def _still_wrong(share: Share) -> tuple[bool, int]:
    """Orders RCCs by the images that are still wrong, the most first; the images in no cluster come last."""
    return int(share.name) == NOISE, share.after - share.images
