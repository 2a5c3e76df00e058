"""What a network gets wrong: conditions, what it takes for what, the images of each confusion, and rates by class; of a
regression, errors, and true against predicted values."""

from collections.abc import Sequence

import gradio as gr
import numpy as np
from markupsafe import Markup

from safe_dnn.dnn.confusion import ONE_ANOTHER, ConfusionMatrix, class_rates, confusion_matrix
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.page.assets import scripted
from safe_dnn.page.failures.errors import error_histogram, fit_table, predicted_plots
from safe_dnn.page.failures.reasons import cards_of, images_with, ungrouped_reasons
from safe_dnn.page.grid_view import Listed, ListedView
from safe_dnn.page.messages import pane, put_away, reveal
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.reporting.markup import escaped, filled
from safe_dnn.rccs.answers import confused
from safe_dnn.rccs.spots.figures import in_words
from safe_dnn.reasons.known_groups import KnownGroups, accuracy_interval
from safe_dnn.support.text import count, in_series, printable

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
            self.reasons = scripted("widgets/choices", "", elem_id="failures-reasons", parts="", first="")
            with gr.Row(equal_height=False, elem_id="failures-images"):
                with pane("errors-pane") as self.errors_pane:
                    gr.HTML("<h3 class='safe-title'>How far answers are off</h3>")
                    self.errors = scripted("failures/errors", "", elem_id="errors", drawn="", threshold=None, failing=0)
                    self.fit = gr.HTML(elem_id="fit")
                with pane("matrix-pane") as self.matrix_pane:
                    gr.HTML("<h3 class='safe-title'>What is taken for what</h3>")
                    self.confused = gr.HTML(elem_id="confused")
                    self.matrix = scripted("widgets/choices", "", elem_id="matrix", parts="", first="")
                with gr.Column(min_width=360):
                    self.images = ListedView("failing", self._images_of, self._settings)
            with gr.Row(equal_height=False):
                with pane("rates-pane") as self.rates_pane:
                    gr.HTML("<h3 class='safe-title'>How often each class is wrong</h3>")
                    self.rates = gr.HTML(elem_id="class-rates")
                with pane("predicted-pane") as self.predicted_pane:
                    gr.HTML("<h3 class='safe-title'>True against predicted</h3>")
                    self.predicted = gr.HTML(elem_id="predicted")
                with gr.Column(min_width=360), gr.Accordion("What was assumed", open=False):
                    self.assumptions = gr.HTML(elem_id="failures-assumed")
            with gr.Accordion("Skipped images", open=False, visible=False) as self.skipped_pane:
                self.skipped = gr.Dataframe(
                    headers=["image", "reason"], interactive=False, max_height=260, wrap=True,
                    elem_id="failures-skipped",
                )  # fmt: skip
        return self.pane

    def _images_of(self, key: str, chosen: str) -> Listed:
        answered, (of, _, place) = self._settings.results.failures(key), chosen.partition(":")
        known = ungrouped_reasons(answered, self._settings.out) if of == REASON and place.isdecimal() else None
        if known is None or int(place) >= len(known.listed):
            return images_of(answered, chosen)
        reason = known.listed[int(place)]
        return images_with(answered, reason, known.under.images.get(reason.subject, ()))

    def show(self, answered: AnsweredImages, groups: KnownGroups | None, assumed: Sequence[str]) -> dict:
        """What the widgets show of failures: all failing images in the grid, and no cell selected.

        Parameters
        ----------
        groups : KnownGroups, optional
            Which test images are not independent.
        assumed : sequence of str
            What was assumed, and where it was written to.
        """
        failing = bool(answered.failing)
        skipped = answered.skipped
        updates = {
            self.pane: reveal(),
            self.find: gr.Button(interactive=failing),
            self.matrix_pane: put_away(),
            self.rates_pane: put_away(),
            self.errors_pane: put_away(),
            self.predicted_pane: put_away(),
            self.assumptions: filled("page/widgets/list.html", lines=assumed),
            self.skipped_pane: gr.update(label=f"Skipped images ({len(skipped):,})", visible=bool(skipped)),
            self.skipped: [[printable(path), printable(reason)] for path, reason in skipped],
            **self._show_all(answered),
        }
        if answered.task == "regression":
            predicted = predicted_plots(answered)
            panes = {self.errors_pane: reveal(), self.predicted_pane: reveal() if predicted else put_away()}
            return {**updates, **panes, self.fit: fit_table(answered), self.predicted: predicted}
        wide = "safe-wide" if len(answered.known_classes) > WIDE else ""
        return {
            **updates,
            self.confused: most_confused(answered),
            self.matrix_pane: gr.update(elem_classes=wide),
            self.rates_pane: reveal(),
            self.rates: _rates(answered, groups),
        }

    def wire(self, outputs: list) -> None:
        """Connect reasons and matrix with the grid."""
        self.images.wire({self.matrix: "", self.reasons: f"{REASON}:"}, outputs)

    def _show_all(self, answered: AnsweredImages) -> dict:
        """All failing images in the grid and, with none selected, reasons and matrix; of a regression, the errors."""
        known = ungrouped_reasons(answered, self._settings.out)
        cards = gr.HTML("", parts=cards_of(answered, known) if known else "")
        images = {self.reasons: cards, **self.images.show(answered.digest, images_of(answered))}
        if answered.task == "regression":
            return {**images, self.errors: gr.HTML("", **error_histogram(answered))}
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
        heading = f"{count(len(rows), 'image')}: {what}"
    elif len(rows):
        known = bool(np.isfinite(answers.score[rows]).any())
        order = ", largest error first" if answered.task == "regression" else ", the surest answer first"
        heading = f"{count(len(rows), 'failing image')}{order if known else ''}"
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
    text, threshold = f"95% interval {low:.1%} to {high:.1%}", answered.threshold
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
