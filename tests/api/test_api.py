"""The face for programs: what the functions return, and the notebook that shows them."""

import json

import pytest

import safe_dnn
from safe_dnn import api as safe
from safe_dnn.support.errors import SAFEError
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
    assert before[0].value.paths == reasons.value.clusters.paths
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
    report = safe.report(case.out)
    assert (case.out / "report.html").is_file()
    assert report.value["reasons"][0]["rates"]["wrong"] == report.to_frame()["wrong"][0]


def test_what_follows_the_clusters_has_sentences_and_tables_as_well(case, tmp_path):
    found = safe.reasons(case.table, tmp_path / "alone", tested=case.test)
    assert found.headline == "26 failing images of 74 · test accuracy 64.86%"
    assert found.lines[0].startswith("Weak spots: ")
    safe.failures(predictions=case.table, test=case.test, out=case.out)
    safe.cluster(case.out / "failures", case.out, group="image")
    missing = safe.register(case.out, missing=True)
    assert len(missing.value) == len(missing.lines) > 0
    written = safe.register(case.out)
    assert (written.written, len(written.rows)) == ("register.csv, scope.csv", len(written.value))
    assert safe.register(case.out, read=case.out / "register.csv").headline == "0 changes; nothing was taken over"
    unsafe = safe.select(case.out / "failures", case.out, size=4)
    assert "selected to label" in unsafe.headline
    (tmp_path / "labels.csv").write_text("image,label\n" + "".join(f"{row[0]},night\n" for row in unsafe.rows[:3]))
    labelled = safe.label(case.out, labels=tmp_path / "labels.csv")
    assert labelled.headline == "4 of 4 images labelled"  # the last one by its class folder
    assert [label for _, label in labelled.rows][:3] == ["night"] * 3
    exported = safe.export(case.out, to=tmp_path / "exported")
    assert exported.value.images == 26
    assert exported.lines == (f"Written: {tmp_path / 'exported'}",)
    with pytest.raises(SAFEError, match="Expected either labelled images or RCCs"):
        safe.export(case.out, labelled=tmp_path / "x", rcc=(0,))
    assert safe.evidence(case.out).written == "SHA256SUMS, evidence.txt"
    assert (safe.verify(case.out).value, safe.verify(case.out).headline) == ([], "All is as the evidence says")
    (case.out / "labels.txt").write_text("changed")
    assert ("changed", "labels.txt") in safe.verify(case.out).rows
    begun = safe.word("dark", case.out, next=3)
    assert [answer for _, answer in begun.rows] == ["", "", ""]
    assert safe.word(out=case.out).rows[0][0] == "dark"
    with pytest.raises(SAFEError, match=r"Expected 1 to 74 images. Received: 75"):
        safe.word("dark", case.out, next=75)


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


def test_the_package_has_the_functions_without_an_import_of_their_own():
    assert safe_dnn.api is safe
    assert {name for name in safe.__all__ if callable(getattr(safe_dnn.api, name))} == set(safe.__all__)
    with pytest.raises(AttributeError, match="no attribute 'ap'"):
        safe_dnn.ap  # noqa: B018
