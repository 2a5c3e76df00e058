"""Fourth tab, step 5: the images of the unsafe set get their labels, by hand, from a table or from class folders.

By hand, one image or one RCC is labelled at a time; each label is saved at once.
"""

import contextlib
import dataclasses
import itertools
import os
import string
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import gradio as gr

from safe_dnn.analysis import LABELS
from safe_dnn.dnn.predictions import class_folders
from safe_dnn.page.assets import LATEST, VIEW, scripted, visitor_of
from safe_dnn.page.forms import FormView, remember, remembered, take_labels
from safe_dnn.page.messages import done, empty, failed, pane, put_away, reveal
from safe_dnn.page.pictures import data_uri
from safe_dnn.page.settings import PageSettings, Results
from safe_dnn.page.steps import FAILURES_TAB, LABELS_TAB, RETRAINING_TAB
from safe_dnn.page.work_tab import widgets_in
from safe_dnn.rccs.clusters import fingerprint
from safe_dnn.rccs.review.journal import title
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, set_key
from safe_dnn.report.markup import filled
from safe_dnn.store.output_folder import writing
from safe_dnn.store.runs import SELECTION
from safe_dnn.support.errors import SAFEError, is_within
from safe_dnn.support.images import SUFFIXES
from safe_dnn.support.text import count, printable
from safe_dnn.training.labels import label_images, label_unsafe_set, save_labels

# --- One image or RCC at a time -----------------------------------------------------------------------------------

KEPT_STEPS = 1000  # how far labelling can be undone
LETTERS = string.ascii_lowercase[:-1].replace("u", "")  # z undoes, and u judges, as on the other tabs
KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0", *LETTERS, *LETTERS.upper()]  # the last with Shift
NOT_OURS = "Not kept: the page sent something other than a label. Reload it."
PASSED_OVER = "Some images of this RCC were passed over, and have no label yet."
BEHIND = -1  # instead of an image, where there is nothing more to label


class _Step(NamedTuple):
    """What was labelled in one step: the unsafe set, and the labels of the images before and after."""

    number: int
    key: str
    before: Mapping[str, str]
    after: Mapping[str, str]


class _Next(NamedTuple):
    """What is at hand after something was done, and what is said of it.

    Attributes
    ----------
    rcc : object
        The first one, if the set has no such RCC.
    image : object
        Its index; the first one, if the RCC has no such image, and none if it is `BEHIND`.
    news : str
    replacing : str or None
        The label of which it is asked whether it is to replace others.
    is_saved : bool
        Whether a label was given.
    """

    rcc: object
    image: object
    news: str = ""
    replacing: str | None = None
    is_saved: bool = False


