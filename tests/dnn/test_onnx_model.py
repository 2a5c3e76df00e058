"""ONNX models: what their graphs say, what is refused, and the same failures as with Keras."""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from dnn.failure_prediction import predict_failures
from dnn.failures import collect_failures, find_failures
from dnn.model import DnnOptions, load_dnn, sized_for
from retrain import retrain
from support.errors import SAFEError
from tests.helpers.small_models import NAMES, SIDE, brightness_model, colour_model, draw_set, red_model, saved

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402, only where it is installed

from tests.helpers.onnx_models import onnx_of, pooled_onnx, save  # noqa: E402

TINTED = {"red": ("blue", 2), "green": ("red", 1)}


@pytest.fixture(scope="module")
def keras_model():
    return colour_model()


@pytest.fixture(scope="module")
def test_set(tmp_path_factory) -> Path:
    return draw_set(tmp_path_factory.mktemp("sets") / "test", 3, TINTED)


# --- The same as Keras ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels_first", [True, False])
def test_keras_onnx_and_a_table_give_the_same_failures(keras_model, test_set, tmp_path, channels_first):
    model = saved(keras_model, tmp_path / "model.keras")
    exported = onnx_of(keras_model, tmp_path / "model.onnx", channels_first=channels_first)
    by_keras = find_failures(model, test_set, tmp_path / "keras")
    by_onnx = find_failures(exported, test_set, tmp_path / "onnx")
    assert len(by_keras.failing) == 3
    assert [one._replace(score=0) for one in by_onnx.failing] == [one._replace(score=0) for one in by_keras.failing]
    assert [one.score for one in by_onnx.failing] == pytest.approx([one.score for one in by_keras.failing], abs=2e-4)
    assert by_onnx.classes == by_keras.classes
    (tmp_path / "onnx" / "predictions.csv").rename(tmp_path / "answers.csv")
    by_table = collect_failures(tmp_path / "answers.csv", test_set, tmp_path / "table")
    assert by_table.failing == by_onnx.failing
    assert json.loads((tmp_path / "onnx" / "accuracy.json").read_text())["model"] == str(exported)


def test_likely_failures_are_predicted_with_an_onnx_model(keras_model, test_set, tmp_path):
    by_onnx = predict_failures(onnx_of(keras_model, tmp_path / "model.onnx"), test_set)
    by_keras = predict_failures(saved(keras_model, tmp_path / "model.keras"), test_set)
    np.testing.assert_allclose(by_onnx.outputs, by_keras.outputs, atol=1e-4)
    paths = ["red/in_blue_00.png", "red/plain_00.png"]
    assert by_onnx.predicted(test_set, paths).tolist() == ["blue", "red"]


def test_a_regression_is_run_with_its_targets(test_set, tmp_path):
    model = brightness_model()
    paths = [path.relative_to(test_set).as_posix() for path in test_set.rglob("*.png")]
    (tmp_path / "targets.csv").write_text("\n".join(["image,red,blue", *(f"{path},0.8,0.15" for path in paths)]) + "\n")
    options = DnnOptions(targets=tmp_path / "targets.csv", threshold=0.1)
    found = [
        find_failures(file, test_set, tmp_path / file.suffix[1:], options=options)
        for file in (saved(model, tmp_path / "m.keras"), onnx_of(model, tmp_path / "m.onnx", last=""))
    ]
    assert 0 < len(found[0].failing) < len(paths)
    assert [one.source for one in found[1].failing] == [one.source for one in found[0].failing]


# --- What the graph says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "expected"), [("Softmax", "softmax"), ("Sigmoid", "sigmoid"), ("LogSoftmax", "logits"), ("", "logits")]
)
def test_the_last_activation_is_found(keras_model, tmp_path, last, expected):
    dnn = load_dnn(onnx_of(keras_model, tmp_path / "m.onnx", last=last))
    assert (dnn.task, dnn.activation, dnn.n_classes) == ("classification", expected, 3)
    assert (dnn.height, dnn.width, dnn.channels) == (SIDE, SIDE, 3)
    assert dnn.compiled == {}


def test_one_output_stands_for_two_classes(test_set, tmp_path):
    dnn = load_dnn(onnx_of(red_model(), tmp_path / "m.onnx", last="Sigmoid"))
    assert (dnn.n_outputs, dnn.n_classes, dnn.activation) == (1, 2, "sigmoid")


def test_the_scaling_is_that_of_the_graph_or_one_that_is_given(keras_model, tmp_path):
    own = load_dnn(onnx_of(keras_model, tmp_path / "own.onnx"))
    assert own.scaling == "none"
    assert "in its node rescale" in own.assumptions[1]
    file = onnx_of(keras_model, tmp_path / "bare.onnx", scaling=False)
    assert load_dnn(file).scaling == "1/255"
    assert "models of torchvision and timm expect --rescale imagenet" in load_dnn(file).assumptions[1]
    assert load_dnn(file, rescale="signed").scaling == "signed"


