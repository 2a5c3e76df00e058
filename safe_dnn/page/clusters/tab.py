"""Second tab: a folder of failing images becomes root cause clusters to browse, name and edit.

Its form takes the failing images, what is known of them, and how they are described. Below the images, edits are undone
and earlier runs are opened.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gradio as gr
from markupsafe import Markup

from safe_dnn import api
from safe_dnn.analysis import Analysis, check_links
from safe_dnn.api.generation import restore_run
from safe_dnn.dnn.group_columns import FOLDER, PREFIX
from safe_dnn.features.extractor import EXTRACTORS
from safe_dnn.page.assets import EACH, EDITS, IN_TURN, LATEST, VIEW, scripted, visitor_of
from safe_dnn.page.clusters.failing_images import ImagesView
from safe_dnn.page.clusters.note import ON_LOAD, NoteView, about_of
from safe_dnn.page.clusters.reasons import QueryView, ReasonView, cards_of, lay_out_reasons, rank_of, show_reasons
from safe_dnn.page.forms import FormView, remembered, take_labels
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import done, empty, failed, lay_out_skipped, pane, reveal, show_skipped, tell, warn
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import CLUSTERS_TAB, FAILURES_TAB
from safe_dnn.page.work_tab import Work, WorkTab, widgets_in
from safe_dnn.rccs.clusters import NEED_IMAGES
from safe_dnn.rccs.confidence import consensus_text, why_unknown
from safe_dnn.rccs.review.journal import UNKNOWN, VERDICTS, Maker, describe_edit
from safe_dnn.rccs.review.review import redo_edit, undo_edit
from safe_dnn.reasons.listed import LISTED, MOST_OPEN, sentence
from safe_dnn.reasons.run_record import lost_notes, notes_of, settings_of
from safe_dnn.report.drawings import curves_of
from safe_dnn.report.exports import mend, refresh_rccs, show_present
from safe_dnn.report.markup import filled
from safe_dnn.report.report import elbow_svg
from safe_dnn.report.summary_lines import algorithm_summary, cluster_summary
from safe_dnn.store.places import names_in
from safe_dnn.store.runs import earlier_runs
from safe_dnn.support.errors import SAFEError, path_of
from safe_dnn.support.images import is_image_folder
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.text import printable

# --- Edits and runs -----------------------------------------------------------------------------------------------


class RunsView:
    """Lay out the panes below the images; `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with gr.Row(elem_classes="safe-form", elem_id="undo-row"):
            self.undo = gr.Button("Undo", size="md", min_width=90, elem_id="undo")
            self.redo = gr.Button("Redo", size="md", min_width=90, elem_id="redo")
        with gr.Accordion("Edits", open=False, elem_id="edits") as self._edits_pane:
            self.edits = gr.Dataframe(
                headers=["time (UTC)", "who", "what was done or said"], interactive=False, max_height=260, wrap=True,
                buttons=[], column_widths=["16%", "14%", "70%"],
            )  # fmt: skip
        with gr.Accordion("Earlier runs", open=False, elem_id="runs"), gr.Row(elem_classes="safe-form"):
            self.run = gr.Dropdown(label="Earlier run", choices=[], scale=3, elem_id="earlier-run",
                                   info="Its number in runs/, and when it was made (UTC)")  # fmt: skip
            self.restore = gr.Button("Open", scale=0, min_width=90, elem_id="restore")

    def show_edits(self, results: Analysis) -> dict:
        """What was done and said, the latest first."""
        edits = results.edits
        rows = [(edit.time.removesuffix("+00:00").replace("T", " "), edit.engineer or UNKNOWN, edit) for edit in edits]
        return {self.edits: [[*row, printable(describe_edit(edit, edits))] for *row, edit in reversed(rows)]}

    def show(self, results: Analysis) -> dict:
        """The state of edits and runs."""
        choices = [
            (f"{run.number} · {run.time[:16].replace('T', ' ')}", run.number)
            for run in earlier_runs(self._settings.out)
        ]
        return {
            **self.show_edits(results),
            self.run: gr.Dropdown(choices=choices, value=choices[0][1] if choices else None, interactive=bool(choices)),
            self.restore: gr.Button(interactive=bool(choices)),
        }

    def wire(self, window: NoteView, outputs: list, edited: Callable) -> None:
        """Connect the widgets (see `ReasonView.wire`)."""
        settings, run = self._settings, window.run

        def on_step(*parts: object, edit: Callable) -> dict:
            updates = edited(parts, lambda maker: edit(settings.out, maker=maker))
            edits = settings.results.latest.edits
            tell(printable(describe_edit(edits[-1], edits)))
            return updates

        def on_restore(number: int | None) -> None:
            """Bring a run back; the window is loaded anew then, since every tab and form is of another run."""
            take_labels(settings.out)
            restore_run(settings.out, int(number or 0))
            check_links(settings.results.state().clusters)
            show_present(settings.out)

        def on_edits(run: str) -> dict:
            try:
                return self.show_edits(settings.results.state(run))
            except SAFEError:
                return gr.skip()  # another run by now, which is reported elsewhere

        self._edits_pane.expand(on_edits, run, [self.edits], **LATEST)
        for step, edit in ((self.undo, undo_edit), (self.redo, redo_edit)):
            step.click(partial(on_step, edit=edit), window.parts, outputs, **EACH, **EDITS)
        restored = self.restore.click(on_restore, self.run, None, **VIEW)
        restored.success(None, None, None, js="() => { location.reload(); }")


def refreshed(settings: PageSettings) -> None:
    """Draw and describe anew what an edit has changed."""
    check_links(settings.results.state().clusters)
    refresh_rccs(settings.out)


# --- The form -----------------------------------------------------------------------------------------------------

PATHS = ("predictions", "tested", "parameters", "features")
NAMES = {"group": "group", "aside": "set_aside"}  # options that are names, by their fields


class ClustersForm(FormView):
    """Lay out the form; `wanted` says what its fields ask for, `of` gives their values for clusters."""

    def __init__(self, settings: PageSettings):
        super().__init__(settings, CLUSTERS_TAB, self._last_form)
        with gr.Column(elem_id="clusters-form") as self.pane:
            self._lay_out()

    def _lay_out(self) -> None:
        with gr.Row(elem_classes="safe-form"):
            self.lay_out("folder", scale=4)
            self.lay_out_example("images")
            self.generate = gr.Button("Generate RCCs", variant="primary", scale=1, min_width=170, elem_id="generate")
        title = "More options: what is known of the images, what does not matter, and the features"
        with self.options(title, "more-options"):
            with gr.Row():
                self.lay_out("predictions", "tested", "parameters", "group", "partial", "aside")
            with gr.Row():
                self.lay_out(
                    "extractor", choices=[(f"{name}: {one.meaning}", name) for name, one in EXTRACTORS.items()]
                )
                self.lay_out("features", "reducer", "precision")

    def wanted(self, fields: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The images and options of `api.cluster` by the fields, which are kept; a SAFEError where one is unusable."""
        settings = self._settings
        names, groups = (
            tuple(name for name in sent if isinstance(name, str)) if isinstance(sent, list) else ()
            for sent in (fields["aside"], fields["group"])
        )
        collected = settings.out / FAILURES  # what the first tab's button groups, which may have been stopped
        images = settings.accept(fields["folder"] or (os.fspath(collected) if names_in(collected) else ""))
        paths = self.taken(fields, (), PATHS)
        is_image_folder(path_of(images, "an image folder"))
        chosen = {name: fields[name] for name in ("extractor", "reducer", "precision")}
        known = {"set_aside": names, "group": groups, "partial": bool(fields["partial"])}
        return images, {**paths, **chosen, **known, "weights": settings.weights}

    def _last_form(self) -> Mapping[str, Any]:
        """The form that the clusters were generated with; until there are any, as it was last sent."""
        results, out = self._settings.results.latest, self._settings.out
        try:
            clusters = results.clusters
        except SAFEError:
            return remembered(out, CLUSTERS_TAB)
        settings = settings_of(out)
        paths = {name: printable(settings.get(name, "")) for name in PATHS}
        names = {field: list(map(printable, settings.get(name, ()))) for field, name in NAMES.items()}
        chosen = {name: settings.get(name, "auto") for name in ("extractor", "reducer", "precision")}
        folder = {"folder": printable(os.fspath(clusters.home)), "partial": bool(settings.get("partial"))}
        return {**folder, **paths, **names, **chosen}

    def _choices(self) -> Mapping[str, list[str]]:
        results = self._settings.results.latest
        try:
            hidden = results.clusters.answers.columns if results.clusters.answers else {}
            known = [printable(name) for name in results.parameters if name not in hidden]
        except SAFEError:
            return {}
        return {"aside": known, "group": [*known, PREFIX, FOLDER]}


# --- The tab ------------------------------------------------------------------------------------------------------

CURVE = 620  # width of the curve, in pixels, at most


class ClustersTab(WorkTab):
    """Lay out the tab: the form, the state, the selected RCC, all RCCs (the paper's Figure 4), and all images.

    `wire` connects its widgets.
    """

    name = CLUSTERS_TAB
    submits = ("folder", "predictions", "tested", "parameters")

    def __init__(self, settings: PageSettings):
        super().__init__(settings, ClustersForm(settings))
        self.start = self.form.generate
        self._lay_out_state(self.form.pane)
        with pane("clusters-pane") as self.pane:
            self._lay_out_screen()
            self._runs_view = RunsView(settings)
            with gr.Accordion("How these were found", open=False, elem_id="why"):
                self._how = gr.HTML()
            self._skipped = lay_out_skipped("skipped")
        self._mending = threading.Lock()
        self._drawn = gr.State("")  # the run whose map is shown
        self._compared = gr.State("")  # what is shown of the comparison with images that are right
        self.other_buttons = [view.button for view in self._reason_view.queries]

    def _lay_out_screen(self) -> None:
        """One screen: the reasons to choose from, the map, and the selected reason; below it, its images."""
        settings = self._settings
        self.images_view = ImagesView(settings)
        with gr.Row(elem_id="screen"):
            with gr.Column(elem_id="reasons"):
                self._reasons = lay_out_reasons()
            with gr.Column(elem_id="map-column"):
                self.images_view.curve.render()
                keys = {known.key: word for word, known in VERDICTS.items()}
                template = filled("page/clusters/screen.html")
                scripted("clusters/screen", "", html_template=template, keys=keys, elem_id="screen-bar")
                self.images_view.lay_out_map()
            with gr.Column(elem_id="reason-at-hand"):
                self._reason_view = ReasonView(settings)
                self._note = NoteView(settings)
                self.images_view.lay_out_words()
        self.images_view.lay_out_grid()

    def wire(self, app: gr.Blocks, tab: gr.Tab) -> gr.events.Dependency:
        """Connect the widgets; the event that a window that was just opened shows what the folder has."""
        note, reasons = self._note, self._reasons
        reason_view, images_view, outputs = self._reason_view, self.images_view, widgets_in(tab)
        self._wire_form(tab)
        chosen = reasons.select(self._on_select, [reasons, *note.parts], outputs, **LATEST, **EDITS)
        # What follows an event is dropped by default while the same of an earlier one is not answered
        chosen.then(self._on_pictures, [note.about, images_view.map], outputs, **LATEST, **IN_TURN)
        edited = [note.name.blur, note.name.submit, note.note.blur, note.verdict.input]
        gr.on(edited, self._on_note, [note.key, *note.parts], outputs, **LATEST, **EDITS)
        for query in reason_view.queries:
            self._wire_query(query, outputs)
        reason_view.wire(reasons, note, outputs, self._edited)
        images_view.wire(note, outputs, self._edited)
        images_view.map.select(self._on_map, [images_view.map, note.about], outputs, **LATEST, **IN_TURN)
        self._runs_view.wire(note, outputs, self._edited)
        loaded = app.load(self._on_load, [reasons, note.visitor, note.draft], outputs, js=ON_LOAD, **VIEW)
        mended = loaded.then(self._mended, note.about, outputs, **VIEW)
        looked = [self.followed, reasons, note.run, self._compared, note.name, note.verdict, note.note]
        ticked = self.timer.tick(lambda *seen: self._on_tick(*seen) or gr.skip(), looked, outputs, **VIEW, **EDITS)
        for event in (mended, ticked):
            event.then(self._draw, self._drawn, outputs, **VIEW)
        return loaded

    def _wire_query(self, view: QueryView, outputs: list) -> None:
        """Ask the network about the reason at hand, and show its answer."""

        def on_ask(about: object) -> dict:
            key, run, *_ = about_of(about)
            reason = self._settings.results.state(run).reason(key)  # refuses a window that shows other clusters
            name = reason.name if reason else f"RCC {key}"
            return self._start(lambda: lambda _: view.ask(self._settings.out, reason=(name,)), dict)

        view.button.click(on_ask, self._note.about, outputs, **VIEW)

    # --- What the widgets show ----------------------------------------------------------------------------------

    def show(self, key: object = None, problem: str = "") -> dict:
        """The clusters in the output folder.

        Parameters
        ----------
        key : int or str, optional
            Of the selected reason, as a browser sends it; if it is not there, the first one is selected.
        problem : str
            Why something that was typed was not kept.
        """
        settings, images_view = self._settings, self.images_view
        results = settings.results.state()
        clusters, key = results.clusters, _known(results, key)
        at_hand = results.reason(key)
        rcc = at_hand.rcc if at_hand else int(key)
        drawn = images_view.show_map(results, chosen=rcc, at_once=True)
        found = f"{cluster_summary(clusters)} · {algorithm_summary(clusters)}"
        how = filled(
            "page/clusters/algorithm.html", clusters=clusters, found=found, curve=elbow_svg(clusters),
            consensus=consensus_text(clusters), missing=why_unknown(results.review.original),
        )  # fmt: skip
        return {
            self.status: self._state(results),
            self.pane: reveal(),
            **self._note.show(results, key, problem),
            self._reasons: show_reasons(results, key),
            **self._reason_view.show(results, key),
            self._compared: results.comparison_key,
            self._how: how,
            **show_skipped(self._skipped, clusters.skipped),
            **self._runs_view.show(results),
            **self._images(results, key),
            # Not the map of an earlier run while the new one is drawn
            **(drawn or {images_view.map: gr.HTML(record="", shade="", named="", chosen=rcc)}),
            self._drawn: results.run if drawn else "",
        }

    def _guide(self) -> str:
        """What the tab asks without clusters; each answer leads to a field to begin with (see tabs.js)."""
        if self._settings.results.latest.there:
            return ""
        example = ", or click Example" if self._settings.example else ""
        groups = (
            f"Give their folder{example}: SAFE groups them by the reason for failing, in root cause clusters (RCCs)."
        )
        collects = "SAFE collects the images that it gets wrong. A table of its answers will do, or a detector's files."
        button = Markup("<button type='button' data-tab='{}' data-field='{}'>{}</button>")
        alone = self._settings.results.latest.has_tables_alone
        return empty(
            f"{NEED_IMAGES} What do you have?" if alone else "What do you have?",
            [
                (button.format(CLUSTERS_TAB, "images", "Failing images"), groups),
                (button.format(FAILURES_TAB, "failures-model", "A model and its test set"), collects),
            ],
        )

    def _progress(self, job: Job) -> dict:
        """While RCCs are made, what is known of reasons already, in place of the question what there is."""
        updates, known = super()._progress(job), self._settings.results.latest.ungrouped
        if self._guide() and known and known.listed:
            first = [reason for reason in known.listed if reason.kind == LISTED][:MOST_OPEN]
            updates[self.status] = job.bar + str(filled("page/clusters/known_reasons.html", reasons=first))
        return updates

    def _state(self, results: Analysis) -> str:
        """What was found in a sentence or two; then in figures, with the folder: another window may have chosen it."""
        clusters, listed = results.clusters, results.listed
        headline = sentence(listed, results.reasons.base)
        summary = f"{cluster_summary(clusters)} · folder {clusters.image_root.name}"
        if any(one.to_judge for one in listed) and headline:
            summary = results.baseline
        notes = [f"{note[0].upper()}{note[1:]}" for note in notes_of(self._settings.out)]
        # First the engineer's work that these clusters lack, since only its beginning is visible until opened
        first = [lost_notes(self._settings.out), results.problem]
        notice = " ".join(filter(None, [*first, *notes]))
        return done(headline, notice, summary) if headline else done(summary, notice)

    # --- What the engineer does ---------------------------------------------------------------------------------

    def _edited(self, parts: Sequence[object], edit: Callable[[Maker], object], then: int | str | None = None) -> dict:
        """Keep what is typed, make an edit and show what it has changed.

        The selected reason stays, or is `then`; if it is not there any more, it is the first one.
        """
        settings, (maker, _) = self._settings, self._note.keep(*parts)
        key = about_of(parts[1]).key if then is None else then
        before = settings.results.state(maker.run)
        check_links(before.clusters)
        edit(maker)
        results = settings.results.state()
        if results.review.last_number == before.review.last_number:  # what is said was taken back
            edits = self._runs_view.show_edits(results)
            return {**self._show_said(results, key), **self._note.show(results, key), **edits}
        try:
            refreshed(settings)
        except SAFEError as error:  # the edit is kept; the drawing is caught up on when the page is next opened
            warn("Changed, but some pictures could not be drawn again", error)
        return self.show(key)

    def _on_note(self, key: int | str, *parts: object) -> dict:
        """Keep what is typed; it stays in the fields if it cannot be kept.

        `key` is that of the reason that the window was last given: what was typed before may arrive afterwards.
        """
        if not parts[1]:  # a window that shows nothing yet
            return gr.skip()
        late = about_of(parts[1]).key != key
        try:
            _, updates = self._note.keep(*parts)
            state = self._settings.results.state()
            return {**({} if late else updates), **self._show_said(state, key)} if updates else gr.skip()
        except SAFEError as error:
            if not late:
                return self._note.refuse(error, parts[1])
            warn("Not kept", error)  # the fields are about another reason by now
            return gr.skip()

    def _work_of(self, fields: Mapping[str, Any]) -> Work:
        images, options = self.form.wanted(fields)
        # The clusters are shown before they are compared: every window hears that the folder has changed.
        return lambda _: api.cluster(images, self._settings.out, **options)

    def _view(self) -> dict:
        return self.fold.show(folded=True)

    def _draw(self, drawn: str) -> dict:
        """The map of clusters that the window does not show yet: to compute one takes seconds."""
        results = self._settings.results
        with contextlib.suppress(SAFEError):  # the status says what is damaged
            if results.latest.there and (state := results.state()).run != drawn:
                return {**self.images_view.show_map(state), self._drawn: state.run}
        return gr.skip()

    def _on_select(self, chosen: object, *parts: object) -> dict:
        """Save what is typed about the selected reason, and show the note on another one."""
        try:
            maker, saved = self._note.keep(*parts)
        except SAFEError as error:
            return {self._reasons: gr.HTML(about_of(parts[1]).key), **self._note.refuse(error, parts[1])}
        results = self._settings.results.state(maker.run)
        key = _known(results, chosen)
        if key != chosen:
            return gr.skip()  # other clients may send anything
        if results.number != maker.last_entry:  # something was changed elsewhere
            return self.show(key)
        updates = self._show_said(results, key) if saved else {}
        updates |= {**self._note.show(results, key), **self._reason_view.show_words(results, key)}
        return updates

    def _on_pictures(self, about: object, on_map: object) -> dict:
        """The images of the selected reason; they take longer than words."""
        key, run, *_ = about_of(about)
        results = self._settings.results.state(run)
        return {**self._reason_view.show_pictures(results, key), **self._images(results, key, on_map)}

    def _images(self, results: Analysis, key: int | str, on_map: object = None) -> dict:
        """The images of a reason, and how often the network is wrong around it (see `ImagesView.show`)."""
        if rank := rank_of(key, results):
            where, rows = results.reasons.spots[rank - 1].where, results.reasons.images[rank - 1].tolist()
            images = self.images_view.show_selection(results, rows, f"with {where}")
            images |= self.images_view.show_right(results, rank - 1)
        else:
            images = self.images_view.show(results, int(key), on_map)
        return {**images, self.images_view.curve: _curve(results, key)}

    def _on_map(self, sent: object, about: object) -> dict:
        """The images selected on the map; without any, those of the selected reason."""
        key, run, *_ = about_of(about)
        results = self._settings.results.state(run)
        return self.images_view.show_selected(results, sent) or self._images(results, key)

    def _mended(self, about: object) -> dict:
        """Draw what a killed process did not."""
        settings = self._settings
        try:
            check_links(settings.results.state().clusters)
            with self._mending:  # two windows that open at once must not both draw it
                if settings.jobs.running or not mend(settings.out):
                    return gr.skip()
            key, run, *_ = about_of(about)
            return self._reason_view.show_pictures(settings.results.state(run), key)
        except SAFEError:
            return gr.skip()  # there is nothing to mend, or nothing can be written; the status says so

    def _on_tick(self, followed: int, key: object, run: str, compared: str, *entered: object) -> dict:
        """How far the work is, and what it has found by now; what is typed meanwhile stays."""
        updates, results = self.tick(followed), self._settings.results
        ended = self.followed in updates
        try:
            state = results.state() if results.latest.there else None
        except SAFEError as error:
            return {**updates, self.status: failed(error)} if ended else updates
        if state is None or (not ended and (state.run, state.comparison_key) == (run, compared)):
            return updates
        if state.run != run:
            return {**self.form.anew(state.run), **self.show(), **updates}
        if not compared and key == 0 and not any(entered):
            # RCC 0 was at hand, the first until the reasons were known, and nothing has been said of it
            return {**self.show(), **updates}
        views = self.show(key)
        for widget in (*self._note.outputs, *self.images_view.outputs):
            views.pop(widget, None)
        return {**views, **updates}

    def _show_said(self, results: Analysis, key: int | str) -> dict:
        """The notes on all reasons, and the name of the selected one."""
        renamed = {self.images_view.map: self.images_view.rename(results)}
        return {
            self._reasons: gr.HTML(cards=cards_of(results)),
            **renamed,
            **self._reason_view.show_heading(results, key),
        }

    def _on_load(self, key: object, visitor: object, draft: object) -> dict:
        problem = self._note.recover(visitor, draft)
        return {self._note.visitor: visitor_of(visitor), **self.first_look(lambda: self.show(key, problem=problem))}


def _curve(results: Analysis, key: int | str) -> gr.HTML:
    """How often the network is wrong over the range of what the condition of a reason is about; empty without one."""
    reason = results.reason(key)
    drawn = curves_of(results.reasons, [reason.literals] if reason else [], width=CURVE)
    return gr.HTML(curve=next(iter(drawn.values()), ""))


def _known(results: Analysis, key: object) -> int | str:
    """The key of a reason, if there is one of it; otherwise that of the first, or of the images in no cluster."""
    if rank_of(key, results) or (isinstance(key, int) and key in results.clusters.groups):
        return key  # type: ignore[return-value]
    return results.listed[0].key if results.listed else results.groups[0]
