"""What the file of a DNN says about it, whatever the format of the file: the record that `dnn.model` builds on."""

from typing import Any, NamedTuple, Protocol

import numpy as np


class Runnable(Protocol):
    """What SAFE needs of a model to run it. A Keras model has it; `dnn.onnx_model.OnnxModel` gives it to another.

    Attributes
    ----------
    inputs : list
        One, with a `shape`: (None, height, width, channels) or, of grey images, (None, height, width). None where the
        model takes any.
    """

    inputs: Any

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """The outputs for a batch of inputs: ndarray of shape (n_images, n_outputs)."""

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape of the outputs for a batch of a shape; a ValueError if the model does not take it."""


class ModelFacts(NamedTuple):
    """What was found out about a model from its file.

    Attributes
    ----------
    model : Runnable
    height, width : int or None
        Size of the input; None if the model takes any.
    channels : 1 or 3
    scaling : key of `dnn.model.SCALINGS`
        How pixels are to be scaled, as far as the file says.
    why : str
        Why it is that scaling.
    activation : str
        Of the last layer, "linear" if it has none.
    n_outputs : int
    compiled : dict
        `optimizer` and `loss` that a Keras model was compiled with; empty if not compiled.
    """

    model: Any
    height: int | None
    width: int | None
    channels: int
    scaling: str
    why: str
    activation: str
    n_outputs: int
    compiled: dict
