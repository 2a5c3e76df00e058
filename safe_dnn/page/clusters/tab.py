"""Second tab: a folder of failing images becomes root cause clusters to browse, name and edit."""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from safe_dnn.page.assets import scripted
from safe_dnn.page.clusters.asked import AskedView
from safe_dnn.page.clusters.edits_and_runs import RunsView, refreshed
from safe_dnn.page.clusters.failing_images import ImagesView
from safe_dnn.page.clusters.form import ClustersForm
from safe_dnn.page.clusters.rcc import RccView
from safe_dnn.page.clusters.reason_list import ReasonList, entry_key
from safe_dnn.page.clusters.spot import SpotView, rank_of
from safe_dnn.page.events import EDITS, FOLLOW, IN_TURN, LATEST, VIEW
from safe_dnn.page.forms import Fold, take_labels
from safe_dnn.page.job_view import JobView, News
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import OPENING, done, empty, failed, if_there, pane, reveal, tell, warn
from safe_dnn.page.results import Shown, check_links
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import CLUSTERS_TAB, FAILURES_TAB
from safe_dnn.page.texts import as_text
from safe_dnn.page.visitors import Window, maker_of
from safe_dnn.pipeline.descriptions import mend
from safe_dnn.pipeline.explaining import explain_failures
from safe_dnn.pipeline.generation import generate_clusters
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.pipeline.reporting.rate_curves import curves_of
from safe_dnn.pipeline.reporting.report import elbow_svg
from safe_dnn.pipeline.run_record import left_behind, notes_of
from safe_dnn.pipeline.summary_lines import cluster_summary, how_found
from safe_dnn.rccs.confidence import consensus_text, why_unknown
from safe_dnn.rccs.review.edits import Maker
from safe_dnn.rccs.review.journal import describe_edit
from safe_dnn.rccs.review.notes import title
from safe_dnn.rccs.review.review import Review, all_edits, rcc_by_now
from safe_dnn.reasons.listed import baseline, sentence
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import printable

CURVE = 620  # width of the curve, in pixels, at most
# The browser has drawn what it was given (Safari does not tell).
WHEN_IDLE = """() => new Promise((go_on) => {
  const idle = window.requestIdleCallback ?? ((then) => setTimeout(then, 100));
  idle(() => go_on([]), { timeout: 1000 });
})"""


