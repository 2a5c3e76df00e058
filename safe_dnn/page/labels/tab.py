"""Fourth tab, step 5: the images of the unsafe set get their labels, by hand, from a table or from class folders."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import gradio as gr

from safe_dnn.dnn.predictions import class_folders
from safe_dnn.page.events import LATEST, VIEW
from safe_dnn.page.forms import FormView, remember, remembered, take_labels
from safe_dnn.page.labels.view import LabelView
from safe_dnn.page.messages import done, empty, failed, pane, put_away, reveal
from safe_dnn.page.pictures import data_uri
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import FAILURES_TAB, LABELS_TAB, RETRAINING_TAB
from safe_dnn.page.work_tab import widgets_in
from safe_dnn.rccs.clusters import fingerprint
from safe_dnn.store.output_folder import writing
from safe_dnn.support.errors import SAFEError, is_within
from safe_dnn.support.images import SUFFIXES
from safe_dnn.support.text import printable
from safe_dnn.training.labels import label_unsafe_set, save_labels

EMPTY = empty(
    "No images to label yet.",
    [
        ("Select the unsafe set", "In the tab before: the improvement images that are most worth labelling."),
        ("Give the classes", "They are the folders of the training folder, or what the failures were collected with."),
        ("Label", "By key or click, an image or a whole RCC at a time. Each label is saved at once."),
    ],
)
# No earlier answer comes after a later one.
ONE_BY_ONE: dict[str, Any] = {"concurrency_id": "labels", "concurrency_limit": 1}
EACH = 2  # images of a class that are shown
SIDE = 44  # pixels of each
MOST_CLASSES = 120  # that get pictures at once; each picture is decoded and sent
NO_CLASSES = "Give the training folder: its folders are the classes."


class LabelsTab:
    """Lay out the tab; `wire` connects its widgets."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self.form = FormView(settings, LABELS_TAB, self._last_form)
        with gr.Row(elem_classes="safe-form"):
            self.form.lay_out("train", "labels", scale=3, min_width=220)
            self.form.lay_out_example("classes")
            self.take = gr.Button("Take labels", scale=1, min_width=150, elem_id="take-labels")
        self.status = gr.HTML(EMPTY, elem_id="label-status")
        with pane("label-pane") as self.pane:
            self.view = LabelView(settings, self._examples)
        self.marks = gr.State(None)  # of the folder, as the window shows it

    def show(self, train: str | None) -> dict:
        """What the widgets show of the unsafe set, after taking labels from its table and from class folders."""
        settings = self._settings
        if not settings.results.latest.is_selected:
            # Without a version, so that the same set is read again where an earlier run brings it back.
            return {self.pane: put_away(), self.status: EMPTY, self.view.widget: gr.HTML(version="")}
        error = take_labels(settings.out)
        problem = error and failed(f"{error} Correct the table, or delete it: SAFE writes it again.")
        try:
            with writing(settings.out):
                unsafe = settings.results.latest.unsafe
                classes = self._classes(train, unsafe.improvement_root)
                labelled = label_unsafe_set(unsafe, classes)
                if labelled != unsafe:
                    save_labels(labelled, settings.out)
        except SAFEError as error:
            return {self.status: failed(error)}
        if (train or "").strip():
            remember(settings.out, LABELS_TAB, {"train": train})
        return {
            self.pane: reveal(),
            self.status: problem or self._summary(unsafe.clusters, classes),
            self.view.widget: self.view.show(list(classes), printable(train or "")),
        }

    def _summary(self, clusters: str, classes: tuple[str, ...]) -> str:
        """What should be known of the set before it is labelled; empty if nothing. It is counted where it changes."""
        latest = self._settings.results.latest
        changed = latest.there and fingerprint(latest.clusters) != clusters
        since = "The RCCs were changed after the unsafe set was selected; its labels are kept." if changed else ""
        if not classes:
            return done(NO_CLASSES, since)
        return f"<p class='safe-notice'>{since}</p>" if since else ""

    def _classes(self, train: str | None, improvement: Path) -> tuple[str, ...]:
        """The class folders in the training folder or, if that is not given, what else is known of the classes.

        These are the classes of the failures that the RCCs are of, or the class folders in the improvement folder.

        Raises
        ------
        SAFEError
            The training folder cannot be read, or a class has a name that no label can have.
        """
        if folder := (train or "").strip():
            try:
                return tuple(class_folders(Path(self._settings.accept(folder))))
            except OSError as error:
                wanted = "the training folder, with a folder for each class"
                raise SAFEError(f"Expected {wanted}. Received: {folder}") from error
        with contextlib.suppress(SAFEError):
            failures = self._settings.results.state().clustered
            if failures and failures.known_classes:
                return tuple(name for name in failures.known_classes if name and name == printable(name).strip())
        with contextlib.suppress(OSError):
            return tuple(class_folders(improvement))
        return ()

    def _examples(self, train: object, classes: list[str]) -> dict[str, list[str]]:
        """Pictures of classes, for the script of the labelling."""
        folders = []
        with contextlib.suppress(SAFEError):
            if isinstance(train, str) and train.strip():
                folders.append(Path(self._settings.accept(train)))
        with contextlib.suppress(SAFEError):
            folders.append(self._settings.results.latest.failures.root)
        return class_examples(folders, classes, self._settings)

    def _last_form(self) -> dict[str, Any]:
        """The folder that the classes were last from; before that, the one that the model was trained on."""
        for tab in (LABELS_TAB, RETRAINING_TAB, FAILURES_TAB):
            if train := remembered(self._settings.out, tab).get("train"):
                return {"train": train}
        return {}

    def _first_look(self) -> dict:
        marks = self._settings.results.latest.marks
        return {**self.form.first_look(marks.run), self.marks: marks}

    def on_train_folder(self, train: str | None, before: dict) -> dict:
        """Show the set with the classes of a folder. One that serves is as good as sent: it belongs to the run."""
        updates = self.show(train)
        serves = self.view.widget in updates and self._settings.results.latest.is_selected
        sent = {self.form.filled: {**before, "train": train or ""}} if serves else {}
        return {**updates, **sent}

    def on_take(self, table: str | None, train: str | None) -> dict:
        """Take labels from a table."""
        out = self._settings.out
        try:
            with writing(out):
                unsafe = self._settings.results.latest.unsafe
                classes = self._classes(train, unsafe.improvement_root)
                save_labels(label_unsafe_set(unsafe, classes, labels=self._settings.accept(table)), out)
        except SAFEError as error:
            return {self.status: failed(error)}
        return self.show(train)

    def on_tab(self, marks: tuple | None, before: dict, *values: Any) -> dict:
        """Show what has changed in the folder: other clusters, edits, another set."""
        now = self._settings.results.latest.marks
        updates, fields = self.form.follow(now.run, before, self.form.named(values))
        if now != marks:
            updates = {**updates, self.marks: now, **self.show(fields["train"])}
        return updates or gr.skip()

    def show_after(self, filled_in: gr.events.Dependency) -> None:
        """Show the images to label after an event that may have filled in the training folder."""
        filled_in.then(*self._view, **VIEW, **ONE_BY_ONE)

    def wire(self, loaded: gr.events.Dependency, tab: gr.Tab) -> None:
        """Connect the widgets; `loaded` is the event that a window that was just opened shows the RCCs."""
        form, outputs = self.form, widgets_in(tab)
        train, labels = form["train"], form["labels"]
        self._view = self.on_train_folder, [train, form.filled], outputs
        self.show_after(form.wire_example())
        gr.on([train.blur, train.submit], *self._view, **LATEST, **ONE_BY_ONE)
        gr.on([self.take.click, labels.submit], self.on_take, [labels, train], outputs, **VIEW)
        filled = loaded.then(self._first_look, None, outputs, **VIEW)
        self.show_after(filled)  # the tab may have been in sight before the field was filled in
        tab.select(self.on_tab, [self.marks, form.filled, *form.widgets], outputs, **LATEST, **ONE_BY_ONE)


# --- What the images of a class look like ---------------------------------------------------------------------------


def class_examples(folders: Iterable[Path], classes: Sequence[str], settings: PageSettings) -> dict[str, list[str]]:
    """Pictures of each class, as data URIs, from the first of some folders that has images of it.

    Parameters
    ----------
    folders : iterable of Path
        With a folder for each class: those of training and test images.
    classes : sequence of str

    Returns
    -------
    dict of str to list of str
        No entry for a class without images.
    """
    places = [folder for folder in folders if is_within(folder, settings.root)]
    files = {name: next(filter(None, (_first_images(one, name) for one in places)), []) for name in classes}
    return {name: [data_uri(file, SIDE) for file in some] for name, some in [*files.items()][:MOST_CLASSES] if some}


def _first_images(folder: Path, name: str) -> list[Path]:
    """The first images by name that lie in a class folder itself; empty if there is no such folder."""
    if Path(name).name != name:
        return []
    with contextlib.suppress(OSError, ValueError):
        names = sorted(entry for entry in os.listdir(folder / name) if Path(entry).suffix.lower() in SUFFIXES)  # noqa: PTH208, names
        return [folder / name / entry for entry in islice((one for one in names if one[:1] != "."), EACH)]
    return []
