import csv
import dataclasses
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from safe_dnn.pipeline.reporting.export import ExportedImage, export_rows, folder_name, write_copies
from safe_dnn.rccs.answers import CONFIDENCE, Answers
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.nearness import by_closeness
from safe_dnn.rccs.review.edits import merge_rccs
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import load_review
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import no_progress
from tests.helpers.places import names_in
from tests.helpers.steadied import steadied

NOTES = {0: Note(0, "sunglasses at night", "hazard", "unsafe"), 2: Note(2, "", "", "safe")}
FOLDERS = ["RCC_00_sunglasses-at-night", "RCC_01", "RCC_02", "no_cluster"]


def export_rccs(clusters, notes, to, what=None, report=""):
    more = {"report.html": report.encode()} if report else {}
    rows = export_rows(clusters, notes, what=what)
    return write_copies(to, clusters.image_root, rows, ExportedImage._fields, more=more, progress=no_progress)


def rows_of(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


# --- A folder ---------------------------------------------------------------------------------------------------


def test_every_rcc_becomes_a_folder_of_its_images_and_a_table_lists_them(clusters, tmp_path):
    done = export_rccs(clusters, NOTES, tmp_path / "out", report="<html>")
    assert done == (tmp_path / "out", 26, ())
    assert names_in(done.path) == sorted([*FOLDERS, ".safe-export", "labels.csv", "report.html"])
    assert names_in(tmp_path) == ["failing", "out"]  # nothing hidden is left
    for rcc, folder in zip(clusters.groups, FOLDERS, strict=True):
        assert names_in(done.path / folder) == clusters.members(rcc)
    for path in ("night_03.png", "snow_07.png"):
        folder = FOLDERS[0] if path.startswith("night") else FOLDERS[1]
        assert (done.path / folder / path).read_bytes() == (clusters.image_root / path).read_bytes()
    rows = rows_of((done.path / "labels.csv").read_text())
    assert tuple(rows[0]) == ExportedImage._fields
    assert [(row["image"], float(row["distance"])) for row in rows[:10]] == [
        (path, pytest.approx(distance, abs=1e-6)) for path, distance in by_closeness(clusters, 0)
    ]
    of = {row["image"]: row for row in rows}
    assert len(of) == 26
    file = "RCC_00_sunglasses-at-night/night_03.png"
    known = ["night_03.png", "0", "sunglasses at night", "unsafe", "true", of["night_03.png"]["distance"], file]
    assert [*of["night_03.png"].values()] == [*known, *[""] * 7]  # nothing is known of answers and steadiness
    assert (of["snow_07.png"]["core"], of["wood_00.png"]["verdict"]) == ("false", "safe")
    assert (of["sea_00.png"]["rcc"], of["sea_00.png"]["file"]) == ("-1", "no_cluster/sea_00.png")


def test_what_the_dnn_took_the_images_for_is_exported_where_it_is_known(clusters, tmp_path):
    label, score = np.full(26, "", "U10"), np.full(26, np.nan)
    row = clusters.paths.index("night_03.png")
    label[row], score[row] = "=dark", 0.75
    known = dataclasses.replace(clusters, answers=Answers(label, label, score, CONFIDENCE))
    export_rccs(known, NOTES, tmp_path / "out")
    of = {row["image"]: row for row in rows_of((tmp_path / "out" / "labels.csv").read_text())}
    assert [of["night_03.png"][name] for name in ("label", "predicted", "score")] == ["'=dark", "'=dark", "0.75"]
    assert [of["night_04.png"][name] for name in ("label", "predicted", "score")] == ["", "", ""]


def test_how_steady_rccs_are_and_where_images_lie_between_them_is_exported_as_far_as_it_is_known(clusters, tmp_path):
    known = steadied(clusters)
    export_rccs(known, NOTES, tmp_path / "out")
    of = {row["image"]: row for row in rows_of((tmp_path / "out" / "labels.csv").read_text())}
    columns = ("rcc_confidence", "together", "beside", "together_beside")
    assert [of["snow_07.png"][name] for name in columns] == ["0.52", "0.55", "0", "0.385"]
    assert [of["night_03.png"][name] for name in columns] == ["0.94", "0.94", "1", "0.1"]
    assert [of["sea_00.png"][name] for name in columns] == ["", "", "2", "0.3"]
    save_clusters(known, tmp_path)
    merge_rccs(tmp_path, 2, 0)
    of = {row.image: row[-4:] for row in export_rows(load_review(tmp_path).clusters, {})}
    assert of["snow_07.png"] == (0.52, 0.55, None, None)  # RCC 0 is no longer what it was beside
    assert of["night_03.png"] == of["sea_00.png"] == (None,) * 4


def test_an_earlier_export_is_replaced_and_an_empty_folder_filled(clusters, tmp_path):
    (tmp_path / "out").mkdir()
    export_rccs(clusters, NOTES, tmp_path / "out", report="old")
    export_rccs(clusters, {}, tmp_path / "out", what=[1])
    assert names_in(tmp_path / "out") == [".safe-export", "RCC_01", "labels.csv"]
    assert names_in(tmp_path) == ["failing", "out"]


@pytest.mark.parametrize("other", ["mine.txt", "RCC_01/mine.png", "deep/er/mine.txt", ".hidden"])
def test_a_folder_that_holds_other_things_is_refused(clusters, tmp_path, other):
    out = export_rccs(clusters, NOTES, tmp_path / "out").path
    (out / other).parent.mkdir(parents=True, exist_ok=True)
    (out / other).write_text("mine")
    with pytest.raises(SAFEError, match=rf"\({other} is not from SAFE\)\. Choose another name, such as out-2\."):
        export_rccs(clusters, NOTES, out)
    (tmp_path / "out-2").write_text("taken")
    with pytest.raises(SAFEError, match=r"such as out-3\."):
        export_rccs(clusters, NOTES, out)
    assert (out / other).read_text() == "mine"
    assert (out / "RCC_02" / "wood_00.png").exists()


def test_what_was_changed_since_it_was_exported_is_not_replaced(clusters, tmp_path):
    out = export_rccs(clusters, NOTES, tmp_path / "out").path
    whole = (out / "labels.csv").read_bytes()
    (out / "labels.csv").write_bytes(whole.replace(b"safe", b"SAFE"))
    with pytest.raises(SAFEError, match=r"\(labels\.csv was changed\)"):
        export_rccs(clusters, NOTES, out)
    (out / "labels.csv").write_bytes(whole)
    (out / "RCC_01" / "snow_00.png").unlink()  # what was only removed can be
    export_rccs(clusters, NOTES, out)
    (out / "RCC_01" / "snow_00.png").unlink()
    (out / "RCC_01" / "snow_00.png").symlink_to(clusters.image_root / "snow_00.png")
    with pytest.raises(SAFEError, match=r"\(RCC_01/snow_00\.png was changed\)"):
        export_rccs(clusters, NOTES, out)
    shutil.rmtree(out / "RCC_01")
    (out / "RCC_01").symlink_to(clusters.image_root)
    with pytest.raises(SAFEError, match=r"\(RCC_01 is not from SAFE\)"):
        export_rccs(clusters, NOTES, out)


def test_an_export_that_fails_leaves_what_was_there(clusters, tmp_path, monkeypatch):
    out = export_rccs(clusters, NOTES, tmp_path / "out").path
    before = sorted(path.relative_to(out) for path in out.rglob("*"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SAFEError, match=r"Could not write the export to .*: No space left on device"):
        export_rccs(clusters, {}, out)
    assert sorted(path.relative_to(out) for path in out.rglob("*")) == before
    assert names_in(tmp_path) == ["failing", "out"]


def test_an_image_that_is_gone_is_told_and_the_others_are_exported(clusters, tmp_path):
    (clusters.image_root / "snow_02.png").unlink()
    done = export_rccs(clusters, NOTES, tmp_path / "out")
    assert done[1:] == (25, (("snow_02.png", "No such file or directory"),))
    table = (done.path / "labels.csv").read_text()
    assert [row["file"] for row in rows_of(table) if row["image"] == "snow_02.png"] == [""]


# --- A ZIP file -------------------------------------------------------------------------------------------------


def test_nothing_is_exported_where_all_images_are_gone_or_to_the_root_of_all_folders(clusters, tmp_path):
    with pytest.raises(SAFEError, match=r"Expected a new folder to export to\. Received: /\."):
        export_rccs(clusters, NOTES, Path("/"))
    shutil.rmtree(clusters.image_root)
    with pytest.raises(SAFEError, match=r"Received none of 26 in .*night_04\.png: No such file"):
        export_rccs(clusters, NOTES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_zip_file_holds_the_same_as_the_folder(clusters, tmp_path):
    out = export_rccs(clusters, NOTES, tmp_path / "out", report="<html>").path
    packed = export_rccs(clusters, NOTES, tmp_path / "out.zip", report="<html>")
    assert packed.images == 26
    with zipfile.ZipFile(packed.path) as archive:
        assert archive.testzip() is None
        files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        del files[".safe-export"]  # of a ZIP, the comment
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_only_a_zip_file_as_safe_wrote_it_is_replaced(clusters, tmp_path):
    target = tmp_path / "out.zip"
    export_rccs(clusters, NOTES, target)
    export_rccs(clusters, {}, target, what=[1])
    assert len(zipfile.ZipFile(target).namelist()) == 9
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("mine.txt", "mine")
    own = tmp_path / "own.zip"
    with zipfile.ZipFile(own, "w") as archive:
        archive.writestr("mine.txt", "mine")
    (tmp_path / "text.zip").write_text("mine")
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "link.zip").symlink_to(own)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.zip") if path.is_file()}
    for name in (*before, "folder.zip"):
        free = name.replace(".zip", r"-2\.zip")
        with pytest.raises(
            SAFEError, match=rf"Expected a new file, or an unchanged export .* Choose .* such as {free}\."
        ):
            export_rccs(clusters, NOTES, tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.zip") if path.is_file()} == before


# --- Names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "RCC_03"),
        ("../../etc/passwd", "RCC_03_etc-passwd"),
        ('a<b>:"c"|d?*\\e/f', "RCC_03_a-b-c-d-e-f"),
        ("  - _ . ", "RCC_03"),
        ("Dämmerung 夜", "RCC_03_Dämmerung-夜"),
        ("x" * 80, "RCC_03_" + "x" * 40),
    ],
)
def test_a_folder_is_called_by_number_and_name_in_a_way_that_every_system_takes(name, expected):
    assert folder_name(3, name, 12) == expected
