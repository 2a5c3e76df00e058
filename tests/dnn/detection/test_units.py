"""Tables with several rows for an image: each is tested by itself, and those of an image are one group."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from safe_dnn import api
from safe_dnn.dnn.detection.converter import failures_in_table
from safe_dnn.dnn.failures import load_failures
from safe_dnn.dnn.tested import read_predictions
from safe_dnn.support.errors import SAFEError

UNITS = ("car", "man/woman", "sky")


def names_in(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png"))


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(40):
        file = tmp_path / "test" / ("night" if i < 10 else "day") / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        level = 60 if i < 10 else 180
        Image.fromarray(rng.integers(level - 40, level + 40, (32, 32, 3), np.uint8)).save(file)
    return tmp_path / "test"


def write(images, rows=lambda name, unit: [("yes", "no" if name.startswith("night") and unit != "sky" else "yes")]):
    """All cars and persons are missed at night."""
    table = images.parent / "units.csv"
    lines = [f"{name},{unit},{a},{b}" for name in names_in(images) for unit in UNITS for a, b in rows(name, unit)]
    table.write_text("\n".join(["image,unit,label,predicted", *lines]))
    return table


def test_each_row_is_tested_and_images_are_groups(images, tmp_path):
    (tmp_path / "parameters.csv").write_text(
        "\n".join(["image,rain,label", *(f"test/{name},{i % 2},street" for i, name in enumerate(names_in(images)))])
    )
    found = api.failures(predictions=write(images), test=images, out=tmp_path / "out").value
    assert (len(found.failures.paths), len(found.failures.failing)) == (120, 20)
    assert "night/00_1_man_woman.png" in found.failures.failing
    assert load_failures(tmp_path / "out").group == ("full_image",)
    notes = " ".join((*found.failures.notes, *found.reasons.notes))
    assert "120 units of 40 images, by units.csv; those of one image are a group" in notes
    assert "The units are of 40 full images" in notes
    assert "full_image is left out" not in notes
    parameters = (tmp_path / "out" / "objects" / "parameters.csv").read_text().splitlines()
    assert parameters[0] == "image,full_image,unit,rain"
    assert "night/00_1_man_woman.png,night/00.png,man/woman," in "\n".join(parameters)
    assert any("unit" in spot.where or "brightness" in spot.where for spot in found.reasons.spots)
    assert found.low < found.accuracy - 0.1  # of 40 images, not of 120
    again = read_predictions(tmp_path / "out" / "predictions.csv", tmp_path / "out" / "objects")
    assert len(again.paths) == 120


def test_what_is_held_out_are_whole_images(images, tmp_path):
    found = api.failures(predictions=write(images), test=images, out=tmp_path / "out", hold_out=0.5).value.failures
    held, tested = ({name[:8] for name in names} for names in (found.held_out, found.paths))
    assert held
    assert not held & tested
    assert any("60 of 120 units (20 of 40 full images)." in note for note in found.notes)
    assert json.loads((tmp_path / "out" / "accuracy.json").read_text())["hold_out"]["group"] == ["full_image"]


def test_units_that_can_be_read_in_two_ways_are_refused(images, tmp_path):
    table = write(images, lambda name, unit: [("yes", "no"), ("yes", "yes")] if unit == "sky" else [("yes", "yes")])
    with pytest.raises(SAFEError, match=r"a unit once for day/10\.png in line 5 .*sky, as in line 4"):
        failures_in_table(table, images, tmp_path / "out")
    table.write_text(table.read_text().replace(",car,", ",,"))
    with pytest.raises(SAFEError, match=r"Expected a text under unit in line 2 .*Received: nothing"):
        failures_in_table(table, images, tmp_path / "out")
    few = write(images, lambda name, unit: [("yes", "no")] if name < "day/20" else [])
    with pytest.raises(SAFEError, match="a row for 10 of 40 images"):
        failures_in_table(few, images, tmp_path / "out")
    with pytest.raises(
        SAFEError, match=r"Expected one row for day/10.* different values for unit.* Collect failures"
    ):  # not by way of units
        api.cluster(images, tmp_path / "other", predictions=write(images, lambda *_: [("a", "a")]), tested=images)


def test_of_parameters_of_units_the_first_row_of_an_image_counts_and_a_note_says_so(images, tmp_path):
    rows = [f"test/{name},{unit},{i}" for name in names_in(images) for i, unit in enumerate(UNITS)]
    (tmp_path / "parameters.csv").write_text("\n".join(["image,unit,size", *rows]))
    found = failures_in_table(write(images), images, tmp_path / "out")
    assert "Several rows for 40 images, the first day/10.png; the first row is used." in found.notes
    assert "day/10_1_man_woman.png,day/10.png,man/woman,0" in (found.root / "parameters.csv").read_text().splitlines()


def test_a_column_of_units_may_be_in_a_table_with_a_row_for_each_image(images, tmp_path):
    table = write(images, lambda name, unit: [("yes", "yes")] if unit == "sky" else [])
    assert len(failures_in_table(table, images, tmp_path / "out").paths) == 40
    assert not (tmp_path / "out" / "objects").exists()


def test_copies_of_an_image_count_once_and_not_at_all_if_their_rows_differ(images, tmp_path):
    for name, copy in (("day/10.png", "day/90.png"), ("day/11.png", "day/91.png")):
        shutil.copy(images / name, images / copy)
    wrong = ("day/91.png", "sky")
    table = write(images, lambda name, unit: [("yes", "no" if (name, unit) == wrong or name < "day/15" else "yes")])
    table.write_text(table.read_text().replace("day/90.png,car,yes,yes", "day/90.png,car,yes,no"))
    rows = table.read_text().replace("day/90.png,man/woman,yes,yes", "day/90.png,man/woman,yes,no")
    table.write_text(rows.replace("day/90.png,sky,yes,yes", "day/90.png,sky,yes,no"))
    found = failures_in_table(table, images, tmp_path / "out")
    assert len(found.paths) == 3 * 39  # of 42 images, one is a copy, and two contradict each other
    assert "day/10_0_car.png" in found.paths
    assert not {name for name in found.paths if name.startswith(("day/11", "day/90", "day/91"))}
    assert any("copies of others byte for byte: 2 of 42 images" in note for note in found.notes)
