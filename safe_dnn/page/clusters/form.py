"""The form of the second tab: the failing images, what is known of them, and how they are described."""

import os
from collections.abc import Mapping
from typing import Any

import gradio as gr

from safe_dnn.dnn.group_columns import FOLDER, PREFIX
from safe_dnn.features.extractor import OWN
from safe_dnn.features.extractors import EXTRACTORS
from safe_dnn.features.weights import choose_precision
from safe_dnn.page.forms import FormView, remembered
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import CLUSTERS_TAB
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.reasons.run_record import groups_of, specified_parameters, specified_predictions
from safe_dnn.store.image_folders import names_in
from safe_dnn.support.errors import SAFEError, path_of
from safe_dnn.support.images import is_image_folder
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.text import printable

PATHS = ("predictions", "tested", "parameters", "features")


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
        predictions, tested = (printable(text) for text in specified_predictions(out))
        return {
            "folder": printable(os.fspath(clusters.home)), "reducer": clusters.reducer,
            "predictions": predictions, "tested": tested,
            "parameters": printable(specified_parameters(out)), "extractor": requested_extractor(clusters),
            "precision": requested_precision(clusters), "partial": False, "group": list(map(printable, groups_of(out))),
            "aside": list(map(printable, clusters.without)),
            "features": printable(os.fspath(clusters.own_features or "")),
        }  # fmt: skip

    def _choices(self) -> Mapping[str, list[str]]:
        results = self._settings.results.latest
        try:
            hidden = results.clusters.answers.columns if results.clusters.answers else {}
            known = [printable(name) for name in results.parameters if name not in hidden]
        except SAFEError:
            return {}
        return {"aside": known, "group": [*known, PREFIX, FOLDER]}


def requested_extractor(clusters: RootCauseClusters) -> str:
    """The choice of an extractor that gives these clusters again; `auto` where that is what it chooses."""
    name = clusters.extractor.name
    return "auto" if clusters.extractor.notice or name in ("vgg16", OWN) else name


def requested_precision(clusters: RootCauseClusters) -> str:
    """The choice of a precision that gives these clusters again; `auto` where that is what it chooses here."""
    precision = clusters.extractor.precision
    return "auto" if clusters.own_features or precision == choose_precision("auto") else precision
