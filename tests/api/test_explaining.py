"""The DNN's answers, and failure rates and weak spots in comparison with what it gets right; recorded parameters."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safe_dnn.analysis import Analysis
from safe_dnn.api.generation import generate_clusters, restore_run
from safe_dnn.dnn.failures import collect_failures
from safe_dnn.features.attributes import ATTRIBUTES
from safe_dnn.options import ClusteringSettings
from safe_dnn.rccs.clusters import LABELS_FILE, load_clusters
from safe_dnn.rccs.gifs import spot_gif_path
from safe_dnn.rccs.profiles import load_profiles
from safe_dnn.rccs.review.review import load_review, merge_rccs
from safe_dnn.rccs.spots.curves import CURVES_FILE
from safe_dnn.rccs.spots.rates import RATES_FILE, by_excess
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.reasons.known import TESTED_FILE
from safe_dnn.reasons.run_record import notes_of, settings_of
from safe_dnn.report.exports import refresh_rccs, show_present
from safe_dnn.store.runs import COMPARISON, earlier_runs, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import FAILURES
from tests.helpers.answered import AnsweredCase, draw_case, record_light
from tests.helpers.fake_network import FakeNetwork
from tests.helpers.places import rows_in

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


def test_rcc_that_fails_more_often_is_told_from_one_that_only_looks_alike(explained):
    review = load_review(explained.out)
    reasons = load_reasons(explained.out, review.original)
    rates = reasons.rates
    rcc_of = dict(zip(review.clusters.paths, review.clusters.labels.tolist(), strict=True))
    night, snow = (rcc_of[f"{scene}/{scene}_00.png"] for scene in ("night", "snow"))
    assert rates[night].figures[:2] == (12, 12)
    assert rates[night].verdict == "more"
    assert rates[snow].figures.low <= 0.5 <= rates[snow].figures.high
    assert rates[snow].verdict != "more"
    assert by_excess(review.clusters.groups, rates)[0] == night
    assert [int(row["wrong"]) for row in rows_in(explained.out / RATES_FILE)] == [
        rates[k].figures.wrong for k in range(3)
    ]
    assert reasons.base == pytest.approx(26 / 74)
    assert reasons.comparison.notes == ()
    assert rates[night].figures.expected < 0.3, "a class is compared with the others"


def test_weak_spots_hold_the_images_that_fail_and_stay_with_their_run(explained):
    review = load_review(explained.out)
    reasons = load_reasons(explained.out, review.original)
    assert reasons.spots
    spot, rows = reasons.spots[0], reasons.images[0]
    assert spot.figures.wrong == len(rows) >= 12
    assert spot.figures.rate > 0.9
    assert {f"night/night_{i:02d}.png" for i in range(12)} <= {review.clusters.paths[row] for row in rows}
    assert sum(n for _, n in reasons.overlaps(0)) == spot.figures.wrong
    with Image.open(spot_gif_path(explained.out, 1)) as image:
        assert image.n_frames == spot.figures.wrong
    assert len(runs_of(explained.out, COMPARISON)) == 1  # what was found before all images were compared is not kept

    # Curves are of all images, the failing ones and the others.
    measured = [one for one in reasons.curves if one.column == "brightness" and not one.of_class]
    assert (sum(one.tested for one in measured), sum(one.wrong for one in measured)) == (74, 26)
    assert len(rows_in(explained.out / CURVES_FILE)) == len(reasons.curves)

    # They come back with their run,
    spots = (explained.out / WEAK_SPOTS_FILE).read_text()
    generate_clusters(explained.failing / "night", explained.out, SETTINGS)
    assert not (explained.out / WEAK_SPOTS_FILE).exists()
    [earlier] = earlier_runs(explained.out)
    restore_run(explained.out, earlier.number)
    show_present(explained.out)
    assert (explained.out / WEAK_SPOTS_FILE).read_text() == spots
    assert load_reasons(explained.out, load_clusters(explained.out)).comparison

    # and rates follow the engineer's edits.
    merge_rccs(explained.out, 1, 0)
    refresh_rccs(explained.out)
    review = load_review(explained.out)
    reasons = load_reasons(explained.out, review.original).on(review.clusters)
    merged = reasons.rates[0]
    assert merged.figures.wrong == 16  # of 20, as many lie among failing images
    assert int(rows_in(explained.out / RATES_FILE)[0]["wrong"]) == 16
    assert reasons.spots

    # Each count can be made again from the tables alone.
    rcc_of = dict(line.split("\t")[::-1] for line in (explained.out / LABELS_FILE).read_text().splitlines())
    images = rows_in(explained.out / TESTED_FILE)
    for row in rows_in(explained.out / RATES_FILE):
        inside = [one["wrong"] for one in images if rcc_of.get(one["nearest"]) == row["rcc"]]
        assert (len(inside), inside.count("1")) == (int(row["tested"]), int(row["wrong"]))
    of_image = {row["image"]: row for row in rows_in(explained.table)}
    columns = {name: np.array([row[name] for row in images], float) for name in ATTRIBUTES}
    columns |= {name: np.array([of_image[row["image"]][name] for row in images]) for name in ("label", "predicted")}
    wrong = np.array([row["wrong"] == "1" for row in images])
    for spot in reasons.spots:
        assert ((held := spot.holds(columns)).sum(), (held & wrong).sum()) == (spot.figures.tested, spot.figures.wrong)


# --- Recorded parameters: the same in cards, on the map, in the search and in the report ------------------------


@pytest.fixture
def described(fake_network: FakeNetwork, tmp_path: Path) -> AnsweredCase:
    """Failures that SAFE has collected, of a test set with recorded parameters."""
    case = draw_case(tmp_path / "case")
    record_light(case.test / "parameters.csv")
    collect_failures(case.table, case.test, case.out)
    return case


def test_parameters_of_the_test_set_are_known_of_collected_failures(described):
    generate_clusters(described.out / FAILURES, described.out, SETTINGS)
    columns = Analysis(described.out).parameters
    assert (columns["light"] < 0.4).sum() == 12
    assert any("light" in profile.text for profile in load_profiles(described.out))
    assert "parameters" not in settings_of(described.out), "found, not given"


def test_a_table_that_cannot_be_read_is_refused_before_the_work_if_given_and_a_note_if_found(described, fake_network):
    table = described.test / "parameters.csv"
    table.write_bytes(b"\xff\xfe")
    with pytest.raises(SAFEError, match="Expected parameters"):
        generate_clusters(described.out / FAILURES, described.out, SETTINGS._replace(parameters=table))
    assert fake_network.images_seen == 0
    generate_clusters(described.out / FAILURES, described.out, SETTINGS)
    assert "Expected parameters" in notes_of(described.out)[0]
