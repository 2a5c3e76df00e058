"""The first tab, before step 1: a network, or its answers, and a test folder become the images that it gets wrong."""

import contextlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from safe_dnn import api
from safe_dnn.analysis import UNGROUPED
from safe_dnn.dnn.answer_columns import number_columns, read_answer_table
from safe_dnn.dnn.failures import NO_IMAGES, checked, file_and_column, required_targets
from safe_dnn.dnn.model import DnnOptions, is_regression_file
from safe_dnn.page.assets import FORMS
from safe_dnn.page.events import LATEST, VIEW
from safe_dnn.page.failures.view import FailuresView, interval_text
from safe_dnn.page.forms import remembered, typed
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import done, doubted, empty
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import CLUSTERS_TAB, FAILURES_TAB
from safe_dnn.page.work_tab import Work, WorkTab, widgets_in
from safe_dnn.rccs.parameters import PARAMETERS_FILE
from safe_dnn.reasons.known_groups import groups_of_test
from safe_dnn.report.summary_lines import failures_summary
from safe_dnn.support.errors import SAFEError, is_within
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, PREDICTIONS_FILE
from safe_dnn.support.text import printable

# Fields that each kind of network needs
NEEDED = {
    "model": ("model", "test"), "answers": ("answers",), "coco": ("truth", "results", "test"),
    "yolo": ("truth", "results", "test"),
}  # fmt: skip
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
    submits = ("model", "answers", "parameters", "results", "test")
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
        """The style shows the fields that the kind of network needs."""
        kinds = FORMS[self.name]["kind"]["choices"][0 if self._settings.takes_models else 1 :]
        self.form.lay_out("kind", choices=kinds, value=kinds[0][1])
        with gr.Row(elem_classes="safe-form"):
            self.form.lay_out("model", "answers", "parameters", "truth", "results", "test", scale=3, min_width=220)
            self._lay_out_start("test", "Collect failures", "collect")

    def _lay_out_options(self) -> None:
        lay_out, title = self.form.lay_out, "More options: classes, pixels, targets of a regression"
        with self.form.options(title, "failures-options"):
            with gr.Row(elem_classes="for-classifier"):
                lay_out("train", "rescale")
                lay_out("trust_model", visible=self._may_trust)
            with gr.Row(elem_classes="for-classifier"):
                lay_out("targets", "target", "threshold", "partial")
            with gr.Row(elem_classes="for-classifier"):
                lay_out("hold_out", "group")
            with gr.Row(elem_classes="for-detector"):
                lay_out("iou", "score")
            lay_out("after")

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

    def _work_of(self, fields: Mapping[str, Any]) -> Work:
        return partial(self._collect, self._wanted(fields))

    def _wanted(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What the fields, which are kept, give to `api.failures` or, without images, to `api.reasons`; a SAFEError
        where one cannot be used."""
        kind = fields["kind"] if fields["kind"] in NEEDED else "model"
        boxes = kind in ("coco", "yolo")
        targets, column = file_and_column("" if boxes else (fields["targets"] or "").strip())
        others = ("after", *(() if boxes else ("train",)), *OF_TABLES * (kind == "answers"))
        paths = self.form.taken(fields, NEEDED[kind], others, targets=targets)
        self._check_places(kind, paths)
        needed = {name: paths.pop(name) for name in NEEDED[kind]}
        if boxes:
            return {kind: tuple(needed.values()), **paths, **typed(iou=fields["iou"], score=fields["score"])}
        options: dict[str, Any] = {**paths, **typed(**{name: fields[name] for name in TYPED})}
        options |= {
            "partial": bool(fields["partial"]),
            "group": [*filter(None, map(str.strip, (fields["group"] or "").split(",")))],
        }
        if "targets" in options:
            required_targets(checked(DnnOptions(targets=options["targets"], threshold=options.get("threshold"))))
            if column := (fields["target"] or "").strip() or column:
                options["targets"] += f":{column}"
        if kind == "answers":
            return {"predictions": needed["answers"], **options}
        trust = bool(fields["trust_model"]) and self._may_trust
        return {**needed, **options, "rescale": fields["rescale"] or None, "trust_model": trust}

    def _collect(self, options: Mapping[str, Any], _: Job) -> None:
        step = api.reasons if "predictions" in options and "test" not in options else api.failures
        found = step(out=self._settings.out, **options)
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
        inputs, outputs = form.widgets, widgets_in(tab)
        self._wire_form(tab)
        taken = self.view.again.click("{:.6g}".format, self.view.threshold, form["threshold"], **VIEW)
        taken.then(self.on_start, inputs, outputs, **VIEW)
        form["model"].change(self.on_model, form["model"], form.fold, **LATEST)
        form["targets"].change(self.on_targets, form["targets"], form["target"], **LATEST)
        # An error was about what the other kind needs.
        status = self.status
        form["kind"].input(lambda: self.look(self.show)[status], None, status, **VIEW)
        self.view.wire(outputs)
        self._wire(loaded, tab)
