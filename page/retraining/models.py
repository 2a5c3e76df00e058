"""Two models side by side: chosen by name, of this analysis or another one; each count opens its images."""

import threading
import uuid
from collections import OrderedDict
from pathlib import Path
from typing import Any

import gradio as gr

from page.grid_view import Listed, ListedView, scripted_widget
from page.jobs import EDITS, LATEST, VIEW, PageSettings, failed, pane, put_away, reveal
from page.retraining.counts import classes_of_two, reasons_of_two, tiles_of
from page.serving.analyses import TOP, address_of, folder_of, names_in, title_of
from rccs.spots.rates import by_excess
from reporting.markup import filled
from reporting.models import KnownModel, answers_of, known_model, models_of
from reporting.two_models import (
    BOTH,
    NEITHER,
    ONLY_A,
    ONLY_B,
    TwoModels,
    compare_models,
    images_of_count,
    verdict_text,
)
from support.entries import quoted
from support.errors import SAFEError

MOST_KEPT = 8  # comparisons that windows show, of up to some megabytes each
NONE = (
    "There is no model here yet whose answers are kept. Collect the failures of one in the tab Failures, or retrain it."
)
GONE = "This comparison is no longer there. Click Compare again."


class ModelsView:
    """Lay out the pane; `wire` connects its widgets."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, TwoModels] = OrderedDict()
        with gr.Accordion("Two models side by side", open=False, elem_id="two-models") as self._fold:
            with gr.Row(elem_classes="safe-form"):
                self._a = gr.Dropdown(
                    label="A", info="A model of this analysis", choices=[], scale=3, elem_id="model-a"
                )
                self._analysis = gr.Dropdown(
                    label="Analysis of B", info="This one, or another one", choices=[], scale=2, elem_id="analysis-b"
                )
                self._b = gr.Dropdown(
                    label="B", info="A model of that analysis", choices=[], scale=3, elem_id="model-b"
                )
                self._compare = gr.Button("Compare", scale=0, min_width=110, elem_id="compare-models")
            self._hint = gr.HTML(elem_id="models-hint")
            self._status = gr.HTML(elem_id="models-status")
            with pane("models-pane") as self._pane:
                self._figures = scripted_widget("retraining/figures", "models-figures", tiles=[])
                with gr.Row(equal_height=False, elem_id="models-images"):
                    with gr.Column(scale=8, min_width=430):
                        self._reasons = _table_of_counts("models-reasons")
                        self._classes = _table_of_counts("models-classes")
                    with gr.Column(scale=5, min_width=360):
                        self._images = ListedView("models", self._images_of, settings.root)
        self._opened = gr.State(False)  # whether the window shows what can be chosen
        self._choices = [self._a, self._analysis, self._b, self._compare, self._hint]
        self._counts = [self._figures, self._reasons, self._classes]
        self._outputs = [self._status, self._pane, *self._counts, *self._images.outputs]

    # --- What can be chosen -------------------------------------------------------------------------------------

    @property
    def _home(self) -> Path:
        """The folder of the analyses."""
        return self._settings.home or self._settings.out

    @property
    def _name(self) -> str:
        """This analysis."""
        out = self._settings.out
        return TOP if out == self._home else out.name

    def _analyses(self) -> list[tuple[str, str]]:
        """Titles and names, this one first."""
        example = self._settings.example
        names = names_in(self._home, other_than=example.folder if example else None)
        others = [*([TOP] if folder_of(self._home, TOP) else []), *names]
        titles = [(title_of(self._home, name), name) for name in others if name != self._name]
        return [(f"{title_of(self._home, self._name)} (this one)", self._name), *titles]

    def _folder(self, name: object) -> Path:
        folder = folder_of(self._home, name) if isinstance(name, str) else None
        if name == self._name:
            return self._settings.out
        if folder is None:
            title = title_of(self._home, str(name or ""))
            raise SAFEError(f"There is no analysis {quoted(title)} any more. It was renamed or deleted.")
        return folder

    def on_choices(self, a: object, analysis: object, b: object) -> dict:
        """What there is to choose from, as it is now; what was chosen stays if it is still there."""
        own, analyses = models_of(self._settings.out), self._analyses()
        names = [name for _, name in analyses]
        if analysis not in names:
            analysis = names[1] if len(own) < 2 and len(names) > 1 else self._name
        try:
            others = models_of(self._folder(analysis))
        except SAFEError:  # deleted at this moment
            others = []
        first = _still(own, a)
        second = _still([model for model in others if analysis != self._name or model.key != first], b)
        return {
            self._a: gr.Dropdown(choices=_named(own), value=first),
            self._analysis: gr.Dropdown(choices=analyses, value=analysis),
            self._b: gr.Dropdown(choices=_named(others), value=second),
            self._compare: gr.Button(interactive=bool(own)),
            self._hint: "" if own else f"<p class='safe-notice'>{NONE}</p>",
        }

    def on_expand(self, *chosen: object) -> dict:
        return {self._opened: True, **self.on_choices(*chosen)}

    def on_news(self, opened: bool, *chosen: object) -> dict:
        """The same for a window that shows the choices, when the folder has changed."""
        return self.on_choices(*chosen) if opened else gr.skip()

    # --- The comparison -----------------------------------------------------------------------------------------

    def on_compare(self, a: object, analysis: object, b: object) -> dict:
        settings = self._settings
        try:
            folder = self._folder(analysis)
            first = known_model(settings.out, str(a or ""))
            second = known_model(folder, str(b or ""), other_than=first)
            answers = [answers_of(model, within=settings.root) for model in (first, second)]
            shown = settings.results.shown() if settings.results.there else None
            if not shown:
                two = compare_models(*answers, within=settings.root)
            else:
                two = compare_models(*answers, review=shown.review, reasons=shown.reasons, within=settings.root)
                # In the order of the cards
                place = {f"rcc:{rcc}": i for i, rcc in enumerate(by_excess(shown.clusters.groups, shown.rates))}
                two = two._replace(groups=tuple(sorted(two.groups, key=lambda group: place.get(group.key, len(place)))))
        except SAFEError as error:
            return {self._status: failed(error), self._pane: put_away()}
        key = uuid.uuid4().hex
        with self._lock:
            self._kept[key] = two
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return {
            self._status: self._told(two, str(analysis)),
            self._pane: reveal(),
            self._reasons: gr.HTML("", **reasons_of_two(two)),
            self._classes: gr.HTML("", **classes_of_two(two)),
            **self._images.show(key, listed_images(two, _first(two)), _first(two)),
            self._figures: gr.HTML(_first(two), tiles=tiles_of(two)),
        }

    def _told(self, two: TwoModels, analysis: str) -> str:
        """Which models these are, and which is better, as HTML."""
        sides = [
            (letter, address_of(name), title_of(self._home, name), model)
            for letter, name, model in zip("AB", (self._name, analysis), two.names, strict=True)
        ]
        return filled("page/retraining/two.html", sides=sides, verdict=verdict_text(two.sure), notes=two.notes)

    def _comparison(self, key: str) -> TwoModels:
        with self._lock:
            if key not in self._kept:
                raise SAFEError(GONE)
            self._kept.move_to_end(key)
            return self._kept[key]

    def _images_of(self, key: str, chosen: str) -> Listed:
        return listed_images(self._comparison(key), chosen)

    def wire(self, news_of_folder: Any) -> None:
        """Connect the widgets.

        Parameters
        ----------
        news_of_folder : listener
            Of changes in the output folder.
        """
        chosen = [self._a, self._analysis, self._b]
        self._fold.expand(self.on_expand, chosen, [self._opened, *self._choices], **VIEW)
        self._analysis.input(self.on_choices, chosen, self._choices, **LATEST)
        news_of_folder(self.on_news, [self._opened, *chosen], self._choices, **LATEST, **EDITS)
        self._compare.click(self.on_compare, chosen, self._outputs, **(VIEW | {"show_progress": "minimal"}))
        self._images.wire(dict.fromkeys(self._counts, ""))


def _table_of_counts(elem_id: str) -> gr.HTML:
    return scripted_widget("retraining/counts", elem_id, title="", told="", heads=[], rows=[])


def _named(models: list[KnownModel]) -> list[tuple[str, str]]:
    return [(model.name, model.key) for model in models]


def _still(models: list[KnownModel], chosen: object) -> str | None:
    """What was chosen if it is among some models, otherwise the first of these."""
    keys = [model.key for model in models]
    return chosen if isinstance(chosen, str) and chosen in keys else next(iter(keys), None)


def _first(two: TwoModels) -> str:
    """The count whose images are listed at first: where the models differ, if they do."""
    return next((which for which in (ONLY_B, ONLY_A, NEITHER) if two.of(which).any()), BOTH)


def listed_images(two: TwoModels, chosen: str) -> Listed:
    """The images of a count."""
    found = images_of_count(two, chosen)
    return Listed(found.heading, found.root, [path for path, _ in found.images], lambda place: found.images[place][1])
