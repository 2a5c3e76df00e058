"""What a retraining improved and worsened: its figures, confusions before and after, classes, RCCs, and the images."""

import html
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from page.failures_view import WIDE, matrix_cells
from page.grid_view import GridView
from page.jobs import LATEST, VIEW, pane, put_away, reveal, warn
from page.plots import class_bars, keeping, learning_curves, shares_right
from rccs.notes import RccNote
from reporting.confusions import OLD, TAKEN_BEFORE, TAKEN_NOW, matrices_of
from support.errors import SAFEError
from support.text import count, printable
from training.certainty import class_summary, interval_text
from training.comparison import Answered, Changed
from training.result import Retraining, certainty_of, certainty_of_classes

HERE = Path(__file__).parent
COUNTED = ("figures", "counts")  # widgets of counts that open images
TO_IMAGES = "() => { document.querySelector('#changed-title')?.scrollIntoView({ block: 'nearest' }); }"
IMPROVED, WORSENED, WRONG = "improved", "worsened", "wrong"  # the lists that tiles open
BEFORE, AFTER = "before", "after"
MEANINGS = {
    IMPROVED: "wrong before and right now",
    WORSENED: "right before and wrong now",
    WRONG: "wrong before and after",
}
CURVES = (
    "held out: training images that the model is not trained on, by which the best epoch is chosen. unsafe set: the "
    "images that were labelled. A second pass begins with the original model again, and learns improvement images "
    "without a label as well"
)
BARS = (
    "RCC: root cause cluster, failing images that have something in common. The thin line is the 95% interval of the "
    "share: how many images like these are right now"
)
KEEPING = (
    "The mean of both networks' answers gets fewer images wrong that were right, for some accuracy and twice the time. "
    "Retraining with “Keeping what is right” (What matters more) gives such a model, with a share of 30%."
)
CLASSES = "The bar is the share that is right now, the dark line the share before. Worse classes come first"


class Listed(NamedTuple):
    """Images to show, and what they are in words."""

    heading: str
    images: list[Changed] | list[Answered]


