"""Half of the unsafe set is selected by weak spots, as far as their conditions can be checked."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from features.attributes import measured_images
from pipeline.comparison import explain_failures
from pipeline.descriptions import show_unsafe_set
from pipeline.generation import ClusteringSettings, generate_clusters
from pipeline.improvement import select_images
from pipeline.summaries import selection_summary
from rccs.clusters import RootCauseClusters, load_clusters
from rccs.spots.conditions import Literal
from rccs.spots.spot_candidates import SpotsSought
from rccs.spots.weak_spots import WeakSpot
from rccs.unsafe_set import COLUMNS, FILENAMES_FILE, REASON, SELECTION_FILE, UNSAFE_SET_FILE, load_unsafe_set
from reasons.comparison import load_reasons
from SAFE_Tool import main
from selection import SelectionSettings, select_unsafe_set
from support.errors import SAFEError
from tests.helpers.answered import AnsweredCase, draw_case
from tests.helpers.places import in_run
from training.labels import label_images, replace_unsafe_set, save_labels

SEA, WET = Literal("scene", "=", "sea"), Literal("rain", ">=", 0.5)
DARK, LABELLED = Literal("brightness", "<", 0.15), Literal("label", "=", "left")


def spot(*literals: Literal) -> WeakSpot:
    return WeakSpot(literals, 20, 10, 0.3, 0.7, 0.1)


def sought(clusters: RootCauseClusters, *spots: tuple[Literal, ...], scene: str = "", **more) -> SpotsSought:
    """Weak spots whose failing images are those of a scene, or all."""
    rows = np.flatnonzero([path.startswith(scene) for path in clusters.paths])
    return SpotsSought(tuple(spot(*literals) for literals in spots), tuple(rows for _ in spots), **more)


def of_spots(unsafe) -> dict[str, list[str]]:
    """The images selected for each weak spot."""
    found: dict[str, list[str]] = {}
    for image in unsafe.images:
        found.setdefault(image.reason, []).append(image.image)
    return {reason: sorted(names) for reason, names in found.items()}


@pytest.fixture
def measured(clusters: RootCauseClusters) -> RootCauseClusters:
    return dataclasses.replace(clusters, attributes=measured_images(clusters.image_root, clusters.paths))


@pytest.fixture
def improvement(draw_folder, tmp_path: Path) -> Path:
    """Images with a table of their scene and of rain, but for the last sea; it rains on every second image."""
    folder = draw_folder(tmp_path / "improvement", {"night": 8, "snow": 8, "wood": 6, "sea": 5}, seed=7)
    names = [path.name for path in sorted(folder.glob("*.png"))]
    rows = [f"{name},{name.split('_')[0]},{int(name[-5]) % 2}" for name in names if name != "sea_04.png"]
    (folder / "parameters.csv").write_text("\n".join(["image,scene,rain", *rows]) + "\n")
    return folder


def test_half_of_the_set_is_selected_by_recorded_parameters_and_the_rest_for_rccs(clusters, improvement):
    plain = select_unsafe_set(improvement, clusters, SelectionSettings(size=6))
    assert not any(image.image.startswith("sea") for image in plain.images)  # near to no RCC
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=6), sought=sought(clusters, (SEA,)))
    found = of_spots(unsafe)
    assert sorted(map(len, found.values())) == [3, 3]
    assert {name[:3] for name in found["scene = sea"]} == {"sea"}
    assert "sea_04.png" not in found["scene = sea"]  # its scene is not known
    assert [name[:3] for name in found[""]] == ["nig", "sno", "woo"]  # equal quotas
    assert unsafe.notes == ("3 selected by weak spots: 3 for weak spot 1",)
    order = [(image.rcc, image.distance) for image in unsafe.images]
    assert order == sorted(order)


def test_what_one_weak_spot_lacks_goes_to_the_others_and_then_to_rccs(clusters, improvement):
    rainy_seas = sought(clusters, (SEA, WET), (SEA,))
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=20), sought=rainy_seas)
    found = of_spots(unsafe)
    rainy = found["scene = sea and rain >= 0.5"]
    assert set(rainy) <= {"sea_01.png", "sea_03.png"}
    assert sorted(rainy + found["scene = sea"]) == [f"sea_0{i}.png" for i in range(4)]  # none is selected twice
    assert len(found[""]) == 16
    assert len({image.image for image in unsafe.images}) == 20
    n = len(rainy)
    assert unsafe.notes == (f"4 selected by weak spots: {n} for weak spot 1, {4 - n} for weak spot 2",)
    everything = select_unsafe_set(improvement, clusters, SelectionSettings(size=99), sought=rainy_seas)
    assert len(everything.images) == 27


def test_what_is_measured_is_checked_in_images_of_which_nothing_is_recorded(measured, improvement):
    (improvement / "parameters.csv").unlink()
    dark = sought(measured, (DARK, LABELLED), (LABELLED,), (SEA,), scene="night")
    unsafe = select_unsafe_set(improvement, measured, SelectionSettings(size=6), sought=dark)
    found = of_spots(unsafe)
    assert [name[:5] for name in found["brightness < 0.15 and label = left"]] == ["night"] * 3
    assert unsafe.notes == (
        "3 selected by weak spots: 3 for weak spot 1",
        "not checked, since unknown of improvement images: label = left (weak spot 1)",
        "weak spots of which nothing can be checked are left out: 2, label = left, 3, scene = sea",
    )


def test_the_predicted_class_is_checked_with_the_model_on_images_for_which_all_else_holds(clusters, improvement):
    asked: list[str] = []

    def predict(root: Path, paths: list[str]) -> np.ndarray:
        asked.extend(paths)
        return np.array(["stop" if path in ("sea_01.png", "sea_02.png") else "" for path in paths])

    stop = Literal("predicted", "=", "stop")
    with_model = sought(clusters, (SEA, stop), predict=predict)
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=8), sought=with_model)
    assert of_spots(unsafe)["scene = sea and predicted = stop"] == ["sea_01.png", "sea_02.png"]
    assert asked == ["sea_00.png", "sea_01.png", "sea_02.png", "sea_03.png"]
    without = select_unsafe_set(improvement, clusters, SelectionSettings(size=8), sought=sought(clusters, (SEA, stop)))
    assert len(of_spots(without)["scene = sea and predicted = stop"]) == 4
    assert "predicted = stop (weak spot 1)" in without.notes[1]
    with pytest.raises(SAFEError, match="give the model"):
        select_unsafe_set(improvement, clusters, SelectionSettings(size=8), sought=sought(clusters, (stop,)))


# --- The files --------------------------------------------------------------------------------------------------


def test_the_reason_is_a_column_that_labels_keep_and_sets_without_reasons_lack(clusters, improvement, tmp_path):
    formula = sought(clusters, (Literal("=scene", "=", "sea"),))
    text = (improvement / "parameters.csv").read_text().replace("image,scene", "image,=scene")
    (improvement / "parameters.csv").write_text(text)
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=4), sought=formula)
    out = tmp_path / "out"
    out.mkdir()
    replace_unsafe_set(unsafe, out)
    show_unsafe_set(out)
    assert load_unsafe_set(out) == unsafe
    header, *rows = (out / UNSAFE_SET_FILE).read_text().splitlines()
    assert header == ",".join([*COLUMNS, REASON])
    assert sum(row.endswith(",'=scene = sea") for row in rows) == 2  # no formula to a spreadsheet
    labelled = label_images(unsafe, {image.image for image in unsafe.images}, "left", ["left", "right"])
    save_labels(labelled, out)
    assert load_unsafe_set(out) == labelled
    assert [image.reason for image in labelled.images] == [image.reason for image in unsafe.images]
    plain = select_unsafe_set(improvement, clusters, SelectionSettings(size=4))
    found = replace_unsafe_set(plain, out)
    show_unsafe_set(out)
    assert (out / UNSAFE_SET_FILE).read_text().splitlines()[0] == ",".join(COLUMNS)
    assert [image._replace(label="") for image in found.images] == [*plain.images]
    both = {image.image for image in plain.images} & {image.image for image in unsafe.images}
    assert {image.image for image in found.images if image.label == "left"} == both


# --- The whole --------------------------------------------------------------------------------------------------


@pytest.fixture
def case(fake_network, tmp_path: Path) -> AnsweredCase:
    """The DNN fails where the sky is black, whatever the scene, and on a few woods."""
    case = draw_case(tmp_path)
    _, *answers = case.table.read_text().splitlines()
    rows = [
        f"{name},{'black' if right == 'false' and label != 'wood' else 'white'},{i % 3}"
        for i, (name, label, _, _, right) in enumerate(answer.split(",") for answer in answers)
    ]
    (case.test / "parameters.csv").write_text("\n".join(["image,sky,lane", *rows]) + "\n")
    shutil.copy(case.test / "parameters.csv", case.failing.parent / "parameters.csv")
    return case


def test_weak_spots_that_were_found_select_images_and_without_the_option_nothing_changes(case, tmp_path, capsys):
    generate_clusters(case.failing, case.out, ClusteringSettings(extractor="vgg16-conv"))
    improvement = case.test
    files = (FILENAMES_FILE, UNSAFE_SET_FILE, SELECTION_FILE)
    command = ["select", str(improvement), "--size", "8", "--out", str(case.out)]
    assert main(command) == 0
    before = [in_run(case.out, name).read_bytes() for name in files]
    with pytest.raises(SAFEError, match="Generate the clusters with predictions, or select without weak spots"):
        select_images(improvement, case.out, SelectionSettings(size=8), reasons=True)
    assert explain_failures(case.out)
    spots = load_reasons(case.out, load_clusters(case.out)).spots
    assert spots[0].where == "sky = black"
    assert main(command) == 0
    assert [in_run(case.out, name).read_bytes() for name in files] == before
    capsys.readouterr()
    assert main([*command, "--reasons"]) == 0
    unsafe = load_unsafe_set(case.out)
    assert "4 selected by weak spots" in unsafe.notes[0]
    assert unsafe.notes[0] in selection_summary(unsafe)
    assert selection_summary(unsafe) in capsys.readouterr().out
    black = {line.split(",")[0] for line in (case.test / "parameters.csv").read_text().splitlines() if "black" in line}
    chosen = {image.image for image in unsafe.images if image.reason == "sky = black"}
    assert chosen
    assert chosen <= black
