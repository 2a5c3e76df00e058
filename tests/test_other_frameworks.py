"""docs/other-frameworks.md: its code writes tables that SAFE reads."""

import contextlib
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dnn.detector_failures import find_detection_failures
from dnn.failures import collect_failures, find_failures
from dnn.given_answers import read_answers
from tests.helpers.detected import draw_detected
from tests.helpers.small_models import NAMES, colour_model, draw_set

TEXT = (Path(__file__).parents[1] / "docs" / "other-frameworks.md").read_text(encoding="utf-8")
CODE = dict(re.findall(r"^```python\n# (\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
CLASSES = 'classes = ["closed", "open"]'


def test_there_is_code_for_three_frameworks_and_two_kinds_of_detectors():
    assert CODE.keys() == {"torch", "timm", "onnx", "ultralytics", "torchvision"}
    for name, code in CODE.items():
        compile(code, name, "exec")


@pytest.mark.parametrize("framework", ["torch", "timm", "onnx"])
def test_the_code_of_classifiers_writes_the_same_columns(framework):
    assert CLASSES in CODE[framework]
    assert 'writer.writerow(["image", *(f"p({name})" for name in classes)])' in CODE[framework]


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
    assert by_table.classes == NAMES


class FakeNetwork:
    """A detector of torchvision that finds each object of the ground truth, in the form of torchvision's outputs."""

    def __init__(self, truth: dict):
        self._boxes = {
            image["file_name"]: [each for each in truth["annotations"] if each["image_id"] == image["id"]]
            for image in truth["images"]
        }

    def eval(self):
        pass

    def __call__(self, images: list[str]) -> list[dict[str, np.ndarray]]:
        ((name,), found) = images, {"boxes": [], "labels": [], "scores": []}
        for each in self._boxes[Path(name).name]:
            left, top, width, height = each["bbox"]
            found["boxes"].append([left, top, left + width, top + height])
            found["labels"].append(each["category_id"])
            found["scores"].append(0.9)
        return [{key: np.array(values) for key, values in found.items()}]


def test_the_code_for_torchvision_writes_results_in_which_each_object_is_found(tmp_path, monkeypatch):
    case = draw_detected(tmp_path, 4)
    network = FakeNetwork(json.loads(case.truth.read_text()))
    case.results.unlink()
    stand_ins = {
        "torch": {"load": lambda path, weights_only: network, "inference_mode": contextlib.nullcontext},
        "torchvision.io": {"read_image": lambda path, mode: path, "ImageReadMode": SimpleNamespace(RGB="RGB")},
        "torchvision.transforms.functional": {"convert_image_dtype": lambda pixels: pixels},
    }
    for name, content in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**content))
    monkeypatch.chdir(tmp_path)
    exec(CODE["torchvision"], {})
    failures = find_detection_failures(case.truth, case.results, case.images, case.out)
    assert failures.failing == ()
    assert failures.test_size == len(json.loads(case.truth.read_text())["annotations"])


def tables_shown() -> list[str]:
    return re.findall(r"^((?:    .+\n)+)", TEXT, re.MULTILINE)


def test_the_table_that_is_shown_is_read(tmp_path):
    """With names as the code for timm writes them, and as that for PyTorch does: beginning with the folder."""
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
        assert found.images.paths == ("closed/0001.png", "open/0001.png")
        assert found.judgement.right.tolist() == [True, False]
        assert found.classes == ("closed", "open")
