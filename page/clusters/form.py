"""The form of the second tab: the failing images, what is known of them, and how they are described."""

import os
from typing import Any

import gradio as gr

from dnn.group_columns import ALIKE, FOLDER, PREFIX
from features.weights import choose_precision
from page.jobs import PageSettings, typed
from page.results import Shown
from pipeline.generation import ClusteringSettings
from pipeline.run_record import given_parameters, given_predictions, groups_of
from rccs.clusters import RootCauseClusters
from rccs.dbscan.contrast import LOOKS
from support.text import printable

EXTRACTOR_MEANINGS = {
    "auto": "vgg16 if its weights (553 MB) are on disk or can be downloaded, otherwise vgg16-conv",
    "vgg16": "what an image shows and what disturbs it, the features of the next two joined",
    "vgg16-fc2": "the paper's 4,096 features alone, which say most about what an image shows",
    "vgg16-conv": "the mean of each channel of the convolutional layers, for machines without internet access",
}
REDUCER_MEANINGS = {
    "pca": "as in the paper",
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
)  # fmt: skip


class ClustersForm:
    """Lay out the form; `fields` are its widgets that are sent, `of` gives their values for clusters."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._lay_out()
        self.root = gr.State("")  # the folder that the form was filled in with

    def _lay_out(self) -> None:
        with gr.Column(elem_id="clusters-form") as self.pane:
            with gr.Row(elem_classes="safe-form"):
                self.folder = gr.Textbox(
                    label="Image folder", placeholder="/path/to/failing/images", scale=4, elem_id="images",
                    info="The failing images: a folder on this machine, or a .txt file that lists them",
                )  # fmt: skip
                self.example = gr.Button(
                    "Example", scale=0, min_width=110, visible=self._settings.example is not None,
                    elem_id="example-images",
                )  # fmt: skip
                self.generate = gr.Button(
                    "Generate RCCs", variant="primary", scale=1, min_width=170, elem_id="generate"
                )
            with gr.Accordion(
                "More options: what is known of the images, what does not matter, and the features", open=False,
                elem_id="more-options",
            ) as self.more:  # fmt: skip
                with gr.Row():
                    self.predictions, self.tested, self.parameters = (
                        gr.Textbox(label=label, info=info, placeholder=f"/path/to/{example}", elem_id=elem_id)
                        for label, elem_id, example, info in PATHS
                    )
                    self.group = gr.Dropdown(
                        [], multiselect=True, allow_custom_value=True, label="Groups", elem_id="group",
                        info="The parameter that says which images are of one person, track or drive",
                    )  # fmt: skip
                    self.partial = gr.Checkbox(
                        label="Accept a part", elem_id="partial",
                        info="Predictions without a row for more than a tenth of the images",
                    )  # fmt: skip
                    self.aside = gr.Dropdown(
                        [], multiselect=True, allow_custom_value=True, label="Set aside", elem_id="set-aside",
                        info="Parameters such as the person, removed before PCA; or looks: those of right images",
                    )  # fmt: skip
                with gr.Row():
                    self.extractor, self.reducer, self.precision = (
                        gr.Dropdown(
                            [(f"{name}: {meaning}", name) for name, meaning in meanings.items()],
                            value=next(iter(meanings)), label=label, info=info, elem_id=elem_id,
                        )
                        for elem_id, label, info, meanings in (
                            ("extractor", "Features", "What of VGG16 describes an image", EXTRACTOR_MEANINGS),
                            ("reducer", "Features reduced by", "To 256, before clustering", REDUCER_MEANINGS),
                            ("precision", "Precision", "Number format of the network", PRECISION_MEANINGS),
                        )
                    )  # fmt: skip
            self.fields = [
                self.folder, self.reducer, self.predictions, self.tested, self.parameters, self.aside, self.extractor,
                self.precision, self.partial, self.group,
            ]  # fmt: skip
            for field in self.fields:
                field.interactive = False  # until it is filled in: what was typed before would be overwritten

    def wanted(
        self, source: str, reducer: str, predictions: str, tested: str, parameters: str, aside: object, extractor: str,
        precision: str, partial: bool, group: object,
    ) -> tuple[str, ClusteringSettings]:  # fmt: skip
        """The images and the settings that the fields ask for; a SAFEError where a path is not accepted."""
        settings = self._settings
        names, groups = (
            tuple(name for name in sent if isinstance(name, str)) if isinstance(sent, list) else ()
            for sent in (aside, group)
        )
        images = settings.accept(source)
        paths = typed(predictions=predictions, tested=tested, parameters=parameters)
        wanted = ClusteringSettings(
            extractor=extractor, reducer=reducer, weights=settings.weights, precision=precision, set_aside=names,
            partial=bool(partial), group=groups, **{name: settings.accept(path) for name, path in paths.items()},
        )  # fmt: skip
        return images, wanted

    def home_of(self, results: Shown) -> str:
        """The folder of the images of clusters, or their list, as the form shows it."""
        return printable(os.fspath(results.clusters.home))

    def of(self, results: Shown, **more: Any) -> dict:
        """The form that clusters were generated with; `more` are further properties of its fields."""
        clusters, out = results.clusters, self._settings.out
        home, groups = self.home_of(results), groups_of(out)
        predictions, tested = (printable(text) for text in given_predictions(out))
        parameters = printable(given_parameters(out))
        extractor, precision = requested_extractor(clusters), requested_precision(clusters)
        unusual = {extractor, precision} != {"auto"} or clusters.reducer != "pca"
        opened = predictions or parameters or groups or clusters.without or unusual
        hidden = clusters.answers.columns if clusters.answers else {}
        known = [printable(name) for name in self._settings.results.parameters() if name not in hidden]
        values = {
            self.folder: home, self.reducer: clusters.reducer, self.predictions: predictions, self.tested: tested,
            self.parameters: parameters, self.extractor: extractor, self.precision: precision, self.partial: False,
        }  # fmt: skip
        return {
            **{field: gr.update(value=value, **more) for field, value in values.items()},
            self.root: home,
            self.aside: gr.Dropdown(
                choices=[*(["label", LOOKS] if clusters.answers else []), *known],
                value=[printable(name) for name in clusters.without], **more,
            ),
            self.group: gr.Dropdown(
                choices=[*known, PREFIX, FOLDER, ALIKE], value=[printable(name) for name in groups], **more
            ),
            # Never closed behind the engineer
            **({self.more: gr.update(open=True)} if opened else {}),
        }  # fmt: skip


def requested_extractor(clusters: RootCauseClusters) -> str:
    """The choice of an extractor that gives these clusters again; `auto` where that is what it chooses."""
    return "auto" if clusters.notice or clusters.extractor == "vgg16" else clusters.extractor


def requested_precision(clusters: RootCauseClusters) -> str:
    """The choice of a precision that gives these clusters again; `auto` where that is what it chooses here."""
    return "auto" if clusters.precision == choose_precision("auto") else clusters.precision
