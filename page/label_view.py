"""Step 5: the unsafe set is labelled in the browser, one image or one RCC at a time; each label is saved at once."""

import dataclasses
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from page.jobs import PageSettings
from page.pictures import data_uri
from page.visitors import visitor_of
from rccs.clusters import fingerprint
from rccs.notes import title
from rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, set_key
from support.errors import SAFEError
from support.output_folder import writing
from support.run_folder import UNSAFE_SET_FILE
from support.text import count, printable
from training.labels import label_images, save_labels

HERE = Path(__file__).parent
KEPT_STEPS = 1000  # how far a visitor can undo labelling
MOST_VISITORS = 100  # whose steps are kept; the one who has labelled nothing for longest is forgotten
MOST_TILES = 300
NOT_OURS = "Not kept: the page sent something else than a label. Reload it."


class _Step(NamedTuple):
    """What a visitor has labelled at once: the unsafe set, and the labels of its images before and after."""

    key: str
    before: Mapping[str, str]
    after: Mapping[str, str]


class LabelView:
    """Lay out the pane; the widget is `widget`, `show` gives what it shows."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._lock = threading.Lock()
        self._steps: OrderedDict[str, deque[_Step]] = OrderedDict()  # by visitor

        # Called by the script in label.js with one value, a list; what is sent is checked as anything from outside.
        def label_state(sent: list) -> dict:
            rcc, classes, visitor = _parts(sent, 3)
            return self._state(rcc, classes, visitor)

        def label_picture(sent: list) -> str:
            index, key = _parts(sent, 2)
            try:
                unsafe = self._set(key)
                image = unsafe.images[range(len(unsafe.images))[int(index)]]
            except (SAFEError, TypeError, ValueError, OverflowError, IndexError):
                return ""
            return data_uri(unsafe.improvement_root / image.image, 480, settings.root)

        def give_label(sent: list) -> dict:
            rcc, index, label, classes, key, visitor, seen = _parts(sent, 7)
            problem = ""
            try:
                with self._lock, writing(settings.out):
                    unsafe = self._set(key)
                    if index is None:
                        images = [image for image in unsafe.images if image.rcc == rcc]
                    else:
                        images = [unsafe.images[range(len(unsafe.images))[int(index)]]]
                    _check_seen(images, seen)
                    after = {image.image: str(label) for image in images}
                    save_labels(label_images(unsafe, after.keys(), str(label), _texts(classes)), settings.out)
                    before = {image.image: image.label for image in images}
                    self._steps_of(visitor).append(_Step(set_key(unsafe), before, after))
            except SAFEError as error:
                problem = f"Not kept: {error}"
            except (TypeError, ValueError, OverflowError, IndexError):
                problem = NOT_OURS
            return self._state(rcc, classes, visitor, problem)

        def undo_label(sent: list) -> dict:
            rcc, classes, key, visitor = _parts(sent, 4)
            undone, problem = None, ""  # undone: the first image that changed; the script goes back to it
            try:
                with self._lock, writing(settings.out):
                    unsafe = self._set(key)
                    steps = self._steps_of(visitor)
                    if steps and steps[-1].key == set_key(unsafe):
                        step = steps[-1]
                        changed = [
                            image for image in unsafe.images if step.after.get(image.image, image.label) != image.label
                        ]
                        if changed:
                            steps.pop()  # it can never be taken back; the one before may
                            raise SAFEError(_changed_since(changed))
                        images = [
                            image._replace(label=step.before.get(image.image, image.label)) for image in unsafe.images
                        ]
                        save_labels(dataclasses.replace(unsafe, images=tuple(images)), settings.out)
                        steps.pop()
                        undone = next(i for i, image in enumerate(unsafe.images) if image.image in step.before)
                        rcc = unsafe.images[undone].rcc
            except SAFEError as error:
                problem = f"Not undone: {error}"
            return {**self._state(rcc, classes, visitor, problem), "undone": undone}

        self.widget = gr.HTML(
            html_template=HERE.joinpath("label.html").read_text(encoding="utf-8"),
            js_on_load=HERE.joinpath("scripts", "label.js").read_text(encoding="utf-8"),
            server_functions=[label_state, label_picture, give_label, undo_label],
            version="",
            classes=[],
            elem_id="labelling",
        )

    def show(self, classes: list[str]) -> gr.HTML:
        """The set in the output folder, to be labelled with these classes."""
        try:
            stamp = (self._settings.out / UNSAFE_SET_FILE).stat().st_mtime_ns
            clusters = fingerprint(self._settings.results.shown().clusters)
        except (OSError, SAFEError):
            stamp, clusters = 0, ""
        return gr.HTML(version=f"{stamp} {clusters}", classes=classes)

    def _set(self, key: object) -> UnsafeSet:
        """The unsafe set that a window shows; a SAFEError where the folder holds another by now."""
        unsafe = load_unsafe_set(self._settings.out)
        if key != set_key(unsafe) or not self._settings.results.holds_unsafe_set():
            raise SAFEError("Another unsafe set was selected in the meantime.")
        return unsafe

    def _steps_of(self, visitor: object) -> deque[_Step]:
        steps = self._steps.setdefault(visitor_of(visitor), deque(maxlen=KEPT_STEPS))
        self._steps.move_to_end(visitor_of(visitor))
        while len(self._steps) > MOST_VISITORS:
            self._steps.popitem(last=False)
        return steps

    def _state(self, rcc: object, classes: object, visitor: object, problem: str = "") -> dict:
        """What the script shows of an RCC, and a sentence on what went wrong; without images where there is no set."""
        try:
            unsafe = load_unsafe_set(self._settings.out)
            if not self._settings.results.holds_unsafe_set():
                raise SAFEError("The unsafe set in the folder belongs to other root cause clusters.")
            shown = self._settings.results.shown()
        except SAFEError as error:
            return {"problem": problem or printable(str(error))}
        # After a merge the set is still to be labelled, but its RCCs are not those that have the names now.
        notes = shown.notes if unsafe.clusters == fingerprint(shown.clusters) else {}
        rccs = list(dict.fromkeys(image.rcc for image in unsafe.images))
        chosen = rcc if isinstance(rcc, int) and rcc in rccs else rccs[0]
        members = [(i, image) for i, image in enumerate(unsafe.images) if image.rcc == chosen]
        with self._lock:
            steps = self._steps.get(visitor_of(visitor))
            undo = steps is not None and bool(steps) and steps[-1].key == set_key(unsafe)
        return {
            "problem": printable(problem),
            "rcc": chosen,
            "set": set_key(unsafe),
            "classes": _texts(classes),
            "undo": undo,
            "rccs": [_count(unsafe, k, printable(title(k, notes))) for k in rccs],
            "images": [
                {
                    "index": i,
                    "name": printable(Path(image.image).name),
                    "label": printable(image.label),
                    "picture": data_uri(unsafe.improvement_root / image.image, 72, self._settings.root)
                    if place < MOST_TILES
                    else "",
                }
                for place, (i, image) in enumerate(members)
            ],
        }


def _check_seen(images: list[UnsafeImage], seen: object) -> None:
    """Make sure that images have the labels that a window shows, in the same order; where it does not say, they have.

    Raises
    ------
    SAFEError
        One was labelled elsewhere in the meantime.
    """
    if not isinstance(seen, list):
        return
    changed = [image for image, label in zip(images, seen, strict=True) if printable(image.label) != label]
    if changed:
        raise SAFEError(f"{_changed_since(changed)} Give your label again to replace it.")


def _changed_since(images: list[UnsafeImage]) -> str:
    """A sentence: which images were labelled elsewhere in the meantime."""
    first, *more = images
    others = (
        f", and so were {count(len(more), 'other image')}" if len(more) > 1 else ", and so was another" if more else ""
    )
    label = f"“{first.label}”" if first.label else "no label"
    return f"{printable(Path(first.image).name)} was changed meanwhile, to {printable(label)}{others}."


def _count(unsafe: UnsafeSet, rcc: int, name: str) -> dict:
    labels = [image.label for image in unsafe.images if image.rcc == rcc]
    return {"rcc": rcc, "title": name, "total": len(labels), "labelled": sum(map(bool, labels))}


def _parts(sent: object, n: int) -> list:
    """What a script has sent, as a list of n parts; those that are missing are None."""
    parts = list(sent) if isinstance(sent, list) else []
    return [*parts[:n], *[None] * (n - len(parts))]


def _texts(sent: object) -> list[str]:
    return [printable(text) for text in sent if isinstance(text, str)] if isinstance(sent, list) else []
