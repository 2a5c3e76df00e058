"""The original network and the retrained one in one model, which answers with a weighted mean of their probabilities.

In: both networks, and the share of the original one. Out: a Keras model that takes and gives what the original does,
and what it would gain and lose with other shares.

What a retrained network gets wrong that was right are mostly images of which it is less sure than the original one was.
The mean keeps the surer answer of the two, and so most of what was right, for little accuracy. It takes both networks,
and so twice the time (docs/decisions/047-both-networks-together.md). Source: Yan et al., "Positive-congruent training",
CVPR 2021 (that ensembles get fewer images wrong that were right).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn.model import Dnn
from safe_dnn.support.text import count
from safe_dnn.training.finetuning import copy_with

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
LEAST = 1e-7  # of a probability; its logarithm must be finite


class TradeOff(NamedTuple):
    """The test images that both networks together get right, if the original one has a share in the answer.

    Attributes
    ----------
    share : float
        0 is the retrained network alone.
    right : int
        Test images predicted correctly.
    worsened : int
        Those wrong that the original network gets right.
    """

    share: float
    right: int
    worsened: int


def answer_together(dnn: Dnn, retrained: Any, share: float) -> Any:
    """A model that holds copies of both networks.

    Parameters
    ----------
    dnn : Dnn
        The original network, a classifier.
    retrained : keras.Model
        Of the same layers.
    share : float
        Of the original network in the mean, from 0 to 1.

    Returns
    -------
    keras.Model
        Not compiled. Its outputs are of the same kind as the original ones: probabilities or logits.
    """
    import keras
    from keras import ops

    pixels = keras.Input(dnn.model.inputs[0].shape[1:], dtype=dnn.model.inputs[0].dtype)
    probabilities = []
    for name, weights in (("original", dnn.model.get_weights()), ("retrained", retrained.get_weights())):
        network = copy_with(dnn, weights)
        network.name = name
        outputs = network(pixels)
        if dnn.activation == "logits":
            outputs = ops.sigmoid(outputs) if dnn.n_outputs == 1 else ops.softmax(outputs)
        probabilities.append(outputs)
    mean = ops.clip(share * probabilities[0] + (1 - share) * probabilities[1], LEAST, 1 - LEAST)
    outputs = ops.log(mean)
    if dnn.n_outputs == 1 or dnn.activation == "sigmoid":
        outputs -= ops.log(1 - mean)
    # The last layer tells what the outputs are, and these functions of logarithms give the mean again.
    if dnn.activation in ("sigmoid", "softmax"):
        outputs = keras.layers.Activation(dnn.activation)(outputs)
    return keras.Model(pixels, outputs, name=dnn.model.name)


def trade_off(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> tuple[TradeOff, ...]:
    """What both networks together would get right with each share of the original one.

    Parameters
    ----------
    before, after : ndarray of shape (n_images, n_classes), float
        Probabilities of the original and of the retrained network.
    labels : ndarray of shape (n_images,), int
    """
    was_right = before.argmax(axis=1) == labels
    found = []
    for share in SHARES:
        right = (share * before + (1 - share) * after).argmax(axis=1) == labels
        found.append(TradeOff(share, int(right.sum()), int((was_right & ~right).sum())))
    return tuple(found)


def together_text(share: float) -> str:
    """A sentence on a model that holds both networks; empty for the retrained one alone."""
    if not share:
        return ""
    return (
        f"Both networks answer together, the retrained one with a weight of {1 - share:.0%} and the original one with "
        f"{share:.0%}: the model holds both, and takes twice as long."
    )


def trade_off_text(found: Sequence[TradeOff], n_images: int, *, now: float, offered: float) -> str:
    """What the original network would keep if it had a share in the answers; empty where it has, or nothing is known.

    For example `With the original network answering along (30%, to keep what is right): accuracy 89.30%, 6 images
    worsened`.

    Parameters
    ----------
    n_images : int
        In the test set.
    now, offered : float
        The share that it has, and the one that is offered.
    """
    one = next((one for one in found if one.share == offered), None)
    if now or one is None:
        return ""
    return (
        f"With the original network answering along ({offered:.0%}, to keep what is right): "
        f"accuracy {one.right / n_images:.2%}, {count(one.worsened, 'image')} worsened"
    )