class RetrainingView:
    """Lay out the pane; `outputs` are its widgets, `show` gives what they show.

    Parameters
    ----------
    root : Path, optional
        If given, only pictures of images in this folder are shown.
    load : callable
        The retraining by its key; a SAFEError if the folder holds another one by now.
    """

    def __init__(self, root: Path | None, load: Callable[[str], Retraining]):
        self._load = load
        with pane("retraining-pane") as self.pane:
            with gr.Row(elem_classes="safe-form safe-next"):
                self.figures = scripted_widget("figures", "retraining-figures", scale=1, tiles=[])
                self.next_round = gr.Button("Collect its failures", scale=0, min_width=190, elem_id="next-round")
            with gr.Row(equal_height=False, elem_id="changed-images"):
                with pane("confusions-pane") as self.matrix_pane:
                    gr.HTML(heading(TAKEN_BEFORE))
                    self.before = scripted_widget("matrix", "matrix-before", rows=[], columns=[], cells=[])
                    gr.HTML(heading(TAKEN_NOW))
                    self.after = scripted_widget("matrix", "matrix-after", rows=[], columns=[], cells=[])
                with gr.Column(min_width=360):
                    self.images = GridView("changed", self._file_of, root)
            with gr.Row(equal_height=False):
                self.classes = gr.HTML(elem_id="classes-changed", min_width=430)
                self.bars = gr.HTML(elem_id="bars", min_width=430)
            with gr.Row(equal_height=False):
                self.curves = gr.HTML(elem_id="curves", min_width=430)
                self.keeping = gr.HTML(elem_id="keeping", min_width=430)
            with gr.Accordion("What was assumed", open=False):
                self.assumptions = gr.HTML(elem_id="assumed")
        self.key = gr.State("")  # of the retraining that the window shows
        self.chosen = gr.State(IMPROVED)  # the list of a tile, or a cell such as `after:0,2`
        self._listed = [self.figures, self.before, self.after, self.chosen, *self.images.outputs]
        self.outputs = [self.pane, self.next_round, self.matrix_pane, self.classes, self.curves, self.keeping,
                        self.bars, self.assumptions, self.key, *self._listed]  # fmt: skip

    def show(self, result: Retraining, key: str, notes: Mapping[int, RccNote]) -> dict:
        """What the widgets show of a retraining, with the names that the engineer gave the RCCs."""
        epochs = len(result.history) - 1
        first = result.settings.epochs if result.settings and result.settings.epochs < epochs else None
        curves = learning_curves(result.history, epochs, best=result.best, first_pass=first)
        bars = shares_right(result.per_rcc, notes)
        old = (OLD,) if result.task == "classification" and not result.answers else ()
        return {
            self.pane: reveal(),
            self.key: key,
            # Of a network that was retrained elsewhere there is no model here.
            self.next_round: gr.Button(visible=result.after is None),
            self.matrix_pane: self._show_matrix_pane(result),
            self.classes: _classes(result),
            self.curves: titled("Accuracy by epoch", curves, CURVES),
            self.keeping: titled("If the original network answered along", _told(KEEPING, keeping(result))),
            self.bars: titled("Failing images of each RCC that are right now", bars, BARS),
            self.assumptions: _list((*old, *result.assumptions)),
            **self._show_all(result, key),
        }

    def _show_all(self, result: Retraining, key: str) -> dict:
        """What widgets with scripts show: they lose it where it comes before their tab is first opened."""
        chosen = IMPROVED if result.improved or not result.worsened else WORSENED
        return {
            **self._show_matrices(result),
            **self._list(result, key, chosen),
            self.figures: gr.HTML(chosen, tiles=_tiles(result)),
        }

    def _show_matrix_pane(self, result: Retraining) -> dict[str, Any]:
        if not result.answers:
            return put_away()
        names = {row.label for row in result.answers}
        return gr.update(elem_classes="safe-wide" if len(names) > WIDE else "")

    def _show_matrices(self, result: Retraining) -> dict:
        if not result.answers:
            return {}
        shown = {}
        for widget, matrix in zip((self.before, self.after), matrices_of(result), strict=True):
            names = matrix.names
            shown[widget] = gr.HTML("", rows=names, columns=names, cells=matrix_cells(matrix))
        return shown

    def _list(self, result: Retraining, key: str, chosen: str, page: int = 0) -> dict:
        """A page of the images of a tile or a cell."""
        listed = listed_images(result, chosen)

        def told(row: int) -> dict[str, str]:
            image = listed.images[row]
            return {"name": printable(image.image), "told": printable(_change(image))}

        def file(row: int) -> Path:
            return result.test_root / listed.images[row].image

        # An image is known by the list and its place in it.
        grid = self.images.show(listed.heading, range(len(listed.images)), page, told, file, f"{key} {chosen}")
        return {self.chosen: chosen, **grid}

    def _file_of(self, index: object, shown: str) -> Path:
        """An image of the list that a window shows."""
        key, _, chosen = shown.rpartition(" ")
        result = self._load(key)
        images = listed_images(result, chosen).images
        return result.test_root / images[range(len(images))[int(index)]].image  # type: ignore[call-overload]  # the grid expects what this raises

    def wire(self) -> None:
        """Connect tiles, matrices and pager with the grid."""
        listed, images = [self.chosen, self.key, self.images.page], self.images
        self.figures.opened(self._on_opened, self.key, self._listed, **VIEW)
        chosen = [self.figures.select(self._on_tile, [self.figures, self.key], self._listed, **LATEST)]
        for side, widget in ((BEFORE, self.before), (AFTER, self.after)):
            on_cell = widget.select(
                lambda cell, key, side=side: self._on_cell(side, cell, key), [widget, self.key], self._listed, **LATEST
            )
            chosen.append(on_cell)
        for event in chosen:
            event.then(None, None, None, js=TO_IMAGES)
        for button, by in ((images.back, -1), (images.forth, 1)):
            button.click(
                lambda *sent, by=by: self._on_turn(*sent, by=by), listed, [self.chosen, *images.outputs], **VIEW
            )

    def _on_opened(self, key: str) -> dict:
        try:
            return self._show_all(self._load(key), key)
        except SAFEError:
            return gr.skip()  # there is nothing to show, or soon something else

    def _on_tile(self, chosen: object, key: str) -> dict:
        return {self.before: gr.HTML(""), self.after: gr.HTML(""), **self._on_turn(chosen, key, 0, by=0)}

    def _on_cell(self, side: str, cell: object, key: str) -> dict:
        """Show the images of a cell; where it was left, those that the retraining has improved."""
        other = self.after if side == BEFORE else self.before
        if not isinstance(cell, str) or not cell:
            return {self.figures: gr.HTML(IMPROVED), **self._on_turn(IMPROVED, key, 0, by=0)}
        return {other: gr.HTML(""), self.figures: gr.HTML(""), **self._on_turn(f"{side}:{cell}", key, 0, by=0)}

    def _on_turn(self, chosen: object, key: str, page: int, *, by: int) -> dict:
        try:
            return self._list(self._load(key), key, str(chosen), page + by)
        except SAFEError as error:
            warn("Out of date", error)
            return gr.skip()


