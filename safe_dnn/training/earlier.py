"""Earlier rounds of an analysis: which retraining a network is from, and the images that it has learned.

In: the output folder. Out: images that need not be selected and labelled again, and are learned again, so that what an
earlier round has taught is not lost in the next.
"""

import filecmp
import os
from pathlib import Path

from safe_dnn.rccs.clusters import load_clusters
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set
from safe_dnn.store.places import absolute
from safe_dnn.store.runs import CLUSTERS, RETRAINING, SELECTION, Run, present_runs, runs_of
from safe_dnn.support.entries import StrPath
from safe_dnn.support.files import read_record
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES
from safe_dnn.training.result import MODEL_FILE, kept_model


def kept_copy(model: StrPath, folder: Path) -> StrPath:
    """A model, or if it is `retrained.keras` of an analysis, its kept copy: that file goes when clusters change."""
    run, shown = present_runs(folder).get(RETRAINING), folder / MODEL_FILE
    kept = kept_model(folder, run) if run else None
    same = kept and Path(model).exists() and shown.exists() and shown.samefile(model) and filecmp.cmp(kept, shown)
    return kept if kept and same else model


def failing_model(image_root: Path) -> Path | None:
    """The model whose failures lie in a folder, or the table of its answers; None if SAFE did not collect them."""
    place = image_root.parent
    record = read_record(place / ACCURACY_FILE) if image_root.name == FAILURES else {}
    return Path(absolute(str(record["model"]), place)) if record.get("model") else None


def retraining_behind(folder: Path, clusters: Run) -> Run | None:
    """The retraining in an analysis whose network fails on the images of clusters; None if it is another network."""
    model = failing_model(load_clusters(folder, clusters).image_root)
    before = [run for run in runs_of(folder, RETRAINING) if run.number < clusters.number]
    led = (run for run in reversed(before) if model and model in (kept_model(folder, run), folder / MODEL_FILE))
    return next(led, None)


def learned_files(folder: Path) -> dict[Path, UnsafeImage]:
    """The images that the network whose failures were clustered has learned in earlier rounds, by file."""
    learned: dict[Path, UnsafeImage] = {}
    run = present_runs(folder).get(CLUSTERS)
    while run and (led := retraining_behind(folder, run)):
        of_round = (one for kind in (SELECTION, CLUSTERS) for one in runs_of(folder, kind))
        before = {one.kind: one for one in of_round if one.clusters == led.clusters and one.number < led.number}
        run = before.get(CLUSTERS)
        if SELECTION in before:
            unsafe = load_unsafe_set(folder, before[SELECTION])
            without = not any(image.label for image in unsafe.images)  # a regression has its labels in a table
            images = zip(unsafe.files, unsafe.images, strict=True)
            learned |= {file: image for file, image in images if image.label or without}
    return learned


def learned_again(unsafe: UnsafeSet, folder: Path) -> tuple[UnsafeImage, ...]:
    """What `learned_files` finds that is still there and not in an unsafe set, as images of that set.

    They are of one more group beside those of the RCCs (see `training.material.weighed`).
    """
    root, now = unsafe.improvement_root, set(unsafe.files)
    again = {file: image for file, image in learned_files(folder).items() if file not in now and file.is_file()}
    names = [os.fspath(file.relative_to(root) if file.is_relative_to(root) else file) for file in again]
    images = zip(names, again.values(), strict=True)
    return tuple(image._replace(image=name, rcc=len(unsafe.candidates)) for name, image in images)
