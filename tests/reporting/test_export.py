import csv
import dataclasses
import hashlib
import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dbscan.outcome import NOISE
from rccs.answers import CONFIDENCE, Answers
from rccs.clusters import save_clusters
from rccs.edits import merge_rccs
from rccs.nearness import by_closeness
from rccs.notes import RccNote
from rccs.review import active_clusters, set_note
from reporting import export
from reporting.export import COLUMNS, export_rccs, export_rows, export_zip, folder_name, safe_name
from SAFE_Tool import main
from support.errors import SAFEError
from tests.helpers.places import names_in
from tests.helpers.steadied import steadied

NOTES = {0: RccNote(0, "sunglasses at night", "hazard", "unsafe"), 2: RccNote(2, "", "", "safe")}
FOLDERS = ["RCC_00_sunglasses-at-night", "RCC_01", "RCC_02", "no_cluster"]


@pytest.fixture(autouse=True)
def without_pyarrow(monkeypatch):
    """Whether it is installed here or not; one test puts it back."""
    monkeypatch.setattr(export, "writes_parquet", lambda: False)


def rows_of(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


def renamed(clusters, names: dict[str, str]):
    """The clusters with files, and their paths, renamed."""
    for old, new in names.items():
        (clusters.image_root / new).parent.mkdir(exist_ok=True)
        (clusters.image_root / old).rename(clusters.image_root / new)
    return dataclasses.replace(clusters, paths=tuple(names.get(path, path) for path in clusters.paths))


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
    assert tuple(rows[0]) == COLUMNS
    assert [(row["image"], float(row["distance"])) for row in rows[:10]] == [
        (path, pytest.approx(distance, abs=1e-6)) for path, distance in by_closeness(clusters, 0)
    ]
    of = {row["image"]: row for row in rows}
    assert len(of) == 26
    assert of["night_03.png"] | {"distance": ""} == {
        "image": "night_03.png",
        "rcc": "0",
        "name": "sunglasses at night",
        "verdict": "unsafe",
        "core": "true",
        "distance": "",
        "file": "RCC_00_sunglasses-at-night/night_03.png",
        "label": "",
        "predicted": "",
        "score": "",
        "rcc_confidence": "",
        "together": "",
        "beside": "",
        "together_beside": "",
    }
    assert (of["snow_07.png"]["core"], of["wood_00.png"]["verdict"]) == ("false", "safe")
    assert (of["sea_00.png"]["rcc"], of["sea_00.png"]["file"]) == ("-1", "no_cluster/sea_00.png")


def test_what_the_dnn_took_the_images_for_is_exported_where_it_is_known(clusters, tmp_path):
    answers = Answers.unknown(26).taken(range(26))
    label, score = answers.label.astype("U10"), answers.score.copy()
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
    of = {row.image: row[-4:] for row in export_rows(active_clusters(tmp_path), {})}
    assert of["snow_07.png"] == (0.52, 0.55, None, None)  # RCC 0 is no longer what it was beside
    assert of["night_03.png"] == of["sea_00.png"] == (None,) * 4


def test_one_rcc_can_be_exported_alone(clusters, tmp_path):
    done = export_rccs(clusters, NOTES, tmp_path / "out", what=[2])
    assert done.images == 6
    assert names_in(done.path) == [".safe-export", "RCC_02", "labels.csv"]
    assert export_rccs(clusters, {}, tmp_path / "noise", what=[NOISE]).images == 2


@pytest.mark.parametrize("what", [[7], [0, 7], []])
def test_an_rcc_that_is_none_cannot_be_exported(clusters, tmp_path, what):
    with pytest.raises(SAFEError, match=r"Expected RCCs to export. Received: (7|none)"):
        export_rccs(clusters, NOTES, tmp_path / "out", what=what)
    assert not (tmp_path / "out").exists()


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


def test_a_folder_of_the_engineers_own_with_images_and_a_table_of_them_is_not_replaced(clusters, tmp_path):
    """Nor is an export of a version that left no mark: the two look the same."""
    own = tmp_path / "own"
    shutil.copytree(clusters.image_root, own)
    table = "file,label\n" + "".join(f"{path},night\n" for path in clusters.paths)
    (own / "labels.csv").write_text(table)
    with pytest.raises(SAFEError, match=r"\(without SAFE's mark, \.safe-export\)\. Choose .* such as own-2\."):
        export_rccs(clusters, NOTES, own)
    assert names_in(own) == sorted([*clusters.paths, "labels.csv"])


def test_what_comes_into_the_folder_while_images_are_copied_is_not_lost(clusters, tmp_path):
    out = export_rccs(clusters, NOTES, tmp_path / "out").path
    with pytest.raises(SAFEError, match=r"\(note\.txt is not from SAFE\)"):
        export_rccs(clusters, NOTES, out, progress=lambda *_: (out / "note.txt").write_text("mine"))
    assert (out / "note.txt").read_text() == "mine"
    assert names_in(tmp_path) == ["failing", "out"]


def test_the_mark_lists_what_was_written_as_b2sum_checks_it(clusters, tmp_path):
    out = export_rccs(clusters, NOTES, tmp_path / "out", report="<html>").path
    lines = dict(line.split("  ")[::-1] for line in (out / ".safe-export").read_text().splitlines())
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    del files[".safe-export"]
    digests = {name: hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() for name, path in files.items()}
    assert lines == digests


def test_a_file_or_a_link_in_the_way_is_refused(clusters, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for to in (tmp_path / "file", tmp_path / "link", tmp_path / "nowhere"):
        with pytest.raises(SAFEError, match=r"Received: .*\(not a folder\)"):
            export_rccs(clusters, NOTES, to)
    with pytest.raises(SAFEError, match="without SAFE's mark"):
        export_rccs(clusters, NOTES, clusters.image_root)
    with pytest.raises(SAFEError, match="Received: nothing"):
        export_rccs(clusters, NOTES, "  ")


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
    for done, table in (
        (export_rccs(clusters, NOTES, tmp_path / "out"), None),
        (export_zip(clusters, NOTES, tmp_path / "out.zip"), None),
    ):
        assert done.images == 25
        assert done.missing == (("snow_02.png", "No such file or directory"),)
        if done.path.suffix:
            table = zipfile.ZipFile(done.path).read("labels.csv").decode()
        else:
            table = (done.path / "labels.csv").read_text()
        assert [row["file"] for row in rows_of(table) if row["image"] == "snow_02.png"] == [""]


# --- A ZIP file -------------------------------------------------------------------------------------------------


def test_a_zip_file_holds_the_same_as_the_folder(clusters, tmp_path):
    out = export_rccs(clusters, NOTES, tmp_path / "out", report="<html>").path
    packed = export_zip(clusters, NOTES, tmp_path / "out.zip", report="<html>")
    assert packed.images == 26
    with zipfile.ZipFile(packed.path) as archive:
        assert archive.testzip() is None
        files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        del files[".safe-export"]  # of a ZIP, the comment
        assert {name: archive.read(name) for name in archive.namelist()} == files
    with pytest.raises(SAFEError, match=r"ends in \.zip. Received: out.tar"):
        export_zip(clusters, NOTES, tmp_path / "out.tar")


def test_only_a_zip_file_as_safe_wrote_it_is_replaced(clusters, tmp_path):
    target = tmp_path / "out.zip"
    export_zip(clusters, NOTES, target)
    export_zip(clusters, {}, target, what=[1])
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
            export_zip(clusters, NOTES, tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.zip") if path.is_file()} == before


# --- Names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "RCC_03"),
        ("sunglasses at night", "RCC_03_sunglasses-at-night"),
        ("../../etc/passwd", "RCC_03_etc-passwd"),
        ('a<b>:"c"|d?*\\e/f', "RCC_03_a-b-c-d-e-f"),
        ("con.", "RCC_03_con"),
        ("  - _ . ", "RCC_03"),
        ("Dämmerung 夜", "RCC_03_Dämmerung-夜"),
        ("x" * 80, "RCC_03_" + "x" * 40),
        ("<script>alert(1)</script>", "RCC_03_script-alert-1-script"),
    ],
)
def test_a_folder_is_called_by_number_and_name_in_a_way_that_every_system_takes(name, expected):
    assert folder_name(3, name, 12) == expected


def test_numbers_are_padded_to_the_same_width():
    assert folder_name(3, "", 101) == "RCC_003"
    assert folder_name(0, "", 0) == "RCC_00"
    assert folder_name(NOISE, "rest", 5) == "no_cluster"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("image 1.PNG", "image 1.PNG"),
        ('a:b"c?.png', "a_b_c_.png"),
        ("NUL.png", "_NUL.png"),
        ("com1.jpeg", "_com1.jpeg"),
        ("company.png", "company.png"),
        ("odd\udcff.png", "odd_.png"),
        ("dots...", "dots"),
        ("x" * 200 + ".png", "x" * 146 + ".png"),
        ("夜" * 100 + ".png", "夜" * 48 + ".png"),
    ],
)
def test_a_file_keeps_its_name_as_far_as_every_system_takes_it(name, expected):
    assert safe_name(name) == expected


