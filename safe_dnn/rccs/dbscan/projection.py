"""From features to points: scaling, PCA to 256 components, scaling of these, averaging of neighbours. Step 1.

0. On request, a *nuisance variable* is removed (`SetAside`): what separates failing images the most may be no reason
   for failing, such as the person, if the DNN fails equally often on each. The mean of each value is estimated over
   tested images, right and wrong, and subtracted from the scaled features of every image whose value is known; for
   several parameters, the mean of each combination of values. The record is stored with the run, since all images that
   are compared later have to be treated in the same way.
1. Where features consist of several blocks (`features.extractor.blocks_of`), each is scaled to its share of the
   variance before PCA. That scaling becomes part of the components, so that a projection is one matrix for every
   extractor. If images are known that the DNN gets right, `fit_contrast` compares failing images in their contrast with
   these (see `contrast.py`), in place of PCA.
2. The root causes are not known yet, but most of an image's nearest neighbours share its cause. So directions in which
   neighbours differ are scaled down (`relevant_directions`), and images are moved towards the mean of their neighbours
   (`average_neighbours`).

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.2 (PCA before DBSCAN); Bar-Hillel, Hertz, Shental,
Weinshall, JMLR 6, 2005 (relevant component analysis, which scales directions by the variance within given groups; here
the groups are the neighbourhoods).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.features.extractor import blocks_of, comparable
from safe_dnn.rccs.dbscan.contrast import Axis, RightImages, find_contrast
from safe_dnn.rccs.dbscan.density import SAME_POINT
from safe_dnn.rccs.dbscan.neighbours import Points, one_thread, random_part
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

AVERAGING_ROUNDS = 2
EVENNESS = 0.3  # 1: directions keep their scale; 0: the variance of neighbours becomes equal in all directions
LEAST_DIFFERENCE = 1e-3  # least variance of neighbours, relative to that of all images: neighbours may be equal
N_COMPONENTS = 256
RANK = 1e-12  # smaller variances, relative to the largest one, are rounding errors
BLOCK_ROWS = 128  # rows of features that are scaled and centred at a time: 4 to 8 MB
LEAST_VARIANCE = 1e-10  # of a block, relative to its mean square; less is rounding
AXIS = 1.0  # standard deviation of the axis (see `contrast.Axis`), where that of all directions together is 1


def combined(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """The combination of values that each image has, as text; empty if one of them is unknown."""
    return np.array(["\t".join(values) if all(values) else "" for values in zip(*columns, strict=True)], str)


class SetAside(NamedTuple):
    """The effect of nuisance variables, which is subtracted from features.

    Attributes
    ----------
    names : tuple of str
        Of the parameters.
    values : ndarray of shape (n_values,), str
        Their combinations of values, sorted.
    effects : ndarray of shape (n_values + 1, dimension), float32
        What is subtracted from the scaled features of images that have each value; last, 0 where it is unknown.
    """

    names: tuple[str, ...]
    values: np.ndarray
    effects: np.ndarray

    def places(self, column: np.ndarray) -> np.ndarray:
        """Which value each image has, shape (n_images,); n_values if it is unknown or was never met."""
        at = np.minimum(np.searchsorted(self.values, column), len(self.values) - 1)
        return np.where(self.values[at] == column, at, len(self.values))

    def unknown(self, column: np.ndarray) -> int:
        """The number of images whose value is unknown, and from which nothing is subtracted."""
        return int((self.places(column) == len(self.values)).sum())


class Nuisance(NamedTuple):
    """Nuisance variables, and their values for some images, as in `combined`."""

    aside: SetAside
    column: np.ndarray

    def without(self, scaled: np.ndarray, rows: slice) -> np.ndarray:
        """Scaled features of some of the images (see `features.extractor.comparable`) without the nuisance."""
        return scaled - self.aside.effects[self.aside.places(self.column[rows])]


def fit_set_aside(features: np.ndarray, extractor: str, names: tuple[str, ...], column: np.ndarray) -> SetAside:
    """The effect of each value of a nuisance variable: by how much its mean differs from the mean of all.

    Each mean is that of one more image, which is like the mean of all: a single image is no mean.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
        Of tested images, right and wrong; not scaled.
    extractor : str
        Name of their extractor.
    column : ndarray of shape (n_images,), str
        Their values (see `check_column`).
    """
    values = np.unique(column[column != ""])
    sums = np.zeros((len(values) + 1, features.shape[1]))
    aside = SetAside(names, values, sums.astype(np.float32))
    places = aside.places(column)
    for start in range(0, len(features), BLOCK_ROWS):
        scaled, of = comparable(features[start : start + BLOCK_ROWS], extractor), places[start : start + BLOCK_ROWS]
        for place in np.unique(of).tolist():
            sums[place] += scaled[of == place].sum(axis=0, dtype=np.float64)
    counts = np.bincount(places, minlength=len(sums))[:-1, None]
    aside.effects[:-1] = (sums[:-1] - counts * sums[:-1].sum(axis=0) / counts.sum()) / (counts + 1)
    return aside


def check_column(names: Sequence[str], column: np.ndarray) -> None:
    """Check that the values of parameters can be subtracted as a nuisance.

    Raises
    ------
    SAFEError
        Half of its values or more are unknown, all are the same, or it has more than one for two images.
    """
    known = column[column != ""]
    n_values = len(np.unique(known))
    if 2 * len(known) <= len(column) or not 2 <= n_values <= len(known) / 2:
        received = f"{printable(' and '.join(names))}, which has {count(n_values, 'value')}"
        raise SAFEError(
            "Expected a parameter to set aside that is known of more than half of the images, differs between them and "
            f"has values that several have in common. Received {received} and is known of {len(known):,} of "
            f"{count(len(column), 'image')}. Set another one aside, or none."
        )


def neighbourhood(n: int) -> int:
    """Number of nearest neighbours to consider among n points: .45 √n, at least 1 and at most n − 1."""
    return min(max(round(0.45 * np.sqrt(n)), 1), n - 1)


def relevant_directions(points: np.ndarray) -> np.ndarray:
    """Directions scaled such that neighbours differ about equally in all of them.

    What images with one cause differ in is mostly what they show, and nearest neighbours differ in that as well. What
    separates causes varies between images but not between neighbours. After the scaling, distances reflect the latter.
    With C the covariance of all points and N that of neighbours, the directions solve the generalized eigenproblem
    C v = λ ((1 − e) N + e tr(N)/d I) v, where e is `EVENNESS`. Neighbours are determined after `average_neighbours`,
    since more of them then share a cause. See docs/decisions/003-directions-and-neighbours.md.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float
        Of more than `MOST_STORED`, a random part decides.

    Returns
    -------
    ndarray of shape (n_components, n_components), float64
        Directions as rows, for `points @ directions.T`, by decreasing variance of the result.
    """
    # Imported here so that the page starts faster.
    from scipy.linalg import eigh

    points = points[random_part(len(points))]
    centred = np.asarray(points - points.mean(axis=0), dtype=np.float64)
    with one_thread():
        of_neighbours = _covariance_of_neighbours(Points(centred))
        if of_neighbours is None:
            return np.eye(points.shape[1])
        _, directions = eigh(centred.T @ centred / len(centred), of_neighbours)  # by ascending variance
    return directions.T[::-1]


def relevant_scale(points: Points) -> Callable[[np.ndarray], np.ndarray]:
    """What gives points the distances that `relevant_directions` gives them.

    It does not turn them to these directions, which takes longer.

    Returns
    -------
    callable
        Of points, an ndarray of shape (any, n_components), float64, it gives one of the same shape, float32.
    """
    # Imported here so that the page starts faster.
    from scipy.linalg import cholesky, solve_triangular

    with one_thread():
        of_neighbours = _covariance_of_neighbours(points)
        if of_neighbours is None:
            return partial(np.asarray, dtype=np.float32)
        lower = cholesky(of_neighbours, lower=True)
    return lambda points: solve_triangular(lower, points.T, lower=True).T.astype(np.float32)


def _covariance_of_neighbours(points: Points) -> np.ndarray | None:
    """(1 − e) N + e tr(N)/d I of `relevant_directions`; None if all points are equal."""
    n, n_components = points.exact.shape
    centred = points.exact - points.exact.mean(axis=0)
    variance = np.einsum("ij,ij->", centred, centred) / n
    if n < 2 or np.sqrt(variance) < SAME_POINT:
        return None
    nearest = Points(average_neighbours(points)).nearest(neighbourhood(n))[0]
    # The variance of a difference of two points is twice that of each of them.
    of_neighbours = _covariance_of_differences(centred, nearest) / 2
    even = (of_neighbours.trace() + LEAST_DIFFERENCE * variance) / n_components
    return (1 - EVENNESS) * of_neighbours + EVENNESS * even * np.eye(n_components)


def _covariance_of_differences(points: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Covariance of the differences between points and each of their neighbours.

    Their products sum up to Xᵀ L X, where L is the Laplacian of the graph of neighbours: one product of matrices, not
    one for each neighbour.

    Parameters
    ----------
    points : ndarray of shape (n, n_components), float64
        Centred, since rounding errors grow with their norms.
    nearest : ndarray of shape (n, k), int
    """
    # Imported here so that the page starts faster.
    from scipy.sparse import diags_array

    n, k = nearest.shape
    is_neighbour = _graph_of(nearest)
    degrees = k + is_neighbour.sum(axis=0)
    laplacian = (diags_array(degrees) - is_neighbour - is_neighbour.T).tocsr()
    return points.T @ (laplacian @ points) / (n * k)


