"""Points in known groups, and their distances."""

import numpy as np


def groups(sizes, spread=0.1, dimension=10, seed=0):
    """Gaussian groups around corners of a simplex, and which group each point is of."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    points = 2 * np.eye(dimension)[owner % dimension] * (1 + owner[:, None] // dimension)
    return (points + rng.normal(0, spread, points.shape)).astype(np.float32), owner


def pairwise_distances(points):
    """All n² distances, by the definition, in float64."""
    exact = points.astype(float)
    return np.sqrt(np.square(exact[:, None] - exact).sum(axis=2))