def test_files_of_one_name_in_one_rcc_are_told_apart(clusters, tmp_path):
    names = {"night_00.png": "a/x.png", "night_01.png": "b/x.png", "night_02.png": "c/X.png", "night_03.png": "x_2.png"}
    odd = renamed(clusters, {**names, "snow_00.png": "a/snow.png"})
    out = export_rccs(odd, {}, tmp_path / "out").path
    assert len({name.lower() for name in names_in(out / "RCC_00")}) == 10
    rows = {row["image"]: row["file"] for row in rows_of((out / "labels.csv").read_text())}
    for image, file in rows.items():
        assert (out / file).read_bytes() == (odd.image_root / image).read_bytes()
    assert rows["a/snow.png"] == "RCC_01/snow.png"


def test_names_that_are_long_or_not_unicode_are_exported(clusters, tmp_path):
    odd = renamed(clusters, {"sea_00.png": "x" * 200 + ".png", "sea_01.png": "sea_\udcff.png"})
    assert export_zip(odd, {}, tmp_path / "out.zip").missing == ()
    out = export_rccs(odd, {}, tmp_path / "out").path
    assert names_in(out / "no_cluster") == ["sea__.png", "x" * 146 + ".png"]
    assert b"sea_\xff.png," in (out / "labels.csv").read_bytes()
    export_rccs(odd, {}, out)  # and replaced


