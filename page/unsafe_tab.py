"""Third tab, steps 3 and 4: improvement images and the test accuracy give the images to label (the unsafe set)."""

import contextlib
import html
import os
from collections.abc import Iterator
from typing import Any

import gradio as gr

from dbscan.outcome import NOISE
from dnn.failures import Failures
from page.collected import failures_of, model_of
from page.form_view import FormView
from page.forms import remember, remembered
from page.job_view import JobView, News
from page.jobs import EDITS, FOLLOW, LATEST, VIEW, Job, PageSettings, done, empty, pane, reveal, typed
from page.pictures import thumbnails
from page.results import Marks, Shown
from pipeline.improvement import select_images
from pipeline.summaries import selection_summary
from rccs.clusters import fingerprint
from rccs.notes import title
from rccs.unsafe_set import QUOTA, UnsafeImage, UnsafeSet, load_unsafe_set, set_key
from selection import SelectionSettings, chosen_by_model
from support.errors import SAFEError
from support.run_folder import FILENAMES_FILE, UNSAFE_SET_FILE
from support.text import count, printable

TAB = "unsafe"
RUN = "run"  # in the form that is kept: the clusters that it was sent for
# Parameters of `SelectionSettings`, and the fields that they are typed into
NUMBERS = {"test_accuracy": "accuracy", "test_size": "test_size", "factor": "factor", "size": "size"}

GALLERY_LIMIT = 120  # each image is decoded on the server and sent to the browser

STEPS = [
    ("Generate RCCs", "In the tab before: root cause clusters, the reasons for which the network fails."),
    (
        "Give the improvement images",
        "A folder of images that the network was not trained on, and its test accuracy.",
    ),
    ("Click Select unsafe set", "You get the images to label (the unsafe set): those nearest to the RCCs."),
]
EMPTY = empty("No unsafe set yet.", STEPS)
OUTDATED = empty("The last unsafe set belongs to earlier clusters.", STEPS[1:])
CHANGED_SINCE = empty("The RCCs were changed after the last unsafe set was selected. Its labels are kept.", STEPS[1:])
COLUMNS = (
    "failing: images of the RCC. candidates: improvement images that are nearer to it than to any other RCC. selected: "
    "those of them in the unsafe set. within eps: selected images that are near enough to belong to the RCC"
)


