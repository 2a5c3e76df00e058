"""Fifth tab, step 6: the model is fine-tuned with the labelled images (the unsafe set), and what changed is shown."""

import contextlib
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import gradio as gr

from safe_dnn import api
from safe_dnn.dnn.model import KERAS_SUFFIXES
from safe_dnn.page.forms import network_of, remembered, typed
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import done, empty
from safe_dnn.page.retraining.view import RetrainingView, learning_curves, titled
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import LABELS_TAB, RETRAINING_TAB
from safe_dnn.page.work_tab import Work, WorkTab, widgets_in
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
