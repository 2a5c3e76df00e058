"""A drawn test set in class folders with a DNN's answers to it, as `failures` writes them."""

import functools
import io
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from safe_dnn.dnn.tested import AnsweredImages
from tests.helpers.scenes import draw_scene

SCENES = (("night", 12, 0), ("snow", 8, 8), ("wood", 6, 40))
"""Scene, images that the DNN gets wrong, and images that it gets right."""


class AnsweredCase(NamedTuple):
    """A test set, its failing images beside a table of predictions, and an output folder."""

    test: Path
    failing: Path
    table: Path
    out: Path


def draw_case(root: Path) -> AnsweredCase:
    """The DNN takes all nights and half of the snows for woods, and few of the woods for snows."""
    test, failing = root / "test", root / "dnn" / "failures"
    rows = ["image,label,predicted,confidence,right"]
    rng = np.random.default_rng(0)
    for scene, wrong, right in SCENES:
        taken = "snow" if scene == "wood" else "wood"
        (test / scene).mkdir(parents=True)
        (failing / scene).mkdir(parents=True)
        for i in range(wrong + right):
            name = f"{scene}/{scene}_{i:02d}.png"
            draw_scene(scene, rng).save(test / name)
            if i < wrong:
                shutil.copyfile(test / name, failing / name)
            rows.append(f"{name},{scene},{taken if i < wrong else scene},0.9,{str(i >= wrong).lower()}")
    table = failing.parent / "predictions.csv"
    table.write_text("\n".join(rows) + "\n")
    (failing.parent / "accuracy.json").write_text(f'{{"test_root": "{test}"}}')
    return AnsweredCase(test, failing, table, root / "out")


def facts_of(failures: AnsweredImages) -> tuple:
    """What is the same of failures when they are read again."""
    answers = failures.answers
    names = ("paths", "notes", "held_out", "skipped", "known_classes", "group", "options")
    columns = (answers.label, answers.predicted, failures.right)
    return (*map(failures.__getattribute__, (*names, "source", "root")), *(column.tolist() for column in columns))


def copy_case(root: Path, to: Path) -> AnsweredCase:
    """A case that was drawn in `root`, with all that was done with it since."""
    shutil.copytree(root, to, dirs_exist_ok=True)
    test, failing = to / "test", to / "dnn" / "failures"
    (failing.parent / "accuracy.json").write_text(f'{{"test_root": "{test}"}}')
    return AnsweredCase(test, failing, failing.parent / "predictions.csv", to / "out")


def redraw(case: AnsweredCase) -> None:
    """Make the test images other ones of the same scenes: with light and shadow over them."""
    rng = np.random.default_rng(1)
    for file in sorted(case.test.rglob("*.png")):
        shadows = Image.fromarray(rng.normal(0, 8, (4, 4)).astype(np.float32)).resize(
            (64, 64), Image.Resampling.BICUBIC
        )
        pixels = np.asarray(Image.open(file)) + np.asarray(shadows)[..., None]
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)


def record_light(table: Path, folder: str = "") -> Path:
    """A table of all test images: nights are dark."""
    rows = ["image,light"]
    for scene, wrong, right in SCENES:
        light = 0.1 if scene == "night" else 0.8
        rows += [f"{folder}{scene}/{scene}_{i:02d}.png,{light + i / 1000}" for i in range(wrong + right)]
    table.write_text("\n".join(rows))
    return table


# --- Persons ---------------------------------------------------------------------------------------------------

FRAMES = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40))  # one to a person


class People(NamedTuple):
    """A test set of four persons, each of whom has a broad frame of a colour; the DNN fails on all dark images."""

    test: Path
    failing: Path
    table: Path
    parameters: Path
    improvement: Path
    out: Path


def draw_person(person: int, dark: bool, rng: np.random.Generator) -> Image.Image:
    # Of the size that the network sees, and in its squares: nothing of the frame is mixed into what is inside.
    pixels = np.full((224, 224, 3), FRAMES[person], float)
    pixels[48:176, 48:176] = (170, 60, 60) if dark else (60, 170, 170)
    noise = np.kron(rng.normal(0, 8, (14, 14, 3)), np.ones((16, 16, 1)))
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


@functools.cache
def _faces() -> dict[str, bytes]:
    """PNG files by name, drawn once: 40 test images of each person, the first half of them dark, and 4 others."""
    rng = np.random.default_rng(0)
    files = {}
    for person in range(4):
        dark = {f"face/p{person}_{i:02d}.png": i < 20 for i in range(40)} | {
            f"q{person}_{i}.png": i < 2 for i in range(4)
        }
        for name, is_dark in dark.items():
            stream = io.BytesIO()
            draw_person(person, is_dark, rng).save(stream, "PNG")
            files[name] = stream.getvalue()
    return files


def draw_people(root: Path) -> People:
    """Every person fails equally often: on 10 images that are dark, and on 10 that are not."""
    test, failing, improvement = root / "test", root / "dnn" / "failures", root / "improvement"
    for folder in (test / "face", failing / "face", improvement):
        folder.mkdir(parents=True)
    rows, known, later = ["image,label,predicted"], ["image,person,serial,site"], ["image,person"]
    for person in range(4):
        for i in range(40):
            name, wrong = f"face/p{person}_{i:02d}.png", i % 2 == 0
            for folder in (test, failing) if wrong else (test,):
                (folder / name).write_bytes(_faces()[name])
            rows.append(f"{name},face,{'other' if wrong else 'face'}")
            known.append(f"{name},p{person},n{len(known)},here")
        for i in range(4):
            name = f"q{person}_{i}.png"
            (improvement / name).write_bytes(_faces()[name])
            later += [f"{name},p{person}"] if i else []
    table, parameters = failing.parent / "predictions.csv", root / "parameters.csv"
    table.write_text("\n".join(rows) + "\n")
    parameters.write_text("\n".join(known) + "\n")
    (improvement / "parameters.csv").write_text("\n".join(later) + "\n")
    (failing.parent / "accuracy.json").write_text(f'{{"test_root": "{test}"}}')
    return People(test, failing, table, parameters, improvement, root / "out")
