"""Images that are the same byte for byte count once, whatever reads them, and nothing is left out in silence."""

import os
import shutil

import numpy as np
import pytest

from safe_dnn.api.explaining import explain_failures
from safe_dnn.api.generation import generate_clusters
from safe_dnn.dnn.failures import collect_failures, find_failures
from safe_dnn.dnn.group_columns import HoldOut
from safe_dnn.dnn.tested import read_predictions
from safe_dnn.options import ClusteringSettings
from safe_dnn.rccs.clusters import load_clusters
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.SAFE_Tool import main
from safe_dnn.training.result import compare_answers
from tests.helpers.answered import draw_case, record_light
from tests.helpers.places import rows_in


@pytest.fixture
def case(fake_network, tmp_path):
    case = draw_case(tmp_path)
    record_light(case.test / "parameters.csv")
    return case


def thrice(case, *places):
    """Copy each image twice, in the folder of test images and perhaps others, and its row in the table."""
    header, *rows = case.table.read_text().splitlines()
    more = [f"{row.split(',')[0][:-4]}_{i}.png,{row.split(',', 1)[1]}" for row in rows for i in "xy"]
    case.table.write_text("\n".join([header, *rows, *more]))
    for file in [file for place in (case.test, *places) for file in place.rglob("*.png")]:
        for i in "xy":
            shutil.copyfile(file, file.with_name(f"{file.stem}_{i}.png"))
    table = case.test / "parameters.csv"
    header, *rows = table.read_text().splitlines()
    more = [f"{row.split(',')[0][:-4]}_{i}.png,{row.split(',', 1)[1]}" for row in rows for i in "xy"]
    table.write_text("\n".join([header, *rows, *more]))


def test_check_says_the_same_of_images_that_are_there_three_times(case, capsys):
    file = case.out.with_name("requirements.yaml")
    file.write_text("light >= 0.5: at most 33 % wrong at 95 %\nlabel = wood: at most 24 % wrong\n")
    case.out.mkdir()
    command = ["check", str(file), "--predictions", str(case.table), "--tested", str(case.test), "--out", str(case.out)]
    status = main(command)
    once = capsys.readouterr()
    thrice(case)
    assert main(command) == status == 3
    again = capsys.readouterr()
    assert again.out == once.out
    assert "copies of others byte for byte: 148 of 222 images, the first night/night_00_x.png of" in again.err


def test_images_without_a_row_that_are_copies_of_each_other_are_called_so(case):
    shutil.copyfile(case.test / "night/night_00.png", case.test / "wood/same.png")
    lines = [line for line in case.table.read_text().splitlines() if not line.startswith("night/night_00.png")]
    case.table.write_text("\n".join(lines))
    found = read_predictions(case.table, case.test, partial=True)
    assert "All figures are of 73 of 75 images: 2 have no row; 2 are copies of each other byte for byte." in found.notes


def test_weak_spots_and_rates_are_those_of_images_that_are_there_once(case, tmp_path):
    def spots(out):
        generate_clusters(case.failing, out, ClusteringSettings(extractor="vgg16-conv"))
        assert explain_failures(out)
        return load_reasons(out, load_clusters(out))

    once = spots(tmp_path / "once")
    thrice(case)
    collect_failures(case.table, case.test, tmp_path / "again")
    case = case._replace(failing=tmp_path / "again" / "failures")
    again = spots(tmp_path / "thrice")
    assert again.spots == once.spots
    assert again.base == once.base
    np.testing.assert_array_equal(again.comparison.of_failing, once.comparison.of_failing)
    thrice(case, case.failing)  # also if somebody copies failing images as well
    clusters = generate_clusters(case.failing, tmp_path / "more", ClusteringSettings(extractor="vgg16-conv"))
    assert explain_failures(tmp_path / "more")
    assert set(clusters.answers.label) == {"night", "snow", "wood"}  # of copies, too
    assert load_reasons(tmp_path / "more", clusters).spots == once.spots
    rates = load_reasons(tmp_path / "more", clusters).rates.values()
    assert sum(rate.figures.wrong for rate in rates) <= 26


def test_of_a_model_and_of_a_comparison_copies_count_once(tmp_path):
    from tests.helpers.small_models import colour_model, draw_set, saved

    test = draw_set(tmp_path / "test", 4, {"red": ("blue", 2)})
    once = find_failures(saved(colour_model(), tmp_path / "model.keras"), test, tmp_path / "once")
    for file in list(test.rglob("*.png")):
        shutil.copyfile(file, file.with_name(f"{file.stem}_x.png"))
    found = find_failures(tmp_path / "model.keras", test, tmp_path / "out", hold_out=HoldOut(0.3))
    rows = rows_in(tmp_path / "out" / "predictions.csv")
    assert len({(test / row["image"]).read_bytes() for row in rows}) == len(rows) == len(once.paths) == 14
    assert len(found.paths) + len(found.held_out) == 14
    assert any(note.startswith("Left out, since they are copies of others") for note in found.notes)
    tables = [tmp_path / f"{name}.csv" for name in ("before", "after")]
    names = [f"{path.relative_to(test)}" for path in sorted(test.rglob("*.png"))]
    for table, better in zip(tables, (False, True), strict=True):
        answers = [f"{name},{'blue' if 'in_blue' in name and not better else name.split('/')[0]}" for name in names]
        table.write_text("\n".join(["image,predicted", *answers]))
    compared = compare_answers(*tables, test, tmp_path / "compared")
    assert (compared.test_size, len(compared.improved)) == (14, 2)


def test_copies_of_held_out_images_are_held_out(case):
    rows = case.table.read_text().splitlines()
    rows = [f"{rows[0]},held_out", *(f"{row},{str('wood_45' in row).lower()}" for row in rows[1:])]
    shutil.copyfile(case.test / "wood" / "wood_45.png", case.test / "wood" / "again.png")
    case.table.write_text("\n".join([*rows, "wood/again.png,wood,wood,0.9,true,false"]))
    read = read_predictions(case.table, case.test)
    assert set(read.held_out) == {"wood/again.png", "wood/wood_45.png"}
    assert not set(read.held_out) & set(read.paths)


@pytest.mark.parametrize(("folder", "answer"), [("snow", "night"), ("night", "sea")])
def test_one_image_with_two_classes_or_two_answers_is_told_and_left_out(case, folder, answer):
    shutil.copyfile(case.test / "night" / "night_00.png", case.test / folder / "other.png")
    with case.table.open("a") as table:
        table.write(f"{folder}/other.png,{folder},{answer},0.9,false\n")
    read = read_predictions(case.table, case.test)
    assert not {"night/night_00.png", f"{folder}/other.png"} & set(read.paths)
    (note,) = [note for note in read.notes if "other labels or answers" in note]
    assert "night/night_00.png (night → wood, wrong)" in note
    assert f"{folder}/other.png ({folder} → {answer}, wrong)" in note
    found = collect_failures(case.table, case.test, case.out)
    assert note in found.notes
    assert not os.path.lexists(case.out / "failures" / folder / "other.png")
