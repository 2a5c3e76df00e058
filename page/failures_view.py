"""What a network gets wrong: its accuracy, what it takes for what, the images of each confusion, and rates by class."""

import html
from collections.abc import Iterable
from pathlib import Path

import gradio as gr
import numpy as np

from dnn.confusion import ClassRate, ConfusionMatrix, class_rates, confusion_matrix
from page.collected import Collected, CollectedFailures
from page.grid_view import GridView
from page.jobs import LATEST, VIEW, pane, put_away, reveal, warn
from rccs.answers import MISSED, NO_OBJECT, NOTHING, confused
from rccs.intervals import clopper_pearson
from support.errors import SAFEError
from support.text import count, printable

HERE = Path(__file__).parent
WIDE = 12  # classes, from which on the matrix takes the whole width


class FailuresView:
    """Lay out the pane; `outputs` are its widgets, `show` gives what they show.

    Parameters
    ----------
    root : Path, optional
        If given, only pictures of images in this folder are shown.
    """

    def __init__(self, collected: CollectedFailures, root: Path | None):
        self._collected, self._root = collected, root
        with pane("failures-pane") as self.pane:
            with gr.Row(elem_classes="safe-form safe-next"):
                self.figures = gr.HTML(elem_id="failures-figures", scale=1)
                self.find = gr.Button(
                    "Find the reasons", variant="primary", scale=0, min_width=190, elem_id="find-reasons"
                )
            with gr.Row(equal_height=False, elem_id="failures-images"):
                with pane("matrix-pane") as self.matrix_pane:
                    gr.HTML("<h3 class='safe-title'>What is taken for what</h3>")
                    self.matrix = gr.HTML(
                        "",  # the cell at hand
                        html_template=HERE.joinpath("matrix.html").read_text(encoding="utf-8"),
                        js_on_load=HERE.joinpath("scripts", "matrix.js").read_text(encoding="utf-8"),
                        rows=[],
                        columns=[],
                        cells=[],
                        nothing=-1,
                        elem_id="matrix",
                    )
                with gr.Column(min_width=360):
                    self.images = GridView("failing", self._file_of, root)
            with gr.Row(equal_height=False):
                with pane("rates-pane") as self.rates_pane:
                    gr.HTML("<h3 class='safe-title'>How often each class is wrong</h3>")
                    self.rates = gr.HTML(elem_id="class-rates")
                with gr.Column(min_width=360):
                    gr.HTML("<h3 class='safe-title'>What was assumed</h3>")
                    self.assumptions = gr.HTML(elem_id="failures-assumed")
            with gr.Accordion("Skipped images", open=False, visible=False) as self.skipped_pane:
                self.skipped = gr.Dataframe(
                    headers=["image", "reason"],
                    interactive=False,
                    max_height=260,
                    wrap=True,
                    elem_id="failures-skipped",
                )
        self.key = gr.State("")  # of the failures that the window shows
        self.outputs = [self.pane, self.figures, self.matrix_pane, self.matrix, self.rates_pane, self.rates, self.find,
                        self.assumptions, self.skipped_pane, self.skipped, self.key, *self.images.outputs]  # fmt: skip

    def _file_of(self, index: object, key: str) -> Path:
        """An image of the failures that a window shows."""
        shown = self._collected.shown(key)
        return shown.failures.test_root / shown.paths[range(len(shown.paths))[int(index)]]  # type: ignore[call-overload]  # the caller expects what this raises

    def show(self, shown: Collected) -> dict:
        """What the widgets show of failures: all failing images in the grid, and no cell at hand."""
        failures = shown.failures
        failing = bool(failures.failing)
        skipped = failures.skipped
        updates = {
            self.pane: reveal(),
            self.key: shown.key,
            self.figures: _figures(shown),
            self.find: gr.Button(interactive=failing),
            self.matrix_pane: put_away(),
            self.rates_pane: put_away(),
            self.assumptions: _list(failures.assumptions),
            self.skipped_pane: gr.update(label=f"Skipped images ({len(skipped):,})", visible=bool(skipped)),
            self.skipped: [[printable(path), printable(reason)] for path, reason in skipped],
            **self._list(shown, None),
        }
        if shown.regression:
            return updates
        wide = "safe-wide" if len(failures.classes) > WIDE else ""
        return {
            **updates,
            self.matrix_pane: gr.update(elem_classes=wide),
            **self._show_matrix(shown),
            self.rates_pane: reveal(),
            self.rates: _rates(shown),
        }

    def wire(self) -> None:
        """Connect the matrix and the pager with the grid."""
        images = self.images
        listed = [self.matrix, self.key, images.page]
        # Gradio loses what is sent to widgets with scripts before their tab is first opened: the script asks for it.
        self.matrix.opened(self._on_opened, self.key, [self.matrix, *images.outputs], **VIEW)
        self.matrix.select(self._on_cell, [self.matrix, self.key], images.outputs, **LATEST)
        images.back.click(lambda *sent: self._on_turn(*sent, by=-1), listed, images.outputs, **VIEW)
        images.forth.click(lambda *sent: self._on_turn(*sent, by=1), listed, images.outputs, **VIEW)

    def _on_opened(self, key: str) -> dict:
        """The matrix and the grid, again."""
        try:
            shown = self._collected.shown(key)
        except SAFEError:
            return gr.skip()  # there is nothing to show, or soon something else
        return {**self._show_matrix(shown), **self._list(shown, None)}

    def _show_matrix(self, shown: Collected) -> dict:
        """The confusion matrix, with no cell at hand; a regression has none."""
        if shown.regression:
            return {}
        matrix = _matrix_of(shown)
        rows, columns = _names(matrix, shown.detector)
        cells = matrix_cells(matrix)
        nothing = matrix.classes.index(NOTHING) if shown.detector and NOTHING in matrix.classes else -1
        return {self.matrix: gr.HTML("", rows=rows, columns=columns, cells=cells, nothing=nothing)}

    def _on_cell(self, cell: object, key: str) -> dict:
        return self._on_turn(cell, key, 0, by=0)

    def _on_turn(self, cell: object, key: str, page: int, *, by: int) -> dict:
        try:
            return self._list(self._collected.shown(key), cell, page + by)
        except SAFEError as error:
            warn("Out of date", error)
            return gr.skip()

    def _list(self, shown: Collected, cell: object, page: int = 0) -> dict:
        """A page of the images of a cell, or of all failing images."""
        rows, heading = _images_of(shown, cell)

        def told(row: int) -> dict[str, str]:
            return {"name": printable(shown.paths[row]), "told": shown.answers.text(row)}

        def file(row: int) -> Path:
            return shown.failures.test_root / shown.paths[row]

        return self.images.show(heading, rows, page, told, file, shown.key)


