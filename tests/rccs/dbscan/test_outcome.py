import numpy as np

from safe_dnn.rccs.dbscan.outcome import NOISE, STEADY, Steadiness


def test_an_rcc_is_steady_from_the_bound_on_and_loose_below_it():
    nothing = Steadiness.of_nothing(3, 20)
    shares = np.array([STEADY, np.nextafter(np.float32(STEADY), np.float32(0))], np.float32)
    assert nothing._replace(of_rccs=shares).is_steady.tolist() == [True, False]
    assert nothing.is_steady.shape == (0,)
    assert nothing.beside.tolist() == [NOISE] * 3
