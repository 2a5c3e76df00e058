"""The form of the second tab: the failing images, what is known of them, and how they are described."""

import os
from collections.abc import Mapping
from typing import Any

import gradio as gr

from safe_dnn.dnn.group_columns import FOLDER, PREFIX
from safe_dnn.features.extractor import OWN
from safe_dnn.features.extractors import EXTRACTORS
from safe_dnn.features.weights import choose_precision
from safe_dnn.page.forms import FormView, check_there, example_button, remember, remembered, typed
from safe_dnn.page.messages import FORM_LABELS
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import CLUSTERS_TAB
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.reasons.run_record import groups_of, specified_parameters, specified_predictions
from safe_dnn.store.image_folders import names_in
from safe_dnn.support.errors import SAFEError, path_of
from safe_dnn.support.images import is_image_folder
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.text import printable

EXTRACTOR_MEANINGS = {name: kind.meaning for name, kind in EXTRACTORS.items()}
REDUCER_MEANINGS = {
    "auto": "to the contrast with correctly classified images, if it explains more; else PCA",
    "pca": "appearance alone, as in the paper",
    "umap": "PCA, then UMAP, the authors' study of 2024: may part what PCA leaves together",
}
PRECISION_MEANINGS = {
    "auto": "bfloat16 if the processor multiplies it, otherwise float32",
    "bfloat16": "half of the time or less, on such a processor; RCCs hardly differ",
    "float32": "the same features on every processor, up to rounding",
}
PATHS = (
    ("Predictions", "predictions", "predictions.csv",
     "CSV: image, label, predicted. By default predictions.csv beside the images"),
    ("Test images", "tested", "test", "The folder that the predictions are about, right and wrong images"),
    ("Parameters", "parameters", "parameters.csv",
     "CSV: image, then any columns. By default parameters.csv beside the images"),
    (FORM_LABELS["features"], "features", "features.npz", "Of another network, instead of VGG16's: .npz or .parquet"),
)  # fmt: skip


class ClustersForm(FormView):
    """Lay out the form; `wanted` says what its fields ask for, `of` gives their values for clusters."""

    def __init__(self, settings: PageSettings):
        super().__init__(self._last_form)
        self._settings = settings
        with gr.Column(elem_id="clusters-form") as self.pane:
            self._lay_out()

    def _lay_out(self) -> None:
        with gr.Row(elem_classes="safe-form"):
            failing = "The failing images: a folder, or a .txt file that lists them"
            self.text("folder", "images", "Image folder", failing, "/path/to/failing/images", scale=4)
            self.example = example_button(self._settings, "images")
            self.generate = gr.Button("Generate RCCs", variant="primary", scale=1, min_width=170, elem_id="generate")
        title = "More options: what is known of the images, what does not matter, and the features"
        with self.options(title, "more-options"):
            with gr.Row():
                for given in PATHS[:-1]:
                    self._path(*given)
                alike = "The parameter that says which images are of one person, track or drive"
                self._several("group", "group", "Groups", alike)
                info = "Predictions without a row for more than a tenth of the images"
                self.add("partial", gr.Checkbox(label=FORM_LABELS["partial"], info=info, elem_id="partial"))
                info = "Parameters that RCCs must not differ by, such as the person"
                self._several("aside", "set-aside", "Set aside", info)
            with gr.Row():
                self._one_of("extractor", "Features", "What of VGG16 describes an image", EXTRACTOR_MEANINGS)
                self._path(*PATHS[-1])
                self._one_of("reducer", "Features reduced", "Before clustering", REDUCER_MEANINGS)
                self._one_of("precision", "Precision", "Number format of the network", PRECISION_MEANINGS)

    def _path(self, label: str, name: str, example: str, info: str) -> None:
        self.text(name, name, label, info, f"/path/to/{example}")

    def _several(self, name: str, elem_id: str, label: str, info: str) -> None:
        options: dict[str, Any] = {"multiselect": True, "allow_custom_value": True}
        self.add(name, gr.Dropdown([], label=label, info=info, elem_id=elem_id, **options))

    def _one_of(self, name: str, label: str, info: str, meanings: Mapping[str, str]) -> None:
        choices = [(f"{choice}: {meaning}", choice) for choice, meaning in meanings.items()]
        self.add(name, gr.Dropdown(choices, value=next(iter(meanings)), label=label, info=info, elem_id=name))

    def wanted(self, fields: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The images and options of `api.cluster` by the fields, which are kept; a SAFEError where one is unusable."""
        settings = self._settings
        names, groups = (
            tuple(name for name in sent if isinstance(name, str)) if isinstance(sent, list) else ()
            for sent in (fields["aside"], fields["group"])
        )
        collected = settings.out / FAILURES  # what the first tab's button groups, which may have been stopped
        images = settings.accept(fields["folder"] or (os.fspath(collected) if names_in(collected) else ""))
        paths = typed(**{name: fields[name] for _, name, _, _ in PATHS})
        wanted: dict[str, Any] = {name: settings.accept(path) for name, path in paths.items()}
        wanted |= {name: fields[name] for name in ("extractor", "reducer", "precision")}
        wanted |= {"weights": settings.weights, "set_aside": names, "group": groups, "partial": bool(fields["partial"])}
        remember(settings.out, CLUSTERS_TAB, fields)
        is_image_folder(path_of(images, "an image folder"))
        check_there({label.lower(): settings.accept(paths[name]) for label, name, *_ in PATHS if name in paths})
        return images, wanted

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
