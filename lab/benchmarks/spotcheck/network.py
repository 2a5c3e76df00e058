"""A small CNN that is taught the blind spots of a setting, from scratch; the paper trains a ResNet-18 from ImageNet's
weights."""

from typing import Any, NamedTuple

import numpy as np

from lab.benchmarks.spotcheck.scenes import SIDE, Scenes
from safe_dnn.features.vgg16 import choose_precision
from safe_dnn.support.progress import report_progress

WIDTHS = (32, 64, 64)  # channels of the blocks after the first layer
N_FEATURES = 128
EPOCHS = 8
BATCH = 64
RATE = 2e-3  # falls to zero by a cosine
SEED = 0


class Answers(NamedTuple):
    """What a network says of images.

    Attributes
    ----------
    probabilities : ndarray of shape (n,), float32
        Of a square in each tested image.
    features : ndarray of shape (n, 128), float32
        The activations before the last layer.
    of_table : ndarray of shape (n_more,), float32
        Probabilities for further images.
    """

    probabilities: np.ndarray
    features: np.ndarray
    of_table: np.ndarray


def taught_answers(train: Scenes, tested: np.ndarray, more: np.ndarray) -> Answers:
    """Train a network on scenes with wrong labels in blind spots, and ask it about images of others."""
    import keras

    keras.utils.set_random_seed(SEED)
    network = _network()
    steps = EPOCHS * -(-len(train.square) // BATCH)
    network.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)), "binary_crossentropy")
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: report_progress("Training", epoch + 1, EPOCHS)
    )
    taught = train.taught.astype(np.float32)
    network.fit(train.pixels, taught, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[report])
    both = keras.Model(network.inputs, [network.layers[-1].output, network.layers[-2].output])
    probabilities, features = both.predict(tested, batch_size=256, verbose=0)
    of_table = network.predict(more, batch_size=256, verbose=0)
    return Answers(probabilities[:, 0], np.asarray(features, np.float32), of_table[:, 0])


def _network() -> Any:
    import keras

    layers = keras.layers
    options = {"dtype": "mixed_bfloat16" if choose_precision("auto") == "bfloat16" else "float32"}
    network = keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 127.5, -1, **options)])
    network.add(layers.Conv2D(16, 5, 2, padding="same", activation="relu", **options))
    for width in WIDTHS:
        network.add(layers.Conv2D(width, 3, padding="same", activation="relu", **options))
        network.add(layers.MaxPooling2D(**options))
    network.add(layers.Flatten(**options))
    network.add(layers.Dense(N_FEATURES, "relu", **options))
    network.add(layers.Dense(1, "sigmoid", dtype="float32"))
    return network
