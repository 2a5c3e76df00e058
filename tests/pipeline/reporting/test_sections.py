import numpy as np

from safe_dnn.pipeline.reporting.sections import row_html
from safe_dnn.reasons.comparison import Comparison, Reasons
from tests.helpers.small_models import clusters_of


def test_the_row_goes_from_one_end_to_the_other_and_only_where_rccs_say_little(tmp_path):
    clusters = clusters_of(tmp_path, {f"a{i:02d}.png": i % 2 for i in range(40)})
    places = np.arange(40, dtype=np.float32)[::-1]
    nearest, right = np.roll(np.arange(40), 2), np.arange(40).repeat(10)  # both RCCs fail alike
    found = Reasons((), (), Comparison(np.arange(40), nearest, right, places=places, told_apart=0.8), 0.1)
    told, paths = found.in_a_row(clusters)
    assert told.startswith("RCCs that fail more often, without any that holds most failing images, hold 0% of them. ")
    assert told.endswith("tells which is which in 80% of pairs; chance in 50%.")
    assert paths == [f"a{i:02d}.png" for i in (39, 34, 29, 24, 19, 15, 10, 5, 0)]
    assert paths[0] in row_html(told, dict.fromkeys(paths, "data:"))
    all_in_more = found._replace(comparison=found.comparison._replace(of_right=np.full(400, -1)))
    assert all_in_more.in_a_row(clusters) is None
    one = clusters_of(tmp_path, {path: int(path < "a12") for path in clusters.paths})  # of which one holds most
    assert all_in_more.in_a_row(one) is None  # and nothing else looks like its images
    beside = all_in_more.comparison._replace(of_right=np.repeat([20, -1], [60, 340]))
    assert "hold 30% of them" in all_in_more._replace(comparison=beside).in_a_row(one)[0]
    assert found._replace(comparison=found.comparison._replace(places=None)).in_a_row(clusters) is None