class LabelView:
    """Lay out the pane; the widget is `widget`, `show` gives what it shows.

    Parameters
    ----------
    settings : PageSettings
    examples : callable
        Gives pictures of classes, by class, as data URIs: the training folder, as a browser has sent it, and the names.
    """

    def __init__(self, settings: PageSettings, examples: Callable[[object, list[str]], dict[str, list[str]]]):
        self._settings, self._lock = settings, threading.Lock()
        self._steps: WeakKeyDictionary[Results, deque[_Step]] = WeakKeyDictionary()  # by analysis
        self._numbers = itertools.count(1)

        def class_pictures(sent: object) -> dict[str, list[str]]:
            train, names = sent if isinstance(sent, list) and len(sent) == 2 else (None, None)
            return examples(train, _texts(names))

        serves = {"label": self._label, "class_pictures": class_pictures}
        self.widget = scripted(
            "labels/label", None, serves=serves, version="", classes=[], train="", elem_id="labelling"
        )

    def show(self, classes: list[str], train: str) -> gr.HTML:
        """What the widget shows: the unsafe set in the output folder, to be labelled with these classes.

        Parameters
        ----------
        classes : list of str
        train : str
            The training folder as it was typed; empty if none was given.
        """
        stamp, clusters = self._settings.results.latest.stamp_of(SELECTION, LABELS), ""
        with contextlib.suppress(SAFEError):
            clusters = fingerprint(self._settings.results.state().clusters)
        return gr.HTML(version=f"{stamp} {clusters}", classes=classes, train=train)

    def _label(self, sent: Any) -> dict[str, Any]:
        """Do what a script asks for, and give what it shows then; scripts may send anything.

        Parameters
        ----------
        sent : dict
            `what`, which is `give` a `label`, `undo` or anything else; `view`, as the last answer gave it; `index`, the
            image at hand; `asked`, a label that replaces others; `only`, whether images with a label are out of sight;
            `all`, whether all images of the RCC are labelled; `classes`; and `by`, the window.
        """
        sent = sent if isinstance(sent, dict) else {}
        view = sent["view"] if isinstance(sent.get("view"), dict) else {}
        at, what = _Next(view.get("rcc"), sent.get("index")), sent.get("what")
        try:
            if what in ("give", "undo"):
                with self._lock, writing(self._settings.out):
                    at = self._undo(view) if what == "undo" else self._give(sent, view, str(sent["label"]))
        except SAFEError as error:
            at = at._replace(news=f"Not {'undone' if what == 'undo' else 'kept'}: {error}")
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            at = at._replace(news=NOT_OURS)
        return self._drawn(at, _texts(sent.get("classes")), only=bool(sent.get("only")))

    def _give(self, sent: Mapping[str, Any], view: Mapping[str, Any], label: str) -> _Next:
        """Give the image at hand a label, or all images of its RCC."""
        unsafe = self._settings.results.unsafe_set(view["set"])
        rcc, index, whole = view["rcc"], sent["index"], bool(sent["all"])
        members = {i: image for i, image in enumerate(unsafe.images) if image.rcc == rcc}
        at_hand = members if whole and members else {index: members[index]}
        _check_labels(at_hand, view)
        images = list(at_hand.values())
        question = _question(images, label, whole=whole) if sent["asked"] != label else ""
        if question:
            return _Next(rcc, index, question, replacing=label)
        after = {image.image: label for image in images}
        labelled = label_images(unsafe, after.keys(), label, _texts(sent["classes"]))
        save_labels(labelled, self._settings.out, by=visitor_of(sent["by"]))
        before = {image.image: image.label for image in images}
        self._steps_here().append(_Step(next(self._numbers), set_key(unsafe), before, after))
        goes_on = whole or not images[0].label
        return self._next(labelled, rcc, BEHIND if whole else index, only=bool(sent["only"]), goes_on=goes_on)

    def _next(self, unsafe: UnsafeSet, rcc: Any, index: int, *, only: bool, goes_on: bool) -> _Next:
        """What follows a label: the next image or, after the last one, the next RCC that lacks labels.

        Parameters
        ----------
        only : bool
            Whether images with a label are out of sight.
        goes_on : bool
            Whether an RCC of which all images have a label is left; not where one label of a finished RCC was changed.
        """
        is_open = [not image.label for image in unsafe.images]
        rows: dict[Any, list[int]] = {}
        for i, image in enumerate(unsafe.images):
            rows.setdefault(image.rcc, []).append(i)
        later = [i for i in rows[rcc] if i > index and (is_open[i] or not only)]
        passed_over = [i for i in rows[rcc] if is_open[i]]
        if later and (passed_over or not goes_on):
            return _Next(rcc, later[0], is_saved=True)
        if passed_over:
            return _Next(rcc, passed_over[0], PASSED_OVER, is_saved=True)
        order = list(rows)
        place = order.index(rcc)
        following = (i for other in order[place + 1 :] + order[:place] for i in rows[other] if is_open[i])
        if (first := next(following, None)) is not None:
            names, other = self._names(unsafe), unsafe.images[first].rcc
            return _Next(
                other, first, f"{title(rcc, names)} is labelled. This is {title(other, names)}.", is_saved=True
            )
        return _Next(rcc, BEHIND, "Every image of the unsafe set has a label.", is_saved=True)

    def _undo(self, view: Mapping[str, Any]) -> _Next:
        """Undo the last step, if the window knows it; the first image that changed is at hand then."""
        unsafe, steps = self._settings.results.unsafe_set(view["set"]), self._steps_here()
        if not steps or steps[-1].key != set_key(unsafe):
            return _Next(view["rcc"], None)
        step = steps[-1]
        if step.number != view["undo"]:
            raise SAFEError("Images were labelled elsewhere. Undo again to take that back.")
        changed = [one for one in unsafe.images if step.after.get(one.image, one.label) != one.label]
        if changed:
            steps.pop()  # it can never be undone; the one before may
            raise SAFEError(_changed_since(changed))
        back = tuple(one._replace(label=step.before.get(one.image, one.label)) for one in unsafe.images)
        save_labels(dataclasses.replace(unsafe, images=back), self._settings.out)
        steps.pop()
        index, image = next((i, image) for i, image in enumerate(back) if image.image in step.before)
        name, label = Path(image.image).name, f"its label “{image.label}”" if image.label else "no label"
        news, others = f"Undone: {name} has {label} again.", len(step.before) - 1
        return _Next(image.rcc, index, f"Undone: the labels of {name} and {others} more." if others else news)

    def _steps_here(self) -> deque[_Step]:
        return self._steps.setdefault(self._settings.results, deque(maxlen=KEPT_STEPS))

    def _names(self, unsafe: UnsafeSet) -> Mapping[int, Any]:
        """The notes on the RCCs; none after a merge: the set can still be labelled, but they are now on other RCCs."""
        current = self._settings.results.state()
        return current.notes if unsafe.clusters == fingerprint(current.clusters) else {}

    def _drawn(self, at: _Next, classes: list[str], *, only: bool) -> dict[str, Any]:
        """What the script shows: `parts`, as HTML, and `view`, what it gives back; neither if there is no set."""
        status = {"news": printable(at.news), "asked": at.replacing, "kept": at.is_saved}
        try:
            unsafe = self._settings.results.latest.unsafe
            notes = self._names(unsafe)
        except SAFEError as error:
            return {**status, "news": status["news"] or printable(str(error))}
        images, rccs = unsafe.images, list(dict.fromkeys(image.rcc for image in unsafe.images))
        rcc = at.rcc if isinstance(at.rcc, int) and at.rcc in rccs else rccs[0]
        members = {i: image for i, image in enumerate(images) if image.rcc == rcc}
        tiles = [(i, image, Path(image.image).name) for i, image in members.items() if not (only and image.label)]
        in_sight = [i for i, *_ in tiles]
        index = at.image if at.image in [*in_sight, BEHIND] else next(iter(in_sight), BEHIND)
        with self._lock:
            steps = self._steps_here()
            undo = steps[-1].number if steps and steps[-1].key == set_key(unsafe) else 0
        total, labelled = (Counter(one.rcc for one in images if one.label or every) for every in (True, False))
        counts = [(k, title(k, notes), labelled[k], total[k]) for k in rccs]
        state = {"rccs": counts, "at_hand": rcc, "images": images, "undo": undo}
        keyed = list(itertools.zip_longest(classes, KEYS[: len(classes)], fillvalue=""))
        return {
            **status, "view": {"rcc": rcc, "set": set_key(unsafe), "undo": undo, "labels": _labels(members)},
            "parts": {
                "state": filled("page/labels/state.html", done=labelled.total(), **state),
                "classes": filled("page/labels/classes.html", classes=keyed),
                "tiles": filled("page/labels/tiles.html", tiles=tiles, set=set_key(unsafe), at=index),
            },
        }  # fmt: skip


