"""What was changed since, by digest."""

import contextlib
import json
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from safe_dnn.pipeline.reporting.evidence.basis import ADDED, CHANGED, CONTINUED, MISSING, verify, write_evidence
from safe_dnn.pipeline.reporting.evidence.statement import EVIDENCE_FILE, read_evidence
from safe_dnn.pipeline.reporting.report import write_report
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.result import RETRAINING_FILE
from tests.helpers.attested import changed_in, found, retrain_again, rewrite
from tests.helpers.places import digests_of


def test_each_kind_of_file_that_is_changed_removed_or_added_is_named(out):
    evidence = read_evidence(out)
    rng = random.Random(0)
    for name in (*evidence.subjects, *(file for file in evidence.files if not file.startswith("../"))):
        file, data = out / name, (out / name).read_bytes()
        if data:
            changed_in(file, rng)
            assert (CHANGED, name) in found(out)
        file.unlink()
        assert (MISSING, name) in found(out)
        rewrite(file, data)
    for name in ("weak_spots.csv", "export.zip", "gifs/RCC_77.gif", "runs/77/a.txt", "runs/1/b", "evidence/new.sha256"):
        there = (out / name).exists()
        (out / name).parent.mkdir(exist_ok=True)
        if not there:
            (out / name).write_text("new")
            assert found(out) == [(ADDED, name)]
            (out / name).unlink()
    assert found(out) == []


def entry_damages(db: sqlite3.Connection, rng: random.Random) -> str:
    """Do something to the entries that only another program can; what."""
    for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger}")
    numbers = [number for (number,) in db.execute("SELECT number FROM entry")]
    one, other = rng.sample(numbers, 2)
    what = rng.choice(("value", "author", "time", "subject", "digest", "remove", "swap", "cut"))
    if what == "remove":
        db.execute("DELETE FROM entry WHERE number = ?", (one,))
    elif what == "cut":
        db.execute("DELETE FROM entry WHERE number >= ?", (max(one, 2),))
    elif what == "swap":
        for before, after in ((one, -1), (other, one), (-1, other)):
            db.execute("UPDATE entry SET number = ? WHERE number = ?", (after, before))
    else:
        db.execute(f"UPDATE entry SET {what} = {what} || ' ' WHERE number = ?", (one,))
    return what


@pytest.mark.parametrize("n", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_each_random_damage_is_named(out, n):
    rng = random.Random(1)
    evidence = read_evidence(out)
    inside = [name for name in (*evidence.subjects, *evidence.files) if not name.startswith("../")]
    images = [f"../failing/{path.name}" for path in (out.parent / "failing").iterdir()] + ["../model.keras"]
    for _ in range(n):
        what = rng.choice(("file", "file", "image", "entry", "entry", "evidence"))
        name = {"file": rng.choice(inside), "image": rng.choice(images), "entry": DATABASE_FILE}.get(
            what, EVIDENCE_FILE
        )
        file = out / name
        data = file.read_bytes()
        if what == "entry":
            with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
                entry_damages(db, rng)
        elif rng.random() < 0.3:
            file.unlink()
        elif data:
            changed_in(file, rng)
        if file.exists() and file.read_bytes() == data:
            continue
        if what == "evidence":
            assert is_refused_or_meaningless(out, evidence)
        else:
            kinds = {kind for kind, _ in found(out, images=what == "image")}
            assert kinds & {MISSING, CHANGED}, (what, name)
        assert not list(out.glob(f"{DATABASE_FILE}-*"))
        rewrite(file, data)
    assert found(out, images=True) == []


def is_refused_or_meaningless(out: Path, evidence) -> bool:
    """Whether damaged evidence is refused, or differs from what is there, or says the same, as with another blank."""
    try:
        return found(out) != [] or read_evidence(out) == evidence
    except SAFEError as error:
        return str(error).count("\n") == 0


def test_an_analysis_that_was_moved_or_copied_with_its_images_holds(out, tmp_path):
    shutil.copytree(out.parent, tmp_path / "elsewhere" / "copy", ignore=shutil.ignore_patterns("elsewhere"))
    assert found(tmp_path / "elsewhere" / "copy" / "out", images=True) == []
    out.rename(out.with_name("renamed"))
    assert found(out.with_name("renamed"), images=True) == []


def test_what_was_added_to_the_entries_is_named_and_no_difference(out):
    set_note(out, Note(0, "dusk", "", "unsafe"))
    number = read_evidence(out).last[0] + 1
    assert found(out) == [(CONTINUED, f"entries {number} to {number} of {DATABASE_FILE}")]
    retrain_again(out, b"more")
    kinds = {about: kind for kind, about in found(out)}
    assert kinds[f"runs/{number + 1}/{RETRAINING_FILE}"] == ADDED
    assert kinds[RETRAINING_FILE] == CHANGED


def test_images_are_read_on_request_and_each_that_is_missing_or_changed_is_named(out, tmp_path):
    (tmp_path / "failing" / "night_00.png").unlink()
    (tmp_path / "train" / "a.png").write_bytes(b"other")
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "model.keras").unlink()
    assert found(out) == []
    assert sorted(found(out, images=True)) == [
        (CHANGED, "train/a.png (of evidence/training.sha256)"),
        (MISSING, "../model.keras"),
        (MISSING, "../test, the folder of the images in evidence/test.sha256"),
        (MISSING, "failing/night_00.png (of evidence/failing.sha256)"),
    ]


@pytest.mark.parametrize("name", ["../labels.txt", "/etc/passwd", "runs/../../labels.txt", ""])
def test_a_subject_that_lies_elsewhere_is_refused(out, name):
    statement = json.loads((out / EVIDENCE_FILE).read_bytes())
    statement["subject"][0]["name"] = name
    (out / EVIDENCE_FILE).write_text(json.dumps(statement))
    with pytest.raises(SAFEError, match="leads out of the analysis"):
        verify(out)


def test_a_list_whose_lines_lead_elsewhere_is_refused(out):
    listed = out / "evidence" / "test.sha256"
    listed.write_text(f"{'0' * 64}  ../secret\n")
    statement = json.loads((out / EVIDENCE_FILE).read_bytes())
    statement["predicate"]["files"]["evidence/test.sha256"] = digests_of(listed.parent)[listed.name]
    (out / EVIDENCE_FILE).write_text(json.dumps(statement))
    assert (CHANGED, "evidence/test.sha256, which is no list of images") in found(out, images=True)


def test_a_link_in_place_of_a_result_is_not_followed_out_of_the_analysis(out, tmp_path):
    (out / "labels.txt").rename(tmp_path / "labels.txt")
    (out / "labels.txt").symlink_to(tmp_path / "labels.txt")
    assert [kind for kind, about in found(out) if about.startswith("labels.txt, perhaps: a link")] == [CHANGED]


def test_a_later_report_names_what_it_rests_on_only_as_long_as_that_is_so(out):
    basis = read_evidence(out).basis
    write_report(out)
    assert basis in (out / "report.html").read_text()
    set_note(out, Note(0, "dusk", "", "unsafe"))
    write_report(out)
    assert basis not in (out / "report.html").read_text()
    write_evidence(out)
    assert read_evidence(out).basis in (out / "report.html").read_text()
    assert found(out) == []
