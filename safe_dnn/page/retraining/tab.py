"""Fifth tab, step 6: the model is fine-tuned with the labelled images (the unsafe set), and what changed is shown.

What improved and what worsened: figures, reasons, confusions before and after, classes, and images.
"""

import contextlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gradio as gr
from markupsafe import Markup

from safe_dnn import api
from safe_dnn.dnn.confusion import ONE_ANOTHER
from safe_dnn.dnn.model import KERAS_SUFFIXES
from safe_dnn.page.assets import VIEW, scripted
from safe_dnn.page.failures.tab import WIDE, cell_in, matrix_table
from safe_dnn.page.forms import network_of, remembered, typed
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import done, empty, pane, put_away, reveal
from safe_dnn.page.pictures import Listed, ListedView
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import LABELS_TAB, RETRAINING_TAB
from safe_dnn.page.work_tab import Work, WorkTab, widgets_in
from safe_dnn.rccs.answers import rounded
from safe_dnn.reasons.listed import Reason
from safe_dnn.report.markup import filled
from safe_dnn.report.report import TAKEN_BEFORE, changed_reasons, matrices_of
from safe_dnn.report.summary_lines import of_choosing_images, retraining_verdict
from safe_dnn.store.runs import RETRAINING, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import reporting
from safe_dnn.support.text import count, printable
from safe_dnn.training.before_after import Answered, ByGroup, Share
from safe_dnn.training.certainty import NOT_SHOWN, WORSE, Certainty, class_summary, with_intervals
from safe_dnn.training.finetuning import Epoch, Watch
from safe_dnn.training.result import MODEL_FILE, Retraining, certainty_of, certainty_of_classes, claim_text
from safe_dnn.training.settings import AIM, BATCH_SIZE, EPOCHS, LEARNING_RATE, LEARNING_RATE_FACTOR

# --- What changed -------------------------------------------------------------------------------------------------

IMPROVED, WORSENED, WRONG = "improved", "worsened", "wrong"  # the lists that tiles open
BEFORE, AFTER = "before", "after"
MEANINGS = {
    IMPROVED: "wrong before and right now",
    WORSENED: "right before and wrong now",
    WRONG: "wrong before and after",
}
# Of an image in each list, below it and in its tooltip: the list's heading says the rest
CAPTIONS = {
    IMPROVED: ("{label} → {before}", "now {after}"),
    WORSENED: ("{label} → {after}", "before {before}"),
    WRONG: ("{label} → {before}, {now}", ""),
    BEFORE: ("now {after}", "{label} → {before}"),
    AFTER: ("before {before}", "{label} → {after}"),
}
CURVES = (
    "validation: training images that the model is not trained on, by which the best epoch is chosen. unsafe set: the "
    "images that were labelled. A second pass begins with the original model again, and learns improvement images "
    "without a label as well"
)
REASONS = (
    "How many of the images of each reason are wrong, before and now, with the 95% interval for new images, if images "
    "are independent"
)
CLASSES = "The bar is the share that is right now, the dark line the share before. Worse classes come first"


