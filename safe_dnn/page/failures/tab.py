"""The first tab, before step 1: a network, or its answers, and a test folder become the images that it gets wrong.

It shows conditions, what the network takes for what, the images of each confusion, and rates by class; of a regression,
errors, and true against predicted values.
"""

import contextlib
import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from markupsafe import Markup

from safe_dnn import api
from safe_dnn.analysis import UNGROUPED
from safe_dnn.dnn.confusion import ONE_ANOTHER, ConfusionMatrix, class_rates, confusion_matrix
from safe_dnn.dnn.failures import NO_IMAGES, checked, file_and_column, required_targets
from safe_dnn.dnn.model import is_regression_file
from safe_dnn.dnn.predictions import errors_of
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.options import DnnOptions
from safe_dnn.page.assets import FORMS, LATEST, VIEW, scripted
from safe_dnn.page.forms import remembered, typed
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import done, doubted, empty, lay_out_skipped, noticed, pane, put_away, reveal, show_skipped
from safe_dnn.page.pictures import Listed, ListedView, beside, data_uri
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import CLUSTERS_TAB, FAILURES_TAB
from safe_dnn.page.work_tab import Work, WorkTab, widgets_in
from safe_dnn.rccs.answers import confused, number_columns, read_answer_table
from safe_dnn.rccs.parameters import ANGLE_SUFFIX, PARAMETERS_FILE
from safe_dnn.rccs.spots.figures import in_words
from safe_dnn.reasons.comparison import Reasons
from safe_dnn.reasons.known_groups import KnownGroups, accuracy_interval, groups_of_test
from safe_dnn.reasons.listed import LISTED, FailureReasons, Reason, baseline, folded, sentence
from safe_dnn.report.drawings import curves_of, nice
from safe_dnn.report.markup import escaped, filled
from safe_dnn.report.summary_lines import failures_summary
from safe_dnn.support.errors import SAFEError, is_within
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, PREDICTIONS_FILE
from safe_dnn.support.text import count, in_series, printable

# --- What the network gets wrong ----------------------------------------------------------------------------------

WIDE = 12  # classes, from which on the matrix takes the whole width
MOST_CONFUSED = 3  # kinds of confusions named
REASON = "reason"  # begins what is chosen, if that is no cell