def _matrix_of(shown: Collected) -> ConfusionMatrix:
    return confusion_matrix(shown.answers.label, shown.answers.predicted)


def matrix_cells(matrix: ConfusionMatrix) -> list[list[list[int]]]:
    """For each row and column, the images and how many of them are wrong, for the script."""
    return np.stack([matrix.counts, matrix.wrong], axis=2).tolist()


def _names(matrix: ConfusionMatrix, detector: bool) -> tuple[list[str], list[str]]:
    """What the matrix calls its rows and columns."""
    named = matrix.names
    if not detector:
        return named, named
    rows, columns = ([word if name == NOTHING else name for name in named] for word in (NO_OBJECT, MISSED))
    return rows, columns


def _images_of(shown: Collected, cell: object) -> tuple[list[int], str]:
    """The images of a cell that a browser has sent as "row,column", or all that fail; and what they are, in words.

    Wrong ones first, those of which the network is surest, or of a regression the largest errors.
    """
    answers = shown.answers
    rows, heading = np.flatnonzero(~shown.right), ""
    if isinstance(cell, str) and cell and not shown.regression:
        matrix = _matrix_of(shown)
        names = matrix.names
        at = [int(part) for part in cell.split(",") if part.isdecimal() and int(part) < len(names)]
        if len(at) == 2:
            rows = matrix.images_in(*at)
            what = confused(names[at[0]], names[at[1]] if at[0] != at[1] else "the same", detector=shown.detector)
            if at[0] == at[1] < len(matrix.classes):
                what = f"{names[at[0]]} that are {'found' if shown.detector else 'right'}"
            heading = f"{count(len(rows), 'image')}: {what}"
    score = np.nan_to_num(answers.score[rows], nan=-1.0)
    ordered = rows[np.lexsort((rows, -score, shown.right[rows]))].tolist()
    if heading:
        return ordered, heading
    known = bool(np.isfinite(answers.score[rows]).any())
    order = "" if not known else ", largest error first" if shown.regression else ", the surest answer first"
    return ordered, f"{count(len(rows), 'failing image')}{order}" if ordered else "No failing images"


