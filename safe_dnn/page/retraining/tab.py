"""Fifth tab, step 6: the model is fine-tuned with the labelled images (the unsafe set), and what changed is shown."""

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import gradio as gr

from safe_dnn import api
from safe_dnn.dnn.model import KERAS_SUFFIXES
from safe_dnn.page.events import VIEW
from safe_dnn.page.failures.tab import rescale_field, trust_field
from safe_dnn.page.forms import check_there, network_of, remember, remembered, required_path, take_labels, typed
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import FORM_LABELS, done, empty
from safe_dnn.page.retraining.view import RetrainingView, learning_curves, titled
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import LABELS_TAB, RETRAINING_TAB
from safe_dnn.page.work_tab import WorkTab, widgets_in
from safe_dnn.report.summary_lines import of_choosing_images, retraining_verdict
from safe_dnn.store.runs import RETRAINING, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import reporting
from safe_dnn.support.text import printable
from safe_dnn.training.finetuning import Epoch, Watch
from safe_dnn.training.result import MODEL_FILE, Retraining, claim_text
from safe_dnn.training.settings import AIM, BATCH_SIZE, EPOCHS, LEARNING_RATE, LEARNING_RATE_FACTOR

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
AIM_CHOICES = [("Both alike", "balance"), ("Accuracy", "accuracy"), ("Keeping what is right", "keep")]
# Parameters of `Wishes`, and the fields that they are typed into
NEEDED = {"model": "model", "train": "training folder", "test": "test folder"}
NUMBERS = {"learning_rate": "rate", "epochs": "epochs", "batch_size": "batch", "seed": "seed"}


class RetrainingTab(WorkTab):
    """Lay out the tab; `wire` connects its widgets."""

    name = RETRAINING_TAB
    stopped = "Stopped before the first epoch was over. The last result is unchanged."

    def __init__(self, settings: PageSettings):
        super().__init__(settings)
        self._may_trust = settings.root is None  # visitors of a page for others must not run code on this machine
        with gr.Column() as form:
            with gr.Row(elem_classes="safe-form"):
                info = "Keras, .keras or .h5; only read" if settings.takes_models else NO_MODELS
                self.form.path("model", "model", "Model", info, "model.keras")
                self.train = self.form.path("train", "train", "Training folder", "A folder for each class", "train")
                self.form.path("test", "test", "Test folder", "Never trained on", "test")
                self._lay_out_start("model", "Retrain", "retrain", 150)
            with self.form.options("How it is trained", "training-options"):
                self._lay_out_options()
        self.view = RetrainingView(settings, self._result)
        self._lay_out_state(form)
        self.pane = self.view.lay_out()

    def _lay_out_options(self) -> None:
        add, text = self.form.add, self.form.text
        info = "For accuracy, more images that were right may get wrong; to keep them, unlabelled images are needed"
        add("aim", gr.Radio(AIM_CHOICES, value=AIM, label="What matters more", info=info, elem_id="aim"))
        with gr.Row():
            own = f"Empty: {LEARNING_RATE_FACTOR:g} of the model's own, or {LEARNING_RATE:g}"
            text("rate", "rate", "Learning rate", own)
            text("epochs", "epochs", "Epochs", "More if images are few", f"{EPOCHS} or more")
        proof = (
            "Images that nothing was chosen by, to prove the gain: looked at once, after the training. By default, "
            "those that were held out in the tab Failures"
        )
        text("final", "final-test", "Final test folder", proof, "/path/to/final")
        with gr.Row():
            add("rescale", rescale_field())
            instead = "Instead of refusing to start"
            add("only_labelled", gr.Checkbox(label=FORM_LABELS["only_labelled"], info=instead))
            half = "Half the time, but more that was right gets wrong: no second pass with the other images"
            one_pass = gr.Checkbox(label="Learn from labelled images only", info=half, elem_id="one-pass")
            add("one_pass", one_pass)
        with self.form.options("Rarely needed: batch size, seed, code in the model"), gr.Row():
            text("batch", "batch", "Batch size", "Images for each step", str(BATCH_SIZE))
            text("seed", "seed", "Seed", "Of the images drawn", "0")
            self.trust = trust_field(self._may_trust, elem_id="trust")

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

    def on_retrain(self, *values: Any) -> dict:
        """Retrain with the values of the form and, last, the trust in the model."""
        fields, trust = self.form.named(values[:-1]), bool(values[-1])
        take_labels(self._settings.out)
        return self._work(fields, self._retrain, lambda fields: self._wanted(fields, trust))

    def _wanted(self, fields: Mapping[str, Any], trust: bool) -> dict[str, Any]:
        """What the fields, which are kept, give to `api.retrain`; a SAFEError where one cannot be used."""
        settings = self._settings
        paths = {name: required_path(fields[name], what, settings) for name, what in NEEDED.items()}
        paths |= {name: settings.accept(path) for name, path in typed(final=fields["final"]).items()}
        remember(settings.out, RETRAINING_TAB, fields)
        check_there({NEEDED.get(name, "final test folder"): path for name, path in paths.items()})
        options = typed(**{parameter: fields[name] for parameter, name in NUMBERS.items()}, rescale=fields["rescale"])
        chosen = {"only_labelled": bool(fields["only_labelled"]), "trust_model": trust and self._may_trust}
        unlabelled = 0 if fields["one_pass"] else None
        return {**paths, **options, **chosen, "aim": fields["aim"] or AIM, "unlabelled": unlabelled}

    def _retrain(self, job: Job) -> None:
        kept = False  # an epoch is over: a model that can be kept

        def on_epoch(history: tuple[Epoch, ...], passes: tuple[int, ...]) -> None:
            nonlocal kept
            kept = kept or len(history) > 1
            # The second one is marked as soon as it has an epoch.
            first = passes[0] if len(history) > passes[0] + 1 else None
            curves = learning_curves(history, sum(passes), first_pass=first)
            job.drawing = titled("Accuracy by epoch of the model that is being trained", curves)

        with reporting(lambda *report: (job.tell if kept else job.progress)(*report)):
            api.retrain(out=self._settings.out, watch=Watch(on_epoch, job.cancelled), **job.form)

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        form = self.form
        started = [self.start.click, form["test"].submit]
        gr.on(started, self.on_retrain, [*form.widgets, self.trust], widgets_in(tab), **VIEW)
        if self._settings.example:
            case = self._settings.example.folder
            values = {"model": case / "model.keras", "train": case / "train", "test": case / "test"}
            form.fill_from(self.example, values)
        self.view.wire(widgets_in(tab))
        self._wire(loaded, tab)
