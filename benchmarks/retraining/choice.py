"""The choices of improvement images that `benchmarks.retraining` compares.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 4.6 (BL1, BL2); Settles, "Active Learning Literature Survey",
2009 (entropy); Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985 (farthest first).
"""

from typing import NamedTuple

import numpy as np

from selection import choose_half, contested, quotas

STRATEGIES = (
    "none",
    "SAFE",
    "SAFE by size",
    "SAFE + entropy",
    "SAFE + spread",
    "SAFE + likely wrong",
    "BL1",
    "BL1 counted",
    "BL2",
    "entropy",
)
NEEDS_NO_LABEL = ("none",)
DESCRIPTIONS = {
    "none": "trained further without new images",
    "SAFE": "SAFE's unsafe set: of each RCC the nearest, the same number; in training, too, every RCC weighs the same",
    "SAFE by size": "as `select --quota size` chooses: the more of an RCC the more failing images it has; every image "
    "weighs the same",
    "SAFE + entropy": "of each RCC's nearest four quotas, those on which the model's output has the highest entropy",
    "SAFE + spread": "of each RCC's nearest four quotas, those farthest from one another",
    "SAFE + likely wrong": "as `select --model` chooses: of each RCC half are the nearest, half, out of the next four "
    "times as many, those on which the model's output is most like outputs that were wrong on test images",
    "BL1": "random ones of those that the model gets wrong, which takes the labels of all; then random others",
    "BL1 counted": "those that the model gets wrong among as many random ones: BL1 where every label taken is counted; "
    "repeated to the number of the others",
    "BL2": "random ones",
    "entropy": "those on which the model's output has the highest entropy",
}
BY_SIZE = "SAFE by size"
REACH = 4  # quotas of an RCC's nearest images among which an option of SAFE chooses


class Pool(NamedTuple):
    """What is known of the improvement images.

    Attributes
    ----------
    rcc : ndarray of shape (n_images,), int
    distance : ndarray of shape (n_images,), float
        To the nearest core point.
    points : ndarray of shape (n_images, n_components), float32
    entropy : ndarray of shape (n_images,), float
        Of the model's output.
    likely_wrong : ndarray of shape (n_images,), float
        As `dnn.failure_prediction.likely_wrong` gives it.
    wrong : ndarray of shape (n_images,), bool
        Whether the model gets it wrong: only the strategies named BL1 may look.
    sizes : ndarray of shape (n_rccs,), int
        Failing images in each RCC.
    """

    rcc: np.ndarray
    distance: np.ndarray
    points: np.ndarray
    entropy: np.ndarray
    likely_wrong: np.ndarray
    wrong: np.ndarray
    sizes: np.ndarray


def entropy_of(outputs: np.ndarray) -> np.ndarray:
    """Entropy of probabilities of shape (n_images, n_classes), in nats."""
    kept = np.clip(outputs, 1e-12, 1)
    return -(kept * np.log(kept)).sum(axis=1)


def choose_images(strategy: str, n: int, pool: Pool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Choose n improvement images; what is not random does not use `rng`.

    Returns
    -------
    chosen : ndarray of shape (n,), int
    groups : ndarray of shape (n,), int
        What weighs the same in training: each RCC, or each image where all are one group (see `retrain.weighed`).
    """
    total = len(pool.rcc)
    if strategy.startswith("SAFE"):
        chosen = _choose_by_rcc(strategy, n, pool)
        return chosen, np.zeros(n, int) if strategy == BY_SIZE else pool.rcc[chosen]
    if strategy == "BL1":
        order = rng.permutation(total)
        chosen = order[np.argsort(~pool.wrong[order], kind="stable")][:n]
    elif strategy == "BL1 counted":
        drawn = rng.permutation(total)[:n]
        wrong = drawn[pool.wrong[drawn]]
        chosen = np.resize(wrong if len(wrong) else drawn, n)
    elif strategy == "BL2":
        chosen = rng.permutation(total)[:n]
    elif strategy == "entropy":
        chosen = np.argsort(-pool.entropy, kind="stable")[:n]
    else:
        raise ValueError(f"expected a strategy that chooses images, received {strategy}")
    return chosen, np.zeros(len(chosen), int)


def _choose_by_rcc(strategy: str, n: int, pool: Pool) -> np.ndarray:
    available = np.bincount(pool.rcc, minlength=len(pool.sizes))
    chosen = []
    taken = quotas(n, pool.sizes, available, by="size" if strategy == BY_SIZE else "equal")
    for rcc, quota in enumerate(taken.tolist()):
        members = np.flatnonzero(pool.rcc == rcc)
        nearest = members[np.argsort(pool.distance[members], kind="stable")]
        if strategy.endswith("+ entropy"):
            near = nearest[: REACH * quota]
            nearest = near[np.argsort(-pool.entropy[near], kind="stable")]
        elif strategy.endswith("+ spread"):
            near = nearest[: REACH * quota]
            nearest = near[farthest_first(pool.points[near], quota)]
        elif strategy.endswith("+ likely wrong"):
            nearest = nearest[choose_half(quota, pool.likely_wrong[nearest[contested(quota)]])]
        chosen.append(nearest[:quota])
    return np.concatenate(chosen)


def farthest_first(points: np.ndarray, n: int) -> np.ndarray:
    """The first point, then each time the one farthest from those chosen already: n indices, fewer of fewer points."""
    if not len(points) or not n:
        return np.empty(0, int)
    chosen = [0]
    gap = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < min(n, len(points)):
        gap[chosen] = -1  # equal points are chosen too, but none twice
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)
