import json
import stat

import pytest

from safe_dnn.casestudies import build
from safe_dnn.casestudies.cases import CASES, EYES
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.dnn.tested import collected_answers
from safe_dnn.FE import extract_features
from safe_dnn.features.vgg16 import choose_extractor
from tests.helpers import cases
from tests.helpers.places import names_in, rows_in


@pytest.fixture
def fake_training(monkeypatch):
    monkeypatch.setattr(build, "train_model", lambda *_, **__: cases.FakeModel())


def test_a_case_holds_sets_model_failures_their_parameters_and_causes(tmp_path, fake_training):
    folder = tmp_path / "gd"
    folder.mkdir()
    (tmp_path / ".gd-building" / "train").mkdir(parents=True)
    (tmp_path / ".gd-building" / "train" / "old.png").write_bytes(b"of a killed build")
    accuracy = build.build_case("gd", folder, scale=0.01)
    assert names_in(tmp_path) == ["gd"]
    assert stat.S_IMODE(folder.stat().st_mode) & 0o055 == 0o055
    parameters = cases.read_subjects(folder / "parameters.csv", EYES)
    images = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert set(parameters) == images
    assert {image.split("/")[0] for image in images} == {"train", "improvement", "test", "failures"}

    failures = rows_in(folder / "failures.csv")
    tested = [image for image in images if image.startswith("test/")]
    assert {row["source"] for row in failures} == {image for image in tested if "/0_right/" not in image}
    assert {row["image"] for row in failures} == {image for image in images if image.startswith("failures/")}
    for row in failures:
        assert row["label"] != row["predicted"] == "0_right"
        assert (folder / row["image"]).read_bytes() == (folder / row["source"]).read_bytes()
        assert parameters[row["image"]] == parameters[row["source"]]
    assert accuracy == json.loads((folder / "accuracy.json").read_text())
    assert accuracy["test_size"] == len(tested)
    assert accuracy["failures"] == len(failures)
    assert accuracy["test_accuracy"] == pytest.approx(1 - len(failures) / len(tested))

    found = collected_answers(folder / "failures")
    assert {f"test/{path}" for path in found.paths} == set(tested)
    wrong = {f"test/{path}" for path, right in zip(found.paths, found.right, strict=True) if not right}
    assert wrong == {row["source"] for row in failures}
    causes = json.loads((folder / "causes.json").read_text())
    for known, cause in zip(CASES["gd"].root_causes, causes, strict=True):
        inside = {image for image, eye in parameters.items() if known.holds(eye)}
        assert cause["name"] == known.name
        assert cause["test_images"] == len(inside & set(tested))
        assert set(cause["failing"]) == {image for image in inside if image.startswith("failures/")}


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RuntimeError("a defect")])
def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch, fault):
    def stop(*_, **__):
        raise fault

    monkeypatch.setattr(build, "train_model", stop)
    with pytest.raises(type(fault)):
        build.build_case("gd", tmp_path / "gd", scale=0.001)
    assert names_in(tmp_path) == []


def test_a_folder_that_holds_something_is_left_as_it_is_and_the_error_is_one_line(tmp_path, capsys):
    (tmp_path / "kept.txt").write_text("kept")
    assert build.main(["gd", "--out", str(tmp_path)]) == 2
    assert names_in(tmp_path) == ["kept.txt"]
    assert capsys.readouterr().err.startswith("casestudies: Expected a folder that does not exist or is empty.")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gd", pytest.param("oc", marks=pytest.mark.case)])
def test_the_dnn_fails_for_the_known_root_causes_and_safe_finds_all_of_them(tmp_path, name):
    accuracy = build.build_case(name, tmp_path / name)
    assert 0.60 < accuracy["test_accuracy"] < 0.90
    assert 250 <= accuracy["failures"] <= 700
    causes = json.loads((tmp_path / name / "causes.json").read_text())
    explained = {image for cause in causes for image in cause["failing"]}
    assert len(explained) > 0.95 * accuracy["failures"]
    for cause in causes:
        assert cause["failure_rate_inside"] > 5 * cause["failure_rate_elsewhere"], cause["name"]
        assert cause["failure_rate_elsewhere"] < 0.05
        assert cause["failures"] >= 35, cause["name"]

    features = extract_features(tmp_path / name / "failures", choose_extractor("vgg16-conv"))
    clusters = find_root_cause_clusters(features)
    assert cases.causes_found(clusters, causes) == {cause["name"] for cause in causes}