class FailuresView:
    """Lay out the pane; `show` gives what it shows.

    Parameters
    ----------
    settings : PageSettings
        Only pictures of images below their root, if any, are shown.
    """

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self.find = gr.Button(
            "Group failing images", variant="primary", scale=0, min_width=190, elem_id="find-reasons", render=False
        )

    def lay_out(self) -> gr.Column:
        """The pane, below the state of things, in which `find` is."""
        with pane("failures-pane") as self.pane:
            self.story = gr.HTML(elem_id="failures-story")
            with gr.Row(equal_height=False, elem_id="failures-images"):
                with pane("reasons-pane") as self.reasons_pane:
                    self.reasons = scripted("widgets/choices", "", elem_id="failures-reasons", parts="", first="")
                with gr.Column(elem_id="failing"):
                    self.images = ListedView("failing", self._images_of, self._settings)
                with pane("errors-pane") as self.errors_pane:
                    gr.HTML("<h3 class='safe-title'>How far answers are off</h3>")
                    self.errors = gr.HTML(elem_id="errors")
                    what = "With a larger error, an image would fail"
                    self.threshold = gr.Slider(0, 1, label="Threshold", info=what, elem_id="errors-threshold")
                    self.again = gr.Button("Collect with this threshold", size="sm", elem_id="collect-again")
                    self.fit = gr.HTML(elem_id="fit")
                with pane("matrix-pane") as self.matrix_pane:
                    gr.HTML("<h3 class='safe-title'>What is taken for what</h3>")
                    self.confused = gr.HTML(elem_id="confused")
                    self.matrix = scripted("widgets/choices", "", elem_id="matrix", parts="", first="")
                with pane("rates-pane") as self.rates_pane:
                    gr.HTML("<h3 class='safe-title'>How often each class is wrong</h3>")
                    self.rates = gr.HTML(elem_id="class-rates")
                with pane("predicted-pane") as self.predicted_pane:
                    gr.HTML("<h3 class='safe-title'>True against predicted</h3>")
                    self.predicted = gr.HTML(elem_id="predicted")
            with gr.Accordion("What was assumed", open=False):
                self.assumptions = gr.HTML(elem_id="failures-assumed")
            self.skipped = lay_out_skipped("failures-skipped")
        return self.pane

    def _images_of(self, key: str, chosen: str) -> Listed:
        answered, (of, _, place) = self._settings.results.failures(key), chosen.partition(":")
        known = self._settings.results.latest.ungrouped if of == REASON and place.isdecimal() else None
        if known is None or int(place) >= len(known.listed):
            listed = images_of(answered, chosen)
        else:
            listed = images_with(answered, known, known.listed[int(place)])
        return listed if answered.has_images else listed._replace(paths=(), wrong=())

    def show(
        self, answered: AnsweredImages, groups: KnownGroups | None, assumed: Sequence[str], *, grouped: bool
    ) -> dict:
        """What the widgets show of failures: the images of the first reason, if there is one, and no cell selected.

        Parameters
        ----------
        grouped : bool
            Whether the failing images are in RCCs.
        groups : KnownGroups, optional
            Which test images are not independent.
        assumed : sequence of str
            What was assumed, and where it was written to.
        """
        regression, skipped = answered.task == "regression", answered.skipped
        predicted = predicted_plots(answered) if regression else ""
        in_sight = {self.errors_pane: regression, self.predicted_pane: bool(predicted), self.rates_pane: not regression}
        can_group = answered.has_images and bool(answered.failing)
        wide = "safe-wide" if len(answered.known_classes) > WIDE else ""
        return {
            self.pane: reveal(),
            self.find: gr.Button(interactive=can_group, variant="secondary" if grouped else "primary"),
            **{pane: reveal() if one else put_away() for pane, one in in_sight.items()},
            self.matrix_pane: put_away() if regression else gr.update(elem_classes=wide),
            self.fit: fit_table(answered) if regression else "",
            self.predicted: predicted,
            self.confused: "" if regression else most_confused(answered),
            self.rates: "" if regression else _rates(answered, groups),
            self.assumptions: filled("page/widgets/list.html", lines=assumed),
            **show_skipped(self.skipped, skipped),
            **self._show_all(answered),
        }

    def wire(self, outputs: list) -> None:
        """Connect reasons and matrix with the grid, and the threshold of a regression with the errors."""
        self.images.wire({self.matrix: "", self.reasons: f"{REASON}:"}, outputs)
        self.threshold.input(self._on_threshold, [self.images.key, self.threshold], self.errors, **LATEST)

    def _on_threshold(self, key: str, threshold: float) -> Markup:
        return error_histogram(self._settings.results.failures(key), threshold)

    def _show_all(self, answered: AnsweredImages) -> dict:
        """The images of the first reason or, without one, all that fail; the matrix or, of a regression, the errors."""
        known = self._settings.results.latest.ungrouped
        chosen = f"{REASON}:0" if known and known.listed else ""
        images = {
            self.story: story_of(answered, known) if known else "",
            self.reasons_pane: reveal() if chosen else put_away(),
            self.reasons: gr.HTML("0" if chosen else "", parts=cards_of(answered, known) if known else ""),
            **self.images.show(answered.digest, self._images_of(answered.digest, chosen), chosen),
        }
        if answered.task == "regression":
            threshold, (largest, step) = answered.options.threshold, error_scale(answered)
            slider = gr.Slider(maximum=largest, value=threshold or 0, step=step, visible=threshold is not None)
            again = gr.Button(visible=threshold is not None)
            errors = error_histogram(answered, threshold)
            return {**images, self.errors: errors, self.threshold: slider, self.again: again}
        return {**images, self.matrix: gr.HTML("", parts=matrix_table(_matrix_of(answered)))}


def _matrix_of(answered: AnsweredImages) -> ConfusionMatrix:
    return confusion_matrix(answered.answers.label, answered.answers.predicted)


def matrix_table(matrix: ConfusionMatrix) -> Markup:
    """The matrix as HTML, with a number of images in each cell to click."""
    rows = np.stack([matrix.counts, matrix.wrong], axis=2).tolist()
    first = next(iter([*np.argwhere(matrix.wrong), *np.argwhere(matrix.counts)]), np.zeros(0)).tolist()
    most = max(1, int(matrix.wrong.max(initial=0)))
    return filled("page/widgets/matrix.html", names=matrix.names, rows=rows, most=most, stop=first)


