import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

from lab.benchmarks.own_features import features_file, last_layer, mean_of_tensor
from safe_dnn.features.own import read_features


def test_what_the_last_layer_receives_is_written_for_each_image(tmp_path):
    import keras

    model = keras.Sequential(
        [
            keras.Input((6, 4, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, "softmax"),
        ]
    )
    model.save(tmp_path / "model.keras")
    (tmp_path / "images").mkdir()
    for red in (0, 102, 255):
        Image.new("RGB", (9, 9), (red, 0, 0)).save(tmp_path / "images" / f"{red}.png")
    file = features_file(tmp_path / "images", tmp_path / "own.npz", *last_layer(tmp_path / "model.keras"))
    own = read_features(file)
    reds = {name: row.tolist() for name, row in zip(own.names, own.rows.round(3), strict=True)}
    assert {name: row[0] for name, row in reds.items()} == {"0.png": 0, "102.png": np.float32(0.4), "255.png": 1}


def test_a_tensor_inside_an_onnx_model_is_averaged_over_all_places(tmp_path):
    shape = ["n", 3, "height", "width"]
    graph = helper.make_graph(
        [helper.make_node("Neg", ["images"], ["inside"]), helper.make_node("Abs", ["inside"], ["out"])], "of_two",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "two.onnx")
    _, read = mean_of_tensor(tmp_path / "two.onnx", "inside")
    pixels = np.zeros((1, 2, 2, 3), np.float32)
    pixels[0, 0, 0] = 255, 0, 51
    np.testing.assert_allclose(read(pixels), [[-0.25, 0, -0.05]], atol=1e-6)
