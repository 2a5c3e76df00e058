"""ONNX models: what their graphs say, what is refused, and the same failures as with Keras."""

import json
import sys
from pathlib import Path

import pytest

from safe_dnn.dnn.failures import find_failures
from safe_dnn.dnn.model import load_dnn
from safe_dnn.options import ImageSets
from safe_dnn.retrain import retrain
from safe_dnn.support.errors import SAFEError
from tests.helpers.small_models import NAMES, SIDE, colour_model, draw_set, saved

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402, only where it is installed

from tests.helpers.hostile_models import bomb, calls_itself  # noqa: E402
from tests.helpers.onnx_models import onnx_of, save  # noqa: E402

TINTED = {"red": ("blue", 2), "green": ("red", 1)}


@pytest.fixture(scope="module")
def keras_model():
    return colour_model()


@pytest.fixture(scope="module")
def test_set(tmp_path_factory) -> Path:
    return draw_set(tmp_path_factory.mktemp("sets") / "test", 3, TINTED)


# --- The same as Keras ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels_first", [True, False])
def test_keras_and_onnx_give_the_same_failures(keras_model, test_set, tmp_path, channels_first):
    model = saved(keras_model, tmp_path / "model.keras")
    exported = onnx_of(keras_model, tmp_path / "model.onnx", channels_first=channels_first)
    by_keras = find_failures(model, test_set, tmp_path / "keras")
    by_onnx = find_failures(exported, test_set, tmp_path / "onnx")
    assert len(by_keras.failing) == 3
    assert by_onnx.failing == by_keras.failing
    assert by_onnx.answers.predicted.tolist() == by_keras.answers.predicted.tolist()
    assert by_onnx.answers.score == pytest.approx(by_keras.answers.score, abs=2e-4)
    assert by_onnx.known_classes == by_keras.known_classes
    assert json.loads((tmp_path / "onnx" / "accuracy.json").read_text())["model"] == f"../{exported.name}"


# --- What the graph says ----------------------------------------------------------------------------------------


def test_the_scaling_is_that_of_the_graph_or_one_that_is_given(keras_model, tmp_path):
    size = helper.make_node("Shape", ["numbers"], ["size"])
    own = load_dnn(onnx_of(keras_model, tmp_path / "own.onnx", extra=[size]))
    assert own.scaling == "none"
    assert "in its node rescale" in own.assumptions[1]
    file = onnx_of(keras_model, tmp_path / "bare.onnx", scaling=False)
    assert load_dnn(file).scaling == "1/255"
    assert "models of torchvision and timm expect imagenet" in load_dnn(file).assumptions[1]
    assert load_dnn(file, rescale="signed").scaling == "signed"


# --- What is refused --------------------------------------------------------------------------------------------


def refused(file: Path, words: str) -> None:
    with pytest.raises(SAFEError, match=words) as caught:
        load_dnn(file)
    assert "\n" not in str(caught.value)


def test_weights_in_other_files_are_refused_wherever_they_are(keras_model, tmp_path):
    onnx_of(keras_model, tmp_path / "whole.onnx")
    model = onnx.load(tmp_path / "whole.onnx")
    onnx.save(model, tmp_path / "split.onnx", save_as_external_data=True, size_threshold=0, location="weights.bin")
    assert (tmp_path / "weights.bin").is_file()
    refused(
        tmp_path / "split.onnx", r"in one file\. Received: .*whose weights are in other files \(kernel, .*onnx\.save"
    )
    secret = TensorProto(name="secret", data_type=TensorProto.UINT8, dims=[9], data_location=TensorProto.EXTERNAL)
    secret.external_data.add(key="location", value="../../etc/passwd")
    extra = [helper.make_node("Constant", [], ["secret"], value=secret)]
    refused(onnx_of(keras_model, tmp_path / "constant.onnx", extra=extra), r"other files \(secret\)")


