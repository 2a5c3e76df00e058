"""Third tab, steps 3 and 4: improvement images and the test accuracy give the images to label (the unsafe set)."""

import contextlib
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import gradio as gr

from safe_dnn import api
from safe_dnn.analysis import Analysis
from safe_dnn.options import QUOTA
from safe_dnn.page.assets import VIEW, scripted
from safe_dnn.page.forms import network_of, remembered, typed
from safe_dnn.page.messages import done, empty, pane, reveal
from safe_dnn.page.pictures import Listed, ListedView
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import UNSAFE_TAB
from safe_dnn.page.work_tab import Work, WorkTab, widgets_in
from safe_dnn.rccs.clusters import fingerprint, rccs_of
from safe_dnn.rccs.review.journal import title
from safe_dnn.rccs.unsafe_set import FILENAMES_FILE, UNSAFE_SET_FILE, UnsafeSet, set_key
from safe_dnn.report.markup import filled
from safe_dnn.report.summary_lines import selection_summary
from safe_dnn.selection import chosen_by_model, unsafe_set_size
from safe_dnn.store.runs import SELECTION, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

RUN = "run"  # in the form that is kept: the clusters that it was sent for
# Parameters of `SelectionSettings`, and the fields that they are typed into
NUMBERS = {"test_accuracy": "accuracy", "test_size": "test_size", "factor": "factor", "size": "size"}
KNOWN = ("accuracy", "model", "test")  # filled in from the failures

ALL = "all"  # instead of an RCC

STEPS = [
    ("Generate RCCs", "In the tab before: root cause clusters, the reasons for which the network fails."),
    ("Give the improvement images", "Images that the network was not trained on, labelled or not."),
    ("Click Select unsafe set", "You get the images to label (the unsafe set): those nearest to the RCCs."),
]
OUTDATED = empty("The last unsafe set belongs to earlier clusters.", STEPS[1:])
CHANGED_SINCE = empty("The RCCs were changed after the last unsafe set was selected. Its labels are kept.", STEPS[1:])
COUNTS = (
    "How many images were selected for each RCC, of its candidates: the improvement images that are nearer to it than "
    "to any other RCC"
)