def test_the_scaling_of_imagenet_is_that_of_torchvision(keras_model, test_set, tmp_path):
    """transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) after transforms.ToTensor()."""
    from PIL import Image

    from dnn.predictions import Pixels, batches

    dnn = load_dnn(onnx_of(keras_model, tmp_path / "bare.onnx", scaling=False), rescale="imagenet")
    file = test_set / "red" / "plain_00.png"
    pixels = Pixels(dnn, [file])
    ((inputs, _),) = batches(dnn, pixels, np.arange(1), 1)
    expected = (np.asarray(Image.open(file)) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(inputs[0], expected, atol=1e-5)


def test_a_graph_of_any_size_takes_the_images_own_size_if_they_are_alike(test_set, tmp_path):
    dnn = load_dnn(pooled_onnx(tmp_path / "pooled.onnx"))
    assert (dnn.height, dnn.width) == (None, None)
    files = sorted(test_set.rglob("*.png"))
    assert sized_for(dnn, files).height == SIDE
    from PIL import Image

    Image.new("RGB", (2, 2)).save(tmp_path / "tiny.png")
    assert sized_for(dnn, [tmp_path / "tiny.png"]).height == 224  # nothing would be left of two pixels
    assert sized_for(dnn, [*files, tmp_path / "tiny.png"]).width == 224
    assert find_failures(tmp_path / "pooled.onnx", test_set, tmp_path / "out").accuracy > 0.5


@pytest.mark.parametrize("batch", [1, 4])
def test_a_graph_that_takes_one_size_of_batch_gets_it(keras_model, test_set, tmp_path, batch):
    file = onnx_of(keras_model, tmp_path / "m.onnx", dims=(batch, 3, SIDE, SIDE))
    images = np.random.default_rng(0).uniform(0, 255, (6, SIDE, SIDE, 3)).astype(np.float32)
    np.testing.assert_allclose(
        load_dnn(file).model.predict_on_batch(images), keras_model.predict_on_batch(images), atol=1e-4
    )


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8])
def test_inputs_of_other_types_get_them(keras_model, test_set, tmp_path, kind):
    file = onnx_of(keras_model, tmp_path / "m.onnx", kind=kind)
    assert len(find_failures(file, test_set, tmp_path / "out").failing) == 3
    if kind == TensorProto.UINT8:
        bare = onnx_of(keras_model, tmp_path / "bare.onnx", kind=kind, scaling=False)
        assert "the model takes whole numbers" in load_dnn(bare).assumptions[1]
        with pytest.raises(SAFEError, match=r"--rescale 1/255 gives fractions\. Received: .* takes whole numbers"):
            load_dnn(bare, rescale="1/255")


def test_grey_images_may_lack_an_axis_for_channels(tmp_path):
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "kernel"], ["outputs"]),
    ]
    kernel = numpy_helper.from_array(np.tile(np.float32([[1, -1]]), (64, 1)), "kernel")
    for name, dims, shape in (("axis", ("n", 1, 8, 8), (None, 8, 8, 1)), ("none", ("n", 8, 8), (None, 8, 8))):
        inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, dims)]
        outputs = [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ("n", 2))]
        dnn = load_dnn(save(helper.make_graph(nodes, "grey", inputs, outputs, [kernel]), tmp_path / f"{name}.onnx"))
        assert dnn.model.inputs[0].shape == shape
        assert dnn.channels == 1
        ones = np.ones((2, *shape[1:]), np.float32)
        assert dnn.model.predict_on_batch(ones).tolist() == [[64, -64]] * 2
    with pytest.raises(SAFEError, match="is for RGB images"):
        load_dnn(tmp_path / "none.onnx", rescale="imagenet")
    folder = draw_set(tmp_path / "test", 1)
    (folder / "red" / "plain_00.png").rename(folder / "blue" / "other.png")
    (folder / "red").rmdir()
    assert find_failures(tmp_path / "none.onnx", folder, tmp_path / "out").test_size == 3


