"""The first tab, before step 1: a network, or its answers, and a test folder become the images that it gets wrong."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from dnn.detector_failures import find_detection_failures
from dnn.failures import DETECTION, collect_failures, find_failures, load_failures
from dnn.model import DnnOptions
from page.collected import CollectedFailures, failures_of
from page.failures_view import FailuresView
from page.form_view import FormView
from page.forms import remember, remembered
from page.job_view import JobView, News
from page.jobs import EDITS, FOLLOW, VIEW, Job, PageSettings, done, empty, typed
from pipeline.summaries import failures_summary
from rccs.parameters import PARAMETERS_FILE
from support.entries import is_within
from support.errors import SAFEError
from support.output_folder import working
from support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, PREDICTIONS_FILE
from support.text import printable

TAB = "failures"
RESCALE = [
    ("Read from the model", ""),
    ("0 to 255", "none"),
    ("0 to 1", "1/255"),
    ("−1 to 1", "signed"),
    ("As torchvision and timm", "imagenet"),
]
KINDS = [
    ("Model", "model"),
    ("Table of its answers", "answers"),
    ("Detector: COCO files", "coco"),
    ("Detector: YOLO files", "yolo"),
]
# What each kind needs, as an error names it
DETECTOR = {"truth": "ground truth", "results": "results of the detector", "test": "folder of images"}
NEEDED = {
    "model": {"model": "model (.keras, .h5 or .onnx)", "test": "test folder"},
    "answers": {"answers": "table of answers (CSV)", "test": "test folder"},
    "coco": DETECTOR,
    "yolo": DETECTOR,
}
BESIDE = (PARAMETERS_FILE, "classes.txt")  # read beside the folders of a detector
EMPTY = empty(
    "No failures collected yet.",
    [
        ("Give the network and its test images", "A Keras or ONNX model or, of any framework, a table of its answers."),
        ("Click Collect failures", "SAFE collects the images that the network gets wrong, and counts its confusions."),
        ("Click Find the reasons", "The failing images are grouped by the reason for failing."),
    ],
)
STOPPED = "Stopped. Nothing was changed."


class FailuresTab:
    """Lay out the tab; `wire` connects its widgets."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._may_trust = settings.root is None  # visitors of a page for others must not run code on this machine
        self.collected = CollectedFailures(settings.out, settings.root)
        with gr.Column(elem_id="failures-form"):
            self._lay_out_form()
            self._lay_out_options()
        with gr.Row(elem_classes="safe-state"):
            self.status = gr.HTML(EMPTY, elem_id="failures-status", scale=1)
            self.cancel = gr.Button("Cancel", scale=0, min_width=110, visible=False, elem_id="cancel-failures")
        self.view = FailuresView(self.collected, settings.root)
        self.job_view = JobView(
            settings, TAB, self.status, self.start, self.cancel,
            guide=lambda: "" if self.collected.there else EMPTY, result=self.view.pane, stopped=STOPPED,
        )  # fmt: skip
        # Without `trust`: trust in the model is given anew each time.
        fields = {
            "kind": self.kind, "model": self.model, "answers": self.answers, "truth": self.truth,
            "results": self.results, "test": self.test, "train": self.train, "rescale": self.rescale,
            "targets": self.targets, "threshold": self.threshold, "iou": self.iou, "score": self.score,
        }  # fmt: skip
        optional = ("train", "rescale", "targets", "threshold", "iou", "score")
        self.form = FormView(fields, self.options, optional, self._last_form)
        self.outputs = [*self.job_view.outputs, self.form.filled, *self.view.outputs]

    def _lay_out_form(self) -> None:
        self.kind = gr.Radio(
            KINDS, value="model", label="The network",
            info="SAFE runs a Keras or ONNX model itself; of any other network it takes the answers",
            elem_id="failures-kind",
        )  # fmt: skip
        with gr.Row(elem_classes="safe-form"):
            self.model = _path("Model", "Keras (.keras, .h5) or ONNX (.onnx); only read", "model.keras", "model")
            self.answers = _path(
                "Table of answers", "CSV: image and predicted, or image and each class's probability", "answers.csv",
                "answers",
            )  # fmt: skip
            self.truth = _path("Ground truth", "COCO: a JSON file; YOLO: the folder of labels", "truth.json", "truth")
            self.results = _path("Results", "Of the detector: a JSON file; YOLO: a folder", "results.json", "results")
            self.test = _path("Test folder", "A folder for each class; of a detector, its images", "test", "test")
            self.example = gr.Button(
                "Example", scale=0, min_width=110, visible=self._settings.example is not None, elem_id="example-test"
            )
            self.start = gr.Button("Collect failures", variant="primary", scale=1, min_width=170, elem_id="collect")

    def _lay_out_options(self) -> None:
        with gr.Accordion(
            "More options: classes, pixels, and what counts as a failure", open=False, elem_id="failures-options"
        ) as self.options:
            with gr.Row(elem_classes="for-classifier"):
                self.train = gr.Textbox(
                    label="Training folder", info="If the test folder lacks some of the classes",
                    placeholder="/path/to/train", elem_id="failures-train",
                )  # fmt: skip
                self.rescale = gr.Dropdown(
                    RESCALE, value="", label="Pixels given to the model", info="As it was trained",
                    elem_id="failures-rescale", elem_classes="for-model",
                )  # fmt: skip
                self.trust = gr.Checkbox(
                    label="The model may run code of its own", info="Lambda layers: only for a file that you trust",
                    visible=self._may_trust, elem_id="failures-trust", elem_classes="for-model",
                )  # fmt: skip
            with gr.Row(elem_classes="for-classifier"):
                self.targets = gr.Textbox(
                    label="Targets of a regression", info="CSV: image, and a number for each output",
                    placeholder="/path/to/targets.csv", elem_id="failures-targets",
                )  # fmt: skip
                self.threshold = gr.Textbox(
                    label="Threshold of a regression", info="A larger error is a failure; in the unit of the targets",
                    elem_id="failures-threshold",
                )  # fmt: skip
            with gr.Row(elem_classes="for-detector"):
                self.iou = gr.Textbox(
                    label="Least overlap (IoU)", info="Of a detection with the object that it finds",
                    placeholder="0.5", elem_id="failures-iou",
                )  # fmt: skip
                self.score = gr.Textbox(
                    label="Least score", info="Detections with a lower one do not count", placeholder="0.5",
                    elem_id="failures-score",
                )  # fmt: skip

    def show(self) -> dict:
        """What the widgets show of the failures in the output folder.

        Raises
        ------
        SAFEError
            There are none, they are damaged, or on images outside the page's root.
        """
        shown = self.collected.shown()
        written = f"Written to {self._settings.out}: {FAILURES}/, {FAILURES_FILE}, {PREDICTIONS_FILE}, {ACCURACY_FILE}."
        notices = " ".join(filter(None, (self._changed_below(), written)))
        return {self.status: done(failures_summary(shown.failures), notices), **self.view.show(shown)}

    def _changed_below(self) -> str:
        """A sentence if root cause clusters are of failures that were collected before."""
        results, out = self._settings.results, self._settings.out
        with contextlib.suppress(SAFEError):
            clusters = results.shown().review.original if results.there else None
            ours = clusters is not None and clusters.home == self.collected.folder.resolve()
            if clusters and ours and failures_of(clusters, out) is None:
                return "The root cause clusters are of failures that were collected before: find the reasons again."
        return ""

    def _last_form(self) -> dict:
        """The form as it was last sent; before that, the paths of failures that the command has collected."""
        fields: dict[str, Any] = dict(remembered(self._settings.out, TAB))
        if not fields:
            with contextlib.suppress(SAFEError):
                failures = load_failures(self._settings.out)
                if failures.task == DETECTION:
                    return {"kind": "coco"}  # the files are not recorded
                kind = "answers" if failures.model.suffix.lower() == ".csv" else "model"
                fields = {"kind": kind, kind: os.fspath(failures.model), "test": os.fspath(failures.test_root)}
                fields = {name: printable(text) for name, text in fields.items()}
        return fields

    def on_collect(self, *values: Any) -> Iterator[dict]:
        """Collect with the values of the form and, last, the trust in the model."""
        fields = self.form.named(values[:-1])
        yield self.form.sent(self.collected.key, fields)
        yield from self.collect(fields, bool(values[-1]))

    def collect(self, fields: Mapping[str, Any], trust: bool) -> Iterator[dict]:
        """Start to collect failures, and follow."""
        yield from self.job_view.start(lambda job: self._collect(job, fields, trust), self.show)

    def _collect(self, job: Job, fields: Mapping[str, Any], trust: bool) -> None:
        out = self._settings.out
        kind = fields["kind"] if fields["kind"] in NEEDED else "model"
        paths = {name: self._accepted(fields[name], what) for name, what in NEEDED[kind].items()}
        options = typed(**{name: fields[name] for name in ("train", "targets", "threshold", "iou", "score")})
        if kind not in ("coco", "yolo"):
            options |= {name: self._settings.accept(options[name]) for name in ("train", "targets") if name in options}
        self._check_places(kind, paths)
        remember(out, TAB, fields)
        test = paths["test"]
        with working(out, "collecting failures"):
            if kind in ("coco", "yolo"):
                least: dict[str, Any] = {name: options[name] for name in ("iou", "score") if name in options}
                find_detection_failures(
                    paths["truth"], paths["results"], test, out, yolo=kind == "yolo", progress=job.progress, **least
                )
                return
            regression: Any = (options.get("targets"), options.get("threshold"))
            train = options.get("train")
            if kind == "answers":
                job.progress("Reading the answers", 0, 0)
                collect_failures(paths["answers"], test, out, options=DnnOptions(None, False, *regression), train=train)
                return
            dnn = DnnOptions(fields["rescale"] or None, trust and self._may_trust, *regression)
            job.progress("Loading the model", 0, 0)
            find_failures(paths["model"], test, out, options=dnn, train=train, progress=job.progress)

    def _accepted(self, path: str | None, what: str) -> str:
        if not (path or "").strip():
            raise SAFEError(f"Expected the {what}. Received: nothing.")
        return self._settings.accept(path)

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

    def _first_look(self) -> dict:
        return {**self.job_view.look(self.show), **self.form.first_look(self.collected.key)}

    def on_load(self) -> Iterator[dict]:
        yield from self.job_view.load(self._first_look, self.show)

    def on_folder(self, followed: int, key: str, before: dict, *values: Any) -> dict:
        """Show what has changed in the folder: other failures."""
        now = self.collected.key
        updates, _ = self.form.follow(now, before, self.form.named(values))
        if now != key:
            updates = {**updates, **self.job_view.look(self.show, followed)}
        return updates or gr.skip()

    def wire(self, loaded: gr.events.Dependency, news: News) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        form, job_view = self.form, self.job_view
        sent = [self.start.click, *(box.submit for box in (self.model, self.answers, self.results, self.test))]
        gr.on(sent, self.on_collect, [*form.widgets, self.trust], self.outputs, **FOLLOW)
        if self._settings.example:
            case = self._settings.example.folder
            paths = ("model", str(case / "model.keras"), str(case / "test"))
            self.example.click(lambda: paths, None, [self.kind, self.model, self.test], **VIEW)
        self.view.wire()
        filled_in = [*form.outputs, *self.outputs]
        loaded.then(self.on_load, None, filled_in, **FOLLOW)
        job_view.wire(news, self.show, self.outputs)
        news.folder(
            self.on_folder, [job_view.followed, self.view.key, form.filled, *form.widgets], filled_in, **VIEW, **EDITS
        )


def _path(label: str, info: str, example: str, name: str) -> gr.Textbox:
    """A field for a path, which the style shows for the kinds that need it."""
    kind = "for-detector" if name in ("truth", "results") else f"for-{name}"
    return gr.Textbox(
        label=label, info=info, placeholder=f"/path/to/{example}", scale=3, min_width=220, elem_id=f"failures-{name}",
        elem_classes=kind,
    )  # fmt: skip
