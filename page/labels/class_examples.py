"""What the images of a class look like: an image or two for each class button of the labelling."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from page.jobs import PageSettings
from page.pictures import data_uri
from rccs.unsafe_set import load_unsafe_set
from support.entries import is_within
from support.errors import SAFEError
from support.images import SUFFIXES

EACH = 2  # images of a class
SIDE = 44  # pixels
MOST_CLASSES = 120  # that get pictures at once; each picture is decoded and sent


def class_examples(folders: Iterable[Path], classes: Sequence[str], settings: PageSettings) -> dict[str, list[str]]:
    """Pictures of each class, as data URIs, from the first of some folders that has images of it.

    Parameters
    ----------
    folders : iterable of Path
        With a folder for each class: those of training and test images.
    classes : sequence of str
        A class of which no folder has images gets those of the unsafe set that are labelled as it, if there are any.

    Returns
    -------
    dict of str to list of str
        No entry for a class without images.
    """
    places = [folder for folder in folders if is_within(folder, settings.root)]
    labelled = _labelled(settings.out)
    found = {}
    for name in classes[:MOST_CLASSES]:
        files = next(filter(None, (_first_images(folder, name) for folder in places)), labelled.get(name, []))
        if files:
            found[name] = [data_uri(file, SIDE, settings.root) for file in files[:EACH]]
    return found


def _first_images(folder: Path, name: str) -> list[Path]:
    """The first images by name that lie in a class folder itself; empty if there is no such folder."""
    if Path(name).name != name:
        return []
    with contextlib.suppress(OSError, ValueError):
        names = sorted(entry for entry in os.listdir(folder / name) if Path(entry).suffix.lower() in SUFFIXES)  # noqa: PTH208, names
        return [folder / name / entry for entry in islice((one for one in names if one[:1] != "."), EACH)]
    return []


def _labelled(out: Path) -> dict[str, list[Path]]:
    """The images of the unsafe set by the label that they have."""
    by_label: dict[str, list[Path]] = {}
    with contextlib.suppress(SAFEError):
        unsafe = load_unsafe_set(out)
        for image in unsafe.images:
            if image.label:
                by_label.setdefault(image.label, []).append(unsafe.improvement_root / image.image)
    return by_label
