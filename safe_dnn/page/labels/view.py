"""Step 5: labels for the unsafe set in the browser, for one image or one RCC at a time; each label is saved at once."""

import contextlib
import dataclasses
import itertools
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import gradio as gr

from safe_dnn.page.assets import scripted
from safe_dnn.page.pictures import data_uri
from safe_dnn.page.results import Results
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.visitors import visitor_of
from safe_dnn.rccs.clusters import fingerprint
from safe_dnn.rccs.review.notes import title
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, set_key
from safe_dnn.store.output_folder import writing
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable
from safe_dnn.training.labels import label_images, save_labels

KEPT_STEPS = 1000  # how far labelling can be undone
MOST_TILES = 300
NOT_OURS = "Not kept: the page sent something other than a label. Reload it."


class _Step(NamedTuple):
    """What was labelled in one step: the unsafe set, and the labels of the images before and after."""

    number: int
    key: str
    before: Mapping[str, str]
    after: Mapping[str, str]


class LabelView:
    """Lay out the pane; the widget is `widget`, `show` gives what it shows.

    Parameters
    ----------
    settings : PageSettings
    examples : callable
        Gives pictures of classes, by class, as data URIs: the training folder, as a browser has sent it, and the names.
    """

    def __init__(self, settings: PageSettings, examples: Callable[[object, list[str]], dict[str, list[str]]]):
        self._settings = settings
        self._lock = threading.Lock()
        self._steps: WeakKeyDictionary[Results, deque[_Step]] = WeakKeyDictionary()  # by analysis
        self._numbers = itertools.count(1)
        serves = {
            "label_state": _with_parts(self._state, 2), "label_picture": _with_parts(self._picture, 2),
            "give_label": _with_parts(self._give, 7), "undo_label": _with_parts(self._undo, 4),
            "class_pictures": _with_parts(lambda train, names: examples(train, _texts(names)), 2),
        }  # fmt: skip
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
        stamp, clusters = self._settings.results.labels_stamp, ""
        with contextlib.suppress(SAFEError):
            clusters = fingerprint(self._settings.results.state().clusters)
        return gr.HTML(version=f"{stamp} {clusters}", classes=classes, train=train)

    def _picture(self, index: Any, key: object) -> str:
        """An image of the set as a data URI; empty if there is no such image."""
        try:
            unsafe = self._set(key)
            image = _image_at(unsafe, index)
        except (SAFEError, TypeError, ValueError, OverflowError, IndexError):
            return ""
        return data_uri(unsafe.improvement_root / image.image, 480)

    def _give(
        self, rcc: object, index: Any, label: object, classes: object, key: object, visitor: object, labels_sent: object
    ) -> dict:
        """Give an image a label or, without an index, all images of the RCC."""
        problem = ""
        try:
            with self._lock, writing(self._settings.out):
                unsafe = self._set(key)
                if index is None:
                    images = [image for image in unsafe.images if image.rcc == rcc]
                else:
                    images = [_image_at(unsafe, index)]
                _check_labels(images, labels_sent)
                after = {image.image: str(label) for image in images}
                labelled = label_images(unsafe, after.keys(), str(label), _texts(classes))
                save_labels(labelled, self._settings.out, by=visitor_of(visitor))
                before = {image.image: image.label for image in images}
                self._steps_here().append(_Step(next(self._numbers), set_key(unsafe), before, after))
        except SAFEError as error:
            problem = f"Not kept: {error}"
        except (TypeError, ValueError, OverflowError, IndexError):
            problem = NOT_OURS
        return self._state(rcc, classes, problem)

    def _undo(self, rcc: object, classes: object, key: object, last: object) -> dict:
        """Undo the last step, if the window knows it; `undone` is the first image that changed, which the script shows.

        `others` is the number of the others.
        """
        undone, others, problem = None, 0, ""
        try:
            with self._lock, writing(self._settings.out):
                unsafe = self._set(key)
                steps = self._steps_here()
                if steps and steps[-1].key == set_key(unsafe):
                    step = steps[-1]
                    if step.number != last:
                        raise SAFEError("Images were labelled elsewhere. Undo again to take that back.")
                    changed = [one for one in unsafe.images if step.after.get(one.image, one.label) != one.label]
                    if changed:
                        steps.pop()  # it can never be undone; the one before may
                        raise SAFEError(_changed_since(changed))
                    back = (one._replace(label=step.before.get(one.image, one.label)) for one in unsafe.images)
                    unsafe = dataclasses.replace(unsafe, images=tuple(back))
                    save_labels(unsafe, self._settings.out)
                    steps.pop()
                    others = len(step.before) - 1
                    undone = next(i for i, image in enumerate(unsafe.images) if image.image in step.before)
                    rcc = unsafe.images[undone].rcc
        except SAFEError as error:
            problem = f"Not undone: {error}"
        return {**self._state(rcc, classes, problem), "undone": undone, "others": others}

    def _set(self, key: object) -> UnsafeSet:
        """The unsafe set that a window shows; a SAFEError if the folder holds another one by now."""
        unsafe = load_unsafe_set(self._settings.out)
        if key != set_key(unsafe) or not self._settings.results.holds_unsafe_set():
            raise SAFEError("Another unsafe set was selected in the meantime.")
        return unsafe

    def _steps_here(self) -> deque[_Step]:
        return self._steps.setdefault(self._settings.results, deque(maxlen=KEPT_STEPS))

    def _state(self, rcc: object, classes: object, problem: str = "") -> dict:
        """What the script shows of an RCC, and a sentence on what went wrong; without images if there is no set."""
        try:
            unsafe = load_unsafe_set(self._settings.out)
            if not self._settings.results.holds_unsafe_set():
                raise SAFEError("The unsafe set in the folder belongs to other root cause clusters.")
            current = self._settings.results.state()
        except SAFEError as error:
            return {"problem": problem or printable(str(error))}
        # After a merge the set can still be labelled, but the names now belong to other RCCs.
        notes = current.notes if unsafe.clusters == fingerprint(current.clusters) else {}
        rccs = list(dict.fromkeys(image.rcc for image in unsafe.images))
        root = unsafe.improvement_root
        chosen = rcc if isinstance(rcc, int) and rcc in rccs else rccs[0]
        members = [(i, image) for i, image in enumerate(unsafe.images) if image.rcc == chosen]
        with self._lock:
            steps = self._steps_here()
            undo = steps[-1].number if steps and steps[-1].key == set_key(unsafe) else 0
        return {
            "problem": printable(problem), "rcc": chosen, "set": set_key(unsafe), "classes": _texts(classes),
            "undo": undo, "rccs": [_count(unsafe, k, printable(title(k, notes))) for k in rccs],
            "images": [
                {"index": i, "name": printable(Path(one.image).name), "label": printable(one.label),
                 "filed": one.image.startswith(f"{one.label}/"),
                 "picture": data_uri(root / one.image, 72) if place < MOST_TILES else ""}
                for place, (i, one) in enumerate(members)
            ],
        }  # fmt: skip


