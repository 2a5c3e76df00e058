"""Builds the detector's case study: the sets with their ground truth, the detector, its results and its failures.

| file | content |
|---|---|
| `train/`, `improvement/`, `test/` | images, each with the parameters of its scenes in `parameters.csv` |
| `train.json`, `improvement.json`, `truth.json` | the ground truth of each set in COCO's format |
| `model.keras` | the detector |
| `improvement_results.json`, `results.json` | what it finds in the last two sets, from a low score on |
| `objects/`, `failures/`, `predictions.csv`, … | as `failures --coco truth.json results.json test` writes them |
| `causes.json`, `accuracy.json` | as of the other cases |
"""

import csv
import importlib.metadata
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab.casestudies.signs.detector import Found, detect, train_detector
from lab.casestudies.signs.parameters import Part, Scene
from safe_dnn.casestudies.camera import SIDE
from safe_dnn.casestudies.case import Case
from safe_dnn.casestudies.causes import CAUSES_FILE, describe_causes
from safe_dnn.casestudies.sets import MODEL_FILE, Rows, lay_out_all, render_images, write_json
from safe_dnn.casestudies.table import write_subjects
from safe_dnn.dnn.detection.converter import find_detection_failures
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.options import DetectorFiles
from safe_dnn.rccs.parameters import PARAMETERS_FILE
from safe_dnn.support.files import replacing
from safe_dnn.support.run_folder import ACCURACY_FILE, OBJECTS
from safe_dnn.support.tables import IMAGE, from_cell

TRUTH_FILES = {"train": "train.json", "improvement": "improvement.json", "test": "truth.json"}
RESULTS_FILES = {"improvement": "improvement_results.json", "test": "results.json"}


def build_detector(case: Case, folder: Path, *, seed: int, scale: float) -> dict[str, Any]:
    """Build the case in an empty folder; return the content of `accuracy.json`."""
    started = time.monotonic()
    sets = lay_out_all(case, seed=seed, scale=scale)
    images = {}
    for part, rows in sets.items():
        images[part] = np.stack(list(render_images(case, folder, rows)))
        names = [(path.removeprefix(f"{part}/"), "", scene) for path, _, scene in rows]
        write_subjects(folder / part / PARAMETERS_FILE, names, case.kind)
        write_json(folder / TRUTH_FILES[part], truth_of(names, case.classes))

    objects = [objects_of(scene, case.classes) for _, _, scene in sets["train"]]
    model = train_detector(images["train"], objects, len(case.classes), epochs=case.epochs, seed=seed)
    with replacing(folder / MODEL_FILE) as temporary:
        model.save(temporary)
    for part, file in RESULTS_FILES.items():
        write_json(folder / file, results_of(detect(model, images[part])))
    files = DetectorFiles(folder / TRUTH_FILES["test"], folder / RESULTS_FILES["test"], folder / "test")
    failures = find_detection_failures(files, folder)
    parts = read_parts(folder / OBJECTS / PARAMETERS_FILE)
    failing = {*failures.failing}
    write_json(folder / CAUSES_FILE, causes_of(case, parts, failing))
    accuracy = _accuracy(case, failures, sets, seed=seed, seconds=time.monotonic() - started)
    write_json(folder / ACCURACY_FILE, accuracy)
    return accuracy


def _accuracy(
    case: Case, failures: AnsweredImages, sets: Mapping[str, Rows], *, seed: int, seconds: float
) -> dict[str, Any]:
    packages = ("keras", "tensorflow", "numpy", "pillow")
    return {
        "case": case.name,
        "seed": seed,
        "test_accuracy": failures.accuracy,
        "test_size": len(failures.paths),
        "failures": len(failures.failing),
        "task": failures.task,
        "assumptions": list(failures.notes),
        "test_root": OBJECTS,
        "sizes": {part: len(rows) for part, rows in sets.items()},
        "classes": list(case.classes),
        "seconds": round(seconds, 1),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def causes_of(case: Case, parts: Mapping[str, Part], failing: set[str]) -> list[dict[str, Any]]:
    """The content of `causes.json`.

    Parameters
    ----------
    parts : mapping of str to Part
        All objects and false detections, by the names of their crops.
    failing : set of str
        Names of the crops that are wrong.
    """
    rows = [(f"test/{name}", "", part) for name, part in parts.items()]
    return describe_causes(case, rows, {i for i, name in enumerate(parts) if name in failing})


def read_parts(path: Path) -> dict[str, Part]:
    """What the `parameters.csv` of crops says of each, by name."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            from_cell(row[IMAGE]): Part(
                float(row["object_px"]),
                float(row["object_aspect"]),
                row["truncated"],
                int(row["near_by"]),
                float(row["light"]),
                row["surroundings"],
            )
            for row in csv.DictReader(file)
        }


# --- COCO's format ----------------------------------------------------------------------------------------------


def objects_of(scene: Scene, classes: Sequence[str]) -> Found:
    """The signs in a scene."""
    boxes = np.array([sign.box for sign in scene.signs], np.float64).reshape(-1, 4)
    return Found(np.array([classes.index(sign.name) for sign in scene.signs], int), boxes, np.ones(len(boxes)))


def truth_of(scenes: Rows, classes: Sequence[str]) -> dict[str, Any]:
    """The ground truth: images, signs and classes are numbered from 1, since pycocotools never finds an object 0."""
    annotations: list[dict[str, Any]] = []
    for image, (_, _, scene) in enumerate(scenes, start=1):
        found = objects_of(scene, classes)
        for category, box in zip(found.category.tolist(), found.box.round(2).tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category + 1,
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {"id": image, "file_name": name, "width": SIDE, "height": SIDE}
            for image, (name, _, _) in enumerate(scenes, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, start=1)],
        "annotations": annotations,
    }


def results_of(detections: Iterator[Found]) -> list[dict[str, Any]]:
    """What was found in each image, in the order of the ground truth."""
    return [
        {"image_id": image, "category_id": category + 1, "bbox": box, "score": score}
        for image, found in enumerate(detections, start=1)
        for category, box, score in zip(
            found.category.tolist(), found.box.round(2).tolist(), found.score.round(4).tolist(), strict=True
        )
    ]
