import numpy as np

from safe_dnn.casestudies.camera import SIDE
from safe_dnn.casestudies.eyes import render
from tests.helpers import cases


def test_an_image_is_fixed_by_its_parameters_whatever_was_rendered_before():
    first = render(cases.PLAIN)
    render(cases.an_eye(seed=2, eyewear="glasses"))
    assert first.shape == (SIDE, SIDE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(render(cases.PLAIN), first)