def _graph_of(nearest: np.ndarray) -> Any:
    """Sparse matrix of shape (n, n), 1 where a column's point is among the `nearest` (of shape (n, k)) of a row's."""
    # Imported here so that the page starts faster.
    from scipy.sparse import csr_array

    n, k = nearest.shape
    return csr_array((np.ones(n * k), (np.repeat(np.arange(n), k), nearest.ravel())), shape=(n, n))


def average_neighbours(points: np.ndarray | Points) -> np.ndarray:
    """Move each point to the mean of itself and its mutual nearest neighbours, twice.

    Images with one cause move together, and other differences, such as what they show, average out. Two points are
    mutual neighbours if each is among the nearest `neighbourhood(n)` points of the other. A small, distant group is not
    mixed with others, since its points are not among the nearest of any other point.
    See docs/decisions/003-directions-and-neighbours.md.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float32, or Points

    Returns
    -------
    ndarray of the same shape, float32
    """
    # Imported here so that the page starts faster.
    from scipy.sparse import eye_array

    cloud = points if isinstance(points, Points) else Points(points)
    n = len(cloud)
    k = neighbourhood(n)
    moved = cloud.exact
    if k < 1:
        return moved.astype(np.float32)
    with one_thread():
        for i in range(AVERAGING_ROUNDS):
            among_nearest = _graph_of((Points(moved) if i else cloud).nearest(k)[0])
            mutual = among_nearest.minimum(among_nearest.T) + eye_array(n, format="csr")
            moved = (mutual @ moved) / mutual.sum(axis=1).reshape(n, 1)
    return np.asarray(moved, dtype=np.float32)


