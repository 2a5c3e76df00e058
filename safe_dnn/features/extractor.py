"""What the extractors are, and how their features are scaled. Step 1, for `FE.py`.

- `vgg16`: the features of the other two, from one pass.
- `vgg16-fc2`: the outputs of the layer fc2, the extractor of the paper.
- `vgg16-conv`: the mean of each channel of the 13 convolutional layers.
- `own`: features in a file (see `features.own`).

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.1 (the extractor); Simonyan & Zisserman, ICLR 2015 (VGG16).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Kind(NamedTuple):
    """What an extractor takes of VGG16, and how it is described.

    Attributes
    ----------
    fc2 : bool
        The outputs of the layer fc2.
    means : bool
        The means of the channels of the convolutional layers, behind those.
    meaning : str
        What it says on the page.
    """

    fc2: bool
    means: bool
    meaning: str


EXTRACTORS = {
    "auto": Kind(True, True, "vgg16 if its weights (553 MB) are on disk or can be downloaded, otherwise vgg16-conv"),
    "vgg16": Kind(True, True, "what an image shows and what disturbs it, the features of the next two joined"),
    "vgg16-fc2": Kind(True, False, "the paper's 4,096 features alone, which say most about what an image shows"),
    "vgg16-conv": Kind(
        False, True, "the mean of each channel of the convolutional layers, for machines without internet access"
    ),
}

INPUT_SIZE = (224, 224)
CONV_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (channels, layers) of each block
CONV_LAYERS = {
    f"block{block}_conv{layer}": channels
    for block, (channels, n_layers) in enumerate(CONV_BLOCKS, start=1)
    for layer in range(1, n_layers + 1)
}
BLOCK_ENDS = {f"block{block}_conv{layers}" for block, (_, layers) in enumerate(CONV_BLOCKS, start=1)}  # pooled
DENSE_LAYERS: dict[str, tuple[int, ...]] = {"fc1": (7 * 7 * 512, 4096), "fc2": (4096, 4096)}  # shapes of the kernels
N_FC2, N_CONV = 4096, sum(CONV_LAYERS.values())
DIMENSIONS = {name: kind.fc2 * N_FC2 + kind.means * N_CONV for name, kind in EXTRACTORS.items() if name != "auto"}
FC2_WEIGHT = 0.125  # docs/decisions/015-fc2-and-channel-means.md
OWN = "own"
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass(frozen=True)
class Extractor:
    """A network and its weights, not yet loaded.

    Attributes
    ----------
    name : one of EXTRACTORS, but "auto"; or OWN
    identity : str
        Network, number of features, weights (the first 16 hexadecimal digits of their SHA-256) and precision. Only
        features with equal identities are comparable.
    weights : Path or None
        None if only the identity is known. Cached features can be used in that case, but no new ones computed. Of OWN,
        the file with the features.
    notice : str
        What the engineer should know about the choice of the extractor; may be empty.
    in_place : bool
        Of OWN, whether names must say where images lie: other images may be called like those that were clustered.
    """

    name: str
    identity: str
    weights: Path | None
    notice: str = ""
    in_place: bool = False

    @property
    def kind(self) -> Kind:
        """What it takes of the network."""
        return EXTRACTORS[self.name]

    @property
    def dimension(self) -> int:
        """Features per image."""
        return int(self.identity.split("-")[1]) if self.name == OWN else DIMENSIONS[self.name]

    @property
    def digest(self) -> str:
        """Of OWN, the first 16 digits of the SHA-256 of the file."""
        return self.identity.split("-")[2]

    @property
    def precision(self) -> str:
        """Number format of the network's computations: "float32" or "bfloat16"."""
        return self.identity.rsplit("-", 1)[-1]


def blocks_of(extractor: str) -> tuple[tuple[slice, float], ...]:
    """The parts of an extractor's features that are joined when features are clustered; none if there is only one.

    Each is a slice of columns and a weight: `comparable` features are scaled such that the sum of its variances is that
    squared. What that takes depends on the images and on the network's weights, so `rccs.dbscan.projection` determines
    it.
    """
    if extractor != OWN and EXTRACTORS[extractor].fc2 and EXTRACTORS[extractor].means:
        return (slice(0, N_FC2), FC2_WEIGHT), (slice(N_FC2, N_FC2 + N_CONV), 1.0)
    return ()


def comparable(features: np.ndarray, extractor: str) -> np.ndarray:
    """Scale features so that Euclidean distances between them are meaningful.

    - `vgg16-fc2`: √x, then unit length.
    - `vgg16-conv`: log(1 + x) / w^¼, w being the number of channels of the layer.
    - `vgg16`: each of these for its part. How the parts count relative to each other is left to `blocks_of`.
    - `own`: as they are.

    VGG16's activations have a long tail, which the square root or the logarithm compresses. Unit length removes the
    overall strength of an image's activations. The fourth root is halfway between equal weights for all channels and
    equal weights for all layers (see docs/decisions/015-fc2-and-channel-means.md). The feature cache holds unscaled
    features.

    Parameters
    ----------
    features : ndarray of shape (n, dimension), float32
    extractor : str

    Returns
    -------
    ndarray of shape (n, dimension), float32
    """
    if extractor == OWN:
        return features
    kind = EXTRACTORS[extractor]
    if kind.fc2 and kind.means:
        parts = comparable(features[:, :N_FC2], "vgg16-fc2"), comparable(features[:, N_FC2:], "vgg16-conv")
        return np.concatenate(parts, axis=1)
    if kind.fc2:
        rooted = np.sqrt(np.maximum(features, 0, dtype=np.float32))  # ReLU leaves nothing below 0
        return rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    widths = np.array(list(CONV_LAYERS.values()))
    return np.log1p(np.maximum(features, 0, dtype=np.float32)) / (np.repeat(widths, widths) ** 0.25).astype(np.float32)
