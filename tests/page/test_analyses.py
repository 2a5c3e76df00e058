"""Analyses: the folders of the page's list, how they are named, changed, summed up, and kept apart."""

import asyncio
import dataclasses
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.datastructures import URL

from clustering import find_root_cause_clusters
from page.analyses import TOP, address_of, checked_name, deleted_in, folder_of, names_in, split_address
from page.jobs import Jobs, Turn
from page.mounts import Mounts
from page.moved import settle_in
from page.shelf import delete, duplicate, make, rename, restore
from page.summaries import Summaries, summary_of
from rccs.clusters import RootCauseClusters, load_clusters, save_clusters
from rccs.rounds import rounds_in
from support.errors import SAFEError
from support.files import read_record
from support.output_folder import save_text, working
from support.run_folder import (
    ACCURACY_FILE,
    ANALYSIS_FILE,
    BIN_FOLDER,
    FAILURES,
    FAILURES_FILE,
    FAILURES_MARK,
    FORMS_FILE,
    GIF_FOLDER,
    KEPT_LABELS_FILE,
    LABELS_FILE,
    MODELS_FOLDER,
    RETRAINING_FILE,
    ROUNDS_FOLDER,
    RUN_FILE,
    RUNS_FOLDER,
    SELECTION_FILE,
    UNSAFE_SET_FILE,
)
from tests.helpers.browsing import wait_until
from tests.helpers.features import features_of

ODD_NAMES = [
    "eyes, camera 2",
    "50% dark #1?",
    "a&b=c;d",
    "{x} $y 'z' \"q\"",
    "🚗 🧿",
    "مركبة",
    "עין 2",
    "-rf",
    "x.y",
    "眼",
]


@pytest.fixture(scope="module")
def clusters() -> RootCauseClusters:
    return find_root_cause_clusters(features_of([12, 9, 6]))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def fill(folder: Path, clusters: RootCauseClusters) -> Path:
    """An analysis whose failing images were collected in it, as `failures` and `cluster` write it."""
    (folder / FAILURES).mkdir(parents=True)
    (folder / FAILURES / FAILURES_MARK).write_text("{}")
    (folder / FAILURES / "a.png").write_bytes(b"an image")
    (folder / GIF_FOLDER).mkdir()
    (folder / GIF_FOLDER / "RCC_00.gif").write_bytes(b"GIF89a")
    save_clusters(dataclasses.replace(clusters, image_root=folder / FAILURES), folder)
    save_text(folder, FORMS_FILE, json.dumps({"clusters": {"folder": str(folder / FAILURES), "aside": "/elsewhere"}}))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock") and path.name != ANALYSIS_FILE
    }


# --- Names and addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_becomes_a_folder_and_an_address_that_leads_back_to_it(home, name):
    assert make(home, f"  {name} ") == name
    assert names_in(home) == [name]
    address = address_of(name)
    assert address.isascii()
    sent = URL(f"http://127.0.0.1{address}")
    assert (sent.query, sent.fragment) == ("", "")
    assert split_address(unquote(sent.path) + "config") == (name, "/config")


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "Received: nothing"),
        (" \t\n", "Received: nothing"),
        ("a/b", "has a slash"),
        ("../up", "has a slash"),
        ("a\\b", "has a slash"),
        ("..", "begins with a dot"),
        (".hidden", "begins with a dot"),
        ("x" * 300, "longer than 80 characters"),
        ("眼" * 80, "200 bytes"),
        ("a\0b", "cannot be shown"),
        ("a\u202eb", "cannot be shown"),
        ("\ud800", "cannot be shown"),
        ("Runs", "a folder of SAFE's own"),
        ("failures", "a folder of SAFE's own"),
        ("rounds", "a folder of SAFE's own"),
    ],
)
def test_a_name_that_is_none_for_a_folder_is_refused_in_one_sentence(home, typed, why):
    with pytest.raises(SAFEError, match=why) as refused:
        checked_name(typed)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 320
    make(home, "a")
    before = sorted(home.rglob("*"))
    with pytest.raises(SAFEError, match=why):
        rename(home, "a", typed)
    assert sorted(home.rglob("*")) == before