class UnsafeTab:
    """Lay out the tab; `wire` connects its widgets."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._lay_out_form()
        self._lay_out_options()
        with gr.Row(elem_classes="safe-state"):
            self.status = gr.HTML(EMPTY, elem_id="unsafe-status", scale=1)
            self.cancel = gr.Button("Cancel", scale=0, min_width=110, visible=False, elem_id="cancel-unsafe")
        with pane("unsafe-pane") as self.pane:
            self._lay_out_set()
        self.key = gr.State("")  # of the unsafe set that the window shows
        self.job_view = JobView(
            settings, TAB, self.status, self.select, self.cancel, guide=self._guide, result=self.pane
        )
        fields = {
            "folder": self.folder, "accuracy": self.accuracy, "test_size": self.test_size, "factor": self.factor,
            "size": self.size, "quota": self.quota, "leave_out": self.leave_out, "model": self.model,
            "test": self.test, "reasons": self.reasons, "spread": self.spread,
        }  # fmt: skip
        optional = ("test_size", "factor", "size", "quota", "leave_out", "model", "test", "reasons", "spread")
        self.form = FormView(fields, self.options, optional, self._last_form)
        self.marks = gr.State(None)  # of the folder, as the window shows it
        self.outputs = [*self.job_view.outputs, self.pane, self.key, self.marks, self.form.filled, self.per_rcc,
                        self.rcc, self.heading, self.gallery, self.table]  # fmt: skip

    def _lay_out_form(self) -> None:
        with gr.Row(elem_classes="safe-form"):
            self.folder = gr.Textbox(
                label="Improvement folder",
                info="Images that the network was not trained on, labelled or not",
                placeholder="/path/to/improvement/images",
                scale=4,
                elem_id="improvement",
            )
            self.accuracy = gr.Textbox(
                label="Test accuracy",
                info="From 0 to 1; of a detector, the share found",
                placeholder="0.93",
                scale=1,
                min_width=150,
                elem_id="accuracy",
            )
            self.example = gr.Button(
                "Example", scale=0, min_width=110, visible=self._settings.example is not None,
                elem_id="example-improvement",
            )  # fmt: skip
            self.select = gr.Button("Select unsafe set", variant="primary", scale=1, min_width=170, elem_id="select")

    def _lay_out_options(self) -> None:
        with gr.Accordion("How many images, and which", open=False) as self.options:
            with gr.Row():
                self.size = gr.Textbox(label="Number of images", info="Instead of the formula", elem_id="set-size")
                self.factor = gr.Textbox(
                    "0.3", label="Factor", info="N = ⌈factor · test-set size · accuracy⌉", elem_id="factor"
                )
                self.test_size = gr.Textbox(
                    label="Test-set size", info="Empty: failing images / (1 − accuracy)", elem_id="test-size"
                )
            with gr.Row():
                self.quota = gr.Radio(
                    [("by its failing images", "size"), ("the same of each (the paper)", "equal")], value=QUOTA,
                    label="Images for each RCC", info="How the set is divided", scale=2, min_width=460, elem_id="quota",
                )  # fmt: skip
                self.leave_out = gr.Checkbox(
                    label="Leave out RCCs marked safe", info="No image is selected for them", min_width=230,
                    elem_id="leave-out",
                )  # fmt: skip
                self.reasons = gr.Checkbox(
                    label="Also by weak spots", info="Half of the images, where their conditions hold", min_width=230,
                    elem_id="by-reasons",
                )  # fmt: skip
            with gr.Row():
                self.spread = gr.Textbox(
                    label="Spread over", info="A column of the images' parameters.csv, such as the drive or the person",
                    placeholder="person", elem_id="spread-over",
                )  # fmt: skip
                self.model = gr.Textbox(
                    label="Model", info="With it, half of the images are ones that it is likely to get wrong",
                    placeholder="/path/to/model.keras", elem_id="select-model",
                )  # fmt: skip
                self.test = gr.Textbox(
                    label="Test folder of the model", info="A folder for each class; gives the accuracy as well",
                    placeholder="/path/to/test", elem_id="select-test",
                )  # fmt: skip

    def _lay_out_set(self) -> None:
        with gr.Row():
            with gr.Column(scale=5, min_width=430):
                gr.HTML(f"<h3 class='safe-title' title='{COLUMNS}'>By root cause cluster</h3>")
                self.per_rcc = gr.Dataframe(
                    headers=["RCC", "failing", "candidates", "selected", "within eps"],
                    interactive=False,
                    max_height=500,
                    wrap=True,
                    column_widths=["30%", "14%", "20%", "16%", "20%"],  # or a long name would hide the numbers
                    buttons=[],
                    elem_id="unsafe-rccs",
                )
            with gr.Column(scale=6, min_width=360):
                self.rcc = gr.Dropdown(
                    label="Images selected for", info="The largest RCC first", choices=[], elem_id="unsafe-rcc"
                )
                self.heading = gr.HTML()
                self.gallery = gr.Gallery(
                    show_label=False,
                    columns=6,
                    height=384,  # ends in the middle of a row, so that one sees that there are more
                    object_fit="contain",
                    buttons=[],
                    interactive=False,
                    elem_id="unsafe-gallery",
                )
        with gr.Accordion("All selected images", open=False):
            self.table = gr.Dataframe(
                headers=["image", "RCC", "distance", "within eps", "why"],
                interactive=False,
                max_height=420,
                show_search="filter",
                elem_id="unsafe-table",
            )

    def _guide(self) -> str:
        """What to do where there is no unsafe set to show; empty where there is one."""
        settings = self._settings
        if not (settings.out / UNSAFE_SET_FILE).is_file():
            return EMPTY
        try:
            unsafe, current = load_unsafe_set(settings.out), settings.results.shown()
        except SAFEError:
            return ""  # `show` reports the error
        if fingerprint(current.clusters) == unsafe.clusters:
            return ""
        return CHANGED_SINCE if unsafe.run == current.run else OUTDATED

    def show(self) -> dict:
        """What the widgets show of the unsafe set in the output folder.

        Raises
        ------
        SAFEError
            There is none, it is damaged, or it was selected for other clusters.
        """
        settings = self._settings
        marks = settings.results.marks()
        unsafe = load_unsafe_set(settings.out)
        current = settings.results.shown()
        if fingerprint(current.clusters) != unsafe.clusters:
            raise SAFEError("The unsafe set was selected for other root cause clusters. Select it again.")
        rccs = [k for k in current.clusters.groups if k != NOISE]
        selected = {k: [image for image in unsafe.images if image.rcc == k] for k in rccs}
        choices = [
            (f"{title(k, current.notes)} · {count(len(images), 'image')}", k)
            for k, images in selected.items()
            if images
        ]
        return {
            self.status: self._summary(unsafe),
            self.pane: reveal(),
            self.key: set_key(unsafe),
            self.marks: marks,
            self.per_rcc: _rows_by_rcc(unsafe, current, selected),
            self.rcc: gr.Dropdown(choices=choices, value=choices[0][1]),
            self.table: [
                [
                    printable(image.image),
                    image.rcc,
                    f"{image.distance:.4f}",
                    "yes" if image.within_eps else "no",
                    printable(image.why),
                ]
                for image in unsafe.images
            ],
            **self._show_gallery(unsafe, choices[0][1]),
        }

    def _summary(self, unsafe: UnsafeSet) -> str:
        written = f"Written to {self._settings.out / FILENAMES_FILE}, with distances to {UNSAFE_SET_FILE}."
        return done(
            f"{selection_summary(unsafe)}. Next: label them, in the tab Labels.",
            " ".join(filter(None, [unsafe.labels, f"{unsafe.formula}.", chosen_by_model(unsafe), written])),
        )

    def _show_gallery(self, unsafe: UnsafeSet, rcc: int) -> dict:
        images = [image.image for image in unsafe.images if image.rcc == rcc]
        why = {image.image: _exception(image) for image in unsafe.images if image.rcc == rcc}
        text = "Nearest first" if len(images) <= GALLERY_LIMIT else f"The {GALLERY_LIMIT} nearest of {len(images):,}"
        return {
            self.heading: f"<h3 class='safe-title'>{text}</h3>",
            self.gallery: thumbnails(
                unsafe.improvement_root, images[:GALLERY_LIMIT], 160, self._settings.root, told=why
            ),
        }

    def _last_form(self) -> dict:
        """The form as it was last sent, with the improvement folder of the set, which a command may have selected.

        If the clusters are of failures that SAFE has collected, the accuracy is the one measured with them, and the
        network and its test folder are those, unless others were sent for these clusters.
        """
        settings = self._settings
        fields: dict[str, Any] = dict(remembered(settings.out, TAB))
        with contextlib.suppress(SAFEError):
            if settings.results.holds_unsafe_set():
                fields["folder"] = printable(os.fspath(load_unsafe_set(settings.out).improvement_root))
        with contextlib.suppress(SAFEError):
            shown = settings.results.shown()
            sent = fields.get(RUN) == shown.run and fields.get("accuracy")
            if not sent and (failures := failures_of(shown.review.original, settings.out)):
                fields["accuracy"] = f"{failures.accuracy:.6g}"
                fields |= self._network_of(failures)
        return fields

    def _network_of(self, failures: Failures) -> dict[str, str]:
        """The fields of the network that failed: with it, images are chosen that it is likely to get wrong as well.

        Those teach it more than the nearest alone (docs/decisions/020-quotas-by-size.md).
        """
        model = model_of(failures)
        if model is None:
            return {}
        paths = {"model": printable(os.fspath(model)), "test": printable(os.fspath(failures.test_root))}
        try:
            for path in paths.values():
                self._settings.accept(path)
        except SAFEError:
            return {}  # not for the visitors of this page
        return paths

    def _first_look(self) -> dict:
        marks = self._settings.results.marks()
        return {**self.job_view.look(self.show), **self.form.first_look(marks.run), self.marks: marks}

    def on_select(self, *values: Any) -> Iterator[dict]:
        """Select the unsafe set with the values of the form."""
        settings, fields = self._settings, self.form.named(values)
        numbers: dict[str, Any] = typed(**{parameter: fields[name] for parameter, name in NUMBERS.items()})
        paths = typed(model=fields["model"], test=fields["test"])

        def work(job: Job) -> None:
            improvement = settings.accept(fields["folder"])
            accepted: dict[str, Any] = {name: settings.accept(path) for name, path in paths.items()}
            remember(settings.out, TAB, {**fields, RUN: settings.results.marks().run})
            spread_over = (fields["spread"] or "").strip()
            chosen = SelectionSettings(quota=fields["quota"], spread_over=spread_over, **numbers)
            select_images(
                improvement, settings.out, chosen,
                leave_out_safe=bool(fields["leave_out"]), reasons=bool(fields["reasons"]), within=settings.root,
                weights=settings.weights, progress=job.progress, **accepted,
            )  # fmt: skip

        yield self.form.sent(settings.results.marks().run, fields)
        yield from self.job_view.start(work, self.show)

    def on_rcc(self, rcc: int, key: str) -> dict:
        """Show the images selected for another RCC, if the folder still holds the set that the window shows."""
        try:
            unsafe = load_unsafe_set(self._settings.out)
            if set_key(unsafe) != key:
                raise SAFEError("Another unsafe set was selected in the meantime. Reload the page to see it.")
        except SAFEError as error:
            gr.Warning(html.escape(printable(str(error))), title="Out of date")
            return gr.skip()
        return self._show_gallery(unsafe, rcc)

    def on_load(self) -> Iterator[dict]:
        yield from self.job_view.load(self._first_look, self.show)

    def on_tab(self, followed: int, marks: Marks | None) -> dict:
        """Look again if the folder has changed since."""
        now = self._settings.results.marks()
        return gr.skip() if now == marks else {self.marks: now, **self.job_view.look(self.show, followed)}

    def on_folder(self, followed: int, marks: Marks | None, before: dict, *values: Any) -> dict:
        """Show what has changed in the folder: other clusters, edits, another set."""
        now = self._settings.results.marks()
        updates, _ = self.form.follow(now.run, before, self.form.named(values))
        if marks is None or now._replace(retraining=None) != marks._replace(retraining=None):
            same = marks is not None and (now.run, now.selection) == (marks.run, marks.selection)
            updates = {**updates, self.marks: now, **self.job_view.look(self.show, followed, same=same)}
        return updates or gr.skip()

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab, news: News) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        form, job_view = self.form, self.job_view
        boxes = (self.accuracy, self.test_size, self.factor, self.size, self.model, self.test)
        submitted = [self.select.click, self.folder.submit, *(box.submit for box in boxes)]
        gr.on(submitted, self.on_select, form.widgets, self.outputs, **FOLLOW)
        if self._settings.example:
            case = self._settings.example
            folder, model, test = (case.folder / name for name in ("improvement", "model.keras", "test"))
            filled = (folder, case.accuracy, case.test_size, model, test)
            fields = [self.folder, self.accuracy, self.test_size, self.model, self.test]
            self.example.click(lambda: tuple(map(str, filled)), None, fields, **VIEW)
        self.rcc.input(self.on_rcc, [self.rcc, self.key], [self.heading, self.gallery], **LATEST)
        # Clusters generated again outdate the set: look again whenever the tab is opened.
        tab.select(self.on_tab, [job_view.followed, self.marks], self.outputs, **VIEW)
        filled_in = [*form.outputs, *self.outputs]
        loaded.then(self.on_load, None, filled_in, **FOLLOW)
        job_view.wire(news, self.show, self.outputs)
        news.folder(
            self.on_folder, [job_view.followed, self.marks, form.filled, *form.widgets], filled_in, **LATEST, **EDITS
        )  # fmt: skip


def _exception(image: UnsafeImage) -> str:
    """Why an image was selected, if it is not simply among the nearest."""
    if image.reason:
        return printable(f"weak spot: {image.reason}")
    return "" if image.likely_wrong is None else f"likely wrong ({image.likely_wrong:.0%} of similar answers)"


def _rows_by_rcc(unsafe: UnsafeSet, current: Shown, selected: dict[int, list[UnsafeImage]]) -> list[list]:
    """The table by RCC: its name, and how many images are failing, candidates, selected, and within eps of it."""
    return [
        [
            title(k, current.notes) + (" (left out)" if k in unsafe.left_out else ""),
            int(current.clusters.sizes[k]),
            unsafe.candidates[k],
            len(images),
            sum(image.within_eps for image in images),
        ]
        for k, images in selected.items()
    ]
