"""How far a regression is off: its errors with the threshold among them, and true against predicted values."""

import math
from typing import Any

import numpy as np
from markupsafe import Markup

from safe_dnn.dnn.predictions import errors_of
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.pipeline.reporting.rate_curves import nice
from safe_dnn.rccs.parameters import ANGLE_SUFFIX

STEPS, PER_BAR = 200, 5  # places of the slider up to the largest error, at least half as many; places that a bar spans
MOST_DRAWN = 4  # targets whose true and predicted values are drawn
CELLS, SIDE = 56, 280  # cells of a drawing in each direction, and its pixels
SHADES = 5  # of a cell, by the logarithm of its images


def error_histogram(answered: AnsweredImages) -> dict[str, Any]:
    """Properties of the histogram: how many images have an error above each place of the slider, and in each bar."""
    numbers = _numbers(answered)
    errors = errors_of(numbers[0], numbers[1], answered.known_classes) if numbers else answered.answers.score
    errors = np.sort(errors[np.isfinite(errors)])
    largest = float(errors.max(initial=0))
    step = nice(largest / STEPS)
    places = step * np.arange(1 + math.ceil(largest / step))
    above = len(errors) - np.searchsorted(errors, places + 1e-9 * step, side="right")
    bars = np.histogram(errors, step * np.arange(0, len(places) + PER_BAR, PER_BAR))[0]
    threshold, last = answered.threshold, len(places) - 1
    place = 0 if threshold is None else min(round(threshold / step), last)
    scale = {"step": step, "threshold": threshold, "place": place}
    drawn = filled("page/failures/error_bars.html", bars=bars.tolist(), most=max(1, bars.max()), last=last, **scale)
    counts = {"above": above.tolist(), "per": PER_BAR, "of": len(answered.paths), "failing": len(answered.failing)}
    return {**scale, **counts, "drawn": drawn}


def fit_table(answered: AnsweredImages) -> Markup:
    """The mean absolute error and R² of each target as a table; empty if the numbers are not known.

    R² is the share of the variance of the target that the answers explain; an angle, which has no mean, has none.
    """
    rows = []
    for name, output, target in _by_target(answered):
        off, variance = errors_of(output[:, None], target[:, None], [name]), ((target - target.mean()) ** 2).sum()
        known = variance > 0 and not name.endswith(ANGLE_SUFFIX)
        rows.append((name, f"{off.mean():.3g}", f"{1 - (off**2).sum() / variance:.3f}" if known else "–"))
    return filled("page/failures/fit.html", rows=rows) if rows else Markup("")


def predicted_plots(answered: AnsweredImages) -> Markup:
    """True against predicted values of the first `MOST_DRAWN` targets; empty if they are not known."""
    threshold = (answered.threshold or 0.0) if len(answered.known_classes) == 1 else 0.0
    drawn = [_drawing(*one, ~answered.right, threshold) for one in _by_target(answered)[:MOST_DRAWN]]
    return filled("page/failures/predicted.html", drawn=drawn, side=SIDE, cell=SIDE / CELLS) if drawn else Markup("")


def _by_target(answered: AnsweredImages) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The name, outputs and true values of each target; empty as in `_numbers`."""
    numbers = _numbers(answered)
    return [*zip(answered.known_classes, *(values.T for values in numbers), strict=True)] if numbers else []


def _numbers(answered: AnsweredImages) -> list[np.ndarray]:
    """Outputs and targets of shape (n_images, n_targets), float64; empty if some are unknown."""
    answers = answered.answers
    columns = [[text.split() for text in column.tolist()] for column in (answers.predicted, answers.label)]
    widths = {len(numbers) for column in columns for numbers in column}
    return [np.array(column, np.float64) for column in columns] if widths == {len(answered.known_classes)} else []


def _drawing(name: str, output: np.ndarray, target: np.ndarray, wrong: np.ndarray, threshold: float) -> dict[str, Any]:
    """True against predicted values of a target.

    Cells have a column and a row, from 0, a shade, and whether most of their answers are wrong. Both axes have the same
    ticks: each has a text and, as `band`, which is how far from the diagonal a failure begins, its share of the axis.
    """
    low, high = (float(of(np.concatenate([target, output]))) for of in (np.min, np.max))
    step = nice((high - low) / 5)
    low = math.floor(low / step + 1e-9) * step
    n = max(math.ceil((high - low) / step - 1e-9), 1)
    at = [np.clip((values - low) / (n * step) * CELLS, 0, CELLS - 1).astype(int) for values in (target, output)]
    counts = np.zeros((2, CELLS, CELLS), int)
    np.add.at(counts, (wrong.astype(int), *at), 1)
    total = counts.sum(axis=0)
    shades = 0.25 + 0.75 * np.ceil(SHADES * np.log1p(total) / np.log1p(total.max())) / SHADES
    cells = [(x, y, shades[x, y], 2 * counts[1, x, y] >= total[x, y]) for x, y in np.argwhere(total).tolist()]
    ticks = [(f"{round(low / step + i) * step:.6g}", i / n) for i in range(n + 1)]
    return {"name": name, "cells": cells, "ticks": ticks, "band": threshold / (n * step)}