def test_a_name_with_accents_is_the_same_however_they_were_typed(home):
    make(home, "cafe\u0301")
    with pytest.raises(SAFEError, match="already"):
        make(home, "caf\u00e9")


def test_where_no_name_was_typed_there_is_one(home):
    assert [make(home, ""), make(home, " "), make(home, "")] == ["Analysis", "Analysis 2", "Analysis 3"]


@pytest.mark.parametrize("name", ["..", ".", ".safe-bin", "a/b", "a\0", "x" * 300, "\ud800", "link", "file", "plain"])
def test_what_is_no_analysis_is_found_under_no_name(home, name):
    make(home, "a")
    (home / "a" / "b").mkdir()
    save_text(home / "a" / "b", ANALYSIS_FILE, "{}")
    (home / "link").symlink_to(home / "a")
    (home / "file").write_text("")
    (home / "plain").mkdir()
    assert folder_of(home, name) is None
    assert names_in(home) == ["a"]
    for change in (lambda: rename(home, name, "new"), lambda: delete(home, name), lambda: duplicate(home, name)):
        with pytest.raises(SAFEError, match="There is no analysis"):
            change()


def test_the_example_is_not_listed(home):
    make(home, "example")
    assert names_in(home, other_than=home / "example") == []


# --- Changes ----------------------------------------------------------------------------------------------------


def test_of_two_windows_that_make_the_same_analysis_one_is_refused(home):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: outcome(lambda: make(home, "eyes")), range(8)))
    assert made.count("eyes") == 1
    assert sum("already" in text for text in made) == 7


def test_of_two_windows_that_rename_the_same_analysis_one_is_refused(home, clusters):
    before = contents(fill(home / "a", clusters))
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda new: outcome(lambda: rename(home, "a", new)), ("b", "c")))
    assert sum(text in ("b", "c") for text in made) == 1
    assert sum("no analysis" in text for text in made) == 1
    assert contents(home / names_in(home)[0]).keys() == before.keys()


def outcome(change: Callable[[], str]) -> str:
    try:
        return change()
    except SAFEError as error:
        return str(error)


def test_a_renamed_analysis_finds_its_own_images_and_keeps_its_dates(home, clusters):
    folder = fill(home / "a", clusters)
    (folder / RUNS_FOLDER / "1").mkdir(parents=True)
    save_clusters(dataclasses.replace(clusters, image_root=folder / FAILURES), folder / RUNS_FOLDER / "1")
    save_text(folder, KEPT_LABELS_FILE, f"image,label,root\nx.png,a,{folder / FAILURES}\n")
    dates = {name: (folder / name).stat().st_mtime_ns for name in (RUN_FILE, LABELS_FILE, FORMS_FILE)}
    assert rename(home, "a", "b") == "b"
    assert names_in(home) == ["b"]
    new = home / "b"
    assert load_clusters(new).image_root == new / FAILURES
    assert load_clusters(new / RUNS_FOLDER / "1").image_root == new / FAILURES
    assert read_record(new / RUN_FILE)["image_root"] == str(new / FAILURES)
    assert read_record(new / FORMS_FILE)["clusters"] == {"folder": str(new / FAILURES), "aside": "/elsewhere"}
    assert (new / KEPT_LABELS_FILE).read_text() == f"image,label,root\nx.png,a,{new / FAILURES}\n"
    assert {name: (new / name).stat().st_mtime_ns for name in dates} == dates
    np.testing.assert_array_equal(load_clusters(new).points, clusters.points)


def test_an_analysis_that_was_moved_by_hand_finds_its_own_images_once_it_was_opened_before(home, clusters):
    settle_in(fill(home / "a", clusters))
    (home / "a").rename(home / "b")
    settle_in(home / "b")
    assert load_clusters(home / "b").image_root == home / "b" / FAILURES