class RetrainingView:
    """Lay out the pane; `show` gives what it shows.

    Parameters
    ----------
    settings : PageSettings
        Only pictures of images below their root, if any, are shown.
    load : callable
        The retraining by its key; a SAFEError if the folder holds another one by now.
    """

    def __init__(self, settings: PageSettings, load: Callable[[str], Retraining]):
        self._settings, self._load = settings, load

    def lay_out(self) -> gr.Column:
        """The pane, below the state of things."""
        with pane("retraining-pane") as self.pane:
            self.figures = scripted("widgets/choices", "", elem_id="retraining-figures", parts="", first=IMPROVED)
            self.reasons = gr.HTML(elem_id="reasons-changed")
            with gr.Row(equal_height=False, elem_id="changed-images"):
                with pane("confusions-pane") as self.matrix_pane:
                    gr.HTML(heading("What is taken for what now"))
                    self.after = scripted("widgets/choices", "", elem_id="matrix-after", parts="", first="")
                    # As in the first tab when the failures were collected
                    with gr.Accordion(TAKEN_BEFORE, open=False) as self.before_pane:
                        self.before = scripted("widgets/choices", "", elem_id="matrix-before", parts="", first="")
                with gr.Column(min_width=360):
                    self.images = ListedView("changed", self._images_of, self._settings)
            with gr.Row(equal_height=False):
                self.classes = gr.HTML(elem_id="classes-changed", min_width=430)
                self.curves = gr.HTML(elem_id="curves", min_width=430)
            with gr.Accordion("What was assumed", open=False):
                self.assumptions = gr.HTML(elem_id="assumed")
        return self.pane

    def show(self, result: Retraining, key: str, listed: Sequence[Reason], lines: Sequence[str]) -> dict:
        """What the widgets show of a retraining.

        Parameters
        ----------
        listed : sequence of Reason
            Those of the analysis.
        lines : sequence of str
            What is said with what was assumed.
        """
        epochs = len(result.history) - 1
        first = result.settings.epochs if result.settings and result.settings.epochs < epochs else None
        curves = learning_curves(result.history, epochs, best=result.best, first_pass=first)
        chosen = IMPROVED if result.improved or not result.worsened else WORSENED
        matrices = zip((self.before, self.after), matrices_of(result), strict=True) if result.answers else ()
        wide = "safe-wide" if len({row.label for row in result.answers}) > WIDE else ""
        return {
            self.pane: reveal(),
            self.matrix_pane: gr.update(elem_classes=wide) if result.answers else put_away(),
            self.classes: _classes(result),
            self.curves: titled("Accuracy by epoch", curves, CURVES),
            self.reasons: titled("Each reason, before and after", changed_reasons(listed, result), REASONS),
            self.assumptions: filled("page/widgets/list.html", lines=[*result.assumptions, *lines]),
            **{widget: gr.HTML("", parts=matrix_table(matrix)) for widget, matrix in matrices},
            **self.images.show(key, listed_images(result, chosen), chosen),
            self.figures: gr.HTML(chosen, parts=filled("page/widgets/figures.html", tiles=_tiles(result))),
        }

    def _images_of(self, key: str, chosen: str) -> Listed:
        return listed_images(self._load(key), chosen)

    def wire(self, outputs: list) -> None:
        """Connect tiles and matrices with the grid."""
        # Gradio loses what is sent to a widget with a script before what it is folded in is opened.
        self.before_pane.expand(self._on_before, self.images.key, self.before, **VIEW)
        self.images.wire({self.figures: "", self.before: f"{BEFORE}:", self.after: f"{AFTER}:"}, outputs, IMPROVED)

    def _on_before(self, key: str) -> gr.HTML:
        return gr.HTML("", parts=matrix_table(matrices_of(self._load(key))[0]))


def listed_images(result: Retraining, chosen: str) -> Listed:
    """The images of a tile (`improved`, `worsened`, `wrong`), or of a cell of a matrix (`before:0,2`).

    Anything else, which only a script of somebody else can have sent, is `improved`.
    """
    side, _, cell = chosen.partition(":")
    matrix = matrices_of(result)[side == AFTER] if side in (BEFORE, AFTER) and result.answers else None
    images: Sequence[Answered]
    if matrix and (at := cell_in(matrix, cell)):
        names = matrix.names
        images = [result.answers[i] for i in matrix.images_in(*at).tolist()]
        answer = names[at[1]] if at[0] != at[1] else ONE_ANOTHER
        right = at[0] == at[1] < len(matrix.classes)
        what = f"{names[at[0]]}, right" if right else f"{names[at[0]]} taken for {answer}"
        text = f"{count(len(images), 'image')}: {what} {'before' if side == BEFORE else 'now'}"
        kind = side
    else:
        kind = chosen if chosen in MEANINGS else IMPROVED
        images = result.improved if kind == IMPROVED else result.worsened
        if kind == WRONG:
            images = [row for row in result.answers if row.label not in (row.before, row.after)]
        title = "Still wrong" if kind == WRONG else kind.capitalize()
        text = f"{title}: {count(len(images), 'image')}, {MEANINGS[kind]}"
    caption, hint = (
        [text.format(**_change(image, regression=not result.per_class)) for image in images] for text in CAPTIONS[kind]
    )
    return Listed(text, result.test_root, [image.image for image in images], caption.__getitem__, hint)


def heading(text: str, hint: str = "") -> Markup:
    """A heading of a part of the pane, with a hint as its tooltip."""
    return Markup("<h3 class='safe-title' title='{}'>{}</h3>").format(hint, text)


def titled(text: str, drawing: str, hint: str = "") -> str:
    """A drawing under its heading; empty if the drawing is."""
    return heading(text, hint) + drawing if drawing else ""


