"""From features to points: scaling, PCA to 256 components, and scaling of the components. Step 1.

Where features consist of several blocks (`features.extractor.blocks_of`), each is scaled to its share of the variance
before PCA. That scaling becomes part of the components, so that a projection is one matrix for every extractor.

Where images are known that the DNN gets right, `fit_apart` compares failing images in what sets them apart from these
(see `contrast.py`), in the place of PCA.

Source: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.2 (PCA before DBSCAN).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.features.extractor import blocks_of, comparable
from safe_dnn.rccs.dbscan.contrast import Axis, RightImages, set_apart
from safe_dnn.rccs.dbscan.one_thread import one_thread
from safe_dnn.rccs.dbscan.relevance import relevant_directions
from safe_dnn.rccs.dbscan.set_aside import Nuisance
from safe_dnn.support.errors import SAFEError

N_COMPONENTS = 256
RANK = 1e-12  # smaller variances, relative to the largest one, are rounding errors
BLOCK_ROWS = 128  # rows of features that are scaled and centred at a time: 4 to 8 MB
LEAST_VARIANCE = 1e-10  # of a block, relative to its mean square; less is rounding
AXIS = 1.0  # standard deviation of the axis (see `contrast.Axis`), where that of all directions together is 1


class Projection(NamedTuple):
    """A fitted mapping from features to points.

    Attributes
    ----------
    extractor : str
        Name of the extractor of the features, which determines their scaling (see `features.extractor.comparable`).
    mean : ndarray of shape (dimension,), float32
        Mean of the scaled features.
    components : ndarray of shape (n_components, dimension), float32
        Principal components, rotated and scaled by `rccs.dbscan.relevance.relevant_directions`, by decreasing variance.
        They include the scaling of blocks.
    axis : Axis or None
        What is added to the components, if they are what sets failing images apart from right ones.
    """

    extractor: str
    mean: np.ndarray
    components: np.ndarray
    axis: Axis | None = None

    def apply(
        self, features: np.ndarray, *, nuisance: Nuisance | None = None, classes: np.ndarray | None = None,
        names: Sequence[str] = (),
    ) -> np.ndarray:  # fmt: skip
        """Project features of shape (n, dimension) to points of shape (n, n_components), float32.

        Parameters
        ----------
        nuisance : Nuisance, optional
            What is set aside from these features before; the same as when the projection was fitted.
        classes : ndarray of shape (n,), str, optional
            True classes, if they are known.
        names : sequence of str, optional
            As of `contrast.RightImages`, of images that the axis may have been learnt from.
        """
        classes = np.full(len(features), "") if classes is None else classes
        names = names or [""] * len(features)
        # In float64, so that equal images get equal points in any batch.
        turned = self.components.T.astype(np.float64)
        points = np.empty((len(features), len(self.components)), np.float32)
        for rows, centred in _Centred(features, self.extractor, self.mean, nuisance).blocks():
            points[rows] = centred @ turned
            if self.axis:
                places = self.axis.places(centred, classes[rows], names[rows])
                points[rows] += places[:, None] * self.axis.into
        return points


def fit_projection(
    features: np.ndarray, extractor: str, *, nuisance: Nuisance | None = None
) -> tuple[Projection, np.ndarray]:
    """Fit PCA with min(256, n_images, dimension) components, then scale them by how much neighbours differ.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
    extractor : str
        Name of their extractor.
    nuisance : Nuisance, optional
        What is set aside from these features before.

    Returns
    -------
    projection : Projection
    coordinates : ndarray of shape (n_images, n_components), float64
        The images along the principal components, before these are scaled.

    Raises
    ------
    SAFEError
        Features are NaN or infinite.
    """
    mean, centred = _fitted(features, extractor, nuisance)
    components = _principal_components(centred, min(N_COMPONENTS, *features.shape))
    coordinates = np.concatenate([block @ components.T for _, block in centred.blocks()])
    components = relevant_directions(coordinates) @ components
    if centred.joining is not None:
        components *= centred.joining
    return Projection(extractor, mean.astype(np.float32), components.astype(np.float32)), coordinates


def fit_apart(features: np.ndarray, right: RightImages, extractor: str) -> tuple[Projection, np.ndarray] | None:
    """The same with what sets failing images apart from right ones, in the place of PCA.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
        Of the failing images.

    Returns
    -------
    projection, coordinates
        As of `fit_projection`, with at most 256 directions and the axis; None if nothing sets failing images apart.

    Raises
    ------
    SAFEError
        As of `fit_projection`.
    """
    mean, centred = _fitted(features, extractor, None)
    of_right = _Centred(right.features, extractor, mean)
    of_right.joining = centred.joining
    failing = centred.all()
    found = set_apart(failing, of_right.all(), right)
    if found is None:
        return None
    joining = 1.0 if centred.joining is None else centred.joining
    failing = failing.astype(np.float64)
    directions, axis = found.directions[:N_COMPONENTS], found.axis
    directions = directions / (np.sqrt(((failing @ directions.T) ** 2).sum(axis=1).mean()) or 1.0)
    coordinates = failing @ directions.T
    if axis is None:
        turned = relevant_directions(coordinates)
    else:
        places = axis.places(failing, right.classes[: len(failing)], right.names[: len(failing)])
        scale = AXIS / (places.std() or 1.0)
        coordinates = np.column_stack([coordinates, scale * (places - places.mean())])
        turned = relevant_directions(coordinates)
        axis = axis._replace(
            directions=(axis.directions * joining).astype(np.float32), offsets=axis.offsets + places.mean(),
            left_out=axis.left_out - places.mean(),
            into=scale * turned[:, -1],
        )  # fmt: skip
    components = turned[:, : len(directions)] @ directions * joining
    return Projection(extractor, mean.astype(np.float32), components.astype(np.float32), axis), coordinates


class _Centred:
    """Features, scaled and centred, as blocks of rows in float64, since a copy would take three times their memory.

    Attributes
    ----------
    shape : tuple of int
        Shape of all features, (n_images, dimension).
    joining : ndarray of shape (dimension,), or None
        What the centred features are multiplied by.
    """

    joining: np.ndarray | None = None

    def __init__(
        self, features: np.ndarray, extractor: str, mean: np.ndarray, nuisance: Nuisance | None = None
    ) -> None:
        self.shape = features.shape
        self._features, self._extractor, self._mean = features, extractor, mean.astype(np.float64)
        self._nuisance = nuisance

    def blocks(self, *, before: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (rows, block); only the blocks before the row `before`, at which a block begins, if that is given."""
        stop = len(self._features) if before is None else before
        for start in range(0, stop, BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, stop))
            scaled = comparable(self._features[rows], self._extractor)
            centred = (self._nuisance.without(scaled, rows) if self._nuisance else scaled) - self._mean
            yield rows, centred if self.joining is None else centred * self.joining

    def all(self) -> np.ndarray:
        """All rows at once, in float32."""
        return np.concatenate(
            [np.zeros((0, self.shape[1]), np.float32), *(block.astype(np.float32) for _, block in self.blocks())]
        )