def images_of(answered: AnsweredImages, cell: str = "") -> Listed:
    """The images of a cell that a browser has sent as "row,column", or all that fail.

    Wrong ones first, those with the highest confidence, or of a regression the largest errors.
    """
    answers = answered.answers
    rows, heading = np.flatnonzero(~answered.right), ""
    matrix = None if answered.task == "regression" else _matrix_of(answered)
    if matrix and (at := cell_in(matrix, cell)):
        names = matrix.names
        rows = matrix.images_in(*at)
        what = confused(names[at[0]], names[at[1]] if at[0] != at[1] else ONE_ANOTHER)
        if at[0] == at[1] < len(matrix.classes):
            what = f"{names[at[0]]} that are right"
        heading = f"{count(len(rows), answered.noun)}: {what}"
    elif len(rows):
        known = bool(np.isfinite(answers.score[rows]).any())
        order = ", largest error first" if answered.task == "regression" else ", the surest answer first"
        heading = f"{count(len(rows), f'failing {answered.noun}')}{order if known else ''}"
    score = np.nan_to_num(answers.score[rows], nan=-1.0)
    ordered = rows[np.lexsort((rows, -score, answered.right[rows]))].tolist()
    paths = [answered.paths[row] for row in ordered]

    def caption(place: int) -> str:
        return answers.text(ordered[place]).removesuffix(" (100%)")  # as nearly all of the surest

    return Listed(heading or "No failing images", answered.root, paths, caption)


def cell_in(matrix: ConfusionMatrix, sent: str) -> tuple[int, int] | None:
    """The row and column of a cell that a browser has sent; None if it is no cell of the matrix."""
    at = [int(part) for part in sent[:20].split(",") if part.isdecimal()]
    return (at[0], at[1]) if len(at) == 2 and max(at) < len(matrix.names) else None


def interval_text(answered: AnsweredImages, known: KnownGroups | None) -> str:
    """The interval of the accuracy and, of a regression, what counts as a failure."""
    low, high = accuracy_interval(answered.right, known)
    text, threshold = f"95% interval {low:.1%} to {high:.1%}", answered.options.threshold
    return text if threshold is None else f"{text} · a failure is an error above {threshold:g}"


def most_confused(answered: AnsweredImages) -> str:
    """What is most often taken for what, as a sentence; empty if nothing is."""
    matrix = _matrix_of(answered)
    cells = sorted(np.argwhere(matrix.wrong).tolist(), key=lambda at: (-matrix.wrong[*at], *at))[:MOST_CONFUSED]
    names = matrix.names
    texts = [
        f"{confused(names[row], names[column] if row != column else ONE_ANOTHER)} ({matrix.wrong[row, column]:,})"
        for row, column in cells
    ]
    return escaped(f"Most often: {in_series(texts)}.") if texts else ""


def _rates(answered: AnsweredImages, known: KnownGroups | None) -> Markup:
    """A table of all classes: the error rate as a bar with its interval and the rate of all images, and in words."""
    answers = answered.answers
    groups = known.groups if known and known.named else None
    rates = class_rates(answers.label, answers.predicted, groups)
    of = in_words(len(np.unique(groups.of)), groups.name) if groups else ""
    return filled("page/failures/rates.html", rates=rates, base=1 - answered.accuracy, of=of)


CURVE = 860  # width of a curve, in pixels, at most


def story_of(answered: AnsweredImages, known: FailureReasons) -> str:
    """When the network fails most, in a sentence; how often it fails otherwise; and what could not be used."""
    listed, base = known.listed, 1 - answered.accuracy
    certain = (known.images.get(one.subject, ()) for one in listed if one.kind == LISTED)
    rest = ~np.isin(answered.paths, [*{image for images in certain for image in images}])
    where_none = (int((rest & ~answered.right).sum()), int(rest.sum())) if known.images else (0, 0)
    story = done(sentence(listed, base), below=baseline(listed, base, len(answered.paths), where_none, answered.noun))
    return story + "".join(map(noticed, known.notes))


def cards_of(answered: AnsweredImages, known: FailureReasons) -> Markup:
    """A card for each reason; those that are folded come last, in the order of the list."""
    folds, cards = folded(known.listed), defaultdict[str, list[dict[str, Any]]](list, {"": []})
    for at, reason in enumerate(known.listed):
        has_picture = answered.has_images and reason.picture
        picture = data_uri(answered.root / reason.picture, 128) if has_picture else ""
        card = {"at": at, "reason": reason, "title": printable(reason.title), "picture": picture}
        cards[folds.get(reason.name, "")].append(card)
    return filled("page/failures/reason_cards.html", cards=cards)


