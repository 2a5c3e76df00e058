"""A stand-in for VGG16 that needs no TensorFlow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from safe_dnn import FE
from safe_dnn.features import vgg16
from safe_dnn.features.extractor import Extractor


class FakeNetwork:
    """Stands in for VGG16: its features are the image's pixels, averaged over squares of 16 × 16 and repeated."""

    def __init__(self) -> None:
        self.extractor = Extractor("vgg16-conv", "vgg16-conv-fake-float32", Path("fake.onnx"))
        self.loads = 0
        self.images_seen = 0

    def stand_in(self, run: Callable[[np.ndarray], np.ndarray]) -> None:
        """From now on, in all of this process; `run` calls it."""
        FE.load_network = lambda extractor: run
        vgg16._conv_extractor = lambda: self.extractor
        vgg16._processor_flags = set  # float32 on every machine
        vgg16.FC2_URL = "http://127.0.0.1:9/vgg16_weights.h5"  # nobody listens there

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (224, 224, 3)
        self.images_seen += len(pixels)
        squares = pixels.reshape(len(pixels), 14, 16, 14, 16, 3).mean(axis=(2, 4))
        flat = (squares.reshape(len(pixels), -1) / 255).astype(np.float32)
        return flat[:, np.arange(self.extractor.dimension) % flat.shape[1]]
