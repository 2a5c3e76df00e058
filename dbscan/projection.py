"""Features to points: scaled, PCA to 256 components, directions scaled by what neighbours differ in. Step 1.

Source: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.2 (PCA before DBSCAN).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from dbscan.relevance import relevant_directions
from features.extractor import comparable
from support.errors import SAFEError

N_COMPONENTS = 256
BLOCK_ROWS = 128  # of features that are scaled and centred at a time: 4 MB


class Projection(NamedTuple):
    """Features to points: scaled so that they can be compared, then PCA and the scaling of its directions.

    Attributes
    ----------
    extractor : str
        Whose features these are; decides the scaling (see `features.extractor.comparable`).
    mean : ndarray of shape (dimension,), float32
    components : ndarray of shape (n_components, dimension), float32
        Those of PCA, turned and scaled by `relevant_directions`; the points vary most along the first.
    """

    extractor: str
    mean: np.ndarray
    components: np.ndarray

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Project features of shape (n, dimension) to points of shape (n, n_components), float32."""
        # In float64: equal images then get equal points, in whatever batch they come.
        turned = self.components.T.astype(np.float64)
        points = np.empty((len(features), len(self.components)), np.float32)
        for rows, centred in _Centred(features, self.extractor, self.mean).blocks():
            points[rows] = centred @ turned
        return points


def fit_projection(features: np.ndarray, extractor: str) -> Projection:
    """Fit PCA to min(256, n, d) components, then scale its directions by what neighbours differ in.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
    extractor : str
        Whose features these are.

    Raises
    ------
    SAFEError
        Features are NaN or infinite.
    """
    if not np.isfinite(features).all():
        raise SAFEError("Features must be finite. Received NaN or infinity; are the network's weights damaged?")
    dimension = features.shape[1]
    scaled = _Centred(features, extractor, np.zeros(dimension))
    mean = sum(block.sum(axis=0) for _, block in scaled.blocks()) / len(features)
    if len(features) < 2:  # nothing varies
        return Projection(extractor, mean.astype(np.float32), np.zeros((1, dimension), np.float32))
    centred = _Centred(features, extractor, mean)
    components = _principal_components(centred, min(N_COMPONENTS, *features.shape))
    points = np.concatenate([block @ components.T for _, block in centred.blocks()])
    components = relevant_directions(points) @ components
    return Projection(extractor, mean.astype(np.float32), components.astype(np.float32))


class _Centred:
    """Features, scaled and centred, as blocks of rows in float64: all at once they would be three times the features.

    Attributes
    ----------
    shape : tuple of int
        Of all blocks together.
    """

    def __init__(self, features: np.ndarray, extractor: str, mean: np.ndarray) -> None:
        self.shape = features.shape
        self._features, self._extractor, self._mean = features, extractor, mean.astype(np.float64)

    def blocks(self, before: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Which rows, and the block; only those up to the row `before`, where one begins, if it is given."""
        stop = len(self._features) if before is None else before
        for start in range(0, stop, BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, stop))
            yield rows, comparable(self._features[rows], self._extractor) - self._mean


def _principal_components(centred: _Centred, n_components: int) -> np.ndarray:
    """PCA by the eigenvectors of the smaller of X Xᵀ and Xᵀ X.

    Scikit-learn's exact solvers factor X itself, or always Xᵀ X: they take several times as long for a thousand images
    with four thousand features, and X whole.

    Returns
    -------
    ndarray of shape (n_components, dimension), float64
        The largest first; orthonormal, but 0 where fewer directions vary.
    """
    # Imported here and not above: with it the page would start later.
    from scipy.linalg import eigh
    from scipy.linalg.blas import dsyrk

    n, dimension = centred.shape
    size = min(n, dimension)
    products = np.zeros((size, size), order="F")  # eigh then works in place; it reads the lower triangle
    # One thread: the sums inside differ in their last digits with the number of threads, and so might the labels.
    with threadpool_limits(limits=1):
        for rows, block in centred.blocks():
            if n >= dimension:
                products = dsyrk(1, block.T, beta=1, c=products, lower=True, overwrite_c=True)
                continue
            products[rows, rows] = block @ block.T
            for columns, other in centred.blocks(before=rows.start):
                products[rows, columns] = block @ other.T
        wanted = (size - n_components, size - 1)
        variances, vectors = eigh(products, subset_by_index=wanted, overwrite_a=True, check_finite=False)
        del products
        variances, components = variances[::-1], vectors.T[::-1]
        if n < dimension:
            turned, components = components, np.zeros((n_components, dimension))
            for rows, block in centred.blocks():
                components += turned[:, rows] @ block
        lengths = np.linalg.norm(components, axis=1)
        # Beside the largest, eigenvalues as small as this are rounding, and so would be their directions.
        varies = (variances > variances[0] * 1e-12) & (lengths > 0)
        components /= np.where(varies, lengths, np.inf)[:, None]
    return components
