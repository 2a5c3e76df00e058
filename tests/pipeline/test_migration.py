"""An analysis of the version before this one is taken over: it says then what that version said of it.

`tests/data/analysis-before.tar.gz` was written by that version in the folder `/tmp/safe-example/analysis`, and
`analysis-before.json` says what its own functions read there. Three runs, the first of which was opened again: with
names, verdicts, edits that were taken back and done again, labels, one of which was typed into the table, three
retrainings, two rounds of failures and forms. The GIFs were left out.
"""

import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import SAFE_Tool
from page.forms import remembered
from page.serving.analyses import delete, duplicate, names_in
from pipeline.descriptions import mend
from pipeline.migration import BEFORE_FOLDER, migrate
from pipeline.reporting.history import list_runs, restore_run
from pipeline.run_record import left_behind, nuisance_of
from rccs.clusters import fingerprint, run_record
from rccs.image_map import load_map
from rccs.review.edits import Maker, redo_edit, undo_edit
from rccs.review.journal import MAKING, standing
from rccs.review.review import all_edits, load_review, load_spot_notes
from rccs.unsafe_set import load_unsafe_set
from reasons.comparison import load_reasons
from store.database import DATABASE_FILE, RUNS_FOLDER
from store.entries import check_entries
from store.output_folder import check_own
from store.runs import RETRAINING, SELECTION, present_runs
from support.errors import SAFEError
from support.text import count
from tests.helpers.troubles import Disk, Killed, Trouble
from training.labels import load_kept_labels, typed_labels
from training.result import retraining_of

