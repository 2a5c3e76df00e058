import numpy as np
import pytest

from safe_dnn.dnn.failure_prediction import (
    FailurePrediction,
    likely_wrong,
    predict_failures,
    predict_failures_from_tables,
)
from safe_dnn.dnn.predictions import labelled_images
from safe_dnn.dnn.tested import read_predictions
from tests.helpers.small_models import colour_model, draw_set, saved


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved(colour_model(), tmp_path_factory.mktemp("models") / "colours.keras")


@pytest.fixture(scope="module")
def test_set(tmp_path_factory):
    """Of each colour 40 that the model gets right; 40 red ones under a blue tint that it gets wrong."""
    return draw_set(tmp_path_factory.mktemp("test"), 40, {"red": ("blue", 40)})


@pytest.fixture(scope="module")
def prediction(model, test_set) -> FailurePrediction:
    return predict_failures(model, test_set)


def test_an_image_that_cannot_be_read_counts_as_one_that_is_right(prediction, tmp_path):
    folder = draw_set(tmp_path / "new", 0, {"red": ("blue", 2)})
    (folder / "red" / "broken.png").write_bytes(b"none")
    paths = ("red/broken.png", "red/in_blue_00.png")
    likelihood = prediction.of(folder, paths)
    assert likelihood[0] == 0
    assert likelihood[1] > 0.9


def test_the_share_is_that_of_the_nearest_test_images():
    tested = np.repeat([[0.9, 0.1], [0.6, 0.4]], 40, axis=0)
    wrong = np.arange(80) >= 50  # none of the first kind, three in four of the second
    certain, in_doubt = likely_wrong(np.array([[0.89, 0.11], [0.0, 1.0]]), tested, wrong)
    assert certain == 0
    assert in_doubt >= 0.6
    assert likely_wrong(np.array([[0.5, 0.5]]), tested[:3], np.array([True, False, False])) == pytest.approx(1 / 3)


def test_tables_of_the_models_probabilities_predict_the_same_as_the_model(prediction, test_set, tmp_path):
    folder = draw_set(tmp_path / "new", 4, {"red": ("blue", 4)}, seed=1)
    tested, improvement = labelled_images(test_set).paths, labelled_images(folder).paths
    header = ",".join(["image", *(f"p({name})" for name in prediction.classes)])
    for name, paths, outputs in (
        ("test.csv", tested, prediction.outputs),
        ("new.csv", improvement, prediction.run(folder, improvement).outputs),
    ):
        rows = (",".join([path, *map(str, row)]) for path, row in zip(paths, outputs.tolist(), strict=True))
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n")
    by_table = predict_failures_from_tables(
        read_predictions(tmp_path / "test.csv", test_set), tmp_path / "new.csv", folder
    )
    assert by_table.notes == ()
    assert by_table.accuracy == prediction.accuracy
    np.testing.assert_array_equal(by_table.of(folder, improvement), prediction.of(folder, improvement))
