"""The images below the map, without a browser."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from safe_dnn.page.clusters.failing_images import ImagesView
from tests.helpers.laid_out import laid_out, settings_of


def test_right_images_under_a_condition_stand_beside_those_that_fail(explained):
    settings = settings_of(explained.out)

    def lay_out() -> ImagesView:
        view = ImagesView(settings)
        view.lay_out_grid()
        return view

    view, shown = laid_out(lay_out), settings.results.state()
    assert view.show_right(shown, 0) == {view.right: ""}, "all nights are wrong"
    assert view.show_right(shown, -1) == {view.right: ""}, "an RCC alone"
    compared = shown.reasons.comparison
    three = np.arange(compared.right_in_spots.shape[1])[None] < 3
    reasons = replace(shown.reasons, comparison=compared._replace(right_in_spots=three))
    html = view.show_right(SimpleNamespace(reasons=reasons, runs=shown.runs, record=shown.record), 0)[view.right]
    assert "3 images under this condition that the network gets right" in html
    assert html.count("src='data:image/webp") == 3
