"""Second tab: an improvement folder and the test accuracy become the unsafe set."""

import contextlib
import html
import os
from collections.abc import Iterator

import gradio as gr

from dbscan.outcome import NOISE
from page.forms import remember, remembered, renewed
from page.job_view import JobView, News
from page.jobs import EDITS, FOLLOW, LATEST, VIEW, Job, PageSettings, done, empty, pane, reveal, typed
from page.pictures import thumbnails
from page.results import Marks
from pipeline import select_images, selection_summary
from rccs.clusters import fingerprint
from rccs.notes import title
from rccs.unsafe_set import QUOTA, UnsafeSet, load_unsafe_set, set_key
from selection import SelectionSettings, chosen_by_model
from support.errors import SAFEError
from support.run_folder import FILENAMES_FILE, UNSAFE_SET_FILE
from support.text import count, printable

TAB = "unsafe"

GALLERY_LIMIT = 120  # each image is decoded here and sent to the browser

STEPS = [
    ("Generate RCCs", "In the first tab: the reasons for which the network fails."),
    (
        "Give the improvement images",
        "A folder of images that the network was not trained on, and its test accuracy.",
    ),
    ("Click Select unsafe set", "You get the images nearest to the RCCs: those worth labelling."),
]
EMPTY = empty("No unsafe set yet.", STEPS)
OUTDATED = empty("The last unsafe set belongs to earlier clusters.", STEPS[1:])
CHANGED_SINCE = empty("The RCCs were changed after the last unsafe set was selected. Its labels are kept.", STEPS[1:])