class ClustersTab:
    """Lay out the tab: the form, the state, the RCC at hand, all RCCs (the paper's Figure 4), and all images.

    `wire` connects its widgets.
    """

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._nothing = _nothing(settings)
        self.form = ClustersForm(settings)
        with gr.Row(elem_classes="safe-state"):
            self._status = gr.HTML(OPENING, elem_id="clusters-status", scale=1)
            self.fold = Fold(self.form.pane)
            self._cancel = gr.Button("Stop", scale=0, min_width=110, visible=False, elem_id="cancel-clusters")
        with pane("clusters-pane") as self._pane:
            self._lay_out_screen()
            self._runs_view = RunsView(settings)
            with gr.Accordion("How these were found", open=False, elem_id="why"):
                self._how = gr.HTML()
            with gr.Accordion("Skipped images", open=False, visible=False, elem_id="skipped") as self._skipped_pane:
                self._skipped = gr.Dataframe(headers=["image", "reason"], interactive=False, max_height=260, wrap=True)
        self._rcc, self._window = gr.State(0), Window()
        self._mending = threading.Lock()
        self._drawn = gr.State(False)  # whether a window that was just opened shows the map
        self._compared = gr.State("")  # what is shown of the comparison with images that are right
        self._one_rcc = [self._rcc, *self._rcc_view.outputs, *self.images_view.outputs, self._runs_view.file]
        self._job_view = JobView(
            settings, CLUSTERS_TAB, self._status, self.form.generate, self._cancel,
            guide=lambda: "" if settings.results.there else self._nothing, result=self._pane,
            others=[view.button for view in (*self._rcc_view.asked, *self._spot_view.asked)],
        )  # fmt: skip
        self.outputs = [*self._job_view.outputs, *self.fold.outputs, self._pane, *self._window.outputs,
                         *self._one_rcc, self._screen, self._reasons.widget, *self._spot_view.outputs, self._compared,
                         *self._runs_view.outputs, self._how, self._skipped_pane, self._skipped]  # fmt: skip

    def _lay_out_screen(self) -> None:
        """One screen: the reasons to choose from, the map, and the reason at hand; below it, its images."""
        settings = self._settings
        self._reasons, self.images_view = ReasonList(settings), ImagesView(settings)
        with gr.Row(elem_id="screen"):
            with gr.Column(elem_id="reasons"):
                self._reasons.lay_out()
            with gr.Column(elem_id="map-column"):
                self.images_view.curve.render()
                self._screen = scripted(
                    "clusters/screen", "", html_template=filled("page/clusters/screen.html"), undone="",
                    elem_id="screen-bar",
                )  # fmt: skip
                self.images_view.lay_out_map()
            with gr.Column(elem_id="reason-at-hand"):
                self._rcc_view = RccView(settings)
                self._spot_view = SpotView(settings)
                self.images_view.lay_out_words()
        self.images_view.lay_out_grid()

    def wire(self, app: gr.Blocks, news: News) -> gr.events.Dependency:
        """Connect the widgets; the event that a window that was just opened shows what the folder has."""
        rcc, window, reasons, form = self._rcc, self._window, self._reasons.widget, self.form
        rcc_view, images_view, outputs = self._rcc_view, self.images_view, self.outputs
        window.wire(app)
        filled_in = [*form.outputs, form.filled]
        typed_in = ("folder", "predictions", "tested", "parameters")
        sent = [form.generate.click, *(form[name].submit for name in typed_in)]
        generated = gr.on(sent, self._on_generate, form.widgets, [form.filled, *outputs], **FOLLOW)
        if example := self._settings.example:
            form.fill_from(form.example, {"folder": example.folder / "failures"})
        chosen = [*self._one_rcc, *self._spot_view.outputs]
        reasons.select(self._on_select, [reasons, window.run], chosen, **LATEST, **IN_TURN)
        for view, reason in ((rcc_view, rcc_view.owner), (self._spot_view, reasons)):
            for asked in view.asked:
                self._wire_asked(asked, reason, outputs)
        rcc_view.wire(reasons, window, outputs, self._edited)
        images_view.wire(rcc, window, outputs, self._edited, self._choose)
        self._runs_view.wire(rcc, reasons, window, news, outputs, self._edited)
        # All in one answer, and drawn before anything else is asked: it is what the engineer waits for.
        drawn = app.load(lambda: self._on_load(news), None, [*filled_in, *outputs, self._drawn, news.widget], **FOLLOW)
        loaded = drawn.then(None, None, None, js=WHEN_IDLE, **VIEW)
        loaded.then(self._go_on, [rcc, self._drawn, self._job_view.followed], outputs, **FOLLOW)
        for event in (generated, self._job_view.wire(news, self.show, outputs)):
            event.then(self.on_map, images_view.colour, images_view.map_outputs, **VIEW)
        looked = [self._job_view.followed, rcc, form["folder"], form.filled, window.run, window.seen, self._compared,
                  reasons]  # fmt: skip
        news.folder(self._on_folder, looked, [*filled_in, *outputs], **LATEST, **EDITS)
        noted = [rcc, window.run, window.seen, reasons]
        note_views = rcc_view.note_view, self._spot_view.note_view
        shown = [reasons, images_view.map, *(view.widget for view in note_views)]
        news.notes(self._on_notes, noted, shown, **LATEST, **EDITS)
        return loaded

    def _wire_asked(self, asked: AskedView, reason: gr.Component, outputs: list) -> None:
        """Ask the network about an RCC or, by its conditions, a weak spot, and show its answer."""
        shown = self._settings.results.shown

        def on_ask(at_hand: object, run: str) -> Iterator[dict]:
            reason = shown(run).reason(at_hand)  # refuses a window that shows other clusters
            work = functools.partial(asked.work, reason=reason.name if reason else f"RCC {at_hand}")
            yield from self._job_view.start(work, lambda: {self._status: self._state(shown())})

        rcc_view, run = self._rcc_view, self._window.run
        asking = asked.button.click(on_ask, [reason, run], outputs, **FOLLOW)
        at_hand = [rcc_view.owner, self._reasons.widget, run]
        changed = [*rcc_view.outputs, *self._spot_view.outputs]
        answered = asking.then(self._on_answered, at_hand, changed, **VIEW)
        in_sight = f"() => document.getElementById('{asked.answer.elem_id}').scrollIntoView({{ block: 'nearest' }})"
        answered.then(None, None, None, js=in_sight, **VIEW)

    # --- What the widgets show ----------------------------------------------------------------------------------

    def show(self, chosen: int | None = None, spot: object = None) -> dict:
        """The clusters in the output folder.

        Parameters
        ----------
        chosen : int, optional
            The RCC at hand, if the clusters have it; otherwise the first reason is.
        spot : str, optional
            The conditions of the weak spot at hand, if it is found again. It comes from a browser, and may be older
            than a click that is on its way (see reason_list.js).
        """
        settings, images_view = self._settings, self.images_view
        results = settings.results.shown()
        clusters, stays = results.clusters, rank_of(spot, results) > 0
        known = chosen if chosen in clusters.groups else None
        key = str(spot) if stays else _first(results) if known is None else known
        at_hand = results.reason(key)
        rcc = next(one for one in (at_hand and at_hand.rcc, known, results.groups[0]) if one is not None)
        skipped = clusters.skipped
        found = f"{cluster_summary(clusters)} · {how_found(clusters)}"
        how = filled(
            "page/clusters/how_found.html", clusters=clusters, found=found, curve=elbow_svg(clusters),
            consensus=consensus_text(clusters), missing=why_unknown(results.review.original),
        )  # fmt: skip
        return {
            self._status: self._state(results),
            self._pane: reveal(),
            **self._window.show(results),
            **self._reasons.show(results, results.groups[0] if key is None else key),
            **self._spot_view.show(results, key, forced=not stays),
            self._compared: results.compared,
            self._how: how,
            self._skipped_pane: gr.update(label=f"Skipped images ({len(skipped)})", visible=bool(skipped)),
            self._skipped: [[printable(path), printable(reason)] for path, reason in skipped],
            **self._runs_view.show(results),
            **self._show_rcc(results, rcc),
            **images_view.show_right(results, rank_of(key, results) - 1),
            images_view.curve: _curve(results, rank_of(key, results)),
            # Not the map of an earlier run while the new one is drawn
            images_view.map: gr.HTML(record="", shade="", named="", chosen=rcc),
        }

    def _state(self, results: Shown) -> str:
        """What was found in a sentence or two; then in figures, with the folder: another window may have chosen it."""
        clusters, listed = results.clusters, results.listed
        told = sentence(listed, results.reasons.base)
        summary = f"{cluster_summary(clusters)} · folder {clusters.image_root.name}"
        if any(one.to_judge for one in listed) and told:
            reasons = results.reasons
            summary = baseline(listed, reasons.base, reasons.tested, reasons.where_none_holds)
        notes = [f"{note[0].upper()}{note[1:]}" for note in notes_of(self._settings.out)]
        # First the engineer's work that these clusters lack, since only its beginning is visible until opened
        first = [left_behind(self._settings.out), results.problem]
        more = " ".join(filter(None, [*first, *notes]))
        return done(told, more, summary) if told else done(summary, more)

    def _show_rcc(self, results: Shown, chosen: int) -> dict:
        shown = {**self._rcc_view.show(results, chosen), **self.images_view.show(results, chosen)}
        return {self._rcc: chosen, **shown, **self._runs_view.no_export()}

    def _choose(self, results: Shown, chosen: int) -> dict:
        return {self._reasons.widget: gr.HTML(chosen), **self._show_rcc(results, chosen)}

    def _show_last(self) -> dict:
        """For a window that was just opened: from now on, the form can be edited."""
        results = self._settings.results
        fields = self.form.first_look("")
        try:
            results.check_there()
            if not results.there:
                return {**fields, self._status: self._nothing}
            fields |= self.form.of(results.shown(), new=True)
            shown = self.show()
            drawn = self.images_view.show_map(results.shown(), chosen=shown[self._rcc], at_once=True)
            return {**fields, **shown, **drawn, self._drawn: bool(drawn), **self.fold.show(folded=True)}
        except SAFEError as error:
            return {**fields, self._status: failed(error)}

    # --- What the engineer does ---------------------------------------------------------------------------------

    def _edited(
        self, chosen: int, parts: Sequence[object], edit: Callable[[Maker], object], spot: object = None
    ) -> dict:
        """Make an edit and show what it has changed.

        The RCC at hand stays or, if it has no images any more, is the one that has most of them now.
        """
        settings, maker = self._settings, maker_of(*parts)
        check_links(settings.results.shown(maker.run).clusters, settings.root)
        edit(maker)
        results = settings.results.shown()
        told = {self._screen: gr.HTML(undone=self._undone(results.review, maker))}
        groups, seen = results.clusters.groups, maker.seen or 0
        if results.review.last_number == seen and chosen in groups:  # what is said was taken back
            return {**told, **self._show_said(results, chosen, spot), **self._runs_view.show_edits(results.review)}
        try:
            refreshed(settings)
        except SAFEError as error:  # the edit is kept; the drawing is caught up on when the page is next opened
            warn("Changed, but some pictures could not be drawn again", error)
        try:
            updates = self.show(chosen if chosen in groups else rcc_by_now(results.review, chosen, seen=seen), spot)
            rcc = updates[self._rcc]
            return {**told, **updates, **self.images_view.show_map(settings.results.shown(), chosen=rcc, edited=True)}
        except SAFEError as error:
            return {**told, self._status: failed(error)}

    def _undone(self, review: Review, maker: Maker) -> str:
        """What the maker's last edit has undone or redone, for the screen's script; empty if it is another edit."""
        edits = all_edits(self._settings.out, review)
        last = next((edit for edit in reversed(edits) if edit.by == maker.by), None)
        if last is None or last.of is None:
            return ""
        return as_text([last.number, printable(describe_edit(last, edits))])

    def _on_generate(self, *values: Any) -> Iterator[dict]:
        yield from self.generate(self.form.named(values))

    def generate(self, fields: Mapping[str, Any]) -> Iterator[dict]:
        """Generate RCCs from what the fields of the form hold."""
        settings = self._settings

        def work(job: Job) -> None:
            def of_rates(what: str, done: int, total: int) -> None:
                job.progress(f"The RCCs are there. For their failure rates: {what}", done, total)

            images, wanted = job.form
            generate_clusters(images, settings.out, wanted, within=settings.root, progress=job.progress)
            try:  # the clusters are shown meanwhile: every window hears that the folder has changed
                explain_failures(settings.out, within=settings.root, weights=settings.weights, progress=of_rates)
            except SAFEError as error:
                what = f"The RCCs were found, but not compared with images that are right. {error}"
                raise SAFEError(what).about(*error.fields) from error

        take_labels(settings.out)
        yield self.form.sent("", fields)
        wanted = functools.partial(self.form.wanted, fields)
        yield from self._job_view.start(work, lambda: self.show() | self.fold.show(folded=True), wanted)

    def on_map(self, by: str | None) -> dict:
        results = self._settings.results
        # If there are no clusters, or damaged ones, the status says so.
        return if_there(lambda: self.images_view.show_map(results.shown(), by if isinstance(by, str) else None))

    def _on_select(self, chosen: object, run: str) -> Iterator[dict]:
        results = self._settings.results.shown(run)
        if rank_of(chosen, results):
            yield self._show_spot(results, chosen)
            return
        if not isinstance(chosen, int) or chosen not in results.clusters.groups:
            yield gr.skip()  # other clients may send anything
            return
        # Text fields at once: pictures may take seconds, and by then a name may have been typed.
        words = self._rcc_view.show_words(results, chosen, forced=False)
        yield {self._rcc: chosen, **words, **self._runs_view.no_export()}
        yield {**self._rcc_view.show_pictures(results, chosen), **self.images_view.show(results, chosen)}

    def _show_spot(self, results: Shown, conditions: object) -> dict:
        """The images of a weak spot: as a GIF, in the grid and on the map."""
        rank = rank_of(conditions, results)
        where, rows = results.reasons.spots[rank - 1].where, results.reasons.images[rank - 1].tolist()
        found = self.images_view.show_found(results, rows, f"with {where}")
        return {
            **self._spot_view.show(results, conditions, forced=False), **found, **self._runs_view.no_export(),
            **self.images_view.show_right(results, rank - 1),
            self.images_view.curve: _curve(results, rank),
        }  # fmt: skip

    def _on_answered(self, rcc: int | None, conditions: object, run: str) -> dict:
        """What is kept of the RCC and the weak spot at hand, which may be others by now."""
        shown = self._settings.results.shown(run)
        found = self._spot_view.show(shown, conditions, forced=False)
        if isinstance(rcc, int) and rcc in shown.clusters.groups:
            found |= {**self._rcc_view.show_heading(shown, rcc), **self._rcc_view.show_looks(shown, rcc)}
        return found

    def _mended(self, chosen: int) -> dict:
        """Draw what a killed process did not."""
        settings = self._settings
        try:
            check_links(settings.results.shown().clusters, settings.root)
            with self._mending:  # two windows that open at once must not both draw it
                if settings.jobs.running or not mend(settings.out, within=settings.root):
                    return gr.skip()
            return self._rcc_view.show_pictures(settings.results.shown(), chosen)
        except SAFEError:
            return gr.skip()  # there is nothing to mend, or nothing can be written; the status says so

    def _on_folder(
        self, followed: int, chosen: int, folder: str | None, filled_in: dict, run: str, seen: int,
        compared: str, spot: object,
    ) -> Iterator[dict]:  # fmt: skip
        """Show the edits of other windows."""
        if not self._settings.results.there:
            yield gr.skip()
            return
        try:
            results = self._settings.results.shown()
        except SAFEError as error:
            yield {self._status: failed(error)}
            return
        before = filled_in.get("folder") or ""
        other = self.form.home_of(results) != before and (folder or "") in ("", before)
        form = self.form.of(results) if other else {}
        if (results.run, results.review.last_number) == (run, seen):
            if chosen in results.clusters.groups and results.compared != compared:
                yield {**form, **self._show_compared(results, chosen, spot)}
            else:
                yield form or gr.skip()
            return
        still: tuple = ()
        if results.run == run:
            rcc = rcc_by_now(results.review, chosen, seen=seen)
            if rcc is not None and rcc != chosen:
                tell(_why(results.review, chosen, rcc, seen))
            still = (rcc, spot)
        yield {**form, **self._job_view.look(lambda: self.show(*still), followed)}
        yield self.on_map(None)

    def _on_notes(self, chosen: int, run: str, seen: int, spot: object) -> dict:
        """Show the notes of other windows."""
        try:
            results = self._settings.results.shown(run)
        except SAFEError:
            return gr.skip()  # the folder has changed as well, which is told otherwise
        if results.review.last_number != seen or chosen not in results.clusters.groups:
            return gr.skip()
        return self._show_said(results, chosen, spot)

    def _show_said(self, results: Shown, chosen: int, spot: object) -> dict:
        """The notes on all reasons; the one at hand stays."""
        note_view = self._rcc_view.note_view
        return {
            self._reasons.widget: self._reasons.rename(results),
            self.images_view.map: self.images_view.rename(results),
            note_view.widget: note_view.show(results, chosen, forced=False),
            **self._spot_view.show_note(results, spot, forced=False),
        }

    def _show_compared(self, results: Shown, chosen: int, spot: object) -> dict:
        """What a comparison adds to RCCs that are shown already; the one at hand stays."""
        key = str(spot) if rank_of(spot, results) else chosen
        return {
            self._status: self._state(results),
            **self._reasons.show(results, key),
            **self._spot_view.show(results, key, forced=False),
            self.images_view.curve: _curve(results, rank_of(key, results)),
            **self._rcc_view.show_heading(results, chosen),
            self._compared: results.compared,
        }

    def _on_load(self, news: News) -> dict:
        return {news.widget: news.known(), **self._job_view.first(self._show_last)}

    def _go_on(self, chosen: int, drawn: bool, followed: int) -> Iterator[dict]:
        """What a window that was just opened does not wait for: what is yet to be drawn, and work that is going on."""
        yield self._mended(chosen)
        if not drawn:
            yield self.on_map(None)
        worked = False
        for updates in self._job_view.go_on(followed, self.show):
            worked = True
            yield updates
        if worked:
            yield self.on_map(None)


