import dataclasses
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from safe_dnn.rccs.answers import CONFIDENCE, Answers
from safe_dnn.rccs.confidence import by_closeness
from safe_dnn.rccs.review.journal import Note
from safe_dnn.report.exports import EXPORT_ZIP, export_here, export_rows, folder_name, missing_in, write_copies
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import names_in, rows_in
from tests.helpers.troubles import Disk, Trouble

NOTES = {0: Note(0, "sunglasses at night", "hazard", "unsafe"), 2: Note(2, "", "", "safe")}
FOLDERS = ["RCC_00_sunglasses-at-night", "RCC_01", "RCC_02", "no_cluster"]
COLUMNS = ["image", "rcc", "name", "verdict", "core", "distance", "file", "label", "predicted", "score"]
COLUMNS += ["rcc_confidence"]


def export_rccs(clusters, notes, to, rccs=None, report=""):
    more = {"report.html": report.encode()} if report else {}
    rows = export_rows(clusters, notes, rccs=rccs)
    return write_copies(to, clusters.image_root, rows, extra_files=more)


# --- A folder ---------------------------------------------------------------------------------------------------------


def test_every_rcc_becomes_a_folder_of_its_images_and_a_table_lists_them(clusters, tmp_path):
    done = export_rccs(clusters, NOTES, tmp_path / "out", report="<html>")
    assert done == (tmp_path / "out", 26, ())
    assert names_in(done.path) == sorted([*FOLDERS, "labels.csv", "report.html"])
    assert names_in(tmp_path) == ["failing", "out"]  # nothing hidden is left
    for rcc, folder in zip(clusters.groups, FOLDERS, strict=True):
        assert names_in(done.path / folder) == clusters.members(rcc)
    for path in ("night_03.png", "snow_07.png"):
        folder = FOLDERS[0] if path.startswith("night") else FOLDERS[1]
        assert (done.path / folder / path).read_bytes() == (clusters.image_root / path).read_bytes()
    rows = rows_in(done.path / "labels.csv")
    assert list(rows[0]) == COLUMNS
    assert [(row["image"], float(row["distance"])) for row in rows[:10]] == [
        (path, pytest.approx(distance, abs=1e-6)) for path, distance in by_closeness(clusters, 0)
    ]
    of = {row["image"]: row for row in rows}
    assert len(of) == 26
    file = "RCC_00_sunglasses-at-night/night_03.png"
    known = ["night_03.png", "0", "sunglasses at night", "unsafe", "true", of["night_03.png"]["distance"], file]
    assert [*of["night_03.png"].values()] == [*known, *[""] * 4]  # nothing is known of answers and steadiness
    assert (of["snow_07.png"]["core"], of["wood_00.png"]["verdict"]) == ("false", "safe")
    assert (of["sea_00.png"]["rcc"], of["sea_00.png"]["file"]) == ("-1", "no_cluster/sea_00.png")


def test_what_the_dnn_took_the_images_for_is_exported_where_it_is_known(clusters, tmp_path):
    label, score = np.full(26, "", "U10"), np.full(26, np.nan)
    row = clusters.paths.index("night_03.png")
    label[row], score[row] = "=dark", 0.75
    known = dataclasses.replace(clusters, answers=Answers(label, label, score, CONFIDENCE))
    export_rccs(known, NOTES, tmp_path / "out")
    of = {row["image"]: row for row in rows_in(tmp_path / "out" / "labels.csv")}
    assert [of["night_03.png"][name] for name in ("label", "predicted", "score")] == ["'=dark", "'=dark", "0.75"]
    assert [of["night_04.png"][name] for name in ("label", "predicted", "score")] == ["", "", ""]