class UnsafeTab(WorkTab):
    """Lay out the tab; `wire` connects its widgets."""

    name = UNSAFE_TAB
    submits = ("folder", "accuracy", "test_size", "factor", "size", "model", "test", "features")

    def __init__(self, settings: PageSettings):
        super().__init__(settings)
        with gr.Column() as form:
            with gr.Row(elem_classes="safe-form"):
                self.form.lay_out("folder", scale=4)
                self.form.lay_out("size", scale=1, min_width=150)
                self._lay_out_start("improvement", "Select unsafe set", "select")
            with self.form.options("How many images, and which", known=KNOWN):
                self._lay_out_options()
        self._lay_out_state(form)
        with pane("unsafe-pane") as self.pane:
            gr.HTML(f"<h3 class='safe-title' title='{COUNTS}'>By root cause cluster, of its candidates</h3>")
            self.rccs = scripted("widgets/choices", "", elem_id="unsafe-rccs", parts="", first=ALL)
            self.images = ListedView("selected", self._images_of, settings)

    def _lay_out_options(self) -> None:
        lay_out = self.form.lay_out
        with gr.Row():
            lay_out("quota", scale=2, value=QUOTA)
            lay_out("leave_out_safe")
        with gr.Row():
            lay_out("model", "test", "features")
        with self.form.options("Number by the paper's formula", "by-formula", KNOWN), gr.Row():
            lay_out("accuracy", "factor", "test_size")

    def _guide(self) -> str:
        """What to do where there is no unsafe set to show; empty where there is one."""
        current = self._settings.results.latest
        if not current.is_selected:
            steps = STEPS[1:] if current.there else STEPS
            return OUTDATED if runs_of(self._settings.out, SELECTION) else empty("No unsafe set yet.", steps)
        try:
            unsafe = current.unsafe
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
        current = self._settings.results.state()
        unsafe = current.unsafe
        if fingerprint(current.clusters) != unsafe.clusters:
            raise SAFEError("The unsafe set was selected for other root cause clusters. Select it again.")
        images = self.images.show(set_key(unsafe), _listed(unsafe, ALL), ALL)
        tiles = gr.HTML(ALL, parts=filled("page/widgets/figures.html", tiles=_tiles(unsafe, current)))
        written = f"Written to {self._settings.out / FILENAMES_FILE}, with distances to {UNSAFE_SET_FILE}."
        notices = (f"{unsafe.formula}.", chosen_by_model(unsafe), written)
        status = done(f"{selection_summary(unsafe)}.", " ".join(filter(None, notices)))
        return {self.status: status, self.pane: reveal(), self.rccs: tiles, **images}

    def _images_of(self, key: str, chosen: str) -> Listed:
        return _listed(self._settings.results.unsafe_set(key), chosen)

    def _by_formula(self, accuracy: str, test_size: str, factor: str) -> gr.Textbox:
        """What the number of images would be if it is left empty."""
        n = ""
        with contextlib.suppress(SAFEError):
            failing = len(self._settings.results.state().clusters.paths)
            n = f"{unsafe_set_size(accuracy, failing, test_size=test_size or None, factor=factor)[0]:,}, by the formula"
        return gr.Textbox(placeholder=n)

    def _last_form(self) -> dict:
        """The form as it was last sent, with the improvement folder of the set, which a command may have selected.

        If the clusters are of failures that SAFE has collected, the accuracy is the one measured with them, and the
        network and its test folder are those, unless others were sent for these clusters.
        """
        settings = self._settings
        fields: dict[str, Any] = dict(remembered(settings.out, UNSAFE_TAB))
        with contextlib.suppress(SAFEError):
            fields["folder"] = printable(os.fspath(settings.results.latest.unsafe.improvement_root))
        with contextlib.suppress(SAFEError):
            state = settings.results.state()
            sent = fields.get(RUN) == state.run and fields.get("accuracy")
            if not sent and (failures := state.clustered):
                fields["accuracy"] = f"{failures.accuracy:.6g}"
                # With it, images are chosen that it is likely to get wrong as well, which teach it more than the
                # nearest alone (docs/decisions/020-quotas-by-size.md).
                fields |= network_of(failures, settings)
        return fields

    def _now(self) -> tuple:
        return self._settings.results.latest.marks._replace(retraining=0)

    def _result_of(self, marks: tuple) -> object:
        return marks[0], marks[2]

    def _work_of(self, fields: Mapping[str, Any]) -> Work:
        settings = self._settings
        sent = {**fields, RUN: settings.results.latest.marks.run}
        paths = self.form.taken(sent, ["folder"], ["model", "test", "features"])
        options = {"quota": fields["quota"], "leave_out_safe": bool(fields["leave_out_safe"])}
        options |= typed(**{parameter: fields[name] for parameter, name in NUMBERS.items()})
        improvement = paths.pop("folder")
        return lambda _: api.select(improvement, settings.out, **paths, **options, weights=settings.weights)

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        form = self.form
        self._wire_form(tab)
        numbers = [form[name] for name in ("accuracy", "test_size", "factor")]
        gr.on([number.change for number in numbers], self._by_formula, numbers, form["size"], **VIEW)
        self.images.wire({self.rccs: ""}, widgets_in(tab), ALL)
        # Clusters generated again outdate the set: look again whenever the tab is opened.
        self._wire(loaded, tab)


def _listed(unsafe: UnsafeSet, chosen: str) -> Listed:
    """The images selected for an RCC; all of them for anything else."""
    of_rcc = [image for image in unsafe.images if chosen == str(image.rcc)]
    images = of_rcc or unsafe.images
    whose = f"for {title(images[0].rcc)}" if of_rcc else "by RCC"
    heading = f"{count(len(images), 'image')} to label {whose}, the nearest first"

    def caption(place: int) -> str:
        return images[place].why if of_rcc else title(images[place].rcc)

    why = [image.why for image in images]
    return Listed(heading, unsafe.improvement_root, [image.image for image in images], caption, [] if of_rcc else why)


def _tiles(unsafe: UnsafeSet, current: Analysis) -> list[dict[str, str]]:
    """All images, and those of each RCC with its name, the largest RCC first (see figures.html).

    RCCs without candidates are named in the headline alone.
    """
    sizes, selected = current.clusters.sizes, Counter(image.rcc for image in unsafe.images)
    rows = [("All RCCs", len(unsafe.images), "to label", ALL, "")]
    for rcc in (one for one in rccs_of(current.clusters) if unsafe.candidates[one]):
        out = "left out, " if rcc in unsafe.excluded else ""
        more = f"{out}of {unsafe.candidates[rcc]:,}"
        opens, hint = str(rcc) if selected[rcc] else "", f"nearest to it; {count(sizes[rcc], 'failing image')}"
        rows.append((title(rcc, current.notes), selected[rcc], more, opens, hint))
    names = ("title", "figure", "more", "opens", "hint")
    return [dict(zip(names, (name, f"{n:,}", *rest), strict=True)) for name, n, *rest in rows]
