"""docs/other-frameworks.md: its code writes tables that SAFE reads."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safe_dnn.dnn.detection.converter import failures_in_table
from safe_dnn.dnn.failures import collect_failures, find_failures, read_answers
from tests.helpers.small_models import NAMES, colour_model, draw_set

TEXT = (Path(__file__).parents[1] / "docs" / "other-frameworks.md").read_text(encoding="utf-8")
CODE = dict(re.findall(r"^```python\n# (\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
CLASSES = 'classes = ["closed", "open"]'


def test_there_is_code_for_frameworks_detectors_segmentation_and_features():
    units = {"multilabel", "segmentation"}
    assert CODE.keys() == {"torch", "timm", "onnx", "ultralytics", "torchvision", "dinov2"} | units
    for name, code in CODE.items():
        compile(code, name, "exec")


def test_the_code_for_onnx_writes_a_table_that_gives_the_failures_of_the_model(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from tests.helpers.onnx_models import onnx_of

    monkeypatch.chdir(tmp_path)
    test_set = draw_set(tmp_path / "test", 2, {"red": ("blue", 2)})
    model = onnx_of(colour_model(), tmp_path / "network.onnx", scaling=False)
    exec(CODE["onnx"].replace(CLASSES, f"classes = {list(NAMES)}"), {})
    by_table = collect_failures(tmp_path / "test.csv", test_set, tmp_path / "by_table")
    assert by_table.failing == find_failures(model, test_set, tmp_path / "by_model").failing
    assert len(by_table.failing) == 2
    assert by_table.known_classes == NAMES


def test_the_code_for_segmentation_writes_a_table_of_units(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, number in (("truth", 1), ("results", 2), ("test", 0)):
        (tmp_path / folder).mkdir()
        for name in ("0.png", "1.png"):
            mask = np.zeros((8, 8), np.uint8)
            mask[:4] = number if name == "0.png" else 1
            Image.fromarray(mask).save(tmp_path / folder / name)
    exec(CODE["segmentation"], {})
    found = failures_in_table(tmp_path / "units.csv", tmp_path / "test", tmp_path / "out")
    assert found.paths == ("0_0_person.png", "0_1_road.png", "1_0_person.png", "1_1_road.png")
    assert found.failing == ("0_0_person.png",)


def test_the_code_for_multi_label_networks_writes_a_table_of_units(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test").mkdir()
    for number, name in enumerate(("a.png", "b.png")):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "test" / name)
    (tmp_path / "truth.csv").write_text("image,car,person\na.png,1,0\nb.png,1,1\n")
    (tmp_path / "scores.csv").write_text("image,person,car\nb.png,0.2,0.9\na.png,0.7,0.5\n")
    exec(CODE["multilabel"], {})
    found = failures_in_table(tmp_path / "units.csv", tmp_path / "test", tmp_path / "out")
    assert found.paths == ("a_0_car.png", "a_1_person.png", "b_0_car.png", "b_1_person.png")
    assert found.failing == ("a_1_person.png", "b_1_person.png")
    assert found.answers.predicted.tolist() == ["yes", "yes", "yes", "no"]


def tables_shown() -> list[str]:
    return re.findall(r"^((?:    .+\n)+)", TEXT, re.MULTILINE)


def test_the_table_that_is_shown_is_read(tmp_path):
    """With names as the code for ONNX writes them, and as that for PyTorch does: beginning with the folder."""
    table = next(text for text in tables_shown() if "p(closed)" in text)
    test_set = draw_set(tmp_path / "test", 1)
    for old, new in (("red", "closed"), ("blue", "open")):
        (test_set / old).rename(test_set / new)
        (test_set / new / "plain_00.png").rename(test_set / new / "0001.png")
    (test_set / "green" / "plain_00.png").unlink()
    (test_set / "green").rmdir()
    lines = [line.strip() for line in table.splitlines()]
    for prefix in ("", "test/"):
        rows = [lines[0], *(prefix + line for line in lines[1:])]
        (tmp_path / "answers.csv").write_text("\n".join(rows) + "\n")
        found = read_answers(tmp_path / "answers.csv", test_set)
        assert found.paths == ("closed/0001.png", "open/0001.png")
        assert found.right.tolist() == [True, False]
        assert found.classes == ("closed", "open")