def _tiles(result: Retraining) -> list[dict[str, str]]:
    rows = []
    title = "Accuracy before → after"
    if final := result.final:
        accuracy = f"{final.accuracy_before:.2%} → {final.accuracy_after:.2%}"
        rows.append((title, accuracy, f"of {final.images_text}", "", ""))
        title = "On the test images that chose"
    held = result.test_size * result.accuracy_before
    sure = certainty_of(result)
    rate, hint = f"{len(result.worsened) / max(held, 1):.1%} of those right before", MEANINGS[WORSENED]
    if sure and sure.counts.right_before:
        hint += f"; 95% interval {sure.lost_low:.1%} to {sure.lost_high:.1%}"
    accuracy = f"{result.accuracy_before:.2%} → {result.accuracy_after:.2%}"
    still = result.test_size - round(result.test_size * result.accuracy_before) - len(result.improved)
    rows += [
        (title, accuracy, f"of {result.test_size:,} test images", "", ""),
        ("Improved", f"{len(result.improved):,}", "", IMPROVED, MEANINGS[IMPROVED]),
        ("Worsened", f"{len(result.worsened):,}", rate, WORSENED, hint),
        ("Still wrong", f"{still:,}", "", WRONG if result.answers else "", MEANINGS[WRONG]),
    ]
    return [dict(zip(("title", "figure", "more", "opens", "hint"), row, strict=True)) for row in rows]


def _classes(result: Retraining) -> str:
    """Each class before and after, and how sure the difference is; empty for a regression."""
    shares = [share for share in result.per_class if share.images]
    if not shares:
        return ""
    sure = certainty_of_classes(result)
    by_name = {share.name: one for share, one in zip(result.per_class, sure, strict=False)}
    bars = class_bars(shares, by_name, class_summary(sure), result.by_group)
    return heading("Each class, before and after", CLASSES) + bars


def _change(image: Answered, *, regression: bool) -> dict[str, str]:
    """The class, and what it was taken for before and is now, for `CAPTIONS`."""
    answers = image._asdict()
    if regression:
        answers |= {name: rounded(answers[name]) for name in ("label", "before", "after")}
    return {**answers, "now": "as before" if image.before == image.after else f"now {answers['after']}"}


HEIGHT, TOP, BOTTOM = 250, 12, 34  # pixels
LEFT, WIDTH = 7.0, 80.0  # of the plot, in percent of the drawing; the rest is for the words beside it
BEFORE_COLOUR, AFTER_COLOUR = (
    "#7b8aa2",
    "#0d9488",
)  # contrast of at least 3 : 1 on a light and a dark background (WCAG AA)


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
    for name, field, colour in (("validation", "validation", BEFORE_COLOUR), ("unsafe set", "unsafe", AFTER_COLOUR)):
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


# --- The tab ------------------------------------------------------------------------------------------------------

STEPS = [
    ("Label the unsafe set", "In the tab before; not needed where the improvement images lie in class folders."),
    ("Give the model", "The Keras model, and the folders of its training and test images, a folder for each class."),
    ("Click Retrain", "You get a new model beside the old one, and what it improved and worsened."),
]
EMPTY = empty("Not retrained yet.", STEPS)
EARLIER = empty(
    "The last retraining was for other clusters. Open their run: Earlier runs, in the tab Root cause clusters.", STEPS
)
NO_MODELS = "This service takes none: take the analysis home (Report), and retrain there"
# Parameters of `Wishes`, and the fields that they are typed into
NEEDED = ("model", "train", "test")
NUMBERS = {"learning_rate": "rate", "epochs": "epochs", "batch_size": "batch", "seed": "seed"}