def images_with(answered: AnsweredImages, known: FailureReasons, reason: Reason) -> Listed:
    """The tested images of a reason below its curve: on each page right ones beside wrong ones, the surest first."""
    answers = answered.answers
    rows = np.flatnonzero(np.isin(answered.paths, [*known.images.get(reason.subject, ())]))
    rows = rows[np.lexsort((rows, -np.nan_to_num(answers.score[rows], nan=-1.0)))]
    wrong, right = (rows[of].tolist() for of in (~answered.right[rows], answered.right[rows]))
    ordered = beside(wrong, right)
    curves = Reasons(base=1 - answered.accuracy, curves=known.curves)
    drawn = curves_of(curves, [reason.literals], width=CURVE)

    def caption(place: int) -> str:
        return answers.text(ordered[place]).removesuffix(" (100%)")

    return Listed(
        f"{printable(reason.title)}: {len(wrong):,} wrong, {len(right):,} right", answered.root,
        [answered.paths[row] for row in ordered], caption, wrong=[not answered.right[row] for row in ordered],
        above=filled("page/failures/of_reason.html", reason=reason, drawn=drawn),
    )  # fmt: skip


STEPS, PER_BAR = 200, 5  # of the slider up to the largest error, at least half as many; steps that a bar spans
MOST_DRAWN = 4  # targets whose true and predicted values are drawn
CELLS, SIDE = 56, 280  # cells of a drawing in each direction, and its pixels
SHADES = 5  # of a cell, by the logarithm of its images


def error_scale(answered: AnsweredImages) -> tuple[float, float]:
    """Where the histogram of errors, and the slider of the threshold, end; and the steps of the slider."""
    step = nice(float(_errors(answered).max(initial=0)) / STEPS)
    bars = math.ceil(_errors(answered).max(initial=0) / step / PER_BAR)
    return max(bars, 1) * PER_BAR * step, step


def error_histogram(answered: AnsweredImages, threshold: float | None) -> Markup:
    """How many images have an error in each range, and above a threshold."""
    errors, (largest, step) = _errors(answered), error_scale(answered)
    bars, ends = np.histogram(errors, np.arange(0, largest + step, PER_BAR * step))
    above = 0 if threshold is None else int((errors > threshold + 1e-9 * step).sum())
    return filled(
        "page/failures/error_bars.html", bars=bars.tolist(), ends=ends.tolist(), most=max(1, bars.max()), above=above,
        threshold=threshold, collected=answered.options.threshold, failing=len(answered.failing),
        tested=len(answered.paths),
    )  # fmt: skip


def _errors(answered: AnsweredImages) -> np.ndarray:
    numbers = _numbers(answered)
    errors = errors_of(numbers[0], numbers[1], answered.known_classes) if numbers else answered.answers.score
    return errors[np.isfinite(errors)]


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
    threshold = (answered.options.threshold or 0.0) if len(answered.known_classes) == 1 else 0.0
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


# --- The tab ------------------------------------------------------------------------------------------------------

# Fields that each kind of network needs
NEEDED = {
    "model": ("model", "test"), "answers": ("answers",), "coco": ("truth", "results", "test"),
    "yolo": ("truth", "results", "test"),
}  # fmt: skip
OF_TABLES = ("parameters", "test")  # beside a table of answers, if they are there
TYPED = ("threshold", "hold_out")  # numbers
BESIDE = (PARAMETERS_FILE, "classes.txt")  # read beside the folders of a detector
EMPTY = empty(
    "No failures collected yet.",
    [
        ("Give the network and its test images", "A Keras or ONNX model or, of any framework, a table of its answers."),
        (
            "Click Collect failures",
            "SAFE collects the images that the network gets wrong, and says when it fails more often.",
        ),
        ("Click Group failing images", "They are grouped by what they look like, for reasons that no condition says."),
        (
            Markup("<button type='button' data-tab='{}' data-field='images'>Failing images alone?</button>").format(
                CLUSTERS_TAB
            ),
            "Give their folder in the next tab.",
        ),
    ],
)
EARLIER = "The root cause clusters are of failures that were collected before: group the failing images again."


