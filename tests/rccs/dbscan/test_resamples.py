"""Random parts of the images."""

import pytest

from safe_dnn.rccs.dbscan.resamples import draw_samples

pytestmark = pytest.mark.usefixtures("all_samples")


def test_images_that_are_left_out_hardly_change_the_samples_of_the_others():
    names = [f"images/{i}.png" for i in range(200)]
    fewer = names[:60] + names[80:]
    for whole, part in zip(draw_samples(names, 20), draw_samples(fewer, 20), strict=True):
        before, after = {names[i] for i in whole} & set(fewer), {fewer[i] for i in part}
        assert len(before ^ after) <= 10  # of about 120; two independent samples differ in about 80
