"""The interval of a rate, and its limits (Clopper & Pearson, Biometrika 26(4), 1934)."""

import numpy as np

LEFT_OUT = 0.05  # what a 95 % interval leaves out


def clopper_pearson(wrong: np.ndarray, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact 95 % interval of a rate; 0 to 1 if nothing was tested.

    Parameters
    ----------
    wrong, tested : ndarray of shape (n,), int
        Or float: effective numbers, of images that are not independent (see `rccs.spots.figures`).

    Returns
    -------
    low, high : ndarray of shape (n,), float64
    """
    from scipy.special import betaincinv

    right = tested - wrong
    low = betaincinv(np.where(wrong > 0, wrong, 1), right + 1, LEFT_OUT / 2)
    high = betaincinv(wrong + 1, np.where(right > 0, right, 1), 1 - LEFT_OUT / 2)
    return np.where(wrong > 0, low, 0.0), np.where(right > 0, high, 1.0)


def upper_limit(wrong: float, tested: float, confidence: float) -> float:
    """The rate that is not exceeded with this confidence, one-sided.

    If none is wrong, it is 1 − (1 − confidence)^(1 / tested).
    """
    from scipy.special import betaincinv

    return float(betaincinv(wrong + 1, tested - wrong, confidence)) if wrong < tested else 1.0


def lower_limit(wrong: float, tested: float, confidence: float) -> float:
    """The rate that is exceeded with this confidence: one-sided; 0 if none is wrong."""
    from scipy.special import betaincinv

    return float(betaincinv(wrong, tested - wrong + 1, 1 - confidence)) if wrong > 0 else 0.0
