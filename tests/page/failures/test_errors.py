"""The errors of a regression as the page draws them, beside the threshold, and true against predicted values."""

from pathlib import Path

import numpy as np
import pytest

from safe_dnn.analysis import Analysis
from safe_dnn.dnn.failures import collect_failures
from safe_dnn.dnn.model import DnnOptions
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.page.failures.view import error_histogram, fit_table
from tests.helpers.laid_out import shown_in
from tests.helpers.small_models import draw_set

TARGETS = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0]
ANSWERS = [0.0, 0.1, 0.0, 0.5, 0.5, 0.9, -0.4, -1.0, -0.95]


def shown(tmp_path: Path, threshold: float, name: str = "steering") -> AnsweredImages:
    """Nine images with the targets and answers above."""
    test = draw_set(tmp_path / "test", 3)
    images = sorted(path.relative_to(test).as_posix() for path in test.rglob("*.png"))
    for file, numbers in (("targets.csv", TARGETS), ("answers.csv", ANSWERS)):
        rows = [f"{image},{number}" for image, number in zip(images, numbers, strict=True)]
        (tmp_path / file).write_text("\n".join([f"image,{name}", *rows]))
    options = DnnOptions(targets=tmp_path / "targets.csv", threshold=threshold)
    collect_failures(tmp_path / "answers.csv", test, tmp_path / "out", options=options)
    return Analysis(tmp_path / "out").failures


@pytest.mark.parametrize("threshold", [0.1, 0.05, 0.5])
def test_the_slider_says_how_many_images_fail_when_they_are_collected_with_its_threshold(tmp_path, threshold):
    drawn = error_histogram(shown(tmp_path, threshold=0.2))
    assert (drawn["threshold"], drawn["failing"], drawn["of"]) == (0.2, 3, 9)
    place = round(threshold / drawn["step"])
    failing = len(shown(tmp_path, threshold).failing)
    assert drawn["above"][place] == failing
    assert drawn["above"][0] == np.count_nonzero(np.array(TARGETS) != ANSWERS)
    assert drawn["above"][-1] == 0
    bars = [int(images) for images in shown_in(drawn["drawn"], "i", "title")]
    assert sum(bars) == 9
    assert len(bars) * drawn["per"] >= len(drawn["above"]) - 1


def test_mean_absolute_error_and_r2_are_of_the_target_and_an_angle_has_no_r2(tmp_path):
    off = np.array(ANSWERS) - TARGETS
    table = fit_table(shown(tmp_path, 0.2))
    assert f"steering</th><td>{np.abs(off).mean():.3g}</td><td>{1 - (off**2).sum() / 6:.3f}</td>" in table
    assert "</td><td>–</td>" in fit_table(shown(tmp_path, 0.2, "yaw_deg"))
