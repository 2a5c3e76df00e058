"""UMAP before DBSCAN (the reducer `umap`). Step 1.

Sources: Attaoui et al., ACM TOSEM 33(5):130, 2024 (UMAP before DBSCAN); McInnes et al., arXiv 1802.03426 (UMAP).
"""

import sys
import warnings

import numpy as np

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import Progress

UMAP_COMPONENTS = 10
UMAP_NEIGHBOURS = 15


def load_umap() -> type:
    """Import the class UMAP without its TensorFlow variant, which takes seconds and 300 MB to import.

    Raises
    ------
    ImportError
        umap-learn is not installed.
    """
    variant = "umap.parametric_umap"
    left_out = variant not in sys.modules
    if left_out:
        sys.modules[variant] = None  # type: ignore[assignment]  # documented: importing it raises ImportError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # umap warns that it is missing
            from umap import UMAP
    finally:
        if left_out:
            sys.modules.pop(variant, None)
    return UMAP


def reduced_by_umap(points: np.ndarray, progress: Progress) -> np.ndarray:
    """Reduce points to 10 dimensions with UMAP, deterministically.

    Points are returned unchanged if there are too few of them to fit UMAP.

    Raises
    ------
    SAFEError
        umap-learn is not installed.
    """
    if len(points) <= UMAP_NEIGHBOURS:
        return points
    try:
        UMAP = load_umap()
    except ImportError as error:
        raise SAFEError("The reducer umap needs the package umap-learn. Run: pip install umap-learn") from error
    progress("Fitting UMAP", 0, 0)
    umap = UMAP(UMAP_NEIGHBOURS, UMAP_COMPONENTS, min_dist=0.0, random_state=0, n_jobs=1)
    return umap.fit_transform(points).astype(np.float32)
