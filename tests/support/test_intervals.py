import numpy as np
import pytest

from safe_dnn.support.intervals import clopper_pearson


def test_the_interval_is_that_of_clopper_and_pearson():
    low, high = clopper_pearson(np.array([0, 5, 10, 0]), np.array([10, 10, 10, 0]))
    end = 0.025**0.1  # where 10 of 10 have a probability of 2.5 %
    assert low.tolist() == pytest.approx([0, 0.1871, end, 0], abs=1e-4)
    assert high.tolist() == pytest.approx([1 - end, 0.8129, 1, 1], abs=1e-4)
