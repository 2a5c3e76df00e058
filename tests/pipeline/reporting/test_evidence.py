import contextlib
import json
import random
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from safe_dnn.pipeline.reporting.evidence.basis import (
    ADDED,
    CHANGED,
    CONTINUED,
    MISSING,
    SIGNED,
    verify,
    write_evidence,
)
from safe_dnn.pipeline.reporting.evidence.signature import ENVELOPE_FILE, PRIVATE_KEY_FILE, PUBLIC_KEY_FILE, make_keys
from safe_dnn.pipeline.reporting.evidence.statement import EVIDENCE_FILE, RESULTS, digest_of_predicate, read_evidence
from safe_dnn.pipeline.reporting.report import write_report
from safe_dnn.pipeline.reporting.safety_case import AMLAS_FILE, GSN_FILE, GSN_JSON_FILE, REASONS_FILE
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.result import MODELS_FOLDER, RETRAINING_FILE
from tests.helpers import written
from tests.helpers.attested import retrain_again
from tests.helpers.places import digests_of


@pytest.fixture
def out(attested):
    return attested


def found(folder: Path, **options) -> list[tuple[str, str]]:
    return [(finding.kind, finding.about) for finding in verify(folder, **options)]


def changed_in(file: Path, rng: random.Random) -> None:
    """Change one bit of a file."""
    data = bytearray(file.read_bytes())
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    rewrite(file, bytes(data))


def rewrite(file: Path, data: bytes) -> None:
    if file.exists():
        file.chmod(0o644)
    file.write_bytes(data)


def test_evidence_names_all_that_the_results_rest_on(out):
    statement = json.loads((out / EVIDENCE_FILE).read_bytes())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    present, predicate = digests_of(out), statement["predicate"]
    assert subjects == {name: present[name] for name in subjects}
    assert {"labels.txt", "IS_filenames.txt", "retrained.keras", RETRAINING_FILE, "report.html"} <= subjects.keys()
    assert "gifs/RCC_00.gif" in subjects
    counted = {name: (one["images"], one["missing"]) for name, one in predicate["images"].items()}
    assert counted == {"failing": (26, 0), "unsafe": (3, 0), "improvement": (3, 0), "training": (2, 0), "test": (2, 0)}
    for name, one in predicate["images"].items():
        listed = (out / f"evidence/{name}.sha256").read_text().splitlines()
        images = digests_of(out / one["root"])
        assert len(listed) == one["images"]
        assert {line[66:]: line[:64] for line in listed} == {line[66:]: images[line[66:]] for line in listed}
    roles = predicate["roles"]
    assert roles["model before"] == "../model.keras"
    assert any(place.startswith(f"{MODELS_FOLDER}/") for place in roles.values())
    runs = {name for name in present if name.startswith("runs/")}
    assert {"../model.keras", *runs} <= predicate["files"].keys()
    assert predicate["settings"]["retraining"]["settings"]["seed"] == 0
    assert predicate["made_by"]["numpy"]
    assert digest_of_predicate(predicate) in (out / "report.html").read_text()


def test_the_same_state_gives_the_same_bytes(out):
    before = digests_of(out)
    write_evidence(out)
    after = digests_of(out)
    assert {name for name in after if after[name] != before[name]} <= {DATABASE_FILE}
    assert found(out, images=True) == []


