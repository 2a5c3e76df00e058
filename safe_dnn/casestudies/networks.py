"""The DNNs under test: small CNNs."""

from typing import TYPE_CHECKING, Any

import numpy as np

from safe_dnn.casestudies.camera import SIDE
from safe_dnn.casestudies.case import Case
from safe_dnn.support.progress import report_progress

if TYPE_CHECKING:
    import keras

BATCH = 32


def train_model(case: Case, images: np.ndarray, answers: np.ndarray, *, seed: int) -> "keras.Model":
    """Train the DNN under test: a CNN that sees the centre of the image of an eye, or all of a head at half the size.

    Parameters
    ----------
    images : ndarray of shape (n_images, SIDE, SIDE, 3), uint8
        The network scales them itself, so `model.keras` takes pixels from 0 to 255.
    answers : ndarray of shape (n_images,), int, or (n_images, n_targets), float32
        What it is to say: numbers of classes; for a regression, the targets, in pixels.
    """
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    scaled = layers.Rescaling(1 / 64, offset=-2)
    first: list[Any] = [scaled, layers.AveragePooling2D(2)]
    if case.kind.name == "eyes":
        first = [layers.Cropping2D(((32, 32), (16, 16))), scaled]
    dropped = (0.2, 0.0) if case.regression else (0.5, 0.25)
    last: list[Any] = [layers.Dense(len(case.classes), activation=None if case.regression else "softmax")]
    if case.regression:
        last.append(layers.Rescaling(SIDE / 4, offset=SIDE / 2))
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            *first,
            layers.Conv2D(16, 5, strides=2, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(48, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(dropped[0]),
            layers.Dense(96, activation="relu"),
            layers.Dropout(dropped[1]),
            *last,
        ],
        name=f"{case.kind.name.removesuffix('s')}_cnn",
    )
    steps = -(-len(images) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(1.5e-3, steps * case.epochs)
    if case.regression:
        model.compile(keras.optimizers.Adam(schedule), "mse")
    else:
        model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: report_progress("Training the DNN", epoch + 1, case.epochs)
    )
    model.fit(images, answers, batch_size=BATCH, epochs=case.epochs, verbose=0, callbacks=[report])
    return model


def run_model(model: "keras.Model", images: np.ndarray) -> np.ndarray:
    """The outputs for each image: ndarray of shape (n_images, n_outputs)."""
    outputs = []
    for start in range(0, len(images), 256):
        outputs.append(np.asarray(model(images[start : start + 256], training=False)))
        report_progress("Testing the DNN", min(start + 256, len(images)), len(images))
    return np.concatenate(outputs)
