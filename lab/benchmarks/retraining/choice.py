"""The strategies for selecting improvement images that `lab.benchmarks.retraining` compares.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 4.6 (BL1, BL2); Settles, "Active Learning Literature Survey",
2009 (entropy, margin); Gao et al., "Consistency-based semi-supervised active learning", ECCV 2020 (consistency); Sener
& Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018 (k-centre); Gonzalez,
"Clustering to minimize the maximum intercluster distance", 1985 (farthest first).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.selection import choose_half, contested, quotas

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
    "margin",
    "consistency",
    "k-centre",
)
NEEDS_NO_LABEL = ("none",)
NEEDS_HIDDEN_LABELS = ("BL1", "BL1 counted")  # of images that are not selected
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
    "SAFE by size + likely wrong": "the same with numbers in proportion, as with `select --model`; the page's default "
    "where SAFE has run the network itself",
    "BL1": "random images among those that the model misclassifies, which requires the labels of all images; then "
    "random others",
    "BL1 counted": "the misclassified ones among random images of the same number, which is BL1 if every label used is "
    "counted; repeated up to the number of the others",
    "BL2": "random images",
    "entropy": "images with the highest entropy of the model's output",
    "margin": "images with the smallest difference between the two highest probabilities",
    "consistency": "images whose outputs change most when the image is shifted, made brighter or darker, or noisy",
    "k-centre": "images far from one another: repeatedly the one farthest from those chosen so far",
}
BY_SIZE = "SAFE by size"
CONSISTENCY = "consistency"
REACH = 4  # candidates of an RCC, in quotas, for the variants of SAFE


class Pool(NamedTuple):
    """What is known about the improvement images.

    Attributes
    ----------
    rcc : ndarray of shape (n_images,), int
    distance : ndarray of shape (n_images,), float
        Distance to the nearest core point.
    points : ndarray of shape (n_images, n_components), float32
    entropy, margin, change : ndarray of shape (n_images,), float
        Entropy of the model's output, the difference of its two highest probabilities, and how much it changes with
        the image (see `output_change`). The last, which takes long, is None unless a strategy needs it.
    likely_wrong : ndarray of shape (n_images,), float
        As returned by `safe_dnn.dnn.failure_prediction.likely_wrong`.
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
    margin: np.ndarray
    change: np.ndarray | None


def entropy_of(outputs: np.ndarray) -> np.ndarray:
    """Entropy of probabilities of shape (n_images, n_classes), in nats."""
    kept = np.clip(outputs, 1e-12, 1)
    return -(kept * np.log(kept)).sum(axis=1)


def margin_of(outputs: np.ndarray) -> np.ndarray:
    """Difference of the two highest of the probabilities, of shape (n_images, n_classes)."""
    highest = np.sort(outputs, axis=1)
    return highest[:, -1] - highest[:, -2]


def transformed(pixels: np.ndarray) -> list[np.ndarray]:
    """Images as they might as well have been: shifted by a twentieth, brighter and darker by a tenth, noisy.

    Parameters
    ----------
    pixels : ndarray of shape (n_images, height, width, channels), uint8
    """
    _, height, width, _ = pixels.shape
    rows, columns = max(1, height // 20), max(1, width // 20)
    shifts = [np.roll(pixels, (y, x), (1, 2)) for y, x in ((rows, 0), (-rows, 0), (0, columns), (0, -columns))]
    lights = [np.clip(pixels * factor, 0, 255).astype(np.uint8) for factor in (0.9, 1.1)]
    noise = np.random.default_rng(0).normal(0, 5, pixels.shape)
    return [*shifts, *lights, np.clip(pixels + noise, 0, 255).astype(np.uint8)]


def output_change(outputs: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Mean total variation distance between an image's output and those for its transformed copies, shape (n_images,).

    Parameters
    ----------
    outputs : ndarray of shape (n_images, n_classes)
    others : sequence of ndarray of the same shape
    """
    return np.mean([np.abs(outputs - other).sum(axis=1) / 2 for other in others], axis=0)


def choose_images(strategy: str, n: int, pool: Pool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Select n improvement images; only random strategies use `rng`.

    Returns
    -------
    chosen : ndarray of shape (n,), int
    groups : ndarray of shape (n,), int
        Groups with the same weight in training: each RCC, or all images as one group (see `training.material.weighed`).
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
    elif strategy == "margin":
        chosen = np.argsort(pool.margin, kind="stable")[:n]
    elif strategy == CONSISTENCY and pool.change is not None:
        chosen = np.argsort(-pool.change, kind="stable")[:n]
    elif strategy == "k-centre":
        chosen = farthest_first(pool.points, n)
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