def _image_at(unsafe: UnsafeSet, index: Any) -> UnsafeImage:
    """The image at an index that a script has sent; negative ones count from the end.

    Raises
    ------
    TypeError, ValueError, OverflowError, IndexError
        It is not the index of an image.
    """
    return unsafe.images[range(len(unsafe.images))[int(index)]]


def _check_labels(images: list[UnsafeImage], labels_sent: object) -> None:
    """Check that images still have the labels that a window shows, in the same order; not if it sends none.

    Raises
    ------
    SAFEError
        An image was labelled in another window in the meantime.
    """
    if not isinstance(labels_sent, list):
        return
    changed = [image for image, label in zip(images, labels_sent, strict=True) if printable(image.label) != label]
    if changed:
        raise SAFEError(f"{_changed_since(changed)} Give your label again to replace it.")


def _changed_since(images: list[UnsafeImage]) -> str:
    """A sentence that says which images were labelled in another window in the meantime."""
    first, *more = images
    others = f", and so were {count(len(more), 'other image')}" if len(more) > 1 else ""
    others = others or (", and so was another" if more else "")
    label = f"“{first.label}”" if first.label else "no label"
    return f"{printable(Path(first.image).name)} was changed elsewhere, to {printable(label)}{others}."


def _count(unsafe: UnsafeSet, rcc: int, name: str) -> dict:
    labels = [image.label for image in unsafe.images if image.rcc == rcc]
    return {"rcc": rcc, "title": name, "total": len(labels), "labelled": sum(map(bool, labels))}


def _with_parts(answer: Callable[..., Any], n: int) -> Callable[[object], Any]:
    """A function that the script calls with a list of n parts; those that are missing are None."""

    def function(sent: object) -> Any:
        parts = list(sent) if isinstance(sent, list) else []
        return answer(*parts[:n], *[None] * (n - len(parts)))

    return function


def _texts(sent: object) -> list[str]:
    return [printable(text) for text in sent if isinstance(text, str)] if isinstance(sent, list) else []