def test_images_outside_an_analysis_stay_where_they_are(home, clusters):
    folder = home / "a"
    save_clusters(dataclasses.replace(clusters, image_root=home / "a images"), folder)
    before = contents(folder)
    rename(home, "a", "b")
    assert load_clusters(home / "b").image_root == home / "a images"
    assert contents(home / "b").items() >= before.items() - {(".safe.json", before[".safe.json"])}


def test_a_copy_shares_nothing_with_the_original(home, clusters):
    before = contents(fill(home / "a", clusters))
    assert duplicate(home, "a") == "a copy"
    assert duplicate(home, "a") == "a copy 2"
    assert load_clusters(home / "a copy").image_root == home / "a copy" / FAILURES
    (home / "a copy" / FAILURES / "a.png").write_bytes(b"another image")
    delete(home, "a copy 2")
    assert contents(home / "a").keys() == before.keys()
    assert (home / "a" / FAILURES / "a.png").read_bytes() == b"an image"
    assert load_clusters(home / "a").image_root == home / "a" / FAILURES
    assert [path.name for path in (home / BIN_FOLDER).iterdir()] == ["a copy 2"]  # nothing half copied


def test_what_cannot_be_copied_leaves_nothing_behind(home, clusters):
    folder = fill(home / "a", clusters)
    os.mkfifo(folder / "pipe")
    before = contents(folder)
    with pytest.raises(SAFEError, match="Could not copy"):
        duplicate(home, "a")
    assert names_in(home) == ["a"]
    assert contents(folder).items() >= before.items() - {(".safe.json", before[".safe.json"])}
    assert list((home / BIN_FOLDER).iterdir()) == []


def test_what_was_deleted_is_in_the_bin_and_can_be_restored_whole(home, clusters):
    before = contents(fill(home / "a", clusters))
    delete(home, "a")
    assert names_in(home) == []
    ((name, when),) = deleted_in(home)
    assert name == "a"
    assert when.startswith("20")
    assert restore(home, "a") == "a"
    assert deleted_in(home) == []
    after = contents(home / "a")
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {".safe.json"}
    with pytest.raises(SAFEError, match="in the bin any more"):
        restore(home, "a")


def test_several_of_one_name_are_kept_apart_in_the_bin_and_when_they_are_restored(home, clusters):
    for _ in range(2):
        fill(home / "a", clusters)
        delete(home, "a")
    make(home, "a")
    assert {name for name, _ in deleted_in(home)} == {"a", "a 2"}
    assert restore(home, "a 2") == "a 2"
    assert restore(home, "a") == "a 3"
    for name in ("a 2", "a 3"):
        assert load_clusters(home / name).image_root == home / name / FAILURES


def test_a_folder_that_holds_others_gives_away_only_what_safe_wrote_to_it(home, clusters):
    fill(home, clusters)
    make(home, "inner")
    (home / "mine").mkdir()
    (home / "mine" / "a.png").write_bytes(b"mine")
    (home / GIF_FOLDER / "holiday.gif").write_bytes(b"mine")
    (home / "thesis.txt").write_text("mine")
    save_text(home, FORMS_FILE, json.dumps({"unsafe": {"improvement": str(home / "mine")}}))
    assert rename(home, TOP, "eyes") == "eyes"
    assert folder_of(home, TOP) is None
    assert names_in(home) == ["eyes", "inner"]
    assert contents(home / "eyes").keys() == {
        ".safe.json", "clusters.npz", "run.json", "labels.txt", "forms.json", "gifs/RCC_00.gif", "failures/.safe",
        "failures/a.png",
    }  # fmt: skip
    assert load_clusters(home / "eyes").image_root == home / "eyes" / FAILURES
    assert read_record(home / "eyes" / FORMS_FILE)["unsafe"]["improvement"] == str(home / "mine")
    rest = {"mine/a.png", "gifs/holiday.gif", "thesis.txt"}
    assert {name for name in contents(home) if not name.startswith(("eyes/", "inner/"))} == rest