def test_custom_operators_are_refused_also_inside_of_other_nodes(keras_model, tmp_path):
    custom = helper.make_node("Shell", ["flat"], ["x"], domain="com.example")
    words = r"ONNX's own operators\. Received: .*com\.example"
    refused(onnx_of(keras_model, tmp_path / "m.onnx", extra=[custom]), words)
    branch = helper.make_graph([custom], "branch", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    extra = [
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True])),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    refused(onnx_of(keras_model, tmp_path / "inside.onnx", extra=extra), words)


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        (("n", "channels", SIDE, SIDE), r"not \(any, any, 8, 8\)"), (("n", 192), r"not \(any, 192\)"),
    ],
)  # fmt: skip
def test_inputs_that_are_no_images_are_refused(keras_model, tmp_path, dims, words):
    refused(onnx_of(keras_model, tmp_path / "m.onnx", dims=dims), words)


def test_functions_of_a_model_take_the_place_of_their_calls(tmp_path):
    dnn = load_dnn(bomb(tmp_path / "few.onnx", 6))
    assert (dnn.n_outputs, dnn.activation) == (2, "softmax")
    refused(calls_itself(tmp_path / "recursive.onnx"), "cannot be read")


def test_models_that_are_not_one_image_to_one_row_are_refused(keras_model, tmp_path):
    def graph(nodes, inputs=("pixels",), outputs=("y",), kind=TensorProto.FLOAT, channels=3):
        taken = [helper.make_tensor_value_info(name, kind, ("n", channels, 8, 8)) for name in inputs]
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        return save(helper.make_graph(nodes, "other", taken, given), tmp_path / "other.onnx")

    node = helper.make_node
    refused(graph([node("Add", ["a", "b"], ["y"])], ("a", "b")), "one image as input, not 2")
    twice = [node("Flatten", ["pixels"], ["y"]), node("Flatten", ["pixels"], ["z"])]
    refused(graph(twice, outputs=("y", "z")), "one output, not 2")
    refused(graph([node("Relu", ["pixels"], ["y"])]), r"outputs of shape \(2, 3, 8, 8\) for two images")
    refused(graph([node("ReduceMean", ["pixels"], ["y"], keepdims=0)]), "one row of outputs")
    mean = node("ReduceMean", ["pixels"], ["y"], axes=[2, 3], keepdims=0)
    refused(graph([mean], channels=4), r"with 1 or 3 channels, not \(any, 4, 8, 8\)")
    refused(
        graph([node("Cast", ["pixels"], ["y"], to=TensorProto.FLOAT)], kind=TensorProto.STRING), "an image of numbers"
    )


def test_damaged_files_and_other_files_are_refused(keras_model, tmp_path):
    whole = onnx_of(keras_model, tmp_path / "whole.onnx").read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2], "empty": b"", "text": b"not a model",
        "keras": saved(keras_model, tmp_path / "m.keras").read_bytes(),
    }.items():  # fmt: skip
        (tmp_path / f"{name}.onnx").write_bytes(content)
        refused(tmp_path / f"{name}.onnx", r"a complete ONNX model of .*\. Received: .*which cannot be read")
    unknown = [helper.make_node("NoSuchOperator", ["flat"], ["x"])]
    refused(onnx_of(keras_model, tmp_path / "unknown.onnx", extra=unknown), "which cannot be read .*NoSuchOperator")
    refused(tmp_path / "gone.onnx", "which is not a file")


def test_without_onnxruntime_the_package_is_named(keras_model, tmp_path, monkeypatch):
    file = onnx_of(keras_model, tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(file, r"Expected onnxruntime to be installed.*pip install -r requirements/onnx\.txt")


def test_retraining_says_what_to_do_with_an_onnx_model(keras_model, test_set, tmp_path):
    file = onnx_of(keras_model, tmp_path / "m.onnx")
    with pytest.raises(SAFEError, match=r"cannot be trained\. .*Export the labelled images.* before and after"):
        retrain(file, ImageSets(test_set, test_set), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert NAMES == ("blue", "green", "red")
