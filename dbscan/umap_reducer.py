"""UMAP before DBSCAN, on request. Step 1.

Sources: Attaoui et al., ACM TOSEM 33(5):130, 2024 (UMAP before DBSCAN); McInnes et al., arXiv 1802.03426 (UMAP).
"""

import sys
import warnings

import numpy as np

from support.errors import SAFEError
from support.progress import Progress

UMAP_COMPONENTS = 10
UMAP_NEIGHBOURS = 15


def load_umap() -> type:
    """The class UMAP, without the variant for TensorFlow that its package imports as well: seconds, and 300 MB.

    Raises
    ------
    ImportError
        umap-learn is not installed.
    """
    variant = "umap.parametric_umap"
    left_out = variant not in sys.modules
    if left_out:
        sys.modules[variant] = None  # what Python takes for a module that cannot be imported
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # of umap, that it is missing
            from umap import UMAP
    finally:
        if left_out:
            sys.modules.pop(variant, None)
    return UMAP


def reduced_by_umap(points: np.ndarray, progress: Progress) -> np.ndarray:
    """UMAP to 10 dimensions, the same for the same points; so few images that it cannot be fitted stay as they are."""
    if len(points) <= UMAP_NEIGHBOURS:
        return points
    try:
        UMAP = load_umap()
    except ImportError as error:
        raise SAFEError("The reducer umap expects the package umap-learn. Run: pip install umap-learn") from error
    progress("Fitting UMAP", 0, 0)
    umap = UMAP(UMAP_NEIGHBOURS, UMAP_COMPONENTS, min_dist=0.0, random_state=0, n_jobs=1)
    return umap.fit_transform(points).astype(np.float32)
