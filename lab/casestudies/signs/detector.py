"""The detector under test: a small CNN that finds objects as points (Zhou et al., "Objects as Points", 2019).

For each cell of a grid the network says how likely the centre of an object of each class is there, and where the
object's box is. A detection is a cell that is more likely than its neighbours. (https://arxiv.org/abs/1904.07850)
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from safe_dnn.casestudies.camera import SIDE
from safe_dnn.support.progress import report_progress

if TYPE_CHECKING:
    import keras

BATCH = 16
CELL = 4  # pixels
CELLS = SIDE // CELL
TYPICAL = 24.0  # pixels: the unit of sizes
LEAST_SCORE = 0.05
MOST = 20  # detections in an image
_SPREAD = 0.08  # of the likelihood around a centre, in widths of the object
_BATCHES = 256  # images at once, when testing


class Found(NamedTuple):
    """Boxes of objects or detections in an image.

    Attributes
    ----------
    category : ndarray of shape (n_boxes,), int
        From 0.
    box : ndarray of shape (n_boxes, 4), float64
        Left, top, width and height in pixels.
    score : ndarray of shape (n_boxes,), float64
        1 for objects.
    """

    category: np.ndarray
    box: np.ndarray
    score: np.ndarray


def train_detector(
    images: np.ndarray, objects: Sequence[Found], n_classes: int, *, epochs: int, seed: int
) -> "keras.Model":
    """Train the detector.

    Parameters
    ----------
    images : ndarray of shape (n_images, SIDE, SIDE, 3), uint8
        The network scales them itself.
    objects : sequence of Found

    Returns
    -------
    Model
        Its outputs have the shape (n_images, CELLS, CELLS, n_classes + 4): for each cell the likelihood of each class
        and, as of `encode`, the box.
    """
    import keras

    keras.utils.set_random_seed(seed)
    model = _network(n_classes)
    targets = np.stack([encode(each, n_classes) for each in objects])
    steps = -(-len(images) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps * (epochs - 1), warmup_target=3e-3, warmup_steps=steps, alpha=0.01
    )
    # The loss stays out of the model that is saved, which any Keras can then load.
    trained = keras.Model(model.inputs, model.outputs)
    trained.compile(keras.optimizers.Adam(schedule), _loss(n_classes))
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: report_progress("Training the detector", epoch + 1, epochs)
    )
    trained.fit(images, targets, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[report])
    return model


def _network(n_classes: int) -> Any:
    import keras

    layers = keras.layers

    def block(x: Any, width: int, *, size: int = 3, stride: int = 1) -> Any:
        x = layers.Conv2D(width, size, strides=stride, padding="same", use_bias=False)(x)
        return layers.Activation("relu")(layers.BatchNormalization(momentum=0.95)(x))

    inputs = keras.Input((SIDE, SIDE, 3))
    fine = block(layers.Rescaling(1 / 64, offset=-2)(inputs), 16, size=5, stride=2)
    fine = block(fine, 32, stride=2)
    coarse = block(block(fine, 64, stride=2), 64)
    context = layers.UpSampling2D(2)(layers.Conv2D(32, 1)(coarse))
    x = block(layers.Concatenate()([fine, context]), 32)
    prior = keras.initializers.Constant(-2.2)  # a likelihood of 0.1, or the many empty cells would dominate the start
    likely = layers.Conv2D(n_classes, 1, activation="sigmoid", bias_initializer=prior)(x)
    return keras.Model(inputs, layers.Concatenate()([likely, layers.Conv2D(4, 1)(x)]), name="detector_cnn")


def _loss(n_classes: int) -> Any:
    """The focal loss of the likelihoods, and the distance of the boxes, where there are any."""
    from keras import ops

    def loss(target: Any, output: Any) -> Any:
        likely, wanted = ops.clip(output[..., :n_classes], 1e-4, 1 - 1e-4), target[..., :n_classes]
        weight = target[..., n_classes : n_classes + 1]
        centre = ops.cast(wanted >= 0.999, "float32")
        hit = centre * (1 - likely) ** 2 * ops.log(likely)
        miss = (1 - centre) * (1 - wanted) ** 4 * likely**2 * ops.log(1 - likely)
        off = weight * ops.abs(target[..., n_classes + 1 :] - output[..., n_classes:])
        return (ops.sum(off) - ops.sum(hit + miss)) / ops.maximum(ops.sum(centre), 1)

    return loss


def encode(objects: Found, n_classes: int) -> np.ndarray:
    """What the network is to say about an image.

    Returns
    -------
    ndarray of shape (CELLS, CELLS, n_classes + 5), float32
        The likelihood of each class, 1 at centres and falling off around them; how much the box counts; and the box:
        from the middle of the cell to the box's, in cells, and the logarithms of width and height.
    """
    target = np.zeros((CELLS, CELLS, n_classes + 5), np.float32)
    at = np.arange(CELLS) + 0.5
    for category, (left, top, width, height) in zip(objects.category.tolist(), objects.box.tolist(), strict=True):
        x, y = (left + width / 2) / CELL, (top + height / 2) / CELL
        row, column = min(int(y), CELLS - 1), min(int(x), CELLS - 1)
        across, down = (at - at[column]) / (_SPREAD * width), (at - at[row]) / (_SPREAD * height)
        bell = np.exp(-0.5 * (across[None, :] ** 2 + down[:, None] ** 2)).astype(np.float32)
        target[..., category] = np.maximum(target[..., category], bell)
        nearer = bell > target[..., n_classes]
        target[nearer, n_classes] = bell[nearer]
        boxes = np.empty((CELLS, CELLS, 4), np.float32)
        boxes[..., 0], boxes[..., 1] = x - at[None, :], y - at[:, None]
        boxes[..., 2:] = np.log(width / TYPICAL), np.log(height / TYPICAL)
        target[nearer, n_classes + 1 :] = boxes[nearer]
    target[..., n_classes] *= target[..., n_classes] > 0.3  # the box, from cells near the centre
    return target


def detect(model: "keras.Model", images: np.ndarray) -> Iterator[Found]:
    """What the detector finds in each image, the surest first; `images` as for `train_detector`."""
    for start in range(0, len(images), _BATCHES):
        for output in np.asarray(model(images[start : start + _BATCHES], training=False)):
            yield decode(output)
        report_progress("Testing the detector", min(start + _BATCHES, len(images)), len(images))


def decode(output: np.ndarray) -> Found:
    """The detections in the output for an image: ndarray of shape (CELLS, CELLS, n_classes + 4)."""
    likely = output[..., :-4].astype(np.float64)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(likely, ((1, 1), (1, 1), (0, 0))), (3, 3), axis=(0, 1))
    peak = (likely == around.max(axis=(-2, -1))) & (likely >= LEAST_SCORE)
    row, column, category = np.nonzero(peak)
    score = likely[row, column, category]
    order = np.argsort(-score, kind="stable")[:MOST]
    row, column, category, score = row[order], column[order], category[order], score[order]
    right, down, width, height = output[row, column, -4:].astype(np.float64).T
    width, height = (TYPICAL * np.exp(np.clip(side, -3, 2)) for side in (width, height))
    x, y = (column + 0.5 + right) * CELL, (row + 0.5 + down) * CELL
    ends = np.clip(np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1), 0, SIDE)
    return Found(category, np.hstack([ends[:, :2], ends[:, 2:] - ends[:, :2]]), score)