def test_earlier_failures_go_with_the_analysis_in_a_folder_that_holds_others(home, clusters):
    fill(home, clusters)
    kept = home / ROUNDS_FOLDER / "20261127-120000"
    (kept / FAILURES).mkdir(parents=True)
    (kept / FAILURES / FAILURES_MARK).write_text("a.png")
    (home / MODELS_FOLDER).mkdir()
    (home / MODELS_FOLDER / "first.keras").write_bytes(b"a model")
    (kept / ACCURACY_FILE).write_text(json.dumps({"model": str(home / MODELS_FOLDER / "first.keras")}))
    (home / ROUNDS_FOLDER / "boxing.txt").write_text("mine")
    settle_in(home)
    rename(home, TOP, "eyes")
    assert rounds_in(home) == [home / ROUNDS_FOLDER / "boxing.txt"]
    (moved,) = rounds_in(home / "eyes")
    assert (moved / FAILURES / FAILURES_MARK).is_file()
    assert read_record(moved / ACCURACY_FILE)["model"] == str(home / "eyes" / MODELS_FOLDER / "first.keras")


def test_a_folder_that_holds_others_is_copied_and_deleted_without_them(home, clusters):
    fill(home, clusters)
    make(home, "inner")
    copy = duplicate(home, TOP)
    assert copy == f"{home.name} copy"
    assert not (home / copy / "inner").exists()
    binned = delete(home, TOP)
    assert folder_of(home, TOP) is None
    assert set(names_in(home)) == {"inner", copy}
    assert load_clusters(home / restore(home, binned)).image_root == home / home.name / FAILURES


def test_a_hidden_folder_that_holds_others_has_no_hidden_copies(tmp_path, clusters):
    home = fill(tmp_path / ".hidden", clusters)
    copy, binned = duplicate(home, TOP), delete(home, TOP)
    assert names_in(home) == [copy] == ["hidden copy"]
    assert [name for name, _ in deleted_in(home)] == [binned]
    assert restore(home, binned) == "hidden"


@pytest.mark.parametrize("change", [rename, duplicate, delete], ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["a", TOP])
def test_an_analysis_in_which_another_process_works_is_left_alone(home, clusters, change, name):
    folder = fill(home / name, clusters)
    before, refused = contents(folder), []

    def run() -> None:  # locks are those of a thread
        refused.append(outcome(lambda: change(home, name, "b") if change is rename else change(home, name)))

    with working(folder, "retraining"):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert "Another SAFE job is running" in refused[0]
    assert contents(folder) == before
    assert deleted_in(home) == []


def test_what_an_open_window_leaves_under_an_old_name_does_not_take_it(home):
    make(home, "a")
    rename(home, "a", "b")
    save_text(home / "a", FORMS_FILE, "{}")
    for name in (FORMS_FILE, ".safe.json"):
        (home / "a" / name).unlink()
    assert (home / "a").is_dir()
    assert make(home, "a") == "a"
    rename(home, "a", "c")


# --- Jobs -------------------------------------------------------------------------------------------------------


def test_jobs_of_all_analyses_take_turns_and_none_begins_in_one_that_is_gone():
    turn, gate = Turn(), threading.Event()
    a, b = Jobs(turn), Jobs(turn)
    job = a.start("clusters", lambda job: gate.wait(10))
    assert b.start("clusters", lambda job: None) is None
    assert (a.running, b.running, turn.running) == (job, None, job)
    gate.set()
    wait_until(lambda: job.finished(0))
    assert b.start("clusters", lambda job: None)
    with turn.lock:
        a.end()
    with pytest.raises(SAFEError, match="renamed or deleted"):
        a.start("clusters", lambda job: None)


class Stub(NamedTuple):
    """Enough of a page's settings."""

    jobs: Jobs


