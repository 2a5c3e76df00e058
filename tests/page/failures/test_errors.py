"""The errors of a regression as the page draws them, beside the threshold, and true against predicted values."""

from pathlib import Path

import numpy as np
import pytest

from safe_dnn.analysis import Analysis
from safe_dnn.dnn.failures import collect_failures
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.options import DnnOptions
from safe_dnn.page.failures.tab import error_histogram, error_scale, fit_table
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
def test_the_errors_say_how_many_images_fail_when_they_are_collected_with_a_threshold(tmp_path, threshold):
    answered = shown(tmp_path, threshold=0.2)
    assert "Above 0.2: 3 of 9 fail (33.3%).</p>" in error_histogram(answered, 0.2)
    drawn = error_histogram(answered, threshold)
    failing = len(shown(tmp_path, threshold).failing)
    assert f"Above {threshold:g}: {failing} of 9 fail ({failing / 9:.1%}). Collected above 0.2: 3.</p>" in drawn
    assert sum(int(images) for images in shown_in(drawn, "i", "title")) == 9
    assert "Above 0: 6 of 9 fail" in error_histogram(answered, 0)
    largest, step = error_scale(answered)
    assert largest - 5 * step < 0.6 <= largest
    assert f"Above {largest:g}: 0 of 9 fail" in error_histogram(answered, largest)


def test_mean_absolute_error_and_r2_are_of_the_target_and_an_angle_has_no_r2(tmp_path):
    off = np.array(ANSWERS) - TARGETS
    table = fit_table(shown(tmp_path, 0.2))
    assert f"steering</th><td>{np.abs(off).mean():.3g}</td><td>{1 - (off**2).sum() / 6:.3f}</td>" in table
    assert "</td><td>–</td>" in fit_table(shown(tmp_path, 0.2, "yaw_deg"))