def test_functions_in_the_file_are_put_in_place(keras_model, tmp_path):
    """As PyTorch's newer exporter writes them: a function of ONNX's own operators, in a domain of its own."""
    half = helper.make_function(
        "of.file", "Half", ["x"], ["y"],
        [helper.make_node("Constant", [], ["two"], value_float=2.0), helper.make_node("Div", ["x", "two"], ["y"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Half", ["pixels"], ["halved"], domain="of.file"),
        helper.make_node("GlobalAveragePool", ["halved"], ["means"]),
        helper.make_node("Flatten", ["means"], ["outputs"]),
    ]
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ("n", 3, 8, 8))]
    outputs = [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ("n", 3))]
    graph = helper.make_graph(nodes, "own", inputs, outputs)
    own = [helper.make_opsetid("of.file", 1)]
    dnn = load_dnn(save(graph, tmp_path / "m.onnx", more_opsets=own, functions=[half]))
    assert dnn.scaling == "none"
    assert dnn.model.predict_on_batch(np.full((1, 8, 8, 3), 8, np.float32)).tolist() == [[4, 4, 4]]


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
    refused(onnx_of(keras_model, tmp_path / "m.onnx", extra=[custom]), r"custom operators \(Shell\)\. Export it again")
    branch = helper.make_graph([custom], "branch", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    extra = [
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True])),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    refused(onnx_of(keras_model, tmp_path / "inside.onnx", extra=extra), r"custom operators \(Shell\)")


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        (("n", 4, SIDE, SIDE), r"with 1 or 3 channels, not \(any, 4, 8, 8\)"),
        (("n", "channels", SIDE, SIDE), r"not \(any, any, 8, 8\)"),
        (("n", 3, SIDE, 3), "with 1 or 3 channels"),
        (("n", 192), r"not \(any, 192\)"),
        ((3, SIDE, SIDE), r"not \(3, 8, 8\)"),
    ],
)
def test_inputs_that_are_no_images_are_refused(keras_model, tmp_path, dims, words):
    refused(onnx_of(keras_model, tmp_path / "m.onnx", dims=dims), words)


def test_models_that_are_not_one_image_to_one_row_are_refused(keras_model, tmp_path):
    def graph(nodes, inputs=("pixels",), outputs=("y",), kind=TensorProto.FLOAT):
        taken = [helper.make_tensor_value_info(name, kind, ("n", 3, 8, 8)) for name in inputs]
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        return save(helper.make_graph(nodes, "other", taken, given), tmp_path / "other.onnx")

    node = helper.make_node
    refused(graph([node("Add", ["a", "b"], ["y"])], ("a", "b")), "one image as input, not 2 inputs")
    twice = [node("Flatten", ["pixels"], ["y"]), node("Flatten", ["pixels"], ["z"])]
    refused(graph(twice, outputs=("y", "z")), "not 2 outputs")
    refused(graph([node("Relu", ["pixels"], ["y"])]), r"outputs of shape \(2, 3, 8, 8\) for two images")
    refused(graph([node("ReduceMean", ["pixels"], ["y"], keepdims=0)]), "one row of outputs")
    refused(
        graph([node("Cast", ["pixels"], ["y"], to=TensorProto.FLOAT)], kind=TensorProto.STRING), "an image of numbers"
    )


def test_damaged_files_and_other_files_are_refused(keras_model, tmp_path):
    whole = onnx_of(keras_model, tmp_path / "whole.onnx").read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not a model",
        "keras": saved(keras_model, tmp_path / "m.keras").read_bytes(),
    }.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
        refused(tmp_path / f"{name}.onnx", r"a complete ONNX model\. Received: .*which cannot be read")
    unknown = [helper.make_node("NoSuchOperator", ["flat"], ["x"])]
    refused(onnx_of(keras_model, tmp_path / "unknown.onnx", extra=unknown), "which cannot be read .*NoSuchOperator")
    refused(tmp_path / "gone.onnx", "which is not a file")


def test_names_that_are_no_text_are_no_defect(keras_model, tmp_path, capfd):
    file = onnx_of(keras_model, tmp_path / "m.onnx")
    data = file.read_bytes()
    file.write_bytes(data.replace(b"rescale", b"res\xff\xfe\xfdx"))
    with contextlib.suppress(SAFEError):
        assert "\ufffd" in load_dnn(file).assumptions[1]
    file.write_bytes(data.replace(b"pixels", b"pix\xff\xfe\xfd"))
    with contextlib.suppress(SAFEError):
        load_dnn(file)
    assert "EP Error" not in "".join(capfd.readouterr())


def test_without_onnxruntime_the_package_is_named(keras_model, tmp_path, monkeypatch):
    file = onnx_of(keras_model, tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(file, r"Expected onnxruntime to be installed.*pip install -r requirements-onnx\.txt")


def test_a_graph_that_cannot_be_run_on_a_batch_is_an_error_in_a_sentence(keras_model, tmp_path):
    dnn = load_dnn(onnx_of(keras_model, tmp_path / "m.onnx"))
    with pytest.raises(SAFEError, match=r"could not be run on images of shape \(9, 8, 3\)"):
        dnn.model.predict_on_batch(np.zeros((1, 9, 8, 3), np.float32))


def test_retraining_says_what_to_do_with_an_onnx_model(keras_model, test_set, tmp_path):
    file = onnx_of(keras_model, tmp_path / "m.onnx")
    with pytest.raises(SAFEError, match=r"cannot be trained\. .*export --labelled.* before and after \(compare\)"):
        retrain(file, test_set, test_set, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert NAMES == ("blue", "green", "red")