def test_pages_that_no_window_shows_are_closed_when_there_are_many(home, monkeypatch):
    monkeypatch.setattr("page.mounts.MOST_OPEN", 3)
    for i in range(6):
        make(home, f"a{i}")
    built: list[str] = []
    gate, working = asyncio.Event(), threading.Event()
    turn = Turn()

    def build(settings: Stub, title: str) -> FastAPI:
        built.append(title)

        async def page(scope, receive, send):
            if title == "a0":
                await gate.wait()  # a window of it is open
            if title == "a1":
                settings.jobs.start("clusters", lambda job: working.wait(10))

        host = FastAPI()
        host.mount("", page)
        return host

    async def visit() -> None:
        mounts = Mounts(home, Stub(Jobs(turn)), lambda folder, turn: Stub(Jobs(turn)), build)

        async def ask(name: str) -> bool:
            return await mounts.answer(name, "/", {"type": "http", "method": "GET"}, None, None)

        window = asyncio.create_task(ask("a0"))
        await asyncio.sleep(0.1)
        for name in ("a1", "a2", "a3", "a4", "a5"):
            assert await ask(name)
        assert await ask("gone") is False
        assert built == ["a0", "a1", "a2", "a3", "a4", "a5"]
        for name in ("a1", "a5"):  # one with a job, and the latest
            assert await ask(name)
        assert len(built) == 6
        assert await ask("a2")
        assert built[6:] == ["a2"]
        with pytest.raises(SAFEError, match="a1 is at work"), mounts.resting("a1"):
            pytest.fail("a job runs in it")
        monkeypatch.setattr("page.mounts.MOST_OPEN", 0)
        assert await ask("a3")
        assert len(built) == 8
        assert await ask("a3")  # the latest stays, though all others cannot be closed
        assert len(built) == 8
        gate.set()
        working.set()
        assert await window

    asyncio.run(visit())


# --- Summaries --------------------------------------------------------------------------------------------------


def test_the_summary_says_how_far_an_analysis_is_and_what_is_next(home, clusters):
    folder = home / make(home, "a")
    assert summary_of(folder)[:5] == (None,) * 5
    assert "Collect the failures" in summary_of(folder).step
    save_text(folder, ACCURACY_FILE, json.dumps({"failures": 27}))
    save_text(folder, FAILURES_FILE, "image\n" + "".join(f"failures/{i}.png\n" for i in range(27)))
    assert (summary_of(folder).failures, summary_of(folder).step) == (27, "Find the reasons")
    assert [path.name for path in summary_of(folder).faces] == ["0.png", "6.png", "12.png", "18.png"]
    save_clusters(clusters, folder)
    summary = summary_of(folder)
    assert (summary.failures, summary.rccs) == (27, clusters.n_rccs)
    assert len({path.parent.name for path in summary.faces}) == clusters.n_rccs  # of all, the largest first
    assert summary.faces[0] == Path("/images") / clusters.members(clusters.groups[0])[0]
    assert summary.step == "Select the unsafe set"
    save_text(folder, SELECTION_FILE, "{}")
    for labels, step in ((",", "Label 2 images"), ("x,", "Label 1 image"), ("x,y", "Retrain")):
        rows = zip("ab", labels.split(","), strict=True)
        save_text(folder, UNSAFE_SET_FILE, "image,label\n" + "".join(f"{image},{label}\n" for image, label in rows))
        assert summary_of(folder).step == step
    save_text(folder, RETRAINING_FILE, json.dumps({"accuracy_before": 0.5, "accuracy_after": 0.75}))
    assert summary_of(folder).accuracy == (0.5, 0.75)
    assert "still wrong" in summary_of(folder).step


@pytest.mark.parametrize(
    "name", [LABELS_FILE, RUN_FILE, FAILURES_FILE, UNSAFE_SET_FILE, SELECTION_FILE, RETRAINING_FILE]
)
@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\0", b"[1]", b'{"accuracy_before": []}', b"x\t\n"])
def test_a_damaged_file_is_left_out_of_the_summary(home, clusters, name, damage):
    folder = fill(home / "a", clusters)
    (folder / name).write_bytes(damage)
    assert summary_of(folder).accuracy is None


def test_a_summary_is_read_again_only_when_a_file_has_changed(home, clusters, monkeypatch):
    folder, read = fill(home / "a", clusters), []
    monkeypatch.setattr("page.summaries.summary_of", lambda folder: read.append(folder))
    summaries = Summaries()
    summaries.of(folder)
    summaries.of(folder)
    assert read == [folder]
    save_text(folder, LABELS_FILE, "0\ta.png\n")
    summaries.of(folder)
    assert read == [folder] * 2
