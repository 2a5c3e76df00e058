"""First tab: a folder of failing images becomes root cause clusters to browse."""

import os
from collections.abc import Iterator

import gradio as gr
from PIL import Image

from clustering import CLUSTERS_FILE, NOISE, RootCauseClusters, load_clusters
from errors import SAFEError
from inspection import elbow_svg, gif_path, printable, representative, sample, thumbnail
from page.jobs import JOB, VIEW, PageSettings, done, empty, failed, run_job, thumbnails
from runs import cluster_summary, count, generate_clusters

SETTING_HEADERS = ["eps", "min_samples", "RCCs", "no cluster", "largest RCC", "silhouette", "score", ""]

EMPTY = empty(
    "No root cause clusters yet.",
    [
        "Give the folder of images on which the network fails.",
        "Click Generate RCCs.",
        "Browse the clusters: each shows one reason for failing.",
    ],
)


def clusters_tab(app: gr.Blocks, settings: PageSettings) -> None:
    """Lay out the tab and wire it."""
    # 1. Layout: the form, the state of things, the RCC at hand, all RCCs along the bottom (the paper's Figure 4)
    with gr.Row(elem_classes="safe-form"):
        folder = gr.Textbox(
            label="Image folder",
            info="The failing images: a folder on this machine, or a .txt file that lists them",
            placeholder="/path/to/failing/images",
            scale=4,
            elem_id="images",
        )
        reducer = gr.Radio(
            label="Features reduced by",
            choices=[("PCA (the paper)", "pca"), ("PCA + UMAP (the authors' 2024 study)", "umap")],
            value="pca",
            scale=3,
            min_width=340,
            elem_id="reducer",
        )
        generate = gr.Button("Generate RCCs", variant="primary", scale=1, min_width=170, elem_id="generate")
    status = gr.HTML(EMPTY, elem_id="clusters-status")
    with gr.Column(visible=False, elem_id="clusters-pane") as pane:
        with gr.Row():
            gif = gr.Image(
                show_label=False,
                type="filepath",
                interactive=False,
                buttons=["download", "fullscreen"],
                height=420,
                scale=2,
                min_width=320,
                elem_id="rcc-gif",
            )
            with gr.Column(scale=3, min_width=360):
                heading = gr.HTML(elem_id="rcc-heading")
                gr.HTML("<h3 class='safe-title'>Five of its images</h3>")
                five = gr.Gallery(
                    show_label=False,
                    columns=5,
                    object_fit="contain",
                    buttons=[],
                    interactive=False,
                    elem_id="rcc-sample",
                    elem_classes="safe-gallery",
                )
        gr.HTML("<h3 class='safe-title'>All root cause clusters, largest first</h3>")
        bar = gr.Gallery(
            show_label=False,
            object_fit="cover",
            allow_preview=False,
            buttons=[],
            interactive=False,
            elem_id="rcc-bar",
            elem_classes="safe-gallery",
        )
        with gr.Accordion("Why these clusters", open=False, elem_id="why"):
            why = gr.HTML()
            tried = gr.Dataframe(headers=SETTING_HEADERS, interactive=False, max_height=320, elem_id="settings")
        with gr.Accordion("Skipped images", open=False, visible=False, elem_id="skipped") as skipped_pane:
            skipped = gr.Dataframe(headers=["image", "reason"], interactive=False, max_height=260, wrap=True)
    one_rcc = [gif, heading, five]
    everything = [status, pane, *one_rcc, bar, why, tried, skipped_pane, skipped]

    # 2. What the widgets show
    def show_rcc(clusters: RootCauseClusters, rcc: int) -> dict:
        path = gif_path(settings.out, rcc, clusters.n_rccs)
        return {
            gif: str(path) if path.is_file() else None,
            heading: _heading(clusters, rcc),
            five: thumbnails(clusters.image_root, sample(clusters, rcc), 240),
        }

    def show_run(clusters: RootCauseClusters) -> dict:
        return {
            status: done(cluster_summary(clusters), clusters.notice),
            pane: gr.Column(visible=True),
            bar: gr.Gallery(_faces(clusters), selected_index=0),
            why: _why(clusters),
            tried: _setting_rows(clusters),
            skipped_pane: gr.Accordion(f"Skipped images ({len(clusters.skipped)})", visible=bool(clusters.skipped)),
            skipped: [[printable(path), printable(reason)] for path, reason in clusters.skipped],
            **show_rcc(clusters, clusters.groups[0]),
        }

    # 3. What the engineer does
    def on_generate(source: str, reducer: str) -> Iterator[dict]:
        def job(progress):
            folder = settings.accept(source)
            return generate_clusters(folder, settings.out, progress, reducer=reducer, weights=settings.weights)

        yield from run_job(job, status, generate, show_run)

    def on_select(event: gr.SelectData) -> dict:
        clusters = load_clusters(settings.out)
        shown = clusters.groups
        return show_rcc(clusters, shown[min(event.index, len(shown) - 1)])

    def on_load() -> dict:
        if not (settings.out / CLUSTERS_FILE).is_file():
            return {status: EMPTY}
        try:
            clusters = load_clusters(settings.out)
        except SAFEError as error:
            return {status: failed(error)}
        return {folder: printable(os.fspath(clusters.image_root)), **show_run(clusters)}

    gr.on([generate.click, folder.submit], on_generate, [folder, reducer], [generate, *everything], **JOB)
    bar.select(on_select, None, one_rcc, **VIEW)
    app.load(on_load, None, [folder, *everything], **VIEW)


def _name(rcc: int) -> str:
    return "No cluster" if rcc == NOISE else f"RCC {rcc}"


def _heading(clusters: RootCauseClusters, rcc: int) -> str:
    size = len(clusters.members(rcc))
    return (
        f"<div class='safe-rcc'><h2>{_name(rcc)}</h2>"
        f"<p>{count(size, 'image')} · {size / len(clusters.paths):.1%} of all failing images</p></div>"
    )


def _faces(clusters: RootCauseClusters) -> list[tuple[Image.Image, str]]:
    return [
        (
            thumbnail(clusters.image_root / representative(clusters, rcc), 160),
            f"{_name(rcc)} · {len(clusters.members(rcc)):,}",
        )
        for rcc in clusters.groups
    ]


def _why(clusters: RootCauseClusters) -> str:
    if not clusters.settings:
        return "<p>Nothing was tuned: there are too few images, or they are all alike.</p>"
    return (
        f"<p>DBSCAN was run with {len(clusters.settings)} settings, eps being looked for along the curve of each "
        f"image's distance to its {clusters.min_samples}. nearest. The setting with the best score was taken: RCCs "
        f"that stand apart, most images in one, none giant, no crumbs.</p>{elbow_svg(clusters)}"
    )


def _setting_rows(clusters: RootCauseClusters) -> list[list]:
    """The settings tried, best first."""
    return [
        [
            f"{setting.eps:.4f}" + (" (knee)" if setting.at_knee else ""),
            setting.min_samples,
            setting.n_rccs,
            f"{setting.noise:.1%}",
            f"{setting.largest:.1%}",
            f"{setting.silhouette:.3f}",
            f"{setting.score:.3f}",
            "chosen" if (setting.eps, setting.min_samples) == (clusters.eps, clusters.min_samples) else "",
        ]
        for setting in sorted(clusters.settings, key=lambda setting: -setting.score)
    ]
