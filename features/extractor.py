"""The networks that extract features, and how their features are scaled. Step 1, for `FE.py`.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.1 (the extractor); Simonyan & Zisserman, ICLR 2015 (VGG16).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

INPUT_SIZE = (224, 224)
EXTRACTORS = ("auto", "vgg16-fc2", "vgg16-conv")
CONV_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (channels, layers) of each block
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
    name : {"vgg16-fc2", "vgg16-conv"}
    identity : str
        Network, number of features, weights (the first 16 hexadecimal digits of their SHA-256) and precision. Only
        features with equal identities are comparable.
    weights : Path or None
        None if only the identity is known. Cached features can be used in that case, but no new ones computed.
    notice : str
        What the engineer should know about the choice of the extractor; may be empty.
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
        """Number format of the network's computations: "float32" or "bfloat16"."""
        return self.identity.rsplit("-", 1)[-1]


def comparable(features: np.ndarray, extractor: str) -> np.ndarray:
    """Scale features so that Euclidean distances between them are meaningful.

    - `vgg16-fc2`: √x, then unit length.
    - `vgg16-conv`: log(1 + x) / w^¼, w being the number of channels of the layer.

    VGG16's activations have a long tail, which the square root or the logarithm compresses. Unit length removes the
    overall strength of an image's activations. The fourth root is halfway between equal weights for all channels and
    equal weights for all layers (see docs/decisions/002-scaling-of-features.md). The feature cache holds unscaled
    features.

    Parameters
    ----------
    features : ndarray of shape (n, dimension), float32
    extractor : {"vgg16-fc2", "vgg16-conv"}

    Returns
    -------
    ndarray of shape (n, dimension), float32
    """
    if extractor == "vgg16-fc2":
        rooted = np.sqrt(np.maximum(features, 0, dtype=np.float32))  # ReLU leaves nothing below 0
        return rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    widths = np.array(list(CONV_LAYERS.values()))
    return np.log1p(np.maximum(features, 0, dtype=np.float32)) / (np.repeat(widths, widths) ** 0.25).astype(np.float32)