def _fitted(features: np.ndarray, extractor: str, nuisance: Nuisance | None) -> tuple[np.ndarray, _Centred]:
    """The mean of scaled features, float64, and the features less it, with blocks joined; SAFEError if not finite."""
    if not np.isfinite(features).all():
        raise SAFEError("Features must be finite. Received NaN or infinity. The network's weights may be damaged.")
    scaled = _Centred(features, extractor, np.zeros(features.shape[1]), nuisance)
    mean = sum(block.sum(axis=0) for _, block in scaled.blocks()) / len(features)
    centred = _Centred(features, extractor, mean, nuisance)
    centred.joining = _joining(centred, extractor, mean)
    return mean, centred


def _joining(centred: _Centred, extractor: str, mean: np.ndarray) -> np.ndarray | None:
    """What each feature is multiplied by so that each block has its share of the variance (see `blocks_of`).

    Returns
    -------
    ndarray of shape (dimension,), float64, or None
        None if the features are one block. 0 for a block that does not vary.
    """
    blocks = blocks_of(extractor)
    if not blocks:
        return None
    n, dimension = centred.shape
    variances = sum(np.einsum("ij,ij->j", rows, rows) for _, rows in centred.blocks()) / n
    joining = np.zeros(dimension)
    for columns, weight in blocks:
        variance, square = variances[columns].sum(), (mean[columns] ** 2).sum()
        if variance > LEAST_VARIANCE * square:
            joining[columns] = weight / np.sqrt(variance)
    return joining


def _principal_components(centred: _Centred, n_components: int) -> np.ndarray:
    """PCA by the eigenvectors of the smaller one of X Xᵀ and Xᵀ X (see docs/decisions/013-pca-in-blocks.md).

    Returns
    -------
    ndarray of shape (n_components, dimension), float64
        Orthonormal rows by decreasing variance; rows beyond the rank of X are 0.
    """
    # Imported here so that the page starts faster.
    from scipy.linalg import eigh, get_blas_funcs

    n, dimension = centred.shape
    size = min(n, dimension)
    products = np.zeros((size, size), order="F")  # eigh works in place and reads the lower triangle
    syrk = get_blas_funcs("syrk", (products,))  # adds AᵀA or AAᵀ to a triangle of a symmetric matrix
    with one_thread():
        for rows, block in centred.blocks():
            if n >= dimension:
                products = syrk(1, block.T, beta=1, c=products, lower=True, overwrite_c=True)
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
        varies = (variances > variances[0] * RANK) & (lengths > 0)
        components /= np.where(varies, lengths, np.inf)[:, None]
    return components
