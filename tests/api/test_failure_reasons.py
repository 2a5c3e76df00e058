"""Reasons as soon as failures are collected, and the same ones later."""

import shutil

import pytest

from safe_dnn.api.explaining import explain_collected, explain_failures
from safe_dnn.api.generation import generate_clusters
from safe_dnn.dnn.failures import collect_failures
from safe_dnn.options import GivenAnswers
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.reasons.listed import FailureReasons, failure_reasons
from safe_dnn.store.runs import REASONS, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import FAILURES
from tests.api.test_explaining import SETTINGS
from tests.helpers.answered import record_light


@pytest.fixture
def collected(case):
    """The case with a table of parameters, and its failures collected."""
    record_light(case.test / "parameters.csv")
    collect_failures(case.table, case.test, case.out)
    return case


def rewrite(table, old, new):
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))


def without_curves(reasons):
    return reasons._replace(curves=())  # which hold NaN


def test_clusters_have_the_reasons_that_were_found_before_without_another_search(collected, monkeypatch):
    first = explain_collected(collected.out)
    assert [spot.where for spot in first.spots] == ["light < 0.8065"]
    assert without_curves(failure_reasons(collected.out)) == without_curves(first)
    written = (collected.out / WEAK_SPOTS_FILE).read_bytes()
    monkeypatch.setattr("safe_dnn.api.explaining.weak_spots_of", None)  # fails if it is called
    generate_clusters(collected.out / FAILURES, collected.out, SETTINGS)
    assert explain_failures(collected.out)
    assert load_reasons(collected.out, load_review(collected.out).original).spots == first.spots
    assert (collected.out / WEAK_SPOTS_FILE).read_bytes() == written
    assert without_curves(explain_collected(collected.out)) == without_curves(first)
    assert len(runs_of(collected.out, REASONS)) == 1


def test_the_images_of_each_condition_and_its_curve_are_known_before_anything_is_grouped(collected):
    assert failure_reasons(collected.out) is None
    [spot] = explain_collected(collected.out).spots
    found = failure_reasons(collected.out)
    assert len(found.images[spot.conditions]) == spot.figures.tested
    assert {f"night/night_{i:02d}.png" for i in range(12)} <= {*found.images[spot.conditions]}
    light = [one for one in found.curves if one.column == "light" and not one.of_class]
    assert sum(one.tested for one in light) == 74
    rewrite(collected.out / "predictions.csv", "wood/wood_07.png,wood,wood,0.9,true", "wood/wood_07.png,wood,snow,,")
    assert failure_reasons(collected.out) is None, "of other answers"


@pytest.mark.parametrize("change", ["answers", "parameters", "images", "groups"])
def test_what_has_changed_since_is_searched_again(collected, change, monkeypatch):
    explain_collected(collected.out)
    settings = SETTINGS
    if change == "answers":
        rewrite(
            collected.out / "predictions.csv", "wood/wood_07.png,wood,wood,0.9,true", "wood/wood_07.png,wood,snow,,"
        )
        assert failure_reasons(collected.out) is None
    elif change == "parameters":
        rewrite(collected.test / "parameters.csv", "night/night_00.png,0.1", "night/night_00.png,0.9")
    elif change == "images":
        shutil.copy(collected.test / "snow" / "snow_00.png", collected.test / "wood" / "wood_39.png")
    else:
        settings = SETTINGS._replace(answers=GivenAnswers(group=("light",)))
    generate_clusters(collected.out / FAILURES, collected.out, settings)
    monkeypatch.setattr("safe_dnn.api.explaining.weak_spots_of", None)
    with pytest.raises(TypeError):
        explain_failures(collected.out)


@pytest.mark.parametrize("given", [True, False])
def test_a_table_that_was_given_and_is_gone_is_an_error_one_that_was_only_there_is_not(collected, given):
    table = collected.test / "parameters.csv"
    settings = SETTINGS._replace(parameters=table) if given else SETTINGS
    generate_clusters(collected.out / FAILURES, collected.out, settings)
    table.unlink()
    if given:
        with pytest.raises(SAFEError, match=f"Could not read the parameters in {table}"):
            explain_failures(collected.out)
    else:
        assert explain_failures(collected.out)


def test_where_all_answers_are_wrong_there_are_no_reasons_and_none_of_earlier_failures(collected):
    explain_collected(collected.out)
    lines = [line.split(",") for line in collected.table.read_text().splitlines()]
    rows = [[image, label, "snow" if label != "snow" else "wood"] for image, label, *_ in lines[1:]]
    collected.table.write_text("\n".join(map(",".join, [lines[0][:3], *rows])))
    collect_failures(collected.table, collected.test, collected.out)
    assert failure_reasons(collected.out) is None
    assert explain_collected(collected.out) == FailureReasons(None, ())
    assert not (collected.out / WEAK_SPOTS_FILE).exists()
