"""Drawn scenes with objects, their ground truth in COCO's format, and the results of a detector that fails by rule."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw

from safe_dnn.options import DetectorFiles

CLASSES = ("disc", "box", "cross")
SIDE = 160  # pixels of a scene, and four places for objects
DARK, SMALL = 0.25, 0.3  # shares of the objects


class DetectedCase(NamedTuple):
    """Files of a detector's test, and an output folder."""

    truth: Path
    results: Path
    images: Path
    out: Path

    @property
    def given(self) -> DetectorFiles:
        return DetectorFiles(self.truth, self.results, self.images)

    @property
    def arguments(self) -> list[Path | str]:
        return ["failures", "--coco", self.truth, self.results, self.images, "--out", self.out]


def draw_object(draw: ImageDraw.ImageDraw, name: str, box: tuple[int, int, int, int], colour: tuple[int, ...]) -> None:
    left, top, width, height = box
    ends = (left, top, left + width - 1, top + height - 1)
    if name == "disc":
        draw.ellipse(ends, fill=colour)
    elif name == "box":
        draw.rectangle(ends, fill=colour)
    else:
        draw.line(ends, fill=colour, width=max(3, width // 5))
        draw.line((left, top + height - 1, left + width - 1, top), fill=colour, width=max(3, width // 5))


def draw_detected(root: Path, n_images: int = 12, seed: int = 0) -> DetectedCase:
    """Scenes on which the detector misses what is dark and takes half of the small crosses for discs.

    In every fourth scene it sees a disc in a bright patch of the ground, and in every sixth an object twice.
    """
    rng = np.random.default_rng(seed)
    case = DetectedCase(root / "truth.json", root / "results.json", root / "images", root / "dnn")
    case.images.mkdir(parents=True)
    images, annotations, results = [], [], []
    for number in range(n_images):
        name = f"{number:04d}.png"
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        picture = Image.new("RGB", (SIDE, SIDE), (110, 120, 130))
        draw = ImageDraw.Draw(picture)
        places = [(x, y) for x in (8, 88) for y in (8, 88)]
        for place, (x, y) in enumerate(places):
            if place == number % 4:
                if number % 4 == 0:
                    draw.rectangle((x + 10, y + 10, x + 50, y + 50), fill=(255, 255, 210))
                    results.append(_result(number, 1, [x + 10, y + 10, 41, 41], 0.7))
                continue
            category = int(rng.integers(len(CLASSES)))
            side = int(rng.integers(14, 22) if rng.random() < SMALL else rng.integers(36, 60))
            dark = rng.random() < DARK
            grey = int(rng.integers(40, 70) if dark else rng.integers(180, 230))
            box = (x + int(rng.integers(6)), y + int(rng.integers(6)), side, side)
            draw_object(draw, CLASSES[category], box, (grey, grey // 2, grey // 2))
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": category + 1, "bbox": list(box)}
            )
            if dark:
                continue
            seen = 0 if category == 2 and side < 22 and rng.random() < 0.5 else category
            results.append(_result(number, seen + 1, [box[0] + 1, box[1], side, side], float(rng.uniform(0.6, 1))))
            if number % 6 == 0 and place == 3:
                results.append(_result(number, seen + 1, [box[0], box[1] + 1, side, side], 0.55))
        noise = rng.normal(0, 3, (SIDE, SIDE, 3))
        Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8)).save(case.images / name)
    categories = [{"id": row, "name": name} for row, name in enumerate(CLASSES, start=1)]
    write_json(case.truth, {"images": images, "annotations": annotations, "categories": categories})
    write_json(case.results, results)
    return case


def _result(image: int, category: int, box: list[int], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": round(score, 3)}


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def counted_by_the_library(truth: Path, results: Path, iou: float) -> tuple[int, int, int]:
    """Found, missed and false, as COCO's evaluation counts them in the same files, with its own settings."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO(str(truth))
        evaluation = COCOeval(objects, objects.loadRes(str(results)), "bbox")
        evaluation.evaluate()
    settings = evaluation.params
    at = settings.iouThrs.tolist().index(pytest.approx(iou))
    found = missed = false = 0
    for each in evaluation.evalImgs:
        if each and each["aRng"] == settings.areaRng[0]:
            counts = ~np.asarray(each["gtIgnore"], bool)
            found += int((each["gtMatches"][at][counts] > 0).sum())
            missed += int((each["gtMatches"][at][counts] == 0).sum())
            false += int(((each["dtMatches"][at] == 0) & ~each["dtIgnore"][at]).sum())
    return found, missed, false
