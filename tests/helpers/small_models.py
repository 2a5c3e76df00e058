"""Small Keras models with weights set by hand, and the tiny images that they tell apart: three colours."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from safe_dnn.dnn.model import Dnn
from safe_dnn.dnn.predictions import Pixels, labelled_images
from safe_dnn.features.extractor import Extractor
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint
from safe_dnn.rccs.dbscan.projection import Projection
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet
from safe_dnn.training.finetuning import Epoch
from safe_dnn.training.result import Retraining
from safe_dnn.training.settings import Settings

SIDE = 8
COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}
NAMES = tuple(COLOURS)  # sorted, as the outputs are


class Ready(Pixels):
    """Images that are in memory already: uint8 of shape (n, height, width, channels)."""

    def __init__(self, dnn: Dnn, images: np.ndarray):
        super().__init__(dataclasses.replace(dnn, height=images.shape[1], width=images.shape[2]), ())
        self._images = images

    def one(self, i: int) -> np.ndarray:
        return self._images[i]


def draw_colour(name: str, rng: np.random.Generator, tint: str | None = None) -> Image.Image:
    """A square of a colour; with a tint, only its left column has the colour and the rest that of the tint."""
    pixels = np.empty((SIDE, SIDE, 3))
    pixels[:] = COLOURS[tint or name]
    pixels[:, 0] = COLOURS[name]
    noisy = pixels + rng.normal(0, 8, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def draw_set(folder: Path, plain: int, tinted: Mapping[str, tuple[str, int]] | None = None, seed: int = 0) -> Path:
    """Class folders with `plain` images each and, as {"red": ("blue", 4)}, tinted ones, which the models get wrong."""
    rng = np.random.default_rng(seed)
    for name in NAMES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(plain):
            draw_colour(name, rng).save(folder / name / f"plain_{i:02d}.png")
    for name, (tint, count) in (tinted or {}).items():
        for i in range(count):
            draw_colour(name, rng, tint).save(folder / name / f"in_{tint}_{i:02d}.png")
    return folder


def colour_model(
    last: str = "softmax",
    loss: Any = "sparse_categorical_crossentropy",
    optimizer: Any = "adam",
    scaling: bool = True,
    head: str = "dense",
    maps: bool = False,
) -> Any:
    """A model that says which of blue, green and red is strongest on average.

    Parameters
    ----------
    last : str
        The last activation; `linear` gives logits.
    loss : optional
        None leaves the model uncompiled.
    head : "dense" or "layer"
        Whether the activation belongs to the dense layer or is a layer of its own.
    maps : bool
        Whether a convolution, `colours`, passes the colours on before they are averaged.
    """
    import keras

    layers = keras.layers
    dense = layers.Dense(3, activation=last if head == "dense" else None)
    mean = [layers.Conv2D(3, 1, name="colours"), layers.GlobalAveragePooling2D()] if maps else [layers.Flatten()]
    parts = [keras.Input((SIDE, SIDE, 3)), *([layers.Rescaling(1 / 255)] if scaling else []), *mean, dense]
    if head == "layer":
        parts.append(layers.Softmax() if last == "softmax" else layers.Activation(last))
    model = keras.Sequential(parts)
    # Channels are red, green, blue; outputs are blue, green, red.
    each = 1 if maps else SIDE**2
    if maps:
        mean[0].set_weights([np.eye(3).reshape(1, 1, 3, 3), np.zeros(3)])
    kernel = np.tile(np.eye(3)[::-1], (each, 1)) * 8 / each
    dense.set_weights([kernel, np.full(3, -3.0 if last == "sigmoid" else 0.0)])
    if loss is not None:
        model.compile(optimizer, loss)
    return model


def brightness_model(loss: Any = "mse") -> Any:
    """A regression: the mean red and the mean blue of an image, from 0 to 1."""
    import keras

    layers, weights = keras.layers, [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    dense = layers.Dense(2)
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 255), layers.Flatten(), dense])
    dense.set_weights([np.tile(weights, (SIDE * SIDE, 1)) / SIDE**2, np.zeros(2)])
    if loss is not None:
        model.compile("adam", loss)
    return model


def saved(model: Any, path: Path) -> Path:
    """Save a model; its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return path


def draw_sets(folder: Path) -> Path:
    """A folder with `model.keras` and its sets; some red images, tinted blue, and green ones, tinted red, are wrong."""
    tinted = {"red": ("blue", 4), "green": ("red", 4)}
    saved(colour_model(), folder / "model.keras")
    draw_set(folder / "train", 10, seed=1)
    draw_set(folder / "improvement", 0, tinted, seed=2)
    draw_set(folder / "test", 6, tinted, seed=3)
    return folder


def clusters_of(root: Path, labels: Mapping[str, int]) -> RootCauseClusters:
    """RCCs of the images of a folder, given as {path: label}."""
    paths = tuple(sorted(labels))
    return RootCauseClusters(
        image_root=root, paths=paths, labels=np.array([labels[path] for path in paths]),
        is_core=np.array([labels[path] >= 0 for path in paths]), points=np.zeros((len(paths), 1), np.float32),
        reach=np.zeros(max(labels.values()) + 1, np.float32), reducer="pca", eps=1.0, min_samples=2,
        projection=Projection("vgg16-conv", np.zeros(2, np.float32), np.zeros((1, 2), np.float32)),
        extractor=Extractor("vgg16-conv", "vgg16-conv-fake-float32", None), settings=(),
        k_distances=np.zeros(1, np.float32), knee=None, skipped=(),
    )  # fmt: skip


def unsafe_set(root: Path, clusters: RootCauseClusters | None = None, label: bool = False) -> UnsafeSet:
    """All tinted improvement images: RCC 0 is red in blue, RCC 1 green in red."""
    images = [path for path in labelled_images(root).paths if "/in_" in path]
    rows = tuple(
        UnsafeImage(path, int(path.startswith("green")), 0.5, True, path.split("/")[0] if label else "")
        for path in sorted(images, key=lambda path: path.startswith("green"))
    )
    belongs = fingerprint(clusters) if clusters is not None else "0" * 16
    unsafe = UnsafeSet(root, rows, len(rows), f"N = {len(rows)}, as requested", 20, (5, 4), (), belongs)
    return dataclasses.replace(unsafe, run=belongs if clusters is not None else "")


class FakeModel:
    """Stands in for a Keras model where one is saved."""

    def __init__(self, weights: bytes):
        self._weights = weights

    def save(self, path: Path) -> None:
        path.write_bytes(self._weights)


def retraining_for(run: str) -> Retraining:
    """What a retraining for the clusters with a fingerprint may have brought."""
    return Retraining(
        model=Path("model.keras"), test_root=Path("test"), task="classification",
        accuracy_before=0.5, accuracy_after=0.75, test_size=4, train_size=4, unsafe_size=2,
        improved=(), worsened=(), per_rcc=(), per_class=(), history=(Epoch(0, None, 0.5, 0.5, 0.0),), best=0,
        settings=Settings(0.1), threshold=None, assumptions=(), stopped="", seconds=1.0, skipped=(), run=run,
    )  # fmt: skip


def lambda_model(scale: float = 2.0) -> Any:
    """A classifier with code in it."""
    import keras

    layers = keras.layers
    flat = layers.Lambda(lambda x: x * scale)
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), flat, layers.Flatten(), layers.Dense(3, "softmax")])