class RetrainingTab(WorkTab):
    """Lay out the tab; `wire` connects its widgets."""

    name = RETRAINING_TAB
    submits = ("test",)
    stopped = "Stopped before the first epoch was over. The last result is unchanged."

    def __init__(self, settings: PageSettings):
        super().__init__(settings)
        self._may_trust = settings.root is None  # visitors of a page for others must not run code on this machine
        with gr.Column() as form:
            with gr.Row(elem_classes="safe-form"):
                sizes = {"scale": 3, "min_width": 220}
                self.form.lay_out("model", **sizes | ({} if settings.takes_models else {"info": NO_MODELS}))
                self.form.lay_out("train", "test", **sizes)
                self._lay_out_start("model", "Retrain", "retrain", 150)
            with self.form.options("How it is trained", "training-options"):
                self._lay_out_options()
        self.view = RetrainingView(settings, self._result)
        self._lay_out_state(form)
        self.pane = self.view.lay_out()

    def _lay_out_options(self) -> None:
        lay_out = self.form.lay_out
        lay_out("aim", value=AIM)
        with gr.Row():
            lay_out("rate", info=f"Empty: {LEARNING_RATE_FACTOR:g} of the model's own, or {LEARNING_RATE:g}")
            lay_out("epochs", placeholder=f"{EPOCHS} or more")
        lay_out("final")
        with gr.Row():
            lay_out("rescale", "only_labelled", "one_pass")
        with self.form.options("Rarely needed: batch size, seed, code in the model"), gr.Row():
            lay_out("batch", placeholder=str(BATCH_SIZE))
            lay_out("seed")
            lay_out("trust_model", visible=self._may_trust)

    def _guide(self) -> str:
        """What to do if there is no retraining to show; empty if there is one."""
        if RETRAINING in self._settings.results.latest.runs:
            return ""
        return EARLIER if runs_of(self._settings.out, RETRAINING) else EMPTY

    def show(self) -> dict:
        """What the widgets show of the retraining in the output folder.

        Raises
        ------
        SAFEError
            There is none, it is damaged, or it was for other clusters.
        """
        settings, state = self._settings, self._settings.results.latest
        result = state.retraining
        answers = f"Compared by the answers in {result.model} and {result.after}; SAFE has trained no model"
        claim, lines = "" if result.final else claim_text(result), []
        if result.after is None:
            answers, lines = "", [f"Written to {settings.out / MODEL_FILE}."]
        notices = (claim, of_choosing_images(result), answers)
        return {
            self.status: done(retraining_verdict(result), ". ".join(filter(None, notices))),
            **self.view.show(result, state.stamp_of(RETRAINING), state.listed if state.there else (), lines),
        }

    def _result(self, key: str) -> Retraining:
        """The retraining that a window shows.

        Raises
        ------
        SAFEError
            The folder holds another one by now, or it is damaged.
        """
        latest = self._settings.results.latest
        if key != latest.stamp_of(RETRAINING):
            raise SAFEError("The model was retrained in the meantime. Reload the page to see the result.")
        return latest.retraining

    def _last_form(self) -> dict:
        """The form as it was last sent; before that, the paths of a retraining by the command, or of the failures."""
        settings = self._settings
        fields: dict[str, Any] = dict(remembered(settings.out, RETRAINING_TAB))
        if not fields:
            with contextlib.suppress(SAFEError):
                state = settings.results.state()
                fields = dict(network_of(state.clustered, settings) if state.clustered else {})
                result = state.retraining
                fields["test"] = printable(os.fspath(result.test_root))
                if result.after is None:
                    fields["model"] = printable(os.fspath(result.model))
            if not fields.get("model", "").lower().endswith(KERAS_SUFFIXES):
                fields.pop("model", None)  # of others, the answers are asked for, but they are not retrained
            fields |= {name: text for name, text in remembered(settings.out, LABELS_TAB).items() if name == "train"}
        return fields

    def _result_of(self, marks: tuple) -> object:
        return marks[0], marks[3]

    def _work_of(self, fields: Mapping[str, Any]) -> Work:
        paths = self.form.taken(fields, NEEDED, ["final"])
        options = typed(**{parameter: fields[name] for parameter, name in NUMBERS.items()}, rescale=fields["rescale"])
        chosen = {
            "only_labelled": bool(fields["only_labelled"]),
            "trust_model": bool(fields["trust_model"]) and self._may_trust,
        }
        unlabelled = 0 if fields["one_pass"] else None
        more = {"aim": fields["aim"] or AIM, "unlabelled": unlabelled}
        return partial(self._retrain, {**paths, **options, **chosen, **more})

    def _retrain(self, options: Mapping[str, Any], job: Job) -> None:
        kept = False  # an epoch is over: a model that can be kept

        def on_epoch(history: tuple[Epoch, ...], passes: tuple[int, ...]) -> None:
            nonlocal kept
            kept = kept or len(history) > 1
            # The second one is marked as soon as it has an epoch.
            first = passes[0] if len(history) > passes[0] + 1 else None
            curves = learning_curves(history, sum(passes), first_pass=first)
            job.drawing = titled("Accuracy by epoch of the model that is being trained", curves)

        with reporting(lambda *report: (job.tell if kept else job.progress)(*report)):
            api.retrain(out=self._settings.out, watch=Watch(on_epoch, job.cancelled), **options)

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        self._wire_form(tab)
        self.view.wire(widgets_in(tab))
        self._wire(loaded, tab)
