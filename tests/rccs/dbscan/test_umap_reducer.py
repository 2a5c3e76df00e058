import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from safe_dnn.rccs import image_map as maps
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.dbscan.tuning import agreement, divide, without_strays


@pytest.mark.slow  # a fresh interpreter, and numba compiles
def test_umap_is_used_without_importing_tensorflow():
    code = (
        "import sys; from safe_dnn.rccs.dbscan.tuning import load_umap; import numpy as np; "
        "assert load_umap()(5, 2, n_epochs=2).fit_transform(np.eye(30)).shape == (30, 2); "
        "assert 'tensorflow' not in sys.modules; assert 'umap.parametric_umap' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(maps.__file__).parents[2])


def test_agreement_is_the_mean_jaccard_index_over_the_images():
    sizes = np.array([10, 6, 4])
    assert agreement(np.repeat(0, 10), sizes) == 1
    assert agreement(np.repeat(0, 5), sizes) == pytest.approx(5 / 10)
    # 6 and 4 of ten, of RCCs of 6 and 4: each index is its share of the ten
    assert agreement(np.repeat([1, 2], [6, 4]), sizes) == pytest.approx(0.6 * 0.6 + 0.4 * 0.4)
    assert agreement(np.repeat([1, 0], [6, 3]), sizes) == pytest.approx((6 * 6 / 9 + 3 * 3 / 16) / 9)


def in_a_row(*where):
    return Points(np.array(where, dtype=float)[:, None])


def test_an_rcc_is_divided_where_its_parts_are_worth_more():
    labels = np.zeros(12, int)
    other = np.array([0] * 5 + [1] * 5 + [NOISE, 2])
    images = in_a_row(0, 1, 2, 3, 4, 20, 21, 22, 23, 24, 6, 19)
    divided, is_core = divide(labels, np.ones(12, bool), other, worth=lambda members: 1, images=images)
    assert divided.tolist() == [0] * 5 + [1] * 5 + [0, 1], "the others join the nearest part"
    assert is_core.tolist() == [True] * 10 + [False] * 2
    whole, is_core = divide(labels, np.ones(12, bool), other, worth=len, images=images)
    assert whole.tolist() == labels.tolist(), "ten are not worth more than twelve"
    assert is_core.all()


def test_an_image_stays_with_half_of_its_neighbours():
    labels = np.array([0] * 7 + [1] * 6 + [NOISE])
    neighbours = np.array([[1, 2]] * 5 + [[0, 8], [8, 9]] + [[8, 9]] * 6 + [[8, 9]])
    found, is_core = without_strays(labels, labels != NOISE, neighbours)
    assert found.tolist() == [0] * 6 + [NOISE] + [1] * 6 + [NOISE]
    assert is_core.tolist() == (found != NOISE).tolist()
