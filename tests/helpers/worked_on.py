"""An analysis in which all was done that can be done, and what is known of it."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, save_clusters
from safe_dnn.rccs.image_map import load_map, plane_points, save_map
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import all_edits, load_review, load_spot_notes, merge_rccs, move_images, set_note
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from safe_dnn.reasons.comparison import Reasons, load_reasons, save_reasons
from safe_dnn.report.exports import show_present
from safe_dnn.training.labels import save_labels
from safe_dnn.training.result import retraining_of, save_retraining
from tests.helpers.small_models import FakeModel, retraining_for
from tests.helpers.spots import weak_spot

DARK = weak_spot((Literal("light", "<", 0.2),), 20, 8, 0.2, 0.6, 0.1)


def compute(clusters: RootCauseClusters, folder: Path) -> None:
    """RCCs with a map and a weak spot."""
    run = save_clusters(clusters, folder)
    save_reasons(Reasons((DARK,), (np.arange(8),), None, 0.3), clusters, folder, run)
    save_map(folder, clusters, plane_points(clusters))


def review(folder: Path) -> None:
    """Names, judgements and edits."""
    set_note(folder, Note(0, "night", "hazard H3", "unsafe"))
    set_note(folder, Note((DARK.conditions, ""), "dark", "", "unclear"), run=load_review(folder).run)
    merge_rccs(folder, 2, 1)
    move_images(folder, ["sea_00.png"], 1)


def select(folder: Path, improvement: Path, *labels: str) -> None:
    """An unsafe set of new images, with these labels."""
    improvement.mkdir(exist_ok=True)
    names = [f"{number}.png" for number in range(len(labels))]
    for name in names:
        (improvement / name).write_bytes(f"image {name} of {improvement.name}".encode())
    reviewed = load_review(folder)
    images = tuple(UnsafeImage(name, 0, 0.5, True) for name in names)
    unsafe = UnsafeSet(
        improvement, images, len(images), "", len(images), (3, 3, 3), (), fingerprint(reviewed.clusters),
        run=fingerprint(reviewed.original),
    )  # fmt: skip
    unsafe = save_unsafe_set(unsafe, folder)
    labelled = [image._replace(label=label) for image, label in zip(unsafe.images, labels, strict=True)]
    save_labels(dataclasses.replace(unsafe, images=tuple(labelled)), folder)


def retrain(folder: Path, weights: bytes) -> None:
    run = fingerprint(load_review(folder).original)
    save_retraining(retraining_for(run), FakeModel(weights), folder)


def work_on(clusters: RootCauseClusters, folder: Path, improvement: Path) -> None:
    """All of it."""
    compute(clusters, folder)
    review(folder)
    select(folder, improvement, "red", "", "blue")
    retrain(folder, b"weights")
    show_present(folder)


def known_of(folder: Path) -> dict[str, Any]:
    """All that is known of the present clusters, and where their images are as seen from the analysis."""
    reviewed = load_review(folder)
    unsafe = load_unsafe_set(folder)
    reasons = load_reasons(folder, reviewed.original)
    return {
        "images": os.path.relpath(reviewed.clusters.image_root, folder), "run": reviewed.run,
        "labels": reviewed.clusters.labels.tolist(), "notes": reviewed.notes, "edits": all_edits(folder, reviewed),
        "notes on weak spots": load_spot_notes(folder), "weak spots": reasons.spots,
        "map": load_map(folder, reviewed.original).tolist(),
        "improvement": os.path.relpath(unsafe.improvement_root, folder), "unsafe set": unsafe.images,
        "model": retraining_of(folder, reviewed).accuracy_after,
    }  # fmt: skip
