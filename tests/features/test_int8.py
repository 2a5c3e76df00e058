import importlib.util
import sys

import numpy as np
import pytest
from PIL import Image

from safe_dnn.features.int8 import load_int8
from safe_dnn.features.network import LayerWeights, conv_shapes, load_network
from safe_dnn.features.weights import _processor_flags, choose_extractor
from safe_dnn.support.errors import SAFEError

FLAGS = _processor_flags()  # which tests do not see otherwise


@pytest.mark.slow
@pytest.mark.skipif(not FLAGS & {"avx512_vnni", "avx_vnni"}, reason="this processor has no VNNI")
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="see requirements/openvino.txt")
def test_int8_gives_nearly_the_features_of_float32_whatever_else_is_in_the_batch(draw_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("safe_dnn.features.weights._processor_flags", lambda: FLAGS)
    folder = draw_folder(tmp_path / "in", {"night": 1, "snow": 2})
    pixels = np.stack([np.asarray(Image.open(path).resize((224, 224), 2)) for path in sorted(folder.rglob("*.*"))])
    exact, rounded = (load_network(choose_extractor("vgg16-conv", precision=name)) for name in ("float32", "int8"))
    apart = np.linalg.norm(rounded(pixels) - exact(pixels), axis=1) / np.linalg.norm(exact(pixels), axis=1)
    assert 0 < apart.max() < 0.04
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]  # which sends what is used
    np.testing.assert_array_equal(rounded(pixels[1:2]), rounded(pixels)[1:2])


def test_int8_takes_no_other_weights_than_those_of_which_it_knows_the_outputs():
    others = {name: LayerWeights(np.zeros(shape, np.float32), np.zeros(())) for name, shape in conv_shapes().items()}
    with pytest.raises(SAFEError, match="needs VGG16's ImageNet weights"):
        load_int8(others, 1, with_means=True)