# --- Figures and rates --------------------------------------------------------------------------------------------


def _figures(shown: Collected) -> str:
    failures = shown.failures
    wrong, tested = len(failures.failing), failures.test_size
    low, high = (float(end[0]) for end in clopper_pearson(np.array([wrong]), np.array([tested])))
    name = "Found" if shown.detector else "Accuracy"
    interval = f"95% interval {1 - high:.1%} to {1 - low:.1%}"
    of = "crops, of objects and of false detections" if shown.detector else "test images"
    rows = [
        (name, f"{failures.accuracy:.1%}", interval),
        ("Failures", f"{wrong:,}", f"of {tested:,} {of}"),
    ]
    if failures.threshold is not None:
        rows.append(("A failure is", f"> {failures.threshold:g}", "error, in the unit of the targets"))
    elif not shown.regression:
        classes = len(failures.classes) - shown.detector
        rows.append(("Classes", f"{classes:,}", printable(failures.model.name)))
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{html.escape(value)}<small>{html.escape(more)}</small></dd></div>"
        for name, value, more in rows
    )
    return f"<dl class='safe-figures safe-accuracy'>{cells}</dl>"


def _rates(shown: Collected) -> str:
    """A table of all classes: the failure rate as a bar with its interval and the rate of all images, and in words."""
    answers = shown.answers
    rates = class_rates(answers.label, answers.predicted)
    if shown.detector:  # of what is no object, every detection is wrong
        rates = [rate for rate in rates if rate.name != NOTHING]
        rates = [rate._replace(taken_for=MISSED) if rate.taken_for == NOTHING else rate for rate in rates]
    base = 1 - shown.failures.accuracy
    body = "".join(_rate_row(rate, base) for rate in rates)
    mostly = "Mostly" if shown.detector else "Mostly taken for"
    told = f"{base:.1%} of all are wrong: the dark line. The thin line is the 95% interval."
    return (
        f"<p class='safe-spots-base'>{told}</p>"
        "<div class='safe-rates-scroll' role='region' tabindex='0' aria-label='How often each class is wrong'>"
        "<table class='safe-rates'><thead><tr><th scope='col'>Class</th><th scope='col'>Wrong</th>"
        f"<th scope='col'>Rate</th><th scope='col'>{mostly}</th></tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _rate_row(rate: ClassRate, base: float) -> str:
    bar = (
        "<span class='safe-rate-bar' aria-hidden='true'>"
        f"<i class='safe-rate-fill' style='width:{rate.rate:.1%}'></i>"
        f"<i class='safe-rate-range' style='left:{rate.low:.1%};width:{max(rate.high - rate.low, 0.004):.1%}'></i>"
        f"<i class='safe-rate-base' style='left:{base:.1%}'></i></span>"
    )
    mostly = f"{html.escape(printable(rate.taken_for))} ({rate.taken:,})" if rate.taken else ""
    return (
        f"<tr><th scope='row'>{html.escape(printable(rate.name))}</th><td>{rate.wrong:,} of {rate.tested:,}</td>"
        f"<td>{bar}<span>{rate.rate:.0%} ({100 * rate.low:.0f}–{rate.high:.0%})</span></td><td>{mostly}</td></tr>"
    )


def _list(lines: Iterable[str]) -> str:
    return "<ul class='safe-list'>" + "".join(f"<li>{html.escape(printable(line))}</li>" for line in lines) + "</ul>"