def test_only_a_new_folder_or_file_is_written(clusters, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken.zip").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for place in (*(tmp_path / name for name in ("empty", "taken.zip", "link", "failing")), Path("/")):
        with pytest.raises(SAFEError, match=rf"Expected a new folder or ZIP file .* {place}, which exists\. Choose"):
            export_rccs(clusters, NOTES, place)
    assert names_in(tmp_path) == ["empty", "failing", "link", "taken.zip"]
    assert (tmp_path / "taken.zip").read_text() == "mine"
    assert export_rccs(clusters, NOTES, tmp_path / "new" / "deeper", rccs=[1]).images == 8


def test_an_image_that_is_gone_is_told_and_the_others_are_exported(clusters, tmp_path):
    (clusters.image_root / "snow_02.png").unlink()
    done = export_rccs(clusters, NOTES, tmp_path / "out")
    assert done[1:] == (25, (("snow_02.png", "No such file or directory"),))
    assert [row["file"] for row in rows_in(done.path / "labels.csv") if row["image"] == "snow_02.png"] == [""]


def test_nothing_is_exported_where_all_images_are_gone(clusters, tmp_path):
    shutil.rmtree(clusters.image_root)
    with pytest.raises(SAFEError, match=r"Received none of 26 in .*night_04\.png: No such file"):
        export_rccs(clusters, NOTES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_copies_in_a_folder_have_names_of_their_own_that_a_zip_file_can_have(clusters, tmp_path):
    names = ["a/Dusk.png", "b/dusk.png", "c/x:y.png", "d/\udcff.png"]
    for name in names:
        (tmp_path / name).parent.mkdir()
        shutil.copy(clusters.image_root / "night_00.png", tmp_path / name)
    odd = dataclasses.replace(clusters, paths=(*names, *clusters.paths[len(names) :]), image_root=tmp_path)
    files = {row["image"]: row["file"].partition("/")[2] for row in export_rows(odd, {})}
    expected = [{"Dusk.png", "dusk_2.png"}, {"Dusk_2.png", "dusk.png"}]
    assert {files["a/Dusk.png"], files["b/dusk.png"]} in expected
    assert [files[name] for name in names[2:]] == ["x_y.png", "_.png"]
    rows = [row for row in export_rows(odd, {}) if row["image"] in names]
    write_copies(tmp_path / "out.zip", tmp_path, rows)
    packed = [name for name in zipfile.ZipFile(tmp_path / "out.zip").namelist() if not name.endswith("/")]
    assert len(packed) == len(names) + 1


# --- A ZIP file -------------------------------------------------------------------------------------------------------


def test_a_zip_file_holds_the_same_as_the_folder(clusters, tmp_path):
    out = export_rccs(clusters, NOTES, tmp_path / "out", report="<html>").path
    packed = export_rccs(clusters, NOTES, tmp_path / "out.zip", report="<html>")
    assert packed.images == 26
    with zipfile.ZipFile(packed.path) as archive:
        assert archive.testzip() is None
        files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        assert {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")} == files


def test_the_export_of_an_analysis_replaces_the_one_before_and_counts_what_it_lacks(clusters, out):
    export_here(out)
    assert missing_in(out / EXPORT_ZIP) == 0
    (clusters.image_root / clusters.paths[0]).unlink()
    export_here(out)
    assert missing_in(out / EXPORT_ZIP) == 1
    (out / EXPORT_ZIP).write_bytes((out / EXPORT_ZIP).read_bytes()[:-30])
    with pytest.raises(SAFEError, match=r"is damaged .* Pack it again\."):
        missing_in(out / EXPORT_ZIP)


@pytest.mark.slow
def test_an_export_on_a_full_disk_is_an_error_in_a_sentence_and_leaves_nothing(out, monkeypatch):
    before, disk, refused = names_in(out), Disk(monkeypatch), []
    while True:
        with disk.trouble(Trouble("full", len(refused))):
            try:
                export_here(out)
                break
            except SAFEError as error:
                refused.append(str(error))
        assert names_in(out) == before, refused[-1]
    assert len(refused) > 5


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "RCC_03"), ("../../etc/passwd", "RCC_03_etc-passwd"), ('a<b>:"c"|d?*\\e/f', "RCC_03_a-b-c-d-e-f"),
        ("  - _ . ", "RCC_03"), ("Dämmerung 夜", "RCC_03_Dämmerung-夜"), ("x" * 80, "RCC_03_" + "x" * 40),
    ],
)  # fmt: skip
def test_a_folder_is_called_by_number_and_name_in_a_way_that_every_system_takes(name, expected):
    assert folder_name(3, name, 12) == expected
