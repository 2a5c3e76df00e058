"""Fifth tab, step 6: the model is fine-tuned with the labelled images (the unsafe set), and what changed is shown."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import gradio as gr

from dnn.model import DnnOptions
from page.failures_tab import RESCALE
from page.form_view import FormView
from page.forms import remember, remembered
from page.job_view import JobView, News
from page.jobs import EDITS, FOLLOW, LATEST, VIEW, Job, PageSettings, done, empty, typed
from page.models_view import ModelsView
from page.plots import learning_curves
from page.results import Marks
from page.retraining_view import RetrainingView, titled
from pipeline.summaries import retraining_summary
from retrain import retrain
from support.errors import SAFEError
from support.run_folder import MODEL_FILE, RETRAINING_FILE
from support.text import printable
from training.finetuning import Epoch
from training.labels import Labelling
from training.repetitions import repetitions_text
from training.result import Retraining, load_retraining, retraining_of
from training.settings import AIM, BATCH_SIZE, EPOCHS, LEARNING_RATE, LEARNING_RATE_FACTOR, Wishes

TAB = "retraining"
LABELS = "labels"  # the tab whose form has a training folder as well

STEPS = [
    ("Label the unsafe set", "In the tab before; not needed where the improvement images lie in class folders."),
    ("Give the model", "The Keras model, and the folders of its training and test images, a folder for each class."),
    ("Click Retrain", "You get a new model beside the old one, and what it improved and worsened."),
]
EMPTY = empty("Not retrained yet.", STEPS)
EARLIER = empty(
    "The last retraining was for other clusters. Open their run: Earlier runs, in the tab Root cause clusters.",
    STEPS,
)
AIM_CHOICES = [("Both alike", "balance"), ("Accuracy", "accuracy"), ("Keeping what is right", "keep")]
# Parameters of `Wishes`, and the fields that they are typed into
NUMBERS = {"learning_rate": "rate", "epochs": "epochs", "batch_size": "batch", "seed": "seed", "seeds": "seeds"}


class RetrainingTab:
    """Lay out the tab; `wire` connects its widgets."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._may_trust = settings.root is None  # visitors of a page for others must not run code on this machine
        self._lay_out_form()
        self._lay_out_options()
        with gr.Row(elem_classes="safe-state"):
            self.status = gr.HTML(EMPTY, elem_id="retraining-status", scale=1)
            self.cancel = gr.Button("Stop", scale=0, min_width=110, visible=False, elem_id="cancel-retraining")
        self._read: tuple[str, Retraining] | None = None  # the last one, by its key
        self.view = RetrainingView(settings.root, self._result)
        self._models_view = ModelsView(settings)
        self.job_view = JobView(
            settings, TAB, self.status, self.start, self.cancel, guide=self._guide, result=self.view.pane
        )
        # Without `trust`: trust in the model is given anew for each retraining.
        fields = {
            "model": self.model, "train": self.train, "test": self.test, "rate": self.rate, "epochs": self.epochs,
            "batch": self.batch, "seed": self.seed, "seeds": self.seeds, "rescale": self.rescale,
            "only_labelled": self.only_labelled, "aim": self.aim, "one_pass": self.one_pass,
        }  # fmt: skip
        optional = ("rate", "epochs", "batch", "seed", "seeds", "rescale", "only_labelled", "aim", "one_pass")
        self.form = FormView(fields, self.options, optional, self._last_form)
        self.marks = gr.State(None)  # of the folder, as the window shows it
        self.outputs = [*self.job_view.outputs, self.marks, self.form.filled, *self.view.outputs]

    def _lay_out_form(self) -> None:
        with gr.Row(elem_classes="safe-form"):
            self.model = gr.Textbox(
                label="Model", info="Keras, .keras or .h5; only read", placeholder="/path/to/model.keras",
                scale=3, min_width=220, elem_id="model",
            )  # fmt: skip
            self.train = gr.Textbox(
                label="Training folder", info="A folder for each class", placeholder="/path/to/train", scale=3,
                min_width=220, elem_id="train",
            )  # fmt: skip
            self.test = gr.Textbox(
                label="Test folder", info="Never trained on", placeholder="/path/to/test", scale=3, min_width=220,
                elem_id="test",
            )  # fmt: skip
            self.example = gr.Button(
                "Example", scale=0, min_width=110, visible=self._settings.example is not None, elem_id="example-model"
            )
            self.start = gr.Button("Retrain", variant="primary", scale=1, min_width=150, elem_id="retrain")

    def _lay_out_options(self) -> None:
        with gr.Accordion("How it is trained", open=False, elem_id="training-options") as self.options:
            self.aim = gr.Radio(
                AIM_CHOICES, value=AIM, label="What matters more", elem_id="aim",
                info="For accuracy, more images that were right may get wrong; to keep them, the model holds the "
                "original network as well, takes twice as long, and gains less",
            )  # fmt: skip
            with gr.Row():
                self.rate = gr.Textbox(
                    label="Learning rate",
                    info=f"Empty: {LEARNING_RATE_FACTOR:g} of the model's own, or {LEARNING_RATE:g}",
                    elem_id="rate",
                )
                self.epochs = gr.Textbox(
                    label="Epochs", info="More if images are few", placeholder=f"{EPOCHS} or more", elem_id="epochs"
                )
                self.batch = gr.Textbox(
                    label="Batch size", info="Images for each step", placeholder=str(BATCH_SIZE), elem_id="batch"
                )
                self.seed = gr.Textbox(label="Seed", info="Of the images drawn", placeholder="0", elem_id="seed")
                self.seeds = gr.Textbox(
                    label="Repetitions", info="With other seeds; the median is kept", placeholder="1", elem_id="seeds"
                )
            with gr.Row():
                self.rescale = gr.Dropdown(
                    RESCALE, value="", label="Pixels given to the model", info="As it was trained"
                )
                self.only_labelled = gr.Checkbox(
                    label="Leave out images without a label", info="Instead of refusing to start"
                )
                self.one_pass = gr.Checkbox(
                    label="Learn from labelled images only",
                    info="Half the time, but more that was right gets wrong: no second pass with the other images",
                    elem_id="one-pass",
                )
                self.trust = gr.Checkbox(
                    label="The model may run code of its own", info="Lambda layers: only for a file that you trust",
                    visible=self._may_trust, elem_id="trust",
                )  # fmt: skip

    def _guide(self) -> str:
        """What to do if there is no retraining to show; empty if there is one."""
        if not (self._settings.out / RETRAINING_FILE).is_file():
            return EMPTY
        try:
            load_retraining(self._settings.out)
        except SAFEError:
            return ""  # `show` reports that it is damaged
        return "" if self._settings.results.holds_retraining() else EARLIER

    def show(self) -> dict:
        """What the widgets show of the retraining in the output folder.

        Raises
        ------
        SAFEError
            There is none, it is damaged, or it was for other clusters.
        """
        settings = self._settings
        marks = settings.results.marks()
        review = settings.results.shown().review if settings.results.there else None
        result = retraining_of(settings.out, review)
        repetitions = repetitions_text(result.repetitions, result.seed)
        written = f"Written to {settings.out / MODEL_FILE}."
        if result.after is not None:
            written = f"Compared by the answers in {result.model} and {result.after}; SAFE has trained no model."
        notices = (repetitions, written)
        return {
            self.marks: marks,
            self.status: done(retraining_summary(result), ". ".join(filter(None, notices))),
            **self.view.show(result, self._key, review.notes if review else {}),
        }

    @property
    def _key(self) -> str:
        """A text that differs where there was another retraining."""
        return self._settings.results.stamp_of(RETRAINING_FILE)

    def _result(self, key: str) -> Retraining:
        """The retraining that a window shows, without the shares of RCCs as they are now.

        Raises
        ------
        SAFEError
            The folder holds another one by now, or it is damaged.
        """
        read = self._read
        if key != self._key:
            raise SAFEError("The model was retrained in the meantime. Reload the page to see the result.")
        if read is None or read[0] != key:
            read = self._read = (key, load_retraining(self._settings.out))
        return read[1]

    def _last_form(self) -> dict:
        """The form as it was last sent; before that, the paths of a retraining by the command."""
        settings = self._settings
        fields: dict[str, Any] = dict(remembered(settings.out, TAB))
        if not fields:
            with contextlib.suppress(SAFEError):
                result = retraining_of(settings.out, settings.results.shown().review)
                fields = {"test": printable(os.fspath(result.test_root))}
                if result.after is None:
                    fields["model"] = printable(os.fspath(result.model))
            fields |= {name: text for name, text in remembered(settings.out, LABELS).items() if name == "train"}
        return fields

    def _first_look(self) -> dict:
        marks = self._settings.results.marks()
        return {**self.job_view.look(self.show), **self.form.first_look(marks.run), self.marks: marks}

    def on_retrain(self, *values: Any) -> Iterator[dict]:
        """Retrain with the values of the form and, last, the trust in the model."""
        fields, trust = self.form.named(values[:-1]), bool(values[-1])
        yield self.form.sent(self._settings.results.marks().run, fields)
        yield from self.job_view.start(lambda job: self._retrain(job, fields, trust), self.show)

    def _retrain(self, job: Job, fields: dict[str, Any], trust: bool) -> None:
        settings = self._settings
        numbers: dict[str, Any] = typed(**{parameter: fields[name] for parameter, name in NUMBERS.items()})

        def on_epoch(history: tuple[Epoch, ...], passes: tuple[int, ...]) -> None:
            # The second one is marked as soon as it has an epoch.
            first = passes[0] if len(history) > passes[0] + 1 else None
            curves = learning_curves(history, sum(passes), first_pass=first)
            job.drawing = titled("Accuracy by epoch of the model that is being trained", curves)

        paths = {"model": fields["model"], "training folder": fields["train"], "test folder": fields["test"]}
        for what, path in paths.items():
            if not (path or "").strip():
                raise SAFEError(f"Expected the {what}. Received: nothing.")
        dnn, train_folder, test_folder = (settings.accept(path) for path in paths.values())
        remember(settings.out, TAB, fields)
        retrain(
            dnn,
            train_folder,
            test_folder,
            settings.out,
            options=DnnOptions(fields["rescale"] or None, trust and self._may_trust),
            labelling=Labelling(only_labelled=bool(fields["only_labelled"])),
            wishes=Wishes(**numbers, aim=fields["aim"] or AIM, unlabelled=0 if fields["one_pass"] else None),
            progress=job.tell,
            on_epoch=on_epoch,
            should_stop=job.cancelled,
        )

    def on_load(self) -> Iterator[dict]:
        yield from self.job_view.load(self._first_look, self.show)

    def on_tab(self, followed: int, marks: Marks | None) -> dict:
        """Look again if the folder has changed since."""
        now = self._settings.results.marks()
        return gr.skip() if now == marks else {self.marks: now, **self.job_view.look(self.show, followed)}

    def on_folder(self, followed: int, marks: Marks | None, before: dict, *values: Any) -> dict:
        """Show what has changed in the folder: other clusters, edits, another set, another retraining."""
        now = self._settings.results.marks()
        updates, _ = self.form.follow(now.run, before, self.form.named(values))
        if now != marks:
            same = marks is not None and (now.run, now.retraining) == (marks.run, marks.retraining)
            look = self.job_view.look(self.show, followed, same=same)
            updates = {**updates, self.marks: now, **look}
        return updates or gr.skip()

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab, news: News) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        form, job_view = self.form, self.job_view
        gr.on(
            [self.start.click, self.test.submit], self.on_retrain, [*form.widgets, self.trust], self.outputs, **FOLLOW
        )
        if self._settings.example:
            case = self._settings.example.folder
            paths = (str(case / "model.keras"), str(case / "train"), str(case / "test"))
            self.example.click(lambda: paths, None, [self.model, self.train, self.test], **VIEW)
        self.view.wire()
        self._models_view.wire(news.folder)
        tab.select(self.on_tab, [job_view.followed, self.marks], self.outputs, **VIEW)
        loaded.then(self.on_load, None, [*form.outputs, *self.outputs], **FOLLOW)
        job_view.wire(news, self.show, self.outputs)
        news.folder(
            self.on_folder, [job_view.followed, self.marks, form.filled, *form.widgets],
            [*form.outputs, *self.outputs], **LATEST, **EDITS,
        )  # fmt: skip
