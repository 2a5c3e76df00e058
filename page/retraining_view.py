"""What a retraining improved and worsened: its figures, its curves, and the images whose prediction changed."""

import html
from collections.abc import Mapping
from pathlib import Path

import gradio as gr

from page.jobs import pane, reveal
from page.pictures import thumbnails
from page.plots import learning_curves, shares_right
from rccs.notes import RccNote
from support.text import count, printable
from training.certainty import WORSE, class_lines, class_summary, interval_text
from training.comparison import Changed
from training.result import Retraining, certainty_of, certainty_of_classes

GALLERY_LIMIT = 60
CURVES = (
    "held out: training images that the model is not trained on, by which the best epoch is chosen. unsafe set: the "
    "images that were labelled"
)
BARS = (
    "RCC: root cause cluster, failing images that have something in common. The thin line is the 95% interval of the "
    "share: how many images like these are right now"
)


class RetrainingView:
    """Lay out the pane; `outputs` are its widgets, `show` gives what they show.

    Parameters
    ----------
    root : Path, optional
        If given, only pictures of images in this folder are shown.
    """

    def __init__(self, root: Path | None):
        self._root = root
        with pane("retraining-pane") as self.pane:
            with gr.Row(elem_classes="safe-form safe-next"):
                self.figures = gr.HTML(elem_id="retraining-figures", scale=1)
                self.next_round = gr.Button("Collect its failures", scale=0, min_width=190, elem_id="next-round")
            with gr.Row():
                self.curves = gr.HTML(elem_id="curves", min_width=430)
                self.bars = gr.HTML(elem_id="bars", min_width=430)
            with gr.Row():
                with gr.Column(min_width=360):
                    self.improved_title = gr.HTML()
                    self.improved = _gallery("improved")
                with gr.Column(min_width=360):
                    self.worsened_title = gr.HTML()
                    self.worsened = _gallery("worsened")
            with gr.Accordion("What was assumed", open=False):
                self.assumptions = gr.HTML(elem_id="assumed")
        self.outputs = [self.pane, self.figures, self.next_round, self.curves, self.bars, self.improved_title,
                        self.improved, self.worsened_title, self.worsened, self.assumptions]  # fmt: skip

    def show(self, result: Retraining, notes: Mapping[int, RccNote]) -> dict:
        """What the widgets show of a retraining, with the names that the engineer gave the RCCs."""
        curves = learning_curves(result.history, len(result.history) - 1, best=result.best)
        bars = shares_right(result.per_rcc, notes)
        return {
            self.pane: reveal(),
            self.figures: _figures(result),
            # Of a network that was retrained elsewhere there is no model here.
            self.next_round: gr.Button(visible=result.after is None),
            self.curves: titled("Accuracy by epoch", curves, CURVES),
            self.bars: titled("Failing images of each RCC that are right now", bars, BARS),
            self.improved_title: heading(_counted("Improved", result.improved, "wrong before and right now")),
            self.improved: self._pictures(result, result.improved),
            self.worsened_title: heading(_counted("Worsened", result.worsened, "right before and wrong now")),
            self.worsened: self._pictures(result, result.worsened),
            self.assumptions: _list(result.assumptions),
        }

    def _pictures(self, result: Retraining, images: tuple[Changed, ...]) -> list[tuple[str, str]]:
        pictures = thumbnails(result.test_root, [image.image for image in images[:GALLERY_LIMIT]], 160, self._root)
        return [(picture, printable(_change(image))) for (picture, _), image in zip(pictures, images, strict=False)]


def heading(text: str, hint: str = "") -> str:
    """A heading of a part of the pane, as HTML, with a hint as its tooltip."""
    tooltip = f" title='{html.escape(hint)}'" if hint else ""
    return f"<h3 class='safe-title'{tooltip}>{html.escape(text)}</h3>"


def titled(text: str, drawing: str, hint: str = "") -> str:
    """A drawing under its heading; empty if the drawing is."""
    return heading(text, hint) + drawing if drawing else ""


def _gallery(elem_id: str) -> gr.Gallery:
    return gr.Gallery(
        show_label=False, columns=4, height=300, object_fit="contain", buttons=[], interactive=False, elem_id=elem_id
    )


def _figures(result: Retraining) -> str:
    gained = 100 * (result.accuracy_after - result.accuracy_before)
    held = result.test_size * result.accuracy_before
    sure = certainty_of(result)
    rate = f"{len(result.worsened) / max(held, 1):.1%} of those right before"
    if sure and sure.counts.right_before:
        rate += f", 95% interval {sure.lost_low:.1%} to {sure.lost_high:.1%}"
    interval = f", {interval_text(sure)}" if sure else ""
    rows = [
        (
            "Accuracy before → after",
            f"{result.accuracy_before:.2%} → {result.accuracy_after:.2%}",
            f"{gained:+.2f} points{interval}; of {result.test_size:,} test images",
        ),
        ("Improved", f"{len(result.improved):,}", "wrong before, right now"),
        ("Worsened", f"{len(result.worsened):,}", rate),
    ]
    if result.after is None:
        waiting = f"{result.waiting / max(result.seconds, 1e-9):.0%} waiting for images"
        images = f"{result.train_size:,} + {result.unsafe_size:,}"
        rows += [("Trained on", images, "training and unsafe images"), ("Time", f"{result.seconds:.0f} s", waiting)]
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{html.escape(value)}<small>{html.escape(more)}</small></dd></div>"
        for name, value, more in rows
    )
    return f"<dl class='safe-figures safe-accuracy'>{cells}</dl>{_classes(result)}"


def _classes(result: Retraining) -> str:
    """Which classes are better or worse; empty for the given model. How sure the whole is stands in the status."""
    sure = certainty_of_classes(result)
    if not sure:
        return ""
    # Many classes would move the figures out of sight; worse ones must be in sight.
    opened = " open" if any(one.verdict == WORSE for one in sure) else ""
    lines = class_lines([share.name for share in result.per_class], sure)
    summary = html.escape(class_summary(sure))
    return f"<details class='safe-notice'{opened}><summary>{summary}</summary>{_list(tuple(lines))}</details>"


def _change(image: Changed) -> str:
    """The predictions before and after, and the class if it is neither of them."""
    change = f"{image.before} → {image.after}"
    return change if image.label in (image.before, image.after) else f"{image.label}: {change}"


def _counted(what: str, images: tuple[Changed, ...], meaning: str) -> str:
    limited = f"; the first {GALLERY_LIMIT} are shown" if len(images) > GALLERY_LIMIT else ""
    return f"{what}: {count(len(images), 'image')}, {meaning}{limited}"


def _list(lines: tuple[str, ...]) -> str:
    return "<ul class='safe-list'>" + "".join(f"<li>{html.escape(printable(line))}</li>" for line in lines) + "</ul>"
