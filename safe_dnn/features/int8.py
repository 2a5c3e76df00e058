"""VGG16 in int8 by OpenVINO, for the precision `int8`: pixels in, features out. Step 1.

Weights have a scale for each output channel, and the outputs of a layer one for all images. The first convolution is
computed in float32: all else rests on it, and it is hardly any of the work. See docs/decisions/018-int8-by-openvino.md.

OpenVINO is imported only inside the function that needs it (`requirements/openvino.txt`).

Source: Jacob et al., CVPR 2018, sections 2.1 to 2.4 (integer arithmetic; layers fused with what follows them).
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from safe_dnn.features.extractor import BLOCK_ENDS, CONV_LAYERS, DENSE_LAYERS, INPUT_SIZE
from safe_dnn.support.errors import SAFEError

# Outputs of a layer are cut off here. Measured for the ImageNet weights; a change needs a new identity.
LIMITS = (415, 2279, 2063, 4934, 5595, 5812, 7600, 4465, 2743, 1771, 782, 426, None)
NORM = 138.2  # of these weights: the sum of the kernels' norms
PIXEL_MEANS = np.array([123.68, 116.779, 103.939], np.float32)  # of ImageNet, RGB


def load_int8(weights: Mapping[str, Any], batch: int, *, with_means: bool) -> Any:
    """Build the network, as `features.network.load_network` does.

    Parameters
    ----------
    weights : mapping of str to LayerWeights
        Of the convolutional layers and, for fc2, of the dense ones.
    batch : int
        Images that are computed together, which is the largest number that the network takes.

    Raises
    ------
    SAFEError
        The weights are not those of ImageNet.
    """
    norm = sum(float(np.linalg.norm(weights[name].kernel)) for name in CONV_LAYERS)
    if not 0.99 < norm / NORM < 1.01:
        raise SAFEError("The precision int8 needs VGG16's ImageNet weights. Received others. Set it to auto.")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # otherwise the import tells Google Analytics
    from openvino import Core, Model
    from openvino import opset13 as op

    pixels = op.parameter([batch, *INPUT_SIZE, 3], np.uint8)
    values = op.transpose(op.subtract(op.convert(pixels, "f32"), PIXEL_MEANS), np.array([0, 3, 1, 2]))
    features = []
    for name, limit in zip(CONV_LAYERS, LIMITS, strict=True):
        kernel, bias = weights[name]
        filters = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))  # (out, in, height, width)
        if values.shape[1] == 3:
            filters = filters[:, ::-1].copy()  # they are for BGR
        else:
            largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
            filters = op.fake_quantize(filters, -largest, largest, -largest, largest, levels=255)
        values = op.convolution(values, filters, [1, 1], [1, 1], [1, 1], [1, 1])
        values = op.relu(op.add(values, bias.reshape(-1, 1, 1)))
        if limit:
            values = op.fake_quantize(values, 0.0, limit, 0.0, limit, levels=256)
        if with_means:
            side = list(values.shape)[2:]
            features.append(op.squeeze(op.avg_pool(values, side, [0, 0], [0, 0], side, True), np.array([2, 3])))
        if name in BLOCK_ENDS:
            values = op.max_pool(values, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    if weights.keys() >= DENSE_LAYERS.keys():
        values = op.reshape(op.transpose(values, np.array([0, 2, 3, 1])), np.array([batch, -1]), False)
        for name in DENSE_LAYERS:
            kernel, bias = weights[name]
            values = op.relu(op.add(op.matmul(values, kernel, False, False), bias))
        features.insert(0, values)
    # Pinned threads of two processes would share the same cores.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    compiled = Core().compile_model(Model([op.concat(features, 1)], [pixels]), "CPU", settings)

    def network(images: np.ndarray) -> np.ndarray:
        full = np.zeros((batch, *images.shape[1:]), np.uint8)
        full[: len(images)] = images
        return compiled.infer_new_request([full])[0][: len(images)].copy()

    return network
