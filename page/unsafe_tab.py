"""Second tab: an improvement folder and the test accuracy become the unsafe set."""

import os
from collections.abc import Iterator

import gradio as gr

from clustering import load_clusters
from errors import SAFEError
from inspection import printable
from page.jobs import JOB, VIEW, PageSettings, done, empty, failed, run_job, thumbnails
from runs import count, select_images, selection_summary
from selection import FILENAMES_FILE, UNSAFE_SET_FILE, UnsafeSet, fingerprint, load_unsafe_set

GALLERY_LIMIT = 120  # each image is decoded here and sent to the browser

STEPS = [
    "Generate root cause clusters in the first tab.",
    "Give a folder of improvement images, and the network's accuracy on its test set.",
    "Click Select unsafe set: you get the images worth labelling.",
]
EMPTY = empty("No unsafe set yet.", STEPS)
OUTDATED = empty("The last unsafe set belongs to earlier clusters.", STEPS[1:])


def unsafe_tab(app: gr.Blocks, tab: gr.Tab, settings: PageSettings) -> None:
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
            info="Of the network, 0 to 1",
            placeholder="0.93",
            scale=1,
            min_width=150,
            elem_id="accuracy",
        )
        select = gr.Button("Select unsafe set", variant="primary", scale=1, min_width=170, elem_id="select")
    with gr.Accordion("How many images", open=False), gr.Row():
        test_size = gr.Textbox(
            label="Test-set size", info="Left empty: failing images / (1 − accuracy)", elem_id="test-size"
        )
        factor = gr.Textbox("0.3", label="Factor", info="N = ⌈factor · test-set size · accuracy⌉", elem_id="factor")
        size = gr.Textbox(label="Number of images", info="Instead of the formula", elem_id="set-size")
    status = gr.HTML(EMPTY, elem_id="unsafe-status")
    with gr.Column(visible=False, elem_id="unsafe-pane") as pane:
        with gr.Row():
            per_rcc = gr.Dataframe(
                label="By root cause cluster",
                show_label=True,
                headers=["RCC", "failing images", "candidates", "selected", "within eps"],
                interactive=False,
                max_height=500,
                scale=2,
                min_width=360,
                elem_id="unsafe-rccs",
            )
            with gr.Column(scale=3, min_width=360):
                rcc = gr.Dropdown(label="Images selected for", choices=[], elem_id="unsafe-rcc")
                title = gr.HTML()
                gallery = gr.Gallery(
                    show_label=False,
                    columns=6,
                    height=420,
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
    everything = [status, pane, per_rcc, rcc, title, gallery, table]

    # 2. What the widgets show
    def show_gallery(unsafe: UnsafeSet, chosen: int) -> dict:
        images = [image.image for image in unsafe.images if image.rcc == chosen]
        text = "Nearest first" if len(images) <= GALLERY_LIMIT else f"The {GALLERY_LIMIT} nearest of {len(images):,}"
        return {
            title: f"<h3 class='safe-title'>{text}</h3>",
            gallery: thumbnails(unsafe.improvement_root, images[:GALLERY_LIMIT], 160),
        }

    def show_set(unsafe: UnsafeSet) -> dict:
        clusters = load_clusters(settings.out)
        if fingerprint(clusters) != unsafe.clusters:
            return {status: OUTDATED, pane: gr.Column(visible=False)}
        selected = [[image for image in unsafe.images if image.rcc == k] for k in range(clusters.n_rccs)]
        rows = [
            [k, int(clusters.sizes[k]), unsafe.candidates[k], len(images), sum(image.within_eps for image in images)]
            for k, images in enumerate(selected)
        ]
        choices = [(f"RCC {k} · {count(len(images), 'image')}", k) for k, images in enumerate(selected) if images]
        return {
            status: done(
                selection_summary(unsafe),
                f"{unsafe.formula}. Written to {settings.out / FILENAMES_FILE}, with distances to {UNSAFE_SET_FILE}.",
            ),
            pane: gr.Column(visible=True),
            per_rcc: rows,
            rcc: gr.Dropdown(choices=choices, value=choices[0][1]),
            table: [
                [printable(image.image), image.rcc, f"{image.distance:.4f}", "yes" if image.within_eps else "no"]
                for image in unsafe.images
            ],
            **show_gallery(unsafe, choices[0][1]),
        }

    # 3. What the engineer does
    def on_select(source: str, accuracy: str, test_size: str, factor: str, size: str) -> Iterator[dict]:
        typed = {"test_accuracy": accuracy, "test_size": test_size, "factor": factor, "size": size}
        # Gradio gives None for a field that was never touched.
        numbers = {name: text.strip() for name, text in typed.items() if text and text.strip()}

        def job(progress):
            return select_images(settings.accept(source), settings.out, progress, settings.weights, **numbers)

        yield from run_job(job, status, select, show_set)

    def on_rcc(chosen: int) -> dict:
        return show_gallery(load_unsafe_set(settings.out), chosen)

    def on_load() -> dict:
        if not (settings.out / UNSAFE_SET_FILE).is_file():
            return {status: EMPTY}
        try:
            unsafe = load_unsafe_set(settings.out)
            return {folder: printable(os.fspath(unsafe.improvement_root)), **show_set(unsafe)}
        except SAFEError as error:
            return {status: failed(error)}

    numbers = [accuracy, test_size, factor, size]
    submitted = [select.click, folder.submit, *(box.submit for box in numbers)]
    gr.on(submitted, on_select, [folder, *numbers], [select, *everything], **JOB)
    rcc.input(on_rcc, rcc, [title, gallery], **VIEW)
    # Clusters made anew in the first tab outdate the set: look again whenever the tab is opened.
    tab.select(on_load, None, [folder, *everything], **VIEW)
    app.load(on_load, None, [folder, *everything], **VIEW)
