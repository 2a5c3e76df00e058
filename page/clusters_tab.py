"""First tab: a folder of failing images becomes root cause clusters to browse, name and edit."""

import os
from collections.abc import Callable, Iterator, Sequence

import gradio as gr

from page.bar_view import BarView
from page.images_view import ImagesView
from page.job_view import JobView, News
from page.jobs import EDITS, FOLLOW, IN_TURN, LATEST, VIEW, Job, PageSettings, done, empty, failed, pane, reveal, warn
from page.rcc_view import RccView
from page.results import Shown, check_links
from page.runs_view import RunsView, refreshed
from page.visitors import Window, maker_of
from pipeline import ClusteringSettings, cluster_summary, generate_clusters, left_behind, mend, parameter_notes
from rccs.clusters import RootCauseClusters
from rccs.gifs import gif_notes
from rccs.review import Maker
from reporting.elbow import elbow_svg
from support.errors import SAFEError
from support.text import printable

TAB = "clusters"
SETTING_HEADERS = ["eps", "min_samples", "RCCs", "no cluster", "largest RCC", "silhouette", "score", ""]


def clusters_tab(app: gr.Blocks, settings: PageSettings, news: News) -> None:
    """Lay out the tab and wire it."""
    nothing = _nothing(settings)
    # 1. Layout: the form, the state of things, the RCC at hand, all RCCs (the paper's Figure 4), all images
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
            info="UMAP: the authors' study of 2024",
            choices=[("PCA", "pca"), ("PCA + UMAP", "umap")],
            value="pca",
            scale=2,
            min_width=230,
            elem_id="reducer",
        )
        example = gr.Button(
            "Example", scale=0, min_width=110, visible=settings.example is not None, elem_id="example-images"
        )
        generate = gr.Button("Generate RCCs", variant="primary", scale=1, min_width=170, elem_id="generate")
    with gr.Row(elem_classes="safe-state"):
        status = gr.HTML(nothing, elem_id="clusters-status", scale=1)
        cancel = gr.Button("Cancel", scale=0, min_width=110, visible=False, elem_id="cancel-clusters")
    with pane("clusters-pane") as clusters_pane:
        rcc_view = RccView(settings)
        bar = BarView(settings)
        images_view = ImagesView(settings)
        runs_view = RunsView(settings)
        with gr.Accordion("Why these clusters", open=False, elem_id="why"):
            why = gr.HTML()
            tried = gr.Dataframe(headers=SETTING_HEADERS, interactive=False, max_height=320, elem_id="settings")
        with gr.Accordion("Skipped images", open=False, visible=False, elem_id="skipped") as skipped_pane:
            skipped = gr.Dataframe(headers=["image", "reason"], interactive=False, max_height=260, wrap=True)
    rcc, window = gr.State(0), Window(app)
    root = gr.State("")  # what the folder was filled in with
    one_rcc = [rcc, *rcc_view.outputs, *images_view.outputs]
    job_view = JobView(
        settings, TAB, status, generate, cancel,
        guide=lambda: "" if settings.results.there else nothing, result=clusters_pane,
    )  # fmt: skip
    everything = [
        *job_view.outputs,
        clusters_pane,
        *window.outputs,
        *one_rcc,
        bar.widget,
        *runs_view.outputs,
        why,
        tried,
        skipped_pane,
        skipped,
    ]

    # 2. What the widgets show
    def show_rcc(shown: Shown, chosen: int) -> dict:
        return {rcc: chosen, **rcc_view.show(shown, chosen), **images_view.show(shown, chosen)}

    def choose(shown: Shown, chosen: int) -> dict:
        return {bar.widget: bar.choose(chosen), **show_rcc(shown, chosen)}

    def show_run(chosen: int | None = None) -> dict:
        shown = settings.results.shown()
        clusters = shown.clusters
        groups = clusters.groups
        chosen = chosen if chosen in groups else groups[0]
        told = [f"Parameters: {note}" for note in parameter_notes(settings.out)]
        # First what is in sight without being opened: what the engineer has said and does not see here
        notices = [left_behind(settings.out), clusters.notice, shown.problem, *told, *gif_notes(clusters)]
        notes = " ".join(filter(None, notices))
        return {
            # Whose images they are: another window may have chosen them.
            status: done(f"{clusters.image_root.name}: {cluster_summary(clusters)}", notes),
            clusters_pane: reveal(),
            **window.show(shown),
            bar.widget: bar.show(shown, chosen),
            why: _why(clusters),
            tried: _setting_rows(clusters),
            skipped_pane: gr.Accordion(f"Skipped images ({len(clusters.skipped)})", visible=bool(clusters.skipped)),
            skipped: [[printable(path), printable(reason)] for path, reason in clusters.skipped],
            **runs_view.show(shown),
            **show_rcc(shown, chosen),
            images_view.find: "",  # what was looked for is no longer what is listed
            images_view.map: images_view.no_map(chosen),  # not that of an earlier run while the new one is drawn
        }

    def changed(chosen: int | None, parts: Sequence[object], edit: Callable[[Maker], object]) -> dict:
        """Make an edit and show what it has changed; tell why where it cannot be made."""
        try:
            maker = maker_of(*parts)
            check_links(settings.results.shown(maker.run).clusters, settings.root)
            edit(maker)
        except SAFEError as error:
            warn("Nothing changed", error)
            return gr.skip()
        try:
            refreshed(settings)
        except SAFEError as error:  # the edit is kept; what is drawn from it is drawn at the next look
            warn("Changed, but not all of it could be drawn anew", error)
        try:
            updates = show_run(chosen)
            return {**updates, **images_view.show_map(settings.results.shown(), chosen=updates[rcc])}
        except SAFEError as error:
            return {status: failed(error)}

    # 3. What the engineer does
    def on_generate(source: str, reducer: str) -> Iterator[dict]:
        def work(job: Job) -> None:
            images = settings.accept(source)
            generate_clusters(
                images,
                settings.out,
                ClusteringSettings(reducer=reducer, weights=settings.weights),
                within=settings.root,
                progress=job.progress,
            )

        yield {root: source}
        yield from job_view.start(work, show_run)

    def on_map(by: str | None) -> dict:
        if not settings.results.there:
            return gr.skip()
        try:
            return images_view.show_map(settings.results.shown(), by if isinstance(by, str) else None)
        except SAFEError:
            return gr.skip()  # the status says what is wrong with the clusters

    def on_select(chosen: int | None, run: str) -> Iterator[dict]:
        try:
            shown = settings.results.shown(run)
        except SAFEError as error:
            warn("Out of date", error)
            yield gr.skip()
            return
        if not isinstance(chosen, int) or chosen not in shown.clusters.groups:
            yield gr.skip()  # what another client may send
            return
        # At once what can be typed over: pictures may take seconds, and by then a name may have been typed.
        yield {rcc: chosen, **rcc_view.show_words(shown, chosen, forced=False)}
        yield {**rcc_view.show_pictures(shown, chosen), **images_view.show(shown, chosen)}

    def on_look(chosen: int) -> dict:
        """Draw what a killed process has left out."""
        try:
            shown = settings.results.shown()
            check_links(shown.clusters, settings.root)
            if settings.jobs.running or not mend(settings.out, within=settings.root):
                return gr.skip()
            return rcc_view.show_pictures(settings.results.shown(), chosen)
        except SAFEError:
            return gr.skip()  # there is nothing to mend, or nothing can be written; the status says so

    def form_of(shown: Shown) -> dict:
        """The form as these clusters came about."""
        path = printable(os.fspath(shown.clusters.image_root))
        return {folder: path, root: path, reducer: shown.clusters.reducer}

    def show_last() -> dict:
        if not settings.results.there:
            return {status: nothing}
        try:
            return {**form_of(settings.results.shown()), **show_run()}
        except SAFEError as error:
            return {status: failed(error)}

    def on_folder(
        followed: int, chosen: int, pair: tuple | None, typed: str | None, before: str, run: str, seen: int
    ) -> Iterator[dict]:
        """Show what others have said and changed; a question that is open is answered first."""
        if pair is not None or not settings.results.there:
            yield gr.skip()
            return
        try:
            shown = settings.results.shown()
        except SAFEError as error:
            yield {status: failed(error)}
            return
        form = form_of(shown)
        form = form if form[root] != before and (typed or "") in ("", before) else {}
        if (shown.run, len(shown.review.edits)) == (run, seen):
            if chosen in shown.clusters.groups:
                renamed = bar.rename(shown, *shown.clusters.groups)
                yield {
                    **form,
                    bar.widget: renamed,
                    rcc_view.note_view.widget: rcc_view.note_view.show(shown, chosen, forced=False),
                }
            return
        yield {**form, **job_view.look(lambda: show_run(chosen if shown.run == run else None), followed)}
        yield on_map(None)

    def on_load() -> Iterator[dict]:
        yield from job_view.load(show_last, show_run)

    generated = gr.on([generate.click, folder.submit], on_generate, [folder, reducer], [root, *everything], **FOLLOW)
    if settings.example:
        example.click(lambda: str(settings.example.folder / "failures"), None, folder, **VIEW)
    bar.widget.select(on_select, [bar.widget, window.run], one_rcc, **LATEST, **IN_TURN)
    rcc_view.wire(bar, window, everything, changed)
    images_view.wire(rcc, window, everything, changed, choose)
    runs_view.wire(rcc, window, everything, changed)
    loaded = app.load(on_load, None, [folder, root, reducer, *everything], **FOLLOW)
    followed = job_view.wire(news, show_run, everything)
    for shown in (generated, loaded, followed):
        shown.then(on_map, images_view.colour, images_view.map_outputs, **VIEW)
    loaded.then(on_look, rcc, rcc_view.outputs, **VIEW)
    looked = [job_view.followed, rcc, rcc_view.pair, folder, root, window.run, window.seen]
    for event in (news.folder, rcc_view.refused.then):
        event(on_folder, looked, [folder, root, reducer, *everything], **LATEST, **EDITS)


def _nothing(settings: PageSettings) -> str:
    """What the tab shows as long as there are no clusters."""
    example = ", or click Example" if settings.example else ""
    return empty(
        "No root cause clusters yet.",
        [
            ("Give the failing images", f"Type the folder of images on which the network fails{example}."),
            ("Click Generate RCCs", "SAFE groups them by the reason for failing: root cause clusters, RCCs."),
            ("Name the reasons", "Look through each cluster, say what its images share, and whether it is a hazard."),
        ],
    )


def _why(clusters: RootCauseClusters) -> str:
    if not clusters.settings:
        return "<p>Nothing was tuned: there are too few images, or they are all alike.</p>"
    return (
        f"<p>DBSCAN was run with {len(clusters.settings)} values of min_samples. For each, eps fell from above the "
        f"knee of the curve of each image's distance to its neighbour {clusters.min_samples}, while clusters split "
        f"into branches; those that explain most images and stand apart best became RCCs, each at its own eps, of "
        f"which the largest is shown. The min_samples with the best score was taken.</p>{elbow_svg(clusters)}"
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