DATA = Path(__file__).parents[1] / "data"
WRITTEN_IN = "/tmp/safe-example/analysis"
EXPECTED = json.loads((DATA / "analysis-before.json").read_text())
OF_RUNS = (
    "clusters.npz", "run.json", "comparison.npz", "weak_spots.csv", "rcc_notes.csv", "rcc_edits.json", "unsafe_set.csv",
    "unsafe_set.json", "retraining.json", "weak_spot_notes.csv", "forms.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    with tarfile.open(DATA / "analysis-before.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "analysis"


@pytest.fixture
def before(packed: Path, tmp_path: Path) -> Path:
    """The analysis, which was moved since that version had last opened it."""
    return shutil.copytree(packed, tmp_path / "analysis")


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def names_in_folder(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def moved(value: object, folder: Path) -> object:
    """What that version said, with the paths that lead to something in the new place."""
    if isinstance(value, dict):
        return {key: moved(inner, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [moved(inner, folder) for inner in value]
    if isinstance(value, str) and value.startswith(WRITTEN_IN):
        new = os.fspath(folder) + value.removeprefix(WRITTEN_IN)
        return new if os.path.lexists(new) else value
    return value


def told(folder: Path) -> dict:
    """What this version says of the present run."""
    review = load_review(folder)
    edits = [edit for edit in all_edits(folder, review) if edit.kind not in ("rcc", "spot")]
    place = {edit.number: number for number, edit in enumerate(edits)}
    reasons = load_reasons(folder, review.original)
    runs = present_runs(folder)
    unsafe = load_unsafe_set(folder) if SELECTION in runs else None
    retraining = retraining_of(folder, review) if RETRAINING in runs else None
    offer = nuisance_of(folder)
    found = (load_map(folder, clusters) for clusters in (review.original, review.clusters))
    positions = next((one for one in found if one is not None), None)
    return {
        "fingerprint": fingerprint(review.original),
        "image_root": str(review.original.image_root),
        "labels": review.clusters.labels.tolist(),
        "reach": [float(reach) for reach in review.clusters.reach],
        "is_core": review.clusters.is_core.tolist(),
        "notes": [list(note[:4]) for note in review.notes.values()],
        "edits": [
            [e.time, e.kind, list(e.images), list(e.source), e.target, e.by, None if e.of is None else place[e.of]]
            for e in edits
        ],
        "redo": [[place[number], by] for number, by in standing(review.edits)[1]],
        "spots": [spot.text for spot in reasons.spots],
        "base": reasons.base,
        "rates": {str(rcc): [rate.tested, rate.wrong] for rcc, rate in reasons.rates(review.clusters).items()},
        "left_behind": left_behind(folder),
        "offer": offer and dict(zip(("name", "sentence"), offer, strict=True)),
        "predictions": run_record(folder).get("predictions", {}).get("tested"),
        "map": None if positions is None else np.round(positions, 4).tolist(),
        "unsafe": unsafe
        and {
            "root": str(unsafe.improvement_root),
            "formula": unsafe.formula,
            "clusters": unsafe.clusters,
            "labels": unsafe.labels,
            "images": [list(image) for image in unsafe.images],
        },
        "retraining": retraining
        and {
            "digest": retraining.digest,
            "before": retraining.accuracy_before,
            "after": retraining.accuracy_after,
            "test_root": str(retraining.test_root),
            "per_rcc": [list(share) for share in retraining.per_rcc],
            "answers": len(retraining.answers),
        },
    }


def check(folder: Path) -> None:
    """Compare all that is said of an analysis with what the version before said."""
    check_entries(folder)
    expected = moved(EXPECTED, folder)
    tabs = {tab: remembered(folder, tab) for tab in expected["forms"]}
    assert tabs == expected["forms"]
    assert [list(note[:5]) for note in load_spot_notes(folder).values()] == expected["spot_notes"]
    *kept, typed = [list(label) for label in load_kept_labels(folder)]  # the last one was typed into the table
    assert kept == [label for label in expected["kept_labels"] if label[:3] != typed[:3]]
    image, *_ = expected["runs"][-1]["unsafe"]["images"][-1]
    assert (typed[0], typed[3], len(kept)) == (image, "blue", len(expected["kept_labels"]) - 1)
    assert typed_labels(folder) == {}
    check_own(folder, *(name for name in expected["own"] if (folder / name).exists()))
    listed = list_runs(folder)
    assert len(listed) == len(expected["runs"])
    by_time = {run.time.isoformat(): run for run in listed}
    for run in sorted(expected["runs"], key=lambda run: not run["current"]):
        now = by_time[run.pop("time")]
        # What is kept of RCCs without images is seen when they get them again: see the test on edits.
        notes = [note for note in run["notes"] if note[0] in run["labels"]]
        images, rccs, noise, reducer, root, named = run.pop("listed")
        said = f"{named - len(run['notes']) + len(notes)} named or judged · {root}"
        found = f"{count(rccs, 'RCC')} of {images} images, {noise} in no cluster, by {reducer.upper()}"
        assert (now.current, now.text) == (run.pop("current"), f"{found} · {said}")
        restore_run(folder, now.name)
        assert told(folder) == {**run, "notes": notes}


def test_it_says_what_it_said_before(before):
    assert f"{before} was written by an earlier version" in migrate(before)
    mend(before)  # draws the GIFs
    check(before)
    assert migrate(before) == "", "once"


def test_what_is_no_longer_needed_is_kept_aside_and_the_rest_stays(before):
    names = {path.relative_to(before) for path in before.rglob("*")}
    migrate(before)
    aside = before / BEFORE_FOLDER
    there = {path.relative_to(root) for root in (before, aside) for path in root.rglob("*")}
    assert names <= there, "nothing is deleted"
    stays = names_in_folder(before)
    assert not {"clusters.npz", "run.json", "rcc_notes.csv", "forms.json", ".safe.json"} & stays
    assert {"labels.txt", "unsafe_set.csv", "retrained.keras", "failures", "rounds"} <= stays
    assert all(name.isdecimal() for name in names_in_folder(before / RUNS_FOLDER))
    assert names_in(before) == [], "what is kept aside is no analysis"


def test_edits_can_be_undone_and_redone_as_before(before):
    migrate(before)
    first = load_review(before)
    redone = redo_edit(before, maker=Maker("cid"))  # a move
    assert redone.clusters.labels.tolist() != first.clusters.labels.tolist()
    assert undo_edit(before, maker=Maker("cid")).clusters.labels.tolist() == first.clusters.labels.tolist()
    assert load_review(before).notes == first.notes
    third = next(run for run in list_runs(before) if "of 40 images" in run.text)
    restore_run(before, third.name)
    merge = next(edit for edit in load_review(before).edits if edit.kind == "merge")
    notes = undo_edit(before, number=merge.number).notes
    assert (notes[1].name, notes[1].verdict) == ("second of C", "safe"), "what was said of the merged RCC is back"
    assert (notes[2].name, notes[2].note) == ("third of C", "")
    assert {edit.kind for edit in load_review(before).edits} >= {*MAKING}


def test_files_of_somebody_else_are_neither_read_nor_moved(before):
    mark = before / ".safe.json"
    record = json.loads(mark.read_text())
    record["files"].remove("forms.json")
    mark.write_text(json.dumps(record))
    (before / "map.npz.txt").write_text("mine")
    migrate(before)
    assert remembered(before, "retraining") != moved(EXPECTED, before)["forms"]["retraining"]
    assert {"forms.json", "map.npz.txt"} <= names_in_folder(before)


def test_what_that_version_had_begun_to_rename_is_completed(before):
    (before / "rcc_notes.csv").rename(before / ".rcc_notes-12345678.csv")
    (before / "rcc_notes.csv").write_text("rcc,name,note,verdict\n0,old,,\n")
    (before / "weak.tmp").write_text("")
    plan = {"rename": {".rcc_notes-12345678.csv": "rcc_notes.csv"}, "remove": ["weak.tmp"]}
    (before / ".safe-plan.json").write_text(json.dumps(plan))
    migrate(before)
    check(before)
    assert (before / "weak.tmp").is_file(), "it was not SAFE's"


def test_put_into_the_bin_or_copied_as_it_is_it_is_taken_over_later(before):
    home = before.parent
    check_after = [home / duplicate(home, before.name), home / ".safe-bin" / delete(home, before.name)]
    for folder in check_after:
        assert migrate(folder)
        check(folder)


# --- Troubles ---------------------------------------------------------------------------------------------------


def operations(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> int:
    """How many operations of the disk something takes."""
    disk = Disk(monkeypatch)
    with disk.trouble(Trouble("full", 10**9)):
        act()
        return disk._count


@pytest.mark.parametrize("points", [1, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["killed", "full"])
def test_stopped_at_any_point_it_is_complete_after_the_next_time(packed, tmp_path, monkeypatch, kind, points):
    whole = shutil.copytree(packed, tmp_path / "whole")
    n = operations(monkeypatch, lambda: migrate(whole))
    disk = Disk(monkeypatch)
    for at in {n // 3, n - 2, n - 1, *range(0, n, max(1, n // points))}:
        folder = shutil.copytree(packed, tmp_path / f"{kind}-{at}")
        names = {path.relative_to(folder) for path in folder.rglob("*")}
        try:
            with disk.trouble(Trouble(kind, at)):
                migrate(folder)
        except (Killed, SAFEError):
            pass
        kept = {path.relative_to(root) for root in (folder, folder / BEFORE_FOLDER) for path in root.rglob("*")}
        assert names <= kept, at
        migrate(folder)
        check(folder)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", [*OF_RUNS, "image_labels.csv", ".safe.json"])
def test_a_damaged_file_is_named_and_the_rest_can_be_opened_without_it(before, name):
    whole = (before / name).read_bytes()
    (before / name).write_bytes(b"\xff{broken" if name.endswith((".npz", ".json")) else b'rcc,"broken\n')
    names = {path.relative_to(before) for path in before.rglob("*")}
    with pytest.raises(SAFEError) as error:
        migrate(before)
    assert f"{before / name}, which" in str(error.value)
    assert "\n" not in str(error.value)
    assert {path.relative_to(before) for path in before.rglob("*")} == names, "nothing is changed"
    if name == ".safe.json":
        (before / name).write_bytes(whole)
    else:
        (before / name).rename(before.parent / name)
    assert migrate(before)
    assert len(list_runs(before)) == 3


# --- Where it is called -----------------------------------------------------------------------------------------


def test_commands_take_it_over_and_say_so(before, capsys):
    assert SAFE_Tool.main(["report", "--out", str(before)]) in (0, 2)
    assert "was written by an earlier version of SAFE" in capsys.readouterr().err
    assert (before / DATABASE_FILE).is_file()
    assert SAFE_Tool.main(["register", "--out", str(before)]) == 0
    assert "earlier version" not in capsys.readouterr().err


def test_the_page_takes_it_over_when_it_is_opened(before, capsys):
    from page.app import _settings_of  # here, since the other tests need no Gradio
    from page.jobs import Jobs, PageSettings
    from page.results import Results

    top = PageSettings(before.parent, Jobs(), Results(before.parent, None))
    settings = _settings_of(before, top.jobs.turn, top)
    assert settings.results.there
    assert "was written by an earlier version of SAFE" in capsys.readouterr().err
