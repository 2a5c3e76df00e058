"""How far a regression is off: its errors with the threshold among them, and true against predicted values."""

import math
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from safe_dnn.dnn.predictions import errors_of
from safe_dnn.page.collected import Collected
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.rccs.parameters import ANGLE_SUFFIX

STEPS, PER_BAR = 200, 5  # places of the slider up to the largest error, at least half as many; places that a bar spans
MOST_DRAWN = 4  # targets, of which true and predicted values are drawn
CELLS, SIDE = 56, 280  # cells of a drawing in each direction, and its pixels
SHADES = 5  # of a cell, by the logarithm of its images


class Cell(NamedTuple):
    """A part of a drawing: where it begins, from 0 to `CELLS`, how dark it is, and whether most answers are wrong."""

    column: int
    row: int
    shade: float
    wrong: bool


class Drawing(NamedTuple):
    """True against predicted values of a target; both axes have the same ticks, each a text and its share of the axis.

    `band` is how far from the diagonal a failure begins, as a share of the axis; 0 if it begins nowhere in particular.
    """

    name: str
    cells: tuple[Cell, ...]
    ticks: tuple[tuple[str, float], ...]
    band: float


def errors_shown(shown: Collected) -> dict[str, Any]:
    """What the script shows: how many images have an error above each place of the slider, and in each bar."""
    numbers, failures = _numbers(shown), shown.failures
    errors = errors_of(*numbers, failures.classes) if numbers else shown.answers.score.astype(np.float64)
    errors = np.sort(errors[np.isfinite(errors)])
    step = _nice(float(errors[-1]) / STEPS if len(errors) else 0.0)
    places = step * np.arange(1 + (math.ceil(errors[-1] / step) if len(errors) else 0))
    above = len(errors) - np.searchsorted(errors, places + 1e-9 * step, side="right")
    bars = np.histogram(errors, step * np.arange(0, len(places) + PER_BAR, PER_BAR))[0]
    return {
        "above": above.tolist(), "bars": bars.tolist(), "step": step, "per": PER_BAR, "of": len(shown.paths),
        "threshold": failures.threshold, "failing": len(failures.failing),
    }  # fmt: skip


def fit_shown(shown: Collected) -> Markup:
    """The mean absolute error and R² of each target as a table; empty if the numbers are not known.

    R² is the share of the variance of the target that the answers explain; an angle, which has no mean, has none.
    """
    rows = []
    for name, output, target in _by_target(shown):
        off, variance = errors_of(output[:, None], target[:, None], [name]), ((target - target.mean()) ** 2).sum()
        known = variance > 0 and not name.endswith(ANGLE_SUFFIX)
        rows.append((name, f"{off.mean():.3g}", f"{1 - (off**2).sum() / variance:.3f}" if known else "–"))
    return filled("page/failures/fit.html", rows=rows) if rows else Markup("")


def predicted_shown(shown: Collected) -> Markup:
    """True against predicted values of the first `MOST_DRAWN` targets; empty if they are not known."""
    threshold = shown.failures.threshold if len(shown.failures.classes) == 1 else None
    wrong = ~shown.right
    drawn = [_drawing(*one, wrong, threshold) for one in _by_target(shown)[:MOST_DRAWN]]
    return filled("page/failures/predicted.html", drawn=drawn, side=SIDE, cell=SIDE / CELLS) if drawn else Markup("")


def _by_target(shown: Collected) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The name, outputs and true values of each target; empty as of `_numbers`."""
    numbers = _numbers(shown)
    return [] if numbers is None else [*zip(shown.failures.classes, *(values.T for values in numbers), strict=True)]


def _numbers(shown: Collected) -> tuple[np.ndarray, np.ndarray] | None:
    """Outputs and targets of shape (n_images, n_targets), float64; None if some are unknown."""
    width = len(shown.failures.classes)
    texts = (shown.answers.predicted.tolist(), shown.answers.label.tolist())
    columns = [[text.split() for text in column] for column in texts]
    if not width or any(len(numbers) != width for column in columns for numbers in column):
        return None
    outputs, targets = (np.array(column, np.float64) for column in columns)
    return outputs, targets


def _drawing(name: str, output: np.ndarray, target: np.ndarray, wrong: np.ndarray, threshold: float | None) -> Drawing:
    low, high = (float(of(np.concatenate([target, output]))) for of in (np.min, np.max))
    step = _nice((high - low) / 5)
    low = math.floor(low / step + 1e-9) * step
    high = max(math.ceil(high / step - 1e-9) * step, low + step)
    at = [np.clip((values - low) / (high - low) * CELLS, 0, CELLS - 1).astype(int) for values in (target, output)]
    counts = np.zeros((2, CELLS, CELLS), int)
    np.add.at(counts, (wrong.astype(int), *at), 1)
    total = counts.sum(axis=0)
    shades = np.ceil(SHADES * np.log1p(total) / np.log1p(total.max())) / SHADES
    cells = tuple(
        Cell(x, y, 0.25 + 0.75 * shades[x, y], bool(2 * counts[1, x, y] >= total[x, y]))
        for x, y in np.argwhere(total).tolist()
    )
    ticks = _ticks(low, high, step)
    return Drawing(name, cells, ticks, (threshold or 0.0) / (high - low))


def _ticks(low: float, high: float, step: float) -> tuple[tuple[str, float], ...]:
    n = round((high - low) / step)
    return tuple((f"{round(low / step + i) * step:.6g}", i / n) for i in range(n + 1))


def _nice(least: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is no less than this; 1 for 0."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
