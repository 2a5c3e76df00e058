"""Step 5: the unsafe set is labelled in the browser, one image or one RCC at a time; each label is saved at once."""

import dataclasses
import threading
from collections import deque
from pathlib import Path

import gradio as gr

from page.jobs import PageSettings
from page.pictures import data_uri
from rccs.notes import title
from rccs.unsafe_set import UnsafeSet, load_unsafe_set, save_labels, set_key
from support.errors import SAFEError
from support.run_folder import UNSAFE_SET_FILE
from support.text import printable
from training.labels import label_images

HERE = Path(__file__).parent
KEPT_STEPS = 1000  # how far labelling can be undone
MOST_TILES = 300


class LabelView:
    """Lay out the pane; the widget is `widget`, `show` gives what it shows."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._lock = threading.Lock()
        self._undo: deque[tuple[str, dict[str, str]]] = deque(maxlen=KEPT_STEPS)  # of which set, the labels before

        # Called by the script in label.js with one value, a list; what is sent is checked as anything from outside.
        def label_state(sent: list) -> dict | None:
            rcc, classes = _parts(sent, 2)
            with self._lock:
                return self._state(rcc, classes)

        def label_picture(sent: list) -> str:
            index, key = _parts(sent, 2)
            try:
                unsafe = self._set(key)
                image = unsafe.images[range(len(unsafe.images))[int(index)]]
            except (SAFEError, TypeError, ValueError, OverflowError, IndexError):
                return ""
            return data_uri(unsafe.improvement_root / image.image, 480, settings.root)

        def give_label(sent: list) -> dict | None:
            rcc, index, label, classes, key = _parts(sent, 5)
            with self._lock:
                try:
                    unsafe = self._set(key)
                    if index is None:
                        images = [image.image for image in unsafe.images if image.rcc == rcc]
                    else:
                        images = [unsafe.images[range(len(unsafe.images))[int(index)]].image]
                    labelled = label_images(unsafe, images, str(label), _texts(classes))
                    save_labels(labelled, settings.out)
                except (SAFEError, TypeError, ValueError, OverflowError, IndexError):
                    return self._state(rcc, classes)
                given = set(images)
                before = {image.image: image.label for image in unsafe.images if image.image in given}
                self._undo.append((unsafe.clusters, before))
                return self._state(rcc, classes)

        def undo_label(sent: list) -> dict | None:
            rcc, classes, key = _parts(sent, 3)
            undone = None  # the first image that changed: the script goes back to it, in another RCC as well
            with self._lock:
                try:
                    unsafe = self._set(key)
                    if self._undo and self._undo[-1][0] == unsafe.clusters:
                        _, before = self._undo.pop()
                        images = [image._replace(label=before.get(image.image, image.label)) for image in unsafe.images]
                        save_labels(dataclasses.replace(unsafe, images=tuple(images)), settings.out)
                        undone = next((i for i, image in enumerate(unsafe.images) if image.image in before), None)
                        rcc = rcc if undone is None else unsafe.images[undone].rcc
                except SAFEError:
                    pass  # the set is gone: the state says so
                state = self._state(rcc, classes)
                return state and {**state, "undone": undone}

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
        except OSError:
            stamp = 0
        return gr.HTML(version=str(stamp), classes=classes)

    def _set(self, key: object) -> UnsafeSet:
        """The unsafe set that a window shows; a SAFEError where the folder holds another by now."""
        unsafe = load_unsafe_set(self._settings.out)
        if key != set_key(unsafe):
            raise SAFEError("Another unsafe set was selected in the meantime.")
        return unsafe

    def _state(self, rcc: object, classes: object) -> dict | None:
        """What the script shows of an RCC; None where there is no unsafe set."""
        try:
            unsafe = load_unsafe_set(self._settings.out)
            notes = self._settings.results.shown().notes
        except SAFEError:
            return None
        rccs = list(dict.fromkeys(image.rcc for image in unsafe.images))
        chosen = rcc if isinstance(rcc, int) and rcc in rccs else rccs[0]
        members = [(i, image) for i, image in enumerate(unsafe.images) if image.rcc == chosen]
        return {
            "rcc": chosen,
            "set": set_key(unsafe),
            "classes": _texts(classes),
            "undo": bool(self._undo) and self._undo[-1][0] == unsafe.clusters,
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


def _count(unsafe: UnsafeSet, rcc: int, name: str) -> dict:
    labels = [image.label for image in unsafe.images if image.rcc == rcc]
    return {"rcc": rcc, "title": name, "total": len(labels), "labelled": sum(map(bool, labels))}


def _parts(sent: object, n: int) -> list:
    """What a script has sent, as a list of n parts; those that are missing are None."""
    parts = list(sent) if isinstance(sent, list) else []
    return [*parts[:n], *[None] * (n - len(parts))]


def _texts(sent: object) -> list[str]:
    return [printable(text) for text in sent if isinstance(text, str)] if isinstance(sent, list) else []
