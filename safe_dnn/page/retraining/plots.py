"""Drawings of a retraining, as wide as there is room: learning curves, and classes before and after."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.training.before_after import ByGroup, Share
from safe_dnn.training.certainty import NOT_SHOWN, WORSE, Certainty, with_intervals
from safe_dnn.training.finetuning import Epoch

HEIGHT, TOP, BOTTOM = 250, 12, 34  # pixels
LEFT, WIDTH = 7.0, 80.0  # of the plot, in percent of the drawing; the rest is for the words beside it
BEFORE, AFTER = "#7b8aa2", "#0d9488"  # contrast of at least 3 : 1 on a light and a dark background (WCAG AA)


def learning_curves(
    history: Sequence[Epoch], epochs: int, *, best: int | None = None, first_pass: int | None = None
) -> Markup:
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
        return Markup("")
    lowest = min(value for epoch in history for value in (epoch.validation, epoch.unsafe) if math.isfinite(value))
    bottom = math.floor(max(lowest - 0.02, 0) * 10) / 10

    def y(share: float) -> float:
        return TOP + (1 - share) / max(1 - bottom, 1e-9) * (HEIGHT - BOTTOM - TOP)

    lines: list[tuple] = []
    for name, field, colour in (("validation", "validation", BEFORE), ("unsafe set", "unsafe", AFTER)):
        known = [(epoch.epoch, y(share)) for epoch in history if math.isfinite(share := getattr(epoch, field))]
        last = epochs if first_pass is None else first_pass
        passes = [one for one in known if one[0] <= last], [one for one in known if one[0] > last]
        end = known[-1] if known else None
        if end and lines and lines[0][3] and abs(end[1] - lines[0][3][1]) <= 14:  # so that the names do not overlap
            end = end[0], lines[0][3][1] + 14
        lines.append((name, colour, passes, end))
    return filled(
        "page/retraining/curves.html", lines=lines, epochs=epochs, span=max(epochs, 1), best=best,
        first_pass=first_pass,
        ticks=[(tick / 10, y(tick / 10)) for tick in range(round(bottom * 10), 11)],
        numbered=range(0, epochs + 1, max(1, -(-epochs // 10))),
        left=LEFT, width=WIDTH, top=TOP, height=HEIGHT, floor=HEIGHT - BOTTOM,
    )  # fmt: skip


def class_bars(
    shares: Sequence[Share], sure: Mapping[str, Certainty], summary: str = "", by_group: ByGroup | None = None
) -> Markup:
    """The share of each class's test images that is right, before and after; worse and then changed classes first.

    Parameters
    ----------
    shares : sequence of Share
        Each with images.
    sure : mapping of str to Certainty
        By class; empty if the model is the given one.
    summary : str
        Of all classes, above them.
    by_group : ByGroup, optional
        Of the same images.
    """

    def order(share: Share) -> tuple[bool, bool, int]:
        one = sure.get(share.name)
        verdict = one.verdict if one else NOT_SHOWN
        return verdict != WORSE, share.after >= share.before, -abs(share.after - share.before)

    ordered = sorted(shares, key=order)
    rows = ((share, sure.get(share.name), ends) for share, ends in with_intervals(ordered, by_group))
    return filled("page/retraining/classes.html", rows=rows, summary=summary, not_shown=NOT_SHOWN)