class FailuresTab(WorkTab):
    """Lay out the tab; `wire` connects its widgets."""

    name = FAILURES_TAB
    submits = ("model", "answers", "parameters", "results", "test")
    stopped = "Stopped. What was collected is kept."

    def __init__(self, settings: PageSettings):
        super().__init__(settings)
        self._may_trust = settings.root is None  # visitors of a page for others must not run code on this machine
        with gr.Column(elem_id="failures-form") as form:
            self._lay_out_form()
            self._lay_out_options()
        self.view = FailuresView(settings)
        self._lay_out_state(form, self.view.find)
        self.pane = self.view.lay_out()

    def _lay_out_form(self) -> None:
        """The style shows the fields that the kind of network needs."""
        kinds = FORMS[self.name]["kind"]["choices"][0 if self._settings.takes_models else 1 :]
        self.form.lay_out("kind", choices=kinds, value=kinds[0][1])
        with gr.Row(elem_classes="safe-form"):
            self.form.lay_out("model", "answers", "parameters", "truth", "results", "test", scale=3, min_width=220)
            self._lay_out_start("test", "Collect failures", "collect")

    def _lay_out_options(self) -> None:
        lay_out, title = self.form.lay_out, "More options: classes, pixels, targets of a regression"
        with self.form.options(title, "failures-options"):
            with gr.Row(elem_classes="for-classifier"):
                lay_out("train", "rescale")
                lay_out("trust_model", visible=self._may_trust)
            with gr.Row(elem_classes="for-classifier"):
                lay_out("targets", "target", "threshold", "partial")
            with gr.Row(elem_classes="for-classifier"):
                lay_out("hold_out", "group")
            with gr.Row(elem_classes="for-detector"):
                lay_out("iou", "score")
            lay_out("after")

    def _guide(self) -> str:
        return "" if self._settings.results.latest.failures_key else EMPTY

    def _now(self) -> tuple:
        # Reasons are found after the failures, and again once images were compared with each other.
        latest = self._settings.results.latest
        return latest.failures_key, latest.is_outdated, latest.number_of(UNGROUPED), latest.there

    def _result_of(self, marks: tuple) -> object:
        return marks[0]

    def show(self) -> dict:
        """What the widgets show of the failures in the output folder.

        Raises
        ------
        SAFEError
            There are none, they are damaged, or on images outside the page's root.
        """
        latest = self._settings.results.latest
        failures = latest.failures
        images = f"{FAILURES}/, " if failures.has_images else ""
        written = f"Written to {self._settings.out}: {images}{FAILURES_FILE}, {PREDICTIONS_FILE}, {ACCURACY_FILE}."
        groups = groups_of_test(self._settings.out, failures.root, failures.paths, failures.right)
        summary = f"{failures_summary(failures)} · {interval_text(failures, groups)}"
        notes = failures.notes
        doubtful = (*failures.doubts, *(one for one in notes if one.startswith("Doubtful")))
        doubts = [*dict.fromkeys(doubtful)]
        notice = EARLIER if latest.is_outdated else "" if failures.has_images else NO_IMAGES
        assumed = [*(one for one in notes if one not in (*doubts, notice)), written]
        return {
            self.status: doubted(" ".join(doubts)) + done(summary, notice),
            **self.view.show(failures, groups, assumed, grouped=latest.there and not latest.is_outdated),
        }

    def _last_form(self) -> dict:
        """The form as it was last sent; before that, the paths of failures that the command has collected."""
        fields: dict[str, Any] = dict(remembered(self._settings.out, FAILURES_TAB))
        if not fields:
            with contextlib.suppress(SAFEError):
                failures = self._settings.results.latest.failures
                kind = "answers" if failures.source.suffix.lower() == ".csv" else "model"
                fields = {"kind": kind, kind: os.fspath(failures.source)}
                fields |= {"test": os.fspath(failures.root)} if failures.has_images else {}
                fields |= {"parameters": os.fspath(failures.parameters)} if failures.parameters else {}
                if failures.options.threshold is not None:
                    fields |= zip(("targets", "target"), file_and_column(failures.options.targets or ""), strict=True)
                    fields |= {"threshold": f"{failures.options.threshold:.12g}"}
                fields = {name: printable(text) for name, text in fields.items()}
        return fields

    def _without_result(self, outcome: SAFEError | str) -> dict:
        """What a regression lacks can be given where it is asked for."""
        lacks = {"targets", "threshold"} & {*outcome.fields} if isinstance(outcome, SAFEError) else ()
        fields = {self.form.fold: gr.update(open=True), **self.fold.show(folded=False)} if lacks else {}
        return {**super()._without_result(outcome), **fields}

    def on_model(self, model: str | None) -> Any:
        """Open the fields of a regression for the model of one."""
        with contextlib.suppress(SAFEError):
            if is_regression_file(self._settings.accept(model)):
                return gr.update(open=True)
        return gr.skip()

    def on_targets(self, targets: str | None) -> Any:
        """Offer the columns of a table of targets, if it has several."""
        columns: tuple[str, ...] = ()
        with contextlib.suppress(SAFEError):
            columns = number_columns(read_answer_table(Path(self._settings.accept(targets))))
        return gr.Dropdown([(printable(name), name) for name in columns] if len(columns) > 1 else [])

    def _work_of(self, fields: Mapping[str, Any]) -> Work:
        return partial(self._collect, self._wanted(fields))

    def _wanted(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What the fields, which are kept, give to `api.failures` or, without images, to `api.reasons`; a SAFEError
        where one cannot be used."""
        kind = fields["kind"] if fields["kind"] in NEEDED else "model"
        boxes = kind in ("coco", "yolo")
        targets, column = file_and_column("" if boxes else (fields["targets"] or "").strip())
        others = ("after", *(() if boxes else ("train",)), *OF_TABLES * (kind == "answers"))
        paths = self.form.taken(fields, NEEDED[kind], others, targets=targets)
        self._check_places(kind, paths)
        needed = {name: paths.pop(name) for name in NEEDED[kind]}
        if boxes:
            return {kind: tuple(needed.values()), **paths, **typed(iou=fields["iou"], score=fields["score"])}
        options: dict[str, Any] = {**paths, **typed(**{name: fields[name] for name in TYPED})}
        options |= {
            "partial": bool(fields["partial"]),
            "group": [*filter(None, map(str.strip, (fields["group"] or "").split(",")))],
        }
        if "targets" in options:
            required_targets(checked(DnnOptions(targets=options["targets"], threshold=options.get("threshold"))))
            if column := (fields["target"] or "").strip() or column:
                options["targets"] += f":{column}"
        if kind == "answers":
            return {"predictions": needed["answers"], **options}
        trust = bool(fields["trust_model"]) and self._may_trust
        return {**needed, **options, "rescale": fields["rescale"] or None, "trust_model": trust}

    def _collect(self, options: Mapping[str, Any], _: Job) -> None:
        step = api.reasons if "predictions" in options and "test" not in options else api.failures
        found = step(out=self._settings.out, **options)
        # The failures are shown meanwhile: every window hears that the folder has changed.
        if found.value.reasons.spots is None and found.value.reasons.notes:
            notes = found.value.reasons.notes
            raise SAFEError(f"The failures were collected, but no reasons were found. {notes[0]}")

    def _check_places(self, kind: str, paths: Mapping[str, str]) -> None:
        """Make sure that with `--root` nothing outside it is read beside what was entered, or shown of what is written.

        Raises
        ------
        SAFEError
            It would be.
        """
        root, out = self._settings.root, self._settings.out
        if root is None:
            return
        if not is_within(out, root):
            raise SAFEError(
                f"Expected an output folder below {root} (--root), since copies of the failing images are written to "
                f"it and shown from there. Received: --out {out}. Start the page with another one, or use the command."
            )
        folders = [Path(paths[name]) for name in ("truth", "test") if name in paths]
        beside = [folder.parent / name for folder in folders for name in BESIDE] if kind in ("coco", "yolo") else []
        for file in beside:
            if os.path.lexists(file) and not is_within(file, root):
                raise SAFEError(f"Expected a path below {root}. Received: {file}, which is read beside the folder.")

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        form = self.form
        inputs, outputs = form.widgets, widgets_in(tab)
        self._wire_form(tab)
        taken = self.view.again.click("{:.6g}".format, self.view.threshold, form["threshold"], **VIEW)
        taken.then(self.on_start, inputs, outputs, **VIEW)
        form["model"].change(self.on_model, form["model"], form.fold, **LATEST)
        form["targets"].change(self.on_targets, form["targets"], form["target"], **LATEST)
        # An error was about what the other kind needs.
        status = self.status
        form["kind"].input(lambda: self.look(self.show)[status], None, status, **VIEW)
        self.view.wire(outputs)
        self._wire(loaded, tab)
