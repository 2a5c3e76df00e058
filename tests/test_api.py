"""The face for programs: what the functions return, and the notebook that shows them."""

import json
from pathlib import Path

import pytest

import safe_dnn
from safe_dnn import api as safe
from safe_dnn.pipeline.run_record import GivenAnswers
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.options import names_of, settings_of
from tests.helpers.answered import record_light
from tests.helpers.documents import ROOT
from tests.helpers.small_models import colour_model, draw_set, saved

NOTEBOOK = json.loads((ROOT / "docs" / "steps.ipynb").read_text(encoding="utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
TINTED = {"red": ("blue", 24), "green": ("red", 24)}


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(fake_network, tmp_path, monkeypatch, capsys):
    case = tmp_path / "example"
    saved(colour_model(), case / "model.keras")
    draw_set(case / "train", 10, seed=1)
    draw_set(case / "improvement", 2, {"red": ("blue", 12), "green": ("red", 12)}, seed=2)
    draw_set(case / "test", 12, TINTED, seed=3)
    monkeypatch.setattr(safe_dnn, "CLONE", tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for cell in CELLS:
        exec(compile(cell, "docs/steps.ipynb", "exec"), names)
    assert "Received: sice." in capsys.readouterr().out
    results = [names[name] for name in ("failures", "reasons", "unsafe", "result", "checked")]
    for result in results:
        assert 0 < len(result.to_frame()) == len(result.rows)
        assert result.headline in result._repr_html_()
    tested, reasons, unsafe, retrained, checked = (result.to_frame() for result in results)
    assert (len(tested), int(tested["right"].sum())) == (84, 36)
    assert {"RCC 0", "RCC 1"} <= {half for name in reasons["reason"] for half in name.removesuffix(")").split(" (")}
    assert (reasons["images"] <= 48).all()
    assert len(unsafe) == 20
    red = retrained.set_index("of").loc["class red"]
    assert (red["images"], red["before"]) == (36, 12)
    assert red["low"] < red["after"] / red["images"] < red["high"]
    assert list(checked["verdict"]) == ["open", "broken"] or list(checked["verdict"]) == ["holds", "broken"]
    assert (tmp_path / "analysis" / "report.html").is_file()


def test_functions_do_what_the_commands_do(case):
    """From a table of answers, with options by their names."""
    record_light(case.test / "parameters.csv")
    found = safe.failures(predictions=case.table, test=case.test, out=case.out)
    assert found.headline == "26 failing images of 74 · test accuracy 64.86%"
    assert found.columns == ("image", "label", "predicted", "right", "confidence")
    assert found.value.accuracy == pytest.approx(48 / 74)
    assert found.value[2:4] == pytest.approx((0.529, 0.756), abs=5e-4)  # Clopper & Pearson, of 48 of 74
    before = []
    reasons = safe.cluster(case.out / "failures", case.out, group="image", then=before.append)
    assert before == [reasons.value.clusters] or before[0].paths == reasons.value.clusters.paths
    assert reasons.value.compared
    rows = {row[0]: dict(zip(reasons.columns, row, strict=True)) for row in reasons.rows}
    assert [one.name for one in reasons.value.reasons] == list(rows)
    spot = rows["weak spot 1"]
    assert spot["low"] <= spot["rate"] <= spot["high"]
    assert (spot["images"], spot["more"]) == (spot["wrong"], True)
    requirements = case.out / "requirements.yaml"
    requirements.write_text("all images: at most 60 % wrong\nlight < 0.5: at most 5 % wrong\n")
    checked = safe.check(requirements, case.out, no_worse=case.table)
    assert not checked.value.holds
    assert checked.headline == "Requirements that hold: 1 of 2"
    frame = checked.to_frame().set_index("requirement")
    assert frame.loc["light < 0.5: at most 5 % wrong at 95 %", ["verdict", "rate", "limit"]].tolist() == [
        "broken", 1, 0.05,
    ]  # fmt: skip
    assert set(frame["verdict"][2:]) == {"unchanged"}
    assert safe.report(case.out).value == case.out / "report.html"


def test_clusters_alone_have_no_rates(fake_network, draw_folder, tmp_path):
    found = safe.cluster(draw_folder(tmp_path / "failing", {"night": 12, "snow": 12}), tmp_path / "out")
    assert not found.value.compared
    frame = found.to_frame()
    assert list(frame["reason"]) == ["RCC 0", "RCC 1"]
    assert frame["rate"].isna().all()
    assert not frame["more"].any()


def test_the_name_of_an_image_is_no_markup_in_a_notebook(case):
    name = "<img src=x onerror=alert(1)>.png"
    (case.test / "wood" / "wood_00.png").rename(case.test / "wood" / name)
    case.table.write_text(case.table.read_text().replace("wood/wood_00.png", f"wood/{name}"))
    found = safe.failures(predictions=case.table, test=case.test, out=case.out)
    assert f"wood/{name}" in set(found.to_frame()["image"])
    shown = safe.StepResult(None, f"{name} & others", found.columns, found.rows[:60])._repr_html_()
    assert "<img" not in shown
    assert "&lt;img src=x onerror=alert(1)&gt;.png &amp; others" in shown


def test_an_option_that_a_step_does_not_have_is_refused_with_those_that_it_has(case):
    with pytest.raises(
        SAFEError, match=r"Expected no options but extractor, features, group, .*\. Received: groups\."
    ) as caught:
        safe.cluster(case.failing, case.out, groups="person")
    assert caught.value.fields == ("groups",)
    with pytest.raises(SAFEError, match=r"Expected no options but iou, score, yolo\. Received: train\."):
        safe.failures(coco=("truth.json", "results.json", "images"), train="train", out=case.out)
    assert not case.out.exists()


@pytest.mark.parametrize("given", [{}, {"model": "m.keras"}, {"model": "m.keras", "test": "t", "predictions": "p.csv"},
                                   {"coco": ("a", "b", "c"), "test": "t"}])  # fmt: skip
def test_failures_come_from_one_source(given, tmp_path):
    with pytest.raises(SAFEError, match="Expected either a model and its test images"):
        safe.failures(**given, out=tmp_path)


def test_the_package_has_the_functions_without_an_import_of_their_own():
    assert safe_dnn.api is safe
    assert {name for name in safe.__all__ if callable(getattr(safe_dnn.api, name))} == set(safe.__all__)
    with pytest.raises(AttributeError, match="no attribute 'ap'"):
        safe_dnn.ap  # noqa: B018


def test_a_record_of_settings_takes_options_by_name_also_those_of_records_inside_it():
    from safe_dnn.pipeline.generation import ClusteringSettings

    settings = settings_of(ClusteringSettings, {"group": "person", "set_aside": ["label"], "other": 1, "reducer": None})
    assert settings == ClusteringSettings(answers=GivenAnswers(group=("person",)), set_aside=("label",))
    assert {"group", "predictions", "reducer"} <= names_of(ClusteringSettings)
    assert "given" not in names_of(ClusteringSettings)


def test_the_notebook_keeps_to_the_python_that_a_reader_can_copy():
    assert NOTEBOOK["nbformat"] == 4
    assert Path(ROOT / "docs" / "steps.ipynb").stat().st_size < 60_000
