"""Features as the network could give them."""

from pathlib import Path

import numpy as np

from safe_dnn.FE import ImageFeatures
from safe_dnn.features.extractor import DIMENSIONS, Extractor
from safe_dnn.support.images import Skipped


def features_of(sizes, extractor="vgg16-conv", seed=0):
    """Features as the network could give them: 0 or above, one pattern of active channels per group."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    patterns = rng.exponential(1, (len(sizes), DIMENSIONS[extractor]))
    features = patterns[owner] * rng.lognormal(0, 0.3, (len(owner), DIMENSIONS[extractor]))
    paths = tuple(f"group {group}/{i:04d}.png" for i, group in enumerate(owner))
    return ImageFeatures(
        Path("/images"), paths, features.astype(np.float32),
        Extractor(extractor, f"{extractor}-test", None, "a notice"), (Skipped("broken.png", "the file is empty"),),
    )  # fmt: skip
