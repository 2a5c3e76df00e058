"""What is known of tested images, and what only says that they are wrong."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from safe_dnn.dnn.tested import AnsweredImages, read_predictions
from safe_dnn.rccs.answers import ERROR, Answers
from safe_dnn.rccs.spots.rates import Placed
from safe_dnn.reasons.comparison import Comparison
from safe_dnn.reasons.known import doubts_on, known_of, weak_spots_of
from tests.helpers.answered import draw_case


@pytest.fixture
def tested(tmp_path) -> AnsweredImages:
    case = draw_case(tmp_path)
    return read_predictions(case.table, case.test)


def test_a_parameter_that_is_known_only_of_failing_images_is_no_reason(tested):
    places = zip(tested.paths, tested.right.tolist(), strict=True)
    rows = [f"{path},{row % 3},{'' if right else row % 2}" for row, (path, right) in enumerate(places)]
    (tested.root / "parameters.csv").write_text("\n".join(["image,weather,remark", *rows]))
    columns = known_of(tested).columns
    assert "weather" in columns
    assert "remark" not in columns


def test_an_answer_that_is_the_class_of_no_image_is_no_condition(tested):
    """It would say that it is wrong."""
    tested.source.write_text(tested.source.read_text().replace("snow,wood,", "snow,missed,"))
    missed = read_predictions(tested.source, tested.root)
    known = known_of(missed)
    assert (missed.answers.predicted == "missed").sum() == 8
    assert {*known.columns["label"]} == {"night", "snow", "wood"}
    assert "missed" not in known.columns["predicted"]
    assert (known.columns["predicted"] == "").sum() == 8


@pytest.mark.parametrize("has_name", [True, False])
def test_a_target_that_is_also_a_parameter_is_known_once_by_its_own_name(tested, has_name):
    angle = np.linspace(-1, 1, len(tested.paths))
    rows = [f"{path},{x:.7f},{x:.7f},{abs(x):.7f}" for path, x in zip(tested.paths, angle, strict=True)]
    (tested.root / "parameters.csv").write_text("\n".join(["image,angle,copied,speed", *rows]))
    label = np.array([f"{x:.6g}" for x in angle])
    answers = tested.answers._replace(label=label, predicted=label, kind=ERROR)
    answers = answers._replace(target="angle") if has_name else answers
    known = known_of(dataclasses.replace(tested, answers=answers))
    assert {*known.columns} - known.measured == {"angle", "predicted", "speed"}
    assert known.columns["angle"].tolist() == pytest.approx(angle, abs=1e-5)
    assert known.notes == ("Taken as the target, not as a parameter: angle, copied.",)


def test_a_target_is_no_answer_under_another_name_though_right_and_wrong_follow_from_it(tmp_path):
    """A network that answers 0 whatever it sees is right where the target is near 0."""
    angle = np.linspace(-1, 1, 1000).round(3)
    answers = Answers(angle.astype(str), np.full(1000, "0"), np.abs(angle).astype(np.float32), ERROR, "angle")
    paths = tuple(f"{row:04}.png" for row in range(1000))
    blind = AnsweredImages(tmp_path / "x.csv", tmp_path, paths, answers, np.abs(angle) < 0.5, has_images=False)
    spots = weak_spots_of(blind, known_of(blind))
    assert [({one.column for one in spot.literals}, spot.doubted) for spot in spots] == [({"angle"}, False)]
    assert doubts_on(spots) == ()


def test_a_fresh_image_lies_in_a_region_only_among_failing_images_of_the_first_test_set():
    clusters, right = SimpleNamespace(points=np.arange(6.0)[:, None]), np.arange(4.5, 12)[:, None]
    failing = np.arange(6)
    found = Comparison(failing, failing, failing, rows=np.arange(14), right_points=right)
    fresh, classes = Placed(np.array([[1.0], [11], [11]]), np.array([0, 0, 7]), np.full(3, -1)), np.zeros(14, int)
    assert found.limits(clusters, fresh, classes).tolist() == [
        True,
        False,
        True,
    ]  # of the last one's class none is known
