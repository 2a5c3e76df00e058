"""A table of drawn drivers, for searches of weak spots."""

import numpy as np

from safe_dnn.rccs.spots.weak_spots import WeakSpot, find_weak_spots

CLASSES = ("left", "right", "centre")


def driving(n: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Known columns of drawn images, and which of them a DNN gets wrong: 9 in 10 at night, 4 in 10 on turned heads."""
    rng = np.random.default_rng(seed)
    label = rng.choice(CLASSES, n)
    night = rng.random(n) < 0.15
    light = np.where(night, rng.uniform(0.01, 0.05, n), rng.uniform(0.5, 1, n))
    head = rng.uniform(-40, 40, n)
    wrong = rng.random(n) < np.select([night, head > 25], [0.9, 0.4], 0.02)
    columns = {
        "label": label,
        "person": rng.choice([f"p{i}" for i in range(20)], n), "light": light, "head_deg": head,
        "brightness": light * 0.5 + rng.normal(0, 0.02, n), "hue_deg": rng.uniform(0, 360, n),
    }  # fmt: skip
    return columns, wrong


def search(columns, wrong, **options) -> list[WeakSpot]:
    return find_weak_spots(columns, wrong, measured=("brightness", "hue_deg"), label="label", **options)


def names(spot: WeakSpot) -> set[str]:
    return {literal.column for literal in spot.literals}
