"""The interval of a rate (Clopper & Pearson, Biometrika 26(4), 1934)."""

import numpy as np

LEFT_OUT = 0.05  # what a 95 % interval leaves out


def clopper_pearson(wrong: np.ndarray, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact 95 % interval of a rate; 0 to 1 if nothing was tested.

    Parameters
    ----------
    wrong, tested : ndarray of shape (n,), int

    Returns
    -------
    low, high : ndarray of shape (n,), float64
    """
    from scipy.special import betaincinv

    right = tested - wrong
    low = betaincinv(np.maximum(wrong, 1), right + 1, LEFT_OUT / 2)
    high = betaincinv(wrong + 1, np.maximum(right, 1), 1 - LEFT_OUT / 2)
    return np.where(wrong > 0, low, 0.0), np.where(right > 0, high, 1.0)