def _curve(results: Shown, rank: int) -> gr.HTML:
    """How often the network is wrong over the range of what a weak spot is about; empty without one."""
    drawn = curves_of(results.reasons, results.reasons.spots[rank - 1 : rank], width=CURVE) if rank else {}
    return gr.HTML(curve=next(iter(drawn.values()), ""))


def _first(results: Shown) -> int | str | None:
    """The key of the first reason; None if all images are in no cluster."""
    return entry_key(results.listed[0]) if results.listed else None


def _why(review: Review, before: int, now: int, seen: int) -> str:
    """Why another RCC is at hand than before, after edits that a window has not seen."""
    merges = [edit for edit in review.edits if edit.kind == "merge" and edit.number > seen]
    if any(edit.source == (before,) and edit.target == now for edit in merges):
        return f"{title(before)} was merged into {title(now)} in another window."
    return f"Most images of {title(before)} are in {title(now)} now, since an edit in another window."


def _nothing(settings: PageSettings) -> str:
    """What the tab asks as long as there are no clusters; each answer leads to a field to begin with (see tabs.js)."""
    example = ", or click Example" if settings.example else ""
    groups = f"Give their folder{example}: SAFE groups them by the reason for failing, as root cause clusters (RCCs)."
    collects = "SAFE collects the images that it gets wrong. A table of its answers will do, and a detector's files."
    button = Markup("<button type='button' data-tab='{}' data-field='{}'>{}</button>")
    return empty(
        "What do you have?",
        [
            (button.format(CLUSTERS_TAB, "images", "Failing images"), groups),
            (button.format(FAILURES_TAB, "failures-model", "A model and its test set"), collects),
        ],
    )