def test_evidence_knows_every_file_that_safe_writes_to_the_output_folder():
    elsewhere = {"clusters.npz", "run.json", "map.npz", "comparison.npz", "unsafe_set.json", "defects.log"}
    elsewhere |= {"heatmap.npz", "heatmaps.json"}
    unfinished = {"retraining.npz", "retraining_second.npz", "retraining_seeds.npz"}
    own = {DATABASE_FILE, EVIDENCE_FILE, ENVELOPE_FILE, PRIVATE_KEY_FILE, PUBLIC_KEY_FILE}
    own |= {GSN_FILE, GSN_JSON_FILE, AMLAS_FILE, REASONS_FILE}  # which point to the evidence
    visible = {name for name in written.FILES if not name.startswith(".")} | {"objects.csv", "export.zip"}
    assert visible - elsewhere - unfinished - own == {name for name in RESULTS if "/" not in name}


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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-40], "is damaged"),
        (lambda text: text.replace("evidence:1", "evidence:2"), "Use a newer SAFE"),
        (lambda text: text.replace("urn:safe-dnn", "urn:others"), "about something else"),
        (lambda text: "[]", "is damaged"),
        (lambda text: "[" * 100_000, "is damaged"),
    ],
)
def test_evidence_that_is_damaged_or_newer_is_refused_in_a_sentence(out, damage, message):
    (out / EVIDENCE_FILE).write_text(damage((out / EVIDENCE_FILE).read_text()))
    with pytest.raises(SAFEError, match=message):
        verify(out)


def test_an_analysis_from_before_says_that_it_has_no_evidence(clusters, tmp_path):
    with pytest.raises(SAFEError, match="without evidence"):
        verify(tmp_path)
    with pytest.raises(SAFEError, match=f"without {DATABASE_FILE}"):
        write_evidence(tmp_path)


def test_no_evidence_is_written_of_what_is_damaged(out):
    file = out / next(name for name in read_evidence(out).files if name.endswith("clusters.npz"))
    changed_in(file, random.Random(2))
    with pytest.raises(SAFEError, match="not as SAFE wrote it"):
        write_evidence(out)


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


# --- Signatures -------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path):
    pytest.importorskip("securesystemslib", reason="see requirements/signing.txt")
    return make_keys(tmp_path / "keys")


def test_keys_are_private_and_never_replaced(keys):
    private, public = keys
    assert private.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    private.unlink()
    with pytest.raises(SAFEError, match="never replaced"):
        make_keys(public.parent)


def test_a_signature_holds_for_its_evidence_and_its_key_alone(out, keys, tmp_path):
    private, public = keys
    write_evidence(out, sign=private)
    assert found(out, key=public) == found(out) == []
    envelope = (out / ENVELOPE_FILE).read_bytes()
    _, other = make_keys(tmp_path / "others")
    assert found(out, key=other) == [(SIGNED, f"{ENVELOPE_FILE} is not signed by this key")]

    write_evidence(out)  # the same
    assert (out / ENVELOPE_FILE).read_bytes() == envelope
    record = json.loads(envelope)
    record["signatures"][0]["sig"] = "A" * 86 + "=="
    (out / ENVELOPE_FILE).write_text(json.dumps(record))
    assert found(out, key=public) == [(SIGNED, f"{ENVELOPE_FILE} is not signed by this key")]
    (out / ENVELOPE_FILE).write_bytes(envelope[:-30])
    assert found(out)[0][0] == SIGNED

    (out / ENVELOPE_FILE).write_bytes(envelope)
    (out / EVIDENCE_FILE).write_text((out / EVIDENCE_FILE).read_text() + " ")
    assert found(out) == [(SIGNED, f"{ENVELOPE_FILE} signs another {EVIDENCE_FILE}")]
    set_note(out, Note(0, "dusk", "", "unsafe"))
    write_evidence(out)
    assert not (out / ENVELOPE_FILE).exists()
    assert found(out, key=public) == [(SIGNED, f"{ENVELOPE_FILE} is missing: nobody signed")]


def test_a_file_that_is_no_key_is_refused(out, keys):
    private, public = keys
    for wrong in (public, out, out / "labels.txt"):
        with pytest.raises(SAFEError, match="private key"):
            write_evidence(out, sign=wrong)
    with pytest.raises(SAFEError, match="public key"):
        verify(out, key=private)


def test_without_the_packages_that_sign_the_error_says_what_to_install(out, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "securesystemslib.signer", None)
    for sign in (
        lambda: make_keys(tmp_path / "keys"),
        lambda: write_evidence(out, sign=out),
        lambda: verify(out, key=out),
    ):
        with pytest.raises(SAFEError, match=r"pip install -r requirements/signing.txt"):
            sign()
    assert not any((tmp_path / "keys").iterdir())
