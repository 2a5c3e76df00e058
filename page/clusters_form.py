"""The form of the second tab: the failing images, what is known of them, and how they are described."""

import os
from typing import Any

import gradio as gr

from dbscan.contrast import LOOKS
from features.weights import choose_precision
from page.jobs import PageSettings
from page.results import Shown
from pipeline.run_record import given_predictions
from rccs.clusters import RootCauseClusters
from support.text import printable

EXTRACTOR_MEANINGS = {
    "auto": "vgg16 if its weights (553 MB) are on disk or can be downloaded, otherwise vgg16-conv",
    "vgg16": "what an image shows and what disturbs it, the features of the next two joined",
    "vgg16-fc2": "the paper's 4,096 features alone, which say most about what an image shows",
    "vgg16-conv": "the mean of each channel of the convolutional layers, for machines without internet access",
}
PRECISION_MEANINGS = {
    "auto": "bfloat16 if the processor multiplies it, otherwise float32",
    "bfloat16": "half of the time or less, on such a processor; RCCs hardly differ",
    "float32": "the same features on every processor, up to rounding",
}


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
                    label="Image folder",
                    info="The failing images: a folder on this machine, or a .txt file that lists them",
                    placeholder="/path/to/failing/images",
                    scale=4,
                    interactive=False,  # until it is filled in: what was typed before would be overwritten
                    elem_id="images",
                )
                self.reducer = gr.Radio(
                    label="Features reduced by",
                    info="UMAP: the authors' study of 2024",
                    choices=[("PCA", "pca"), ("PCA + UMAP", "umap")],
                    value="pca",
                    interactive=False,
                    scale=2,
                    min_width=230,
                    elem_id="reducer",
                )
                self.example = gr.Button(
                    "Example",
                    scale=0,
                    min_width=110,
                    visible=self._settings.example is not None,
                    elem_id="example-images",
                )  # fmt: skip
                self.generate = gr.Button(
                    "Generate RCCs", variant="primary", scale=1, min_width=170, elem_id="generate"
                )
            with gr.Accordion(
                "More options: the whole test set, what does not matter, and the features", open=False,
                elem_id="more-options",
            ) as self.more:  # fmt: skip
                with gr.Row():
                    self.predictions = gr.Textbox(
                        label="Predictions", placeholder="/path/to/predictions.csv", interactive=False,
                        info="CSV: image, label, predicted. By default predictions.csv beside the images",
                        elem_id="predictions",
                    )  # fmt: skip
                    self.tested = gr.Textbox(
                        label="Test images", info="The folder that the predictions are about, right and wrong images",
                        placeholder="/path/to/test", interactive=False, elem_id="tested",
                    )  # fmt: skip
                    self.aside = gr.Dropdown(
                        [], multiselect=True, allow_custom_value=True, label="Set aside", interactive=False,
                        info="Parameters such as the person, removed before PCA; or looks: those of right images",
                        elem_id="set-aside",
                    )  # fmt: skip
                self.extractor = gr.Radio(
                    [(f"{name}: {meaning}", name) for name, meaning in EXTRACTOR_MEANINGS.items()], value="auto",
                    label="Features", info="What of VGG16 describes an image", interactive=False, elem_id="extractor",
                )  # fmt: skip
                self.precision = gr.Radio(
                    [(f"{name}: {meaning}", name) for name, meaning in PRECISION_MEANINGS.items()], value="auto",
                    label="Precision", info="Number format of the network", interactive=False, elem_id="precision",
                )  # fmt: skip
            self.fields = [
                self.folder, self.reducer, self.predictions, self.tested, self.aside, self.extractor, self.precision,
            ]  # fmt: skip

    def of(self, results: Shown) -> dict:
        """The form that these clusters were generated with."""
        path = printable(os.fspath(results.clusters.home))
        predictions, tested = (printable(text) for text in given_predictions(self._settings.out))
        extractor = requested_extractor(results.clusters)
        precision = requested_precision(results.clusters)
        opened = predictions or results.clusters.without or {extractor, precision} != {"auto"}
        return {
            self.folder: path,
            self.root: path,
            self.reducer: results.clusters.reducer,
            self.predictions: predictions,
            self.tested: tested,
            self.aside: self.show_aside(results),
            self.extractor: extractor,
            self.precision: precision,
            # Never closed behind the engineer
            **({self.more: gr.update(open=True)} if opened else {}),
        }

    def show_aside(self, results: Shown, **more: Any) -> gr.Dropdown:
        """What can be set aside, and what is."""
        answers = results.clusters.answers
        hidden = answers.columns if answers else {}
        known = [printable(name) for name in self._settings.results.parameters() if name not in hidden]
        aside = [printable(name) for name in set_aside_of(results.clusters)]
        return gr.Dropdown(choices=[*(["label", LOOKS] if answers else []), *known], value=aside, **more)


def set_aside_of(clusters: RootCauseClusters) -> tuple[str, ...]:
    """The names of what was set aside before the clusters were found."""
    return clusters.without


def requested_extractor(clusters: RootCauseClusters) -> str:
    """The choice of an extractor that gives these clusters again; `auto` where that is what it chooses."""
    return "auto" if clusters.notice or clusters.extractor == "vgg16" else clusters.extractor


def requested_precision(clusters: RootCauseClusters) -> str:
    """The choice of a precision that gives these clusters again; `auto` where that is what it chooses here."""
    return "auto" if clusters.precision == choose_precision("auto") else clusters.precision