# --- Parquet and progress ---------------------------------------------------------------------------------------


def test_the_table_is_written_as_parquet_too_where_pyarrow_is_installed(clusters, tmp_path, monkeypatch):
    from pyarrow import parquet

    monkeypatch.setattr(export, "writes_parquet", lambda: True)
    odd = steadied(renamed(clusters, {"sea_00.png": "sea_\udcff.png"}))
    out = export_rccs(odd, NOTES, tmp_path / "out").path
    table = parquet.read_table(out / "labels.parquet").to_pylist()
    rows = [row._asdict() for row in export_rows(odd, NOTES)]
    assert [row | {"image": row["image"].replace("\udcff", "\ufffd")} for row in rows] == table


def test_progress_is_told_and_the_input_is_as_it_was(clusters, tmp_path):
    steps = []
    before = {path: (clusters.image_root / path).stat().st_mtime_ns for path in clusters.paths}
    labels = clusters.labels.copy()
    export_rccs(clusters, {}, tmp_path / "out", progress=lambda *step: steps.append(step))
    export_zip(clusters, {}, tmp_path / "out.zip", progress=lambda *step: steps.append(step))
    assert steps[25] == ("Copying images", 26, 26)
    assert steps[-1] == ("Packing images", 26, 26)
    assert before == {path: (clusters.image_root / path).stat().st_mtime_ns for path in clusters.paths}
    assert np.array_equal(labels, clusters.labels)


def test_the_command_line_exports_to_a_folder_or_a_zip_file_all_rccs_or_one(clusters, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    save_clusters(clusters, out)
    merge_rccs(out, 2, 1)
    set_note(out, RccNote(1, "daylight"))
    assert main(["export", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"26 images exported\nWritten: {out / 'export'}\n"
    exported = [".safe-export", "RCC_00", "RCC_01_daylight", "labels.csv", "no_cluster", "report.html"]
    assert names_in(out / "export") == exported
    assert main(["export", "--out", str(out), "--to", str(tmp_path / "one.zip"), "--rcc", "1"]) == 0
    assert "14 images exported" in capsys.readouterr().out
    assert len(zipfile.ZipFile(tmp_path / "one.zip").namelist()) == 15
    for wrong in (["--rcc", "2"], ["--to", str(clusters.image_root)]):
        assert main(["export", "--out", str(out), *wrong]) == 2
        assert capsys.readouterr().err.startswith("safe: Expected ")


def test_a_file_that_is_no_image_any_more_is_left_out_of_an_export(clusters, tmp_path):
    (clusters.image_root / "snow_02.png").write_text("no image")
    (clusters.image_root / "snow_03.png").unlink()
    os.mkfifo(clusters.image_root / "snow_03.png")
    for done in (export_rccs(clusters, {}, tmp_path / "x"), export_zip(clusters, {}, tmp_path / "x.zip")):
        assert sorted(skip.path for skip in done.missing) == ["snow_02.png", "snow_03.png"]


def test_no_name_or_note_is_a_formula_in_an_exported_table(clusters, tmp_path):
    (clusters.image_root / "snow_02.png").rename(clusters.image_root / "=cmd|' !A0.png")
    paths = tuple(path.replace("snow_02.png", "=cmd|' !A0.png") for path in clusters.paths)
    clusters = dataclasses.replace(clusters, paths=paths)
    export_rccs(clusters, {0: RccNote(0, "@SUM(1)")}, tmp_path / "x")
    with (tmp_path / "x" / "labels.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert {field[0] for row in rows for field in row if field} & set("=+@") == set()
    assert "'=cmd|' !A0.png" in {row[0] for row in rows}
    assert {row[2] for row in rows if row[1] == "0"} == {"'@SUM(1)"}
