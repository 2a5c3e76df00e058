"""The DNN's answers to its test set: given, found beside the failing images, and kept with the run."""

from pathlib import Path

import pytest

from pipeline.descriptions import known_parameters
from pipeline.generation import ClusteringSettings, generate_clusters
from pipeline.run_record import notes_of
from rccs.clusters import load_clusters, run_record
from rccs.review.review import load_review
from support.errors import SAFEError
from tests.helpers.answered import AnsweredCase, draw_case
from tests.helpers.fake_network import FakeNetwork

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


@pytest.fixture
def case(fake_network: FakeNetwork, tmp_path: Path) -> AnsweredCase:
    return draw_case(tmp_path)


def test_predictions_beside_the_images_are_found_and_kept_with_the_run(case):
    clusters = generate_clusters(case.failing, case.out, SETTINGS)
    assert load_clusters(case.out).answers is not None
    assert clusters.told(0) == "night → wood (90%)"
    record = run_record(case.out)["predictions"]
    assert (record["source"], record["tested"]) == (str(case.table), str(case.test))
    assert (record["images"], record["wrong"], record["notes"]) == (74, 26, [])
    columns = known_parameters(case.out, clusters)
    assert set(columns["label"].tolist()) == {"night", "snow", "wood"}
    assert set(columns["predicted"].tolist()) == {"snow", "wood"}
    case.table.unlink()
    merged = load_review(case.out).clusters
    assert merged.told(0) == "night → wood (90%)"


def test_predictions_that_cannot_be_read_are_an_error_if_given_and_otherwise_a_note(case):
    case.table.write_text("image,predicted,confidence\nnight/night_00.png,wood,7\n")
    with pytest.raises(SAFEError, match="a confidence from 0 to 1"):
        generate_clusters(
            case.failing, case.out, SETTINGS._replace(predictions=case.table, tested=case.test, partial=True)
        )
    clusters = generate_clusters(case.failing, case.out, SETTINGS)
    assert clusters.answers is None
    assert "a confidence from 0 to 1" in notes_of(case.out)[0]


def test_images_without_a_prediction_and_images_that_are_right_are_told(case):
    lines = case.table.read_text().splitlines()
    lines = [line for line in lines if "night_03" not in line and "snow_01" not in line]
    case.table.write_text("\n".join([*lines, "snow/snow_01.png,snow,snow,0.9,true"]) + "\n")
    clusters = generate_clusters(case.failing, case.out, SETTINGS)
    assert notes_of(case.out) == [
        "predictions: All figures are of 73 of 74 images: others have no row.",
        "predictions: Without a prediction: 1 of 26 images.",
        "predictions: Right according to the predictions: 1 of 26 images.",
    ]
    assert clusters.told(clusters.paths.index("night/night_03.png")) == ""