def unsafe_tab(app: gr.Blocks, tab: gr.Tab, settings: PageSettings, news: News) -> None:
    """Lay out the tab and wire it."""
    # 1. Layout
    with gr.Row(elem_classes="safe-form"):
        folder = gr.Textbox(
            label="Improvement folder",
            info="Images that the network was not trained on, labelled or not",
            placeholder="/path/to/improvement/images",
            scale=4,
            elem_id="improvement",
        )
        accuracy = gr.Textbox(
            label="Test accuracy",
            info="From 0 to 1",
            placeholder="0.93",
            scale=1,
            min_width=150,
            elem_id="accuracy",
        )
        example = gr.Button(
            "Example", scale=0, min_width=110, visible=settings.example is not None, elem_id="example-improvement"
        )
        select = gr.Button("Select unsafe set", variant="primary", scale=1, min_width=170, elem_id="select")
    with gr.Accordion("How many images, and which", open=False) as options:
        with gr.Row():
            size = gr.Textbox(label="Number of images", info="Instead of the formula", elem_id="set-size")
            factor = gr.Textbox("0.3", label="Factor", info="N = ⌈factor · test-set size · accuracy⌉", elem_id="factor")
            test_size = gr.Textbox(
                label="Test-set size", info="Empty: failing images / (1 − accuracy)", elem_id="test-size"
            )
        with gr.Row():
            quota = gr.Radio(
                [("the same of each (the paper)", "equal"), ("by its failing images", "size")], value=QUOTA,
                label="Images for each RCC", info="How the set is divided", scale=2, min_width=460, elem_id="quota",
            )  # fmt: skip
            leave_out = gr.Checkbox(
                label="Leave out RCCs marked safe", info="No image is selected for them", min_width=230,
                elem_id="leave-out",
            )  # fmt: skip
        with gr.Row():
            model = gr.Textbox(
                label="Model", info="With it, half of the images are ones that it is likely to get wrong",
                placeholder="/path/to/model.keras", elem_id="select-model",
            )  # fmt: skip
            test = gr.Textbox(
                label="Test folder of the model", info="A folder for each class; it tells the accuracy as well",
                placeholder="/path/to/test", elem_id="select-test",
            )  # fmt: skip
    with gr.Row(elem_classes="safe-state"):
        status = gr.HTML(EMPTY, elem_id="unsafe-status", scale=1)
        cancel = gr.Button("Cancel", scale=0, min_width=110, visible=False, elem_id="cancel-unsafe")
    with pane("unsafe-pane") as unsafe_pane:
        with gr.Row():
            with gr.Column(scale=5, min_width=430):
                gr.HTML("<h3 class='safe-title'>By root cause cluster</h3>")
                per_rcc = gr.Dataframe(
                    headers=["RCC", "failing", "candidates", "selected", "within eps"],
                    interactive=False,
                    max_height=500,
                    wrap=True,
                    column_widths=["30%", "14%", "20%", "16%", "20%"],  # or a long name would hide the numbers
                    buttons=[],
                    elem_id="unsafe-rccs",
                )
            with gr.Column(scale=6, min_width=360):
                rcc = gr.Dropdown(
                    label="Images selected for", info="The largest RCC first", choices=[], elem_id="unsafe-rcc"
                )
                heading = gr.HTML()
                gallery = gr.Gallery(
                    show_label=False,
                    columns=6,
                    height=384,  # to the middle of a row: there is more below
                    object_fit="contain",
                    buttons=[],
                    interactive=False,
                    elem_id="unsafe-gallery",
                )
        with gr.Accordion("All selected images", open=False):
            table = gr.Dataframe(
                headers=["image", "RCC", "distance", "within eps"],
                interactive=False,
                max_height=420,
                show_search="filter",
                elem_id="unsafe-table",
            )
    shown_set = gr.State("")
    job_view = JobView(
        settings, TAB, status, select, cancel,
        guide=lambda: guide(), result=unsafe_pane,
    )  # fmt: skip
    form = {"folder": folder, "accuracy": accuracy, "test_size": test_size, "factor": factor, "size": size,
            "quota": quota, "leave_out": leave_out, "model": model, "test": test}  # fmt: skip
    marks, filled = gr.State(None), gr.State({})  # as the window shows the folder, and as it has filled in the form
    everything = [*job_view.outputs, unsafe_pane, shown_set, marks, filled, per_rcc, rcc, heading, gallery, table]
    usual = {name: widget.value or "" for name, widget in form.items()}

    # 2. What the widgets show
    def show_gallery(unsafe: UnsafeSet, chosen: int) -> dict:
        images = [image.image for image in unsafe.images if image.rcc == chosen]
        text = "Nearest first" if len(images) <= GALLERY_LIMIT else f"The {GALLERY_LIMIT} nearest of {len(images):,}"
        return {
            heading: f"<h3 class='safe-title'>{text}</h3>",
            gallery: thumbnails(unsafe.improvement_root, images[:GALLERY_LIMIT], 160, settings.root),
        }

    def guide() -> str:
        if not (settings.out / UNSAFE_SET_FILE).is_file():
            return EMPTY
        try:
            unsafe, shown = load_unsafe_set(settings.out), settings.results.shown()
        except SAFEError:
            return ""  # `show_set` says what is wrong
        if fingerprint(shown.clusters) == unsafe.clusters:
            return ""
        return CHANGED_SINCE if unsafe.run == shown.run else OUTDATED

    def show_set() -> dict:
        seen = settings.results.marks()
        unsafe = load_unsafe_set(settings.out)
        shown = settings.results.shown()
        clusters = shown.clusters
        if fingerprint(clusters) != unsafe.clusters:
            raise SAFEError("The unsafe set was selected for other root cause clusters. Select it again.")
        rccs = [k for k in clusters.groups if k != NOISE]
        selected = {k: [image for image in unsafe.images if image.rcc == k] for k in rccs}
        rows = [
            [
                title(k, shown.notes) + (" (left out)" if k in unsafe.left_out else ""),
                int(clusters.sizes[k]),
                unsafe.candidates[k],
                len(images),
                sum(image.within_eps for image in images),
            ]
            for k, images in selected.items()
        ]
        choices = [
            (f"{title(k, shown.notes)} · {count(len(images), 'image')}", k) for k, images in selected.items() if images
        ]
        written = f"Written to {settings.out / FILENAMES_FILE}, with distances to {UNSAFE_SET_FILE}."
        return {
            status: done(
                f"{selection_summary(unsafe)}. Next: labels and training, in the tab Retraining.",
                " ".join(filter(None, [unsafe.labels, f"{unsafe.formula}.", chosen_by_model(unsafe), written])),
            ),
            unsafe_pane: reveal(),
            shown_set: set_key(unsafe),
            marks: seen,
            per_rcc: rows,
            rcc: gr.Dropdown(choices=choices, value=choices[0][1]),
            table: [
                [printable(image.image), image.rcc, f"{image.distance:.4f}", "yes" if image.within_eps else "no"]
                for image in unsafe.images
            ],
            **show_gallery(unsafe, choices[0][1]),
        }

    # 3. What the engineer does
    def on_select(
        source: str, accuracy: str, test_size: str, factor: str, size: str, quota: str, leave_out: bool,
        model: str, test: str,
    ) -> Iterator[dict]:  # fmt: skip
        numbers = typed(test_accuracy=accuracy, test_size=test_size, factor=factor, size=size)
        given = typed(model=model, test=test)
        said = (source, accuracy, test_size, factor, size, quota, leave_out, model, test)

        def work(job: Job) -> None:
            improvement = settings.accept(source)
            asked = {name: settings.accept(path) for name, path in given.items()}
            remember(settings.out, TAB, dict(zip(form, said, strict=True)))
            select_images(
                improvement, settings.out, SelectionSettings(quota=quota, **numbers), leave_out_safe=bool(leave_out),
                weights=settings.weights, progress=job.progress, **asked,
            )  # fmt: skip

        yield {filled: {"run": settings.results.marks().run, **dict(zip(form, said, strict=True))}}
        yield from job_view.start(work, show_set)

    def on_rcc(chosen: int, key: str) -> dict:
        try:
            unsafe = load_unsafe_set(settings.out)
            if set_key(unsafe) != key:
                raise SAFEError("Another unsafe set was selected in the meantime. Reload the page to see it.")
        except SAFEError as error:
            gr.Warning(html.escape(printable(str(error))), title="Out of date")
            return gr.skip()
        return show_gallery(unsafe, chosen)

    def last_form() -> dict:
        """The form as it was last sent; the folder as it is in the set, which a command may have selected."""
        said = remembered(settings.out, TAB)
        with contextlib.suppress(SAFEError):
            if settings.results.holds_unsafe_set():
                said["folder"] = printable(os.fspath(load_unsafe_set(settings.out).improvement_root))
        return {name: said[name] for name in form if name in said}

    def fill_in(values: dict) -> dict:
        changed = values.get("quota", QUOTA) != QUOTA or any(
            values.get(name) for name in ("size", "test_size", "leave_out", "model", "test")
        )
        in_sight = {options: gr.Accordion(open=True)} if changed else {}
        return {**in_sight, **{form[name]: value for name, value in values.items()}}

    def first_look() -> dict:
        last, seen = last_form(), settings.results.marks()
        state = {marks: seen, filled: {**usual, **last, "run": seen.run}}
        return {**job_view.look(show_set), **fill_in(last), **state}

    def on_load() -> Iterator[dict]:
        yield from job_view.load(first_look, show_set)

    def on_folder(followed: int, shown: Marks | None, before: dict, *typed: object) -> dict:
        """Show what others have made of the folder: other clusters, edits, another set."""
        now = settings.results.marks()
        updates = {}
        if before.get("run") != now.run:
            last = {**usual, **last_form()}
            updates = {
                **fill_in(renewed(before, dict(zip(form, typed, strict=True)), last)),
                filled: {**last, "run": now.run},
            }
        if shown is None or now._replace(retraining=None) != shown._replace(retraining=None):
            updates = {**updates, marks: now, **job_view.look(show_set, followed)}
        return updates or gr.skip()

    numbers = [accuracy, test_size, factor, size]
    submitted = [select.click, folder.submit, *(box.submit for box in (*numbers, model, test))]
    gr.on(submitted, on_select, list(form.values()), everything, **FOLLOW)
    if settings.example:
        known = settings.example
        example.click(
            lambda: (str(known.folder / "improvement"), known.accuracy, known.test_size),
            None,
            [folder, accuracy, test_size],
            **VIEW,
        )
    rcc.input(on_rcc, [rcc, shown_set], [heading, gallery], **LATEST)
    # Clusters made anew in the first tab outdate the set: look again whenever the tab is opened.
    tab.select(lambda followed: job_view.look(show_set, followed), job_view.followed, everything, **VIEW)
    app.load(on_load, None, [options, *form.values(), *everything], **FOLLOW)
    job_view.wire(news, show_set, everything)
    news.folder(
        on_folder, [job_view.followed, marks, filled, *form.values()], [options, *form.values(), *everything],
        **LATEST, **EDITS,
    )  # fmt: skip