class Projection(NamedTuple):
    """A fitted mapping from features to points.

    Attributes
    ----------
    extractor : str
        Name of the extractor of the features, which determines their scaling (see `features.extractor.comparable`).
    mean : ndarray of shape (dimension,), float32
        Mean of the scaled features.
    components : ndarray of shape (n_components, dimension), float32
        Principal components, rotated and scaled by `relevant_directions`, by decreasing variance.
        They include the scaling of blocks.
    axis : Axis or None
        What is added to the components, if they are those of the contrast with right images.
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
            Subtracted from these features first; the same as when the projection was fitted.
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
        Subtracted from these features first.

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


def fit_contrast(features: np.ndarray, right: RightImages, extractor: str) -> tuple[Projection, np.ndarray] | None:
    """The same by contrast with right images, in place of PCA.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
        Of the failing images.

    Returns
    -------
    projection, coordinates
        As in `fit_projection`, with at most 256 directions and the axis; None if nothing separates failing images.

    Raises
    ------
    SAFEError
        As of `fit_projection`.
    """
    mean, centred = _fitted(features, extractor, None)
    of_right = _Centred(right.features, extractor, mean)
    of_right.joining = centred.joining
    failing = centred.all()
    contrast = find_contrast(failing, of_right.all(), right)
    if contrast is None:
        return None
    joining = 1.0 if centred.joining is None else centred.joining
    failing = failing.astype(np.float64)
    directions, axis = contrast.directions[:N_COMPONENTS], contrast.axis
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
            held_out=axis.held_out - places.mean(),
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
    """PCA by the eigenvectors of the smaller one of X Xᵀ and Xᵀ X (see docs/decisions/012-distances-in-blocks.md).

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
