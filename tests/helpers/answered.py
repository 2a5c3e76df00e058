"""A drawn test set in class folders with a DNN's answers to it, as `failures` writes them."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

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
