"""The first tab, before step 1: a network, or its answers, and a test folder become the images that it gets wrong."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from safe_dnn import api
from safe_dnn.analysis import UNGROUPED
from safe_dnn.dnn.answer_columns import number_columns, read_answer_table
from safe_dnn.dnn.failures import NO_IMAGES, checked, file_and_column, required_targets
from safe_dnn.dnn.model import DnnOptions, is_regression_file
from safe_dnn.page.events import LATEST, VIEW
from safe_dnn.page.failures.view import FailuresView, interval_text
from safe_dnn.page.forms import check_there, remember, remembered, required_path, typed
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import FORM_LABELS, done, doubted, empty
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import CLUSTERS_TAB, FAILURES_TAB
from safe_dnn.page.work_tab import WorkTab, widgets_in
from safe_dnn.rccs.parameters import PARAMETERS_FILE
from safe_dnn.reasons.known_groups import groups_of_test
from safe_dnn.report.summary_lines import failures_summary
from safe_dnn.support.errors import SAFEError, is_within
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, PREDICTIONS_FILE
from safe_dnn.support.text import printable

RESCALE = [
    ("Read from the model", ""), ("0 to 255", "none"), ("0 to 1", "1/255"), ("−1 to 1", "signed"),
    ("As torchvision and timm", "imagenet"),
]  # fmt: skip
KINDS = [
    ("Model", "model"), ("Table of its answers", "answers"), ("Detector: COCO files", "coco"),
    ("Detector: YOLO files", "yolo"),
]  # fmt: skip
# What each kind needs, as an error names it
DETECTOR = {"truth": "ground truth", "results": "results of the detector", "test": "folder of images"}
NEEDED = {
    "model": {"model": "model (.keras, .h5 or .onnx)", "test": "test folder"},
    "answers": {"answers": "table of answers (CSV)"},
    "coco": DETECTOR,
    "yolo": DETECTOR,
}
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
        info = "SAFE runs a Keras or ONNX model itself; of any other network it takes the answers"
        kinds = KINDS if self._settings.takes_models else KINDS[1:]
        kind = gr.Radio(kinds, value=kinds[0][1], label="The network", info=info, elem_id="failures-kind")
        self.form.add("kind", kind)
        with gr.Row(elem_classes="safe-form"):
            self._path("model", "Model", "Keras (.keras, .h5) or ONNX (.onnx); only read", "model.keras")
            what = "CSV: image and predicted, or image and each class's probability; of a regression, as its targets"
            self._path("answers", "Table of answers", what, "answers.csv")
            self._path("parameters", "Parameters", "CSV, if they are in another table", "parameters.csv")
            self._path("truth", "Ground truth", "COCO: a JSON file; YOLO: the folder of labels", "truth.json")
            self._path("results", "Results", "Of the detector: a JSON file; YOLO: a folder", "results.json")
            what = "A folder for each class; of a regression or detector, images. A table will do without"
            self._path("test", "Test folder", what, "test")
            self._lay_out_start("test", "Collect failures", "collect")

    def _path(self, name: str, label: str, info: str, example: str) -> None:
        """A field for a path, which the style shows for the kinds that need it."""
        kind = {"truth": "detector", "results": "detector", "parameters": "answers"}.get(name, name)
        self.form.path(name, f"failures-{name}", label, info, example, elem_classes=f"for-{kind}")

    def _text(self, name: str, label: str, info: str, example: str = "") -> None:
        self.form.text(name, f"failures-{name.replace('_', '-')}", label, info, example)

    def _lay_out_options(self) -> None:
        title = "More options: classes, pixels, targets of a regression"
        with self.form.options(title, "failures-options"):
            with gr.Row(elem_classes="for-classifier"):
                lacking = "If the test folder lacks some of the classes"
                self._text("train", "Training folder", lacking, "/path/to/train")
                self.form.add("rescale", rescale_field(elem_id="failures-rescale", elem_classes="for-model"))
                self.trust = trust_field(self._may_trust, elem_id="failures-trust", elem_classes="for-model")
            with gr.Row(elem_classes="for-classifier"):
                columns = "CSV, wherever it lies: parameters.csv will do"
                self._text("targets", FORM_LABELS["targets"], columns, "/path/to/targets.csv")
                info = "The column, if there are others"
                column = gr.Dropdown([], label="Target", info=info, allow_custom_value=True, elem_id="failures-target")
                self.form.add("target", column)
                larger = "A larger error is a failure; in the unit of the targets"
                self._text("threshold", FORM_LABELS["threshold"], larger)
                info = "Tables without a row for more than a tenth of the images"
                self.partial = gr.Checkbox(label=FORM_LABELS["partial"], info=info, elem_id="failures-partial")
            with gr.Row(elem_classes="for-classifier"):
                proof = "To prove a retraining: these images take part in nothing else"
                self._text("hold_out", FORM_LABELS["hold_out"], proof, "0.3")
                columns = "Columns such as person or track, prefix or folder; a comma between"
                self._text("group", "In whole groups", columns, "person")
            with gr.Row(elem_classes="for-detector"):
                self._text("iou", "Least overlap (IoU)", "Of a detection with the object that it finds", "0.5")
                self._text("score", "Least score", "Detections with a lower one do not count", "0.5")
            what = "Its folder: what is known is taken over, and both networks are compared"
            self._text("after", FORM_LABELS["after"], what, "/path/to/analysis")

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

    def on_collect(self, *sent: Any) -> dict:
        """Collect with the values of the form and, last, the trust in the model and in tables of a part."""
        *values, trust, partial = sent
        return self.collect(self.form.named(values), bool(trust), bool(partial))

    def collect(self, fields: Mapping[str, Any], trust: bool, partial: bool = False) -> dict:
        """Start to collect failures."""
        return self._work(fields, self._collect, lambda fields: self._wanted(fields, trust, partial))

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

    def _wanted(self, fields: Mapping[str, Any], trust: bool, partial: bool) -> dict[str, Any]:
        """What the fields, which are kept, give to `api.failures` or, without images, to `api.reasons`; a SAFEError
        where one cannot be used."""
        settings = self._settings
        kind = fields["kind"] if fields["kind"] in NEEDED else "model"
        paths = {name: required_path(fields[name], what, settings) for name, what in NEEDED[kind].items()}
        boxes = kind in ("coco", "yolo")
        further = ("after", *(() if boxes else ("train", "targets")), *OF_TABLES * (kind == "answers"))
        entered = typed(**{name: fields[name] for name in further})
        entered["targets"], column = file_and_column(entered.get("targets", ""))
        given = {name: settings.accept(path) for name, path in typed(**entered).items()}
        self._check_places(kind, paths)
        remember(settings.out, FAILURES_TAB, fields)
        own = {name: path for name, path in given.items() if name != "after"}
        check_there({**{NEEDED[kind][name]: path for name, path in paths.items()}, **own})
        if boxes:
            files = (paths["truth"], paths["results"], paths["test"])
            return {kind: files, **given, **typed(iou=fields["iou"], score=fields["score"])}
        options: dict[str, Any] = {"partial": partial, **given, **typed(**{name: fields[name] for name in TYPED})}
        options["group"] = [name.strip() for name in (fields["group"] or "").split(",") if name.strip()]
        if "targets" in options:
            required_targets(checked(DnnOptions(targets=options["targets"], threshold=options.get("threshold"))))
            if column := (fields["target"] or "").strip() or column:
                options["targets"] += f":{column}"
        if kind == "answers":
            return {"predictions": paths["answers"], **options}
        return {**paths, **options, "rescale": fields["rescale"] or None, "trust_model": trust and self._may_trust}

    def _collect(self, job: Job) -> None:
        step = api.reasons if "predictions" in job.form and "test" not in job.form else api.failures
        found = step(out=self._settings.out, **job.form)
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
        last = ("model", "answers", "parameters", "results", "test")
        sent = [self.start.click, *(form[name].submit for name in last)]
        inputs, outputs = [*form.widgets, self.trust, self.partial], widgets_in(tab)
        gr.on(sent, self.on_collect, inputs, outputs, **VIEW)
        taken = self.view.again.click("{:.6g}".format, self.view.threshold, form["threshold"], **VIEW)
        taken.then(self.on_collect, inputs, outputs, **VIEW)
        form["model"].change(self.on_model, form["model"], form.fold, **LATEST)
        form["targets"].change(self.on_targets, form["targets"], form["target"], **LATEST)
        # An error was about what the other kind needs.
        status = self.status
        form["kind"].input(lambda: self.look(self.show)[status], None, status, **VIEW)
        if self._settings.example:
            case = self._settings.example.folder
            form.fill_from(self.example, {"kind": "model", "model": case / "model.keras", "test": case / "test"})
        self.view.wire(outputs)
        self._wire(loaded, tab)


def rescale_field(**options: Any) -> gr.Dropdown:
    """The choice of the pixel values that a model expects."""
    return gr.Dropdown(RESCALE, value="", label=FORM_LABELS["rescale"], info="As it was trained", **options)


def trust_field(visible: bool, **options: Any) -> gr.Checkbox:
    """No part of a form: trust in a model is given anew each time."""
    what = "Lambda layers: only for a file that you trust"
    return gr.Checkbox(label=FORM_LABELS["trust_model"], info=what, visible=visible, **options)
