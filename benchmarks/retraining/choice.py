"""The strategies for selecting improvement images that `benchmarks.retraining` compares.

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
    "SAFE by size + likely wrong",
    "BL1",
    "BL1 counted",
    "BL2",
    "entropy",
)
NEEDS_NO_LABEL = ("none",)
DESCRIPTIONS = {
    "none": "further training without new images",
    "SAFE": "as with `select --quota equal`, the paper's choice: the nearest images of each RCC, the same number for "
    "each; in training, every RCC has the same weight",
    "SAFE by size": "SAFE's default: numbers in proportion to the RCCs' failing images; in training, every image has "
    "the same weight",
    "SAFE + entropy": "of the nearest images of each RCC, four times its quota, those with the highest entropy of the "
    "model's output",
    "SAFE + spread": "of the nearest images of each RCC, four times its quota, those farthest from one another",
    "SAFE + likely wrong": "as with `select --quota equal --model`: for each RCC, half of the quota are the nearest "
    "images; the other half are, of the next ones, four times as many, those whose outputs are most similar to outputs "
    "of misclassified test images",
    "SAFE by size + likely wrong": "the same with numbers in proportion, as with `select --model`",
    "BL1": "random images among those that the model misclassifies, which requires the labels of all images; then "
    "random others",
    "BL1 counted": "the misclassified ones among random images of the same number, which is BL1 if every label used is "
    "counted; repeated up to the number of the others",
    "BL2": "random images",
    "entropy": "images with the highest entropy of the model's output",
}
BY_SIZE = "SAFE by size"
REACH = 4  # candidates of an RCC, in quotas, for the variants of SAFE


class Pool(NamedTuple):
    """What is known about the improvement images.

    Attributes
    ----------
    rcc : ndarray of shape (n_images,), int
    distance : ndarray of shape (n_images,), float
        Distance to the nearest core point.
    points : ndarray of shape (n_images, n_components), float32
    entropy : ndarray of shape (n_images,), float
        Entropy of the model's output.
    likely_wrong : ndarray of shape (n_images,), float
        As returned by `dnn.failure_prediction.likely_wrong`.
    wrong : ndarray of shape (n_images,), bool
        Whether the model misclassifies the image; used only by the strategies named BL1.
    sizes : ndarray of shape (n_rccs,), int
        Number of failing images in each RCC.
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
    """Select n improvement images; only random strategies use `rng`.

    Returns
    -------
    chosen : ndarray of shape (n,), int
    groups : ndarray of shape (n,), int
        Groups with the same weight in training: each RCC, or all images as one group (see `retrain.weighed`).
    """
    total = len(pool.rcc)
    if strategy.startswith("SAFE"):
        chosen = _choose_by_rcc(strategy, n, pool)
        return chosen, np.zeros(n, int) if strategy.startswith(BY_SIZE) else pool.rcc[chosen]
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
        raise ValueError(f"expected a strategy that selects images, received {strategy}")
    return chosen, np.zeros(len(chosen), int)


def _choose_by_rcc(strategy: str, n: int, pool: Pool) -> np.ndarray:
    available = np.bincount(pool.rcc, minlength=len(pool.sizes))
    chosen = []
    taken = quotas(n, pool.sizes, available, by="size" if strategy.startswith(BY_SIZE) else "equal")
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
    """The first point, then repeatedly the one farthest from those chosen so far: at most n indices."""
    if not len(points) or not n:
        return np.empty(0, int)
    chosen = [0]
    gap = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < min(n, len(points)):
        gap[chosen] = -1  # equal points may be chosen, but no point twice
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)
