"""The RCCs of an output folder in comparison with what the DNN gets right: failure rates and weak spots."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from pipeline.comparison import explain_failures
from pipeline.descriptions import refresh_rccs
from pipeline.generation import ClusteringSettings, generate_clusters
from rccs.clusters import load_clusters
from rccs.edits import merge_rccs
from rccs.gifs import spot_gif_path
from rccs.rates import by_excess
from rccs.review import load_review
from rccs.spot_notes import SpotNote, notes_of_run, set_spot_note
from reasons import load_reasons
from reporting.history import list_runs, restore_run
from support.errors import SAFEError
from support.run_folder import COMPARISON_FILE, RATES_FILE, WEAK_SPOTS_FILE
from tests.helpers.answered import AnsweredCase, draw_case
from tests.helpers.fake_network import FakeNetwork

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


@pytest.fixture
def case(fake_network: FakeNetwork, tmp_path: Path) -> AnsweredCase:
    return draw_case(tmp_path)


def test_rcc_that_fails_more_often_is_told_from_one_that_only_looks_alike(case):
    generate_clusters(case.failing, case.out, SETTINGS)
    assert explain_failures(case.out)
    review = load_review(case.out)
    reasons = load_reasons(case.out, review.original)
    rates = reasons.rates(review.clusters)
    rcc_of = dict(zip(review.clusters.paths, review.clusters.labels.tolist(), strict=True))
    night, snow = (rcc_of[f"{scene}/{scene}_00.png"] for scene in ("night", "snow"))
    assert (rates[night].tested, rates[night].wrong) == (12, 12)
    assert rates[night].verdict == "more"
    assert rates[snow].rate == pytest.approx(0.5, abs=0.1)
    assert by_excess(review.clusters.groups, rates)[0] == night
    with (case.out / RATES_FILE).open(newline="") as file:
        assert [int(row["wrong"]) for row in csv.DictReader(file)] == [rates[k].wrong for k in range(3)]
    assert reasons.base == pytest.approx(26 / 74)
    assert reasons.comparison.notes == ()


def test_weak_spots_hold_the_images_that_fail_and_have_them_as_a_gif(case):
    generate_clusters(case.failing, case.out, SETTINGS)
    explain_failures(case.out)
    review = load_review(case.out)
    reasons = load_reasons(case.out, review.original)
    assert reasons.spots
    spot, rows = reasons.spots[0], reasons.images[0]
    assert spot.wrong == len(rows) >= 12
    assert spot.rate > 0.9
    assert {f"night/night_{i:02d}.png" for i in range(12)} <= {review.clusters.paths[row] for row in rows}
    assert sum(n for _, n in reasons.overlaps(review.clusters, 0)) == spot.wrong
    with Image.open(spot_gif_path(case.out, 1)) as image:
        assert image.n_frames == spot.wrong


def test_rates_follow_the_engineers_edits_and_weak_spots_stay(case):
    generate_clusters(case.failing, case.out, SETTINGS)
    explain_failures(case.out)
    merge_rccs(case.out, 1, 0)
    refresh_rccs(case.out)
    review = load_review(case.out)
    reasons = load_reasons(case.out, review.original)
    merged = reasons.rates(review.clusters)[0]
    assert merged.wrong == 20
    with (case.out / RATES_FILE).open(newline="") as file:
        assert int(next(csv.DictReader(file))["wrong"]) == 20
    assert reasons.spots


def test_without_predictions_and_after_a_new_run_there_are_no_reasons(case):
    generate_clusters(case.failing, case.out, SETTINGS)
    explain_failures(case.out)
    case.table.unlink()
    generate_clusters(case.failing, case.out, SETTINGS)
    assert not any((case.out / name).exists() for name in (RATES_FILE, WEAK_SPOTS_FILE, COMPARISON_FILE))
    assert not explain_failures(case.out)
    assert load_reasons(case.out, load_clusters(case.out)).spots == ()


def test_predictions_that_have_changed_are_not_compared_with(case):
    generate_clusters(case.failing, case.out, SETTINGS)
    case.table.write_text(case.table.read_text().replace(",0.9,", ",0.8,"))
    with pytest.raises(SAFEError, match="has changed since the clusters were found"):
        explain_failures(case.out)


def test_of_a_very_large_test_set_a_random_part_is_compared_and_this_is_told(case, monkeypatch):
    monkeypatch.setattr("reasons.MOST_COMPARED", 24)
    generate_clusters(case.failing, case.out, SETTINGS)
    explain_failures(case.out)
    reasons = load_reasons(case.out, load_clusters(case.out))
    assert len(reasons.comparison.of_failing) + len(reasons.comparison.of_right) == 24
    assert reasons.comparison.notes == ("Rates are those of 24 of 74 tested images, drawn at random.",)


def test_it_is_told_if_weak_spots_are_searched_in_a_part_of_the_test_set(case, monkeypatch):
    monkeypatch.setattr("rccs.weak_spots.MOST_SEARCHED", 60)
    generate_clusters(case.failing, case.out, SETTINGS)
    explain_failures(case.out)
    [note] = load_reasons(case.out, load_clusters(case.out)).comparison.notes
    assert note.startswith("The weak spots were searched in a random part of 60 of the 74 tested images")


def test_reasons_are_archived_and_come_back_with_their_run(case):
    generate_clusters(case.failing, case.out, SETTINGS)
    explain_failures(case.out)
    spots = (case.out / WEAK_SPOTS_FILE).read_text()
    generate_clusters(case.failing / "night", case.out, SETTINGS)
    [earlier] = [run for run in list_runs(case.out) if not run.current]
    restore_run(case.out, earlier.name)
    assert (case.out / WEAK_SPOTS_FILE).read_text() == spots
    assert load_reasons(case.out, load_clusters(case.out)).comparison


def test_notes_on_weak_spots_outlive_new_runs_and_an_earlier_one_that_is_opened_again(case):
    generate_clusters(case.failing, case.out, SETTINGS)
    explain_failures(case.out)
    spot = load_reasons(case.out, load_clusters(case.out)).spots[0]
    note = SpotNote(spot.conditions, str(case.test), "night", "", "unclear")
    set_spot_note(case.out, note)
    given = SETTINGS._replace(predictions=case.table, tested=case.test)
    generate_clusters(case.failing / "night", case.out, given)
    explain_failures(case.out)
    assert spot.conditions in {each.conditions for each in load_reasons(case.out, load_clusters(case.out)).spots}
    assert notes_of_run(case.out) == {spot.conditions: note}
    set_spot_note(case.out, note._replace(verdict="unsafe"))
    [earlier] = [run for run in list_runs(case.out) if not run.current]
    restore_run(case.out, earlier.name)
    assert notes_of_run(case.out) == {spot.conditions: note._replace(verdict="unsafe")}


def test_reasons_that_are_damaged_are_told(case):
    generate_clusters(case.failing, case.out, SETTINGS)
    explain_failures(case.out)
    (case.out / COMPARISON_FILE).write_bytes(b"PK")
    with pytest.raises(SAFEError, match="is damaged"):
        load_reasons(case.out, load_clusters(case.out))


def test_failing_images_of_another_test_set_cannot_be_compared(case, draw_folder, tmp_path):
    draw_folder(tmp_path / "others", {"sea": 20})
    settings = SETTINGS._replace(predictions=case.table, tested=case.test)
    generate_clusters(tmp_path / "others", case.out, settings)
    with pytest.raises(SAFEError, match="among the wrong ones"):
        explain_failures(case.out)


def test_an_rcc_names_the_weak_spot_that_its_images_are_in(case):
    clusters = generate_clusters(case.failing, case.out, SETTINGS)
    explain_failures(case.out)
    reasons = load_reasons(case.out, clusters)
    night = int(clusters.labels[clusters.paths.index("night/night_00.png")])
    spot = reasons.spots_of(clusters).get(night)
    assert spot is not None
    assert set(clusters.members(night)) <= {clusters.paths[row] for row in reasons.images[spot]}
    told = reasons.text_of(clusters, night, reasons.rates(clusters))
    assert told.startswith("Fails more often than elsewhere")
    assert f"All of them have {reasons.spots[spot].where}, where " in told
    rate = reasons.rates(clusters)[night]._replace(verdict="less")
    assert "than on others" in (less := reasons.text_of(clusters, night, {night: rate}))
    assert f"But all of them have {reasons.spots[spot].where}" in less
    few = reasons._replace(images=tuple(rows[:3] for rows in reasons.images))
    assert night not in few.spots_of(clusters)
    assert few.text_of(clusters, night, {}) == ""
