"""What the results rest on, by digest: `sha256sum` and `verify` agree on what was changed since."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.report.evidence import (
    CHANGED,
    EVIDENCE_FILE,
    MISSING,
    NEW,
    OUTSIDE,
    SUMS_FILE,
    results_in,
    verify_evidence,
    write_evidence,
)
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.support.errors import SAFEError, confined
from safe_dnn.training.result import RETRAINING_FILE
from tests.helpers import written
from tests.helpers.attested import changed_in, found, retrain_again, rewrite
from tests.helpers.places import digests_of


@pytest.fixture
def out(attested):
    return attested


def checked(out: Path) -> list[str]:
    """What `sha256sum -c` complains of; the whole of its output without `OK`."""
    command = ("sha256sum", "-c", "--strict", "--warn", SUMS_FILE)
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False, errors="surrogateescape")
    assert (done.returncode == 0) == (not done.stderr), done.stderr
    return [line for line in done.stdout.splitlines() if not line.endswith(": OK")]


def listed(out: Path) -> list[str]:
    lines = (out / SUMS_FILE).read_text(errors="surrogateescape").splitlines()
    return [line[66:] for line in lines]


def test_evidence_names_all_that_the_results_rest_on_and_sha256sum_checks_it(out):
    assert checked(out) == found(out) == []
    names = listed(out)
    assert names == sorted({*names})
    results = {"labels.txt", "IS_filenames.txt", "retrained.keras", RETRAINING_FILE, "gifs/RCC_00.gif", EVIDENCE_FILE}
    runs = {name for name in digests_of(out) if name.startswith("runs/")}
    assert len(runs) > 5
    folders = ("failing/", "improvement/", "test/", "train/")
    images = {f"../{name}" for name in digests_of(out.parent) if name.startswith(folders)}
    assert len(images) == 26 + 3 + 2 + 2
    assert results | runs | images | {"../model.keras"} <= {*names}
    assert DATABASE_FILE not in names
    text = (out / EVIDENCE_FILE).read_text()
    assert "\nnumpy " in text
    assert "\nfailing: 26 files in ../failing\n" in text
    assert "\nmodel before: ../model.keras\n" in text


def test_the_same_state_gives_the_same_bytes_and_an_image_that_is_gone_is_counted(out):
    before = digests_of(out)
    write_evidence(out)
    after = digests_of(out)
    assert {name for name in after if after[name] != before[name]} <= {DATABASE_FILE}
    (out.parent / "failing" / "night_00.png").unlink()
    assert "failing: 26 files in ../failing, 1 unreadable" in write_evidence(out)
    assert checked(out) == found(out) == []


def test_all_visible_files_but_the_database_signatures_and_trainings_under_way_are_results(tmp_path):
    results = {name.replace("*", "1") for name in written.FILES if not name.startswith(".") and ".npz" not in name}
    results -= {DATABASE_FILE, SUMS_FILE}
    assert {"labels.txt", "report.html", "accuracy.json"} < results
    results |= {"gifs/RCC_00.gif", "heatmaps/RCC_00.png", "runs/1/clusters.npz"}
    rest = {DATABASE_FILE, f"{DATABASE_FILE}-wal", SUMS_FILE, f"{SUMS_FILE}.minisig", "retraining.npz", ".safe.lock"}
    rest |= {"gifs/.RCC_00-x.gif", "runs/.run.safe-new-x/a", "failures/night.png", "export/labels.csv"}
    for name in results | rest:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert results_in(tmp_path) == sorted(results)


def test_each_file_that_is_changed_or_removed_is_named_as_by_sha256sum(out):
    rng = random.Random(0)
    for name in listed(out):
        file, data = out / name, (out / name).read_bytes()
        changed_in(file, rng)
        assert found(out) == [(CHANGED, name)]
        file.unlink()
        assert found(out) == [(MISSING, name)]
        rewrite(file, data)
    assert found(out) == []
    for name in ("labels.txt", "../train/a.png"):
        changed_in(out / name, rng)
    (out / "../model.keras").unlink()
    assert {(CHANGED, "labels.txt"), (CHANGED, "../train/a.png"), (MISSING, "../model.keras")} == {*found(out)}
    command = ("sha256sum", "-c", SUMS_FILE)
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    failed = [line for line in done.stdout.splitlines() if not line.endswith(": OK")]
    assert failed == ["../model.keras: FAILED open or read", "../train/a.png: FAILED", "labels.txt: FAILED"]


@pytest.mark.parametrize(
    "name", ["weak_spots.csv", "export.zip", "gifs/RCC_77.gif", "runs/77/a.txt", "runs/1/b", "../train/new.png"]
)
def test_a_result_or_an_image_that_is_new_is_named(out, name):
    (out / name).unlink(missing_ok=True)
    write_evidence(out)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("new")
    assert found(out) == [(NEW, name)]
    assert checked(out) == []


@pytest.mark.parametrize("folder", ["a\\b", "line\nbreak\r", " blank \udcff"])
def test_names_are_written_as_sha256sum_reads_them(out, folder):
    (out.parent / "train").rename(out.parent / folder)
    (out.parent / folder / "c\\n.png").write_bytes((out.parent / folder / "a.png").read_bytes())
    retrain_again(out, b"new weights", train=folder)
    write_evidence(out)
    assert checked(out) == found(out) == []
    (out.parent / folder / "c\\n.png").unlink()
    assert found(out) == [(MISSING, f"../{folder}/c\\n.png")]


def test_an_analysis_that_was_moved_or_copied_with_its_images_holds_also_behind_a_link(out, tmp_path):
    shutil.copytree(out.parent, tmp_path / "elsewhere" / "copy", ignore=shutil.ignore_patterns("elsewhere"))
    copy = tmp_path / "elsewhere" / "copy" / "out"
    assert checked(copy) == found(copy) == []
    out.rename(out.with_name("renamed"))
    assert found(out.with_name("renamed")) == []
    (tmp_path / "link").symlink_to(out.with_name("renamed"))
    before = (out.with_name("renamed") / SUMS_FILE).read_bytes()
    write_evidence(tmp_path / "link")
    assert (out.with_name("renamed") / SUMS_FILE).read_bytes() == before
    assert checked(tmp_path / "link") == found(tmp_path / "link") == []


def test_what_is_computed_later_is_new_and_what_is_said_later_is_no_difference(out):
    set_note(out, Note(0, "dusk", "", "unsafe"))
    assert found(out) == []
    retrain_again(out, b"more")
    kinds = {about: kind for kind, about in found(out)}
    assert kinds["retrained.keras"] == CHANGED
    assert NEW in {kind for about, kind in kinds.items() if about.startswith("runs/")}


def test_nothing_outside_of_a_folder_is_read_where_that_is_forbidden(out, tmp_path):
    with confined(tmp_path):
        assert found(out) == []
    with confined(out):
        assert {kind for kind, _ in found(out)} == {OUTSIDE}
        write_evidence(out)
        assert not any(name.startswith("..") for name in listed(out))
        assert found(out) == []
        (out / "labels.txt").rename(tmp_path / "labels.txt")
        (out / "labels.txt").symlink_to(tmp_path / "labels.txt")
        assert (OUTSIDE, "labels.txt") in found(out)


@pytest.mark.parametrize("damage", [lambda text: text[:-40], lambda text: "", lambda text: f"# by me\n{text}"])
def test_evidence_that_is_damaged_is_refused_in_a_sentence(out, damage):
    (out / SUMS_FILE).write_text(damage((out / SUMS_FILE).read_text()))
    with pytest.raises(SAFEError, match="is damaged"):
        verify_evidence(out)


def test_no_evidence_is_written_of_what_is_damaged_or_over_a_file_of_somebody_else(out):
    (out / SUMS_FILE).unlink()
    file = out / next(name for name in digests_of(out) if name.endswith("clusters.npz"))
    changed_in(file, random.Random(2))
    with pytest.raises(SAFEError, match="not as SAFE wrote it"):
        write_evidence(out)