def listed_images(result: Retraining, chosen: str) -> Listed:
    """The images of a tile (`improved`, `worsened`, `wrong`), or of a cell of a matrix (`before:0,2`).

    Anything else, which only a script of somebody else can have sent, is `improved`.
    """
    side, _, cell = chosen.partition(":")
    at = [int(part) for part in cell[:20].split(",") if part.isdecimal()]
    if side in (BEFORE, AFTER) and len(at) == 2 and result.answers:
        matrix = matrices_of(result)[side == AFTER]
        names = matrix.names
        if max(at) < len(names):
            images = [result.answers[i] for i in matrix.images_in(*at).tolist()]
            right = at[0] == at[1] < len(matrix.classes)
            what = f"{names[at[0]]}, right" if right else f"{names[at[0]]} taken for {names[at[1]]}"
            return Listed(f"{count(len(images), 'image')}: {what} {'before' if side == BEFORE else 'now'}", images)
    kind = chosen if chosen in MEANINGS else IMPROVED
    if kind == WRONG:
        both = [row for row in result.answers if row.label not in (row.before, row.after)]
        return Listed(f"Still wrong: {count(len(both), 'image')}, {MEANINGS[WRONG]}", both)
    changed = list(result.improved if kind == IMPROVED else result.worsened)
    return Listed(f"{kind.capitalize()}: {count(len(changed), 'image')}, {MEANINGS[kind]}", changed)


def heading(text: str, hint: str = "") -> str:
    """A heading of a part of the pane, as HTML, with a hint as its tooltip."""
    tooltip = f" title='{html.escape(hint)}'" if hint else ""
    return f"<h3 class='safe-title'{tooltip}>{html.escape(text)}</h3>"


def titled(text: str, drawing: str, hint: str = "") -> str:
    """A drawing under its heading; empty if the drawing is."""
    return heading(text, hint) + drawing if drawing else ""


def _told(text: str, drawing: str) -> str:
    """A drawing below a sentence about it; empty if the drawing is."""
    return f"<p class='safe-spots-base'>{html.escape(text)}</p>{drawing}" if drawing else ""


def scripted_widget(name: str, elem_id: str, **props: Any) -> gr.HTML:
    """A widget with a script: its value is what is at hand, an empty text if nothing."""
    scripts = ("opens", name) if name in COUNTED else (name,)
    return gr.HTML(
        "",
        html_template=HERE.joinpath(f"{name}.html").read_text(encoding="utf-8"),
        js_on_load="".join(HERE.joinpath("scripts", f"{one}.js").read_text(encoding="utf-8") for one in scripts),
        elem_id=elem_id,
        **props,
    )


def _tiles(result: Retraining) -> list[dict[str, str]]:
    gained = 100 * (result.accuracy_after - result.accuracy_before)
    held = result.test_size * result.accuracy_before
    sure = certainty_of(result)
    rate = f"{len(result.worsened) / max(held, 1):.1%} of those right before"
    if sure and sure.counts.right_before:
        rate += f", 95% interval {sure.lost_low:.1%} to {sure.lost_high:.1%}"
    interval = f", {interval_text(sure)}" if sure else ""
    accuracy = f"{result.accuracy_before:.2%} → {result.accuracy_after:.2%}"
    of_accuracy = f"{gained:+.2f} points{interval}; of {result.test_size:,} test images"
    still = result.test_size - round(result.test_size * result.accuracy_before) - len(result.improved)
    rows = [
        ("Accuracy before → after", accuracy, of_accuracy, ""),
        ("Improved", f"{len(result.improved):,}", "wrong before, right now", IMPROVED),
        ("Worsened", f"{len(result.worsened):,}", rate, WORSENED),
        ("Still wrong", f"{still:,}", MEANINGS[WRONG], WRONG if result.answers else ""),
    ]
    if result.after is None:
        waiting = f"{result.waiting / max(result.seconds, 1e-9):.0%} waiting for images"
        images = f"{result.train_size:,} + {result.unsafe_size:,}"
        others = f"; in a second pass {result.unlabelled_size:,} without a label" if result.unlabelled_size else ""
        rows += [
            ("Trained on", images, f"training and unsafe images{others}", ""),
            ("Time", f"{result.seconds:.0f} s", waiting, ""),
        ]
    return [dict(zip(("title", "figure", "more", "opens"), row, strict=True)) for row in rows]


def _classes(result: Retraining) -> str:
    """Each class before and after, and how sure the difference is; empty for a regression."""
    shares = [share for share in result.per_class if share.images]
    if not shares:
        return ""
    sure = certainty_of_classes(result)
    summary = f"<p class='safe-spots-base'>{html.escape(class_summary(sure))}.</p>" if sure else ""
    by_name = {share.name: one for share, one in zip(result.per_class, sure, strict=False)}
    return heading("Each class, before and after", CLASSES) + summary + class_bars(shares, by_name)


def _change(image: Changed | Answered) -> str:
    """The predictions before and after, and the class if it is neither of them."""
    change = f"{image.before} → {image.after}" if image.before != image.after else f"{image.before}, as before"
    return change if image.label in (image.before, image.after) else f"{image.label}: {change}"


def _list(lines: tuple[str, ...]) -> str:
    return "<ul class='safe-list'>" + "".join(f"<li>{html.escape(printable(line))}</li>" for line in lines) + "</ul>"
