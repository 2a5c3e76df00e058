import numpy as np

from safe_dnn.rccs.dbscan.outcome import NOISE, STEADY, Steadiness


def test_an_rcc_is_steady_from_the_bound_on_and_loose_below_it():
    shares = np.array([STEADY, np.nextafter(np.float32(STEADY), np.float32(0))], np.float32)
    of_images = np.zeros(3, np.float32)
    assert Steadiness(shares, of_images, np.full(3, NOISE), of_images, 20).is_steady.tolist() == [True, False]
