"""What a run knows of the answers of the network to its images, and of the tables that it was made with."""

import pandas
import pytest

from safe_dnn import api
from safe_dnn.api.explaining import explain_failures
from safe_dnn.api.generation import generate_clusters
from safe_dnn.options import GivenAnswers, values_of
from safe_dnn.rccs.clusters import load_clusters, run_record, save_clusters
from safe_dnn.rccs.review.review import load_review
from safe_dnn.reasons.run_record import known_parameters, notes_of, settings_of
from safe_dnn.support import tables
from safe_dnn.support.errors import SAFEError
from tests.api.test_explaining import SETTINGS
from tests.helpers.answered import record_light


def test_predictions_that_have_changed_are_not_compared_with(case):
    generate_clusters(case.failing, case.out, SETTINGS)
    case.table.write_text(case.table.read_text().replace(",0.9,", ",0.8,"))
    with pytest.raises(SAFEError, match="has changed since the clusters were found"):
        explain_failures(case.out)


def test_predictions_beside_the_images_are_found_and_kept_with_the_run(case):
    clusters = generate_clusters(case.failing, case.out, SETTINGS)
    assert load_clusters(case.out).answers is not None
    assert clusters.answer_text(0) == "night → wood (90%)"
    record = run_record(case.out)["predictions"]
    assert (record["source"], record["tested"]) == (str(case.table), str(case.test))
    assert (record["images"], record["wrong"], record["notes"]) == (74, 26, record["doubts"])
    columns = known_parameters(case.out, clusters)
    assert set(columns["label"].tolist()) == {"night", "snow", "wood"}
    assert set(columns["predicted"].tolist()) == {"snow", "wood"}
    case.table.unlink()
    merged = load_review(case.out).clusters
    assert merged.answer_text(0) == "night → wood (90%)"


@pytest.fixture
def parsed(monkeypatch) -> list[str]:
    """The tables that are parsed from now on."""
    tables._parsed.cache_clear()  # the same tables may be those of another test
    texts, parse = [], pandas.read_csv
    monkeypatch.setattr(pandas, "read_csv", lambda file, **more: texts.append(file.getvalue()) or parse(file, **more))
    return texts


def test_failures_parse_each_table_once(case, parsed):
    record_light(case.test / "parameters.csv")
    answers = case.table.rename(case.test.parent / "answers.csv")
    api.failures(predictions=answers, test=case.test, out=case.out)
    texts = [path.read_text() for path in (answers, case.test / "parameters.csv", case.out / "predictions.csv")]
    assert [parsed.count(text) for text in texts] == [1, 1, 1]


def test_clusters_and_their_reasons_parse_each_table_once(case, parsed):
    record_light(case.test / "parameters.csv")
    generate_clusters(case.failing, case.out, SETTINGS._replace(parameters=case.test / "parameters.csv"))
    explain_failures(case.out)
    texts = [case.table.read_text(), (case.test / "parameters.csv").read_text()]
    assert [parsed.count(text) for text in texts] == [1, 1]


def test_predictions_that_cannot_be_read_are_an_error_if_given_and_otherwise_a_note(case):
    case.table.write_text("image,predicted,confidence\nnight/night_00.png,wood,7\n")
    with pytest.raises(SAFEError, match="a confidence from 0 to 1"):
        generate_clusters(
            case.failing, case.out, SETTINGS._replace(answers=GivenAnswers(case.table, case.test, partial=True))
        )
    clusters = generate_clusters(case.failing, case.out, SETTINGS)
    assert clusters.answers is None
    assert "a confidence from 0 to 1" in notes_of(case.out)[0]


def test_a_run_keeps_the_options_that_were_given_by_any_way_as_one_record(case):
    assert settings_of(case.out) == {}
    record = case.test / "parameters.csv"
    generate_clusters(case.failing, case.out, SETTINGS)
    assert settings_of(case.out) == values_of(SETTINGS), "tables that SAFE found by itself were not given"
    given = SETTINGS._replace(
        parameters=record, answers=GivenAnswers(case.table, str(case.test), partial=True, group=("image",))
    )
    record_light(record)
    generate_clusters(case.failing, case.out, given)
    assert settings_of(case.out) == values_of(SETTINGS) | {
        "parameters": str(record), "predictions": str(case.table), "tested": str(case.test), "partial": True,
        "group": ["image"],
    }  # fmt: skip


def test_notes_on_tables_are_told_of_the_run(clusters, tmp_path):
    entry = {"source": "/a.csv", "tested": "/test", "notes": ["2 of 9 rows"]}
    save_clusters(clusters, tmp_path, extra={"predictions": entry, "parameters": {**entry, "notes": []}})
    assert notes_of(tmp_path) == ["predictions: 2 of 9 rows"]