def _labels(images: Mapping[int, UnsafeImage]) -> dict[str, str]:
    """The labels that a window shows, by the image's index as text."""
    return {str(i): printable(image.label) for i, image in images.items()}


def _check_labels(images: Mapping[int, UnsafeImage], view: Mapping[str, Any]) -> None:
    """Check that images still have the labels that a window shows.

    Raises
    ------
    SAFEError
        An image was labelled in another window in the meantime.
    """
    changed = [images[int(i)] for i, label in _labels(images).items() if view["labels"].get(i) != label]
    if changed:
        raise SAFEError(f"{_changed_since(changed)} Give your label again to replace it.")


def _question(images: list[UnsafeImage], label: str, *, whole: bool) -> str:
    """What is asked before labels are replaced, of several images, or one that is the image's folder; or empty."""
    relabelled = [image for image in images if image.label and image.label != label]
    if not relabelled:
        return ""
    if whole:
        have, them = ("has another label", "it") if len(relabelled) == 1 else ("have other labels", "them")
        return f"{len(relabelled)} of this RCC {have}. Give “{label}” again to replace {them}."
    [image] = relabelled
    if not image.image.startswith(f"{image.label}/"):
        return ""
    return f"{Path(image.image).name} lies in the folder {image.label}. Give “{label}” again to replace this label."


def _changed_since(images: list[UnsafeImage]) -> str:
    """A sentence that says which images were labelled in another window in the meantime."""
    first, *more = images
    others = f", and so were {count(len(more), 'other image')}" if len(more) > 1 else ""
    others = others or (", and so was another" if more else "")
    label = f"“{first.label}”" if first.label else "no label"
    return f"{printable(Path(first.image).name)} was changed elsewhere, to {printable(label)}{others}."


def _texts(sent: object) -> list[str]:
    return [printable(text) for text in sent if isinstance(text, str)] if isinstance(sent, list) else []


# --- The tab ------------------------------------------------------------------------------------------------------

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
