"""Which network extracts features, and how they are compared. Step 1, for `FE.py`.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.1 (the extractor); Simonyan & Zisserman, ICLR 2015 (VGG16).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

INPUT_SIZE = (224, 224)
EXTRACTORS = ("auto", "vgg16-fc2", "vgg16-conv")
CONV_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, and how many layers have as many
CONV_LAYERS = {
    f"block{block}_conv{layer}": channels
    for block, (channels, n_layers) in enumerate(CONV_BLOCKS, start=1)
    for layer in range(1, n_layers + 1)
}
DIMENSIONS = {"vgg16-fc2": 4096, "vgg16-conv": sum(CONV_LAYERS.values())}
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass(frozen=True)
class Extractor:
    """A network and its weights, not yet loaded.

    Attributes
    ----------
    name : "vgg16-fc2" or "vgg16-conv"
    identity : str
        Network, number of features, weights (the first 16 digits of their SHA-256) and precision. Features may be
        compared and cached only under equal identities.
    weights : Path or None
        None where only the identity is known; then cached features can be used and new ones cannot be computed.
    notice : str
        What the engineer should know about the choice; empty if there is nothing to say.
    """

    name: str
    identity: str
    weights: Path | None
    notice: str = ""

    @property
    def dimension(self) -> int:
        """Features per image."""
        return DIMENSIONS[self.name]

    @property
    def precision(self) -> str:
        """What the network computes in: "float32" or "bfloat16"."""
        return self.identity.rsplit("-", 1)[-1]


def comparable(features: np.ndarray, extractor: str) -> np.ndarray:
    """Scale an extractor's features so that Euclidean distances between them mean something.

    VGG16's activations have a long tail, which a root or a logarithm tames. For `vgg16-fc2` unit length then takes away
    how strong an image's activations are as a whole; for `vgg16-conv` each channel is divided by the fourth root of its
    layer's width, halfway between counting every channel and every layer the same. The features themselves are cached
    as the network gives them.

    Parameters
    ----------
    features : ndarray of shape (n, dimension), float32
    extractor : "vgg16-fc2" or "vgg16-conv"

    Returns
    -------
    ndarray of shape (n, dimension), float32
    """
    if extractor == "vgg16-fc2":
        rooted = np.sqrt(np.maximum(features, 0, dtype=np.float32))  # after ReLU nothing is below 0
        return rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    widths = np.array(list(CONV_LAYERS.values()))
    return np.log1p(np.maximum(features, 0, dtype=np.float32)) / (np.repeat(widths, widths) ** 0.25).astype(np.float32)
