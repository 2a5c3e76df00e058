"""Analyses: the folders of the page's list, how they are named, changed, summed up, and kept apart."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from starlette.datastructures import URL

from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.page.analyses import (
    BIN_FOLDER,
    TOP,
    address_of,
    checked_name,
    delete,
    deleted_in,
    duplicate,
    folder_of,
    make,
    names_in,
    rename,
    restore,
    split_address,
)
from safe_dnn.page.forms import remember, remembered
from safe_dnn.rccs.clusters import LABELS_FILE, RootCauseClusters, labels_text, load_clusters, save_clusters
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.store.output_folder import save_files, working
from safe_dnn.store.runs import CLUSTERS, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import FAILURES, FAILURES_MARK, GIF_FOLDER
from tests.helpers.features import features_of

ODD_NAMES = ["50% dark #1?", "a&b=c;d, {x} $y 'z' \"q\"", "🚗 مركبة עין 眼", "-rf x.y"]


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
    save_files(folder, {LABELS_FILE: labels_text(clusters)})
    remember(folder, "clusters", {"folder": str(folder / FAILURES), "aside": "/elsewhere"})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock") and not path.name.startswith(DATABASE_FILE)
    }


# --- Names and addresses ----------------------------------------------------------------------------------------


def test_an_odd_name_becomes_a_folder_and_an_address_that_leads_back_to_it(home):
    for name in ODD_NAMES:
        assert make(home, f"  {name} ") == name
        address = address_of(name)
        assert address.isascii()
        sent = URL(f"http://127.0.0.1{address}")
        assert (sent.query, sent.fragment) == ("", "")
        assert split_address(unquote(sent.path) + "config") == (name, "/config")
    assert names_in(home) == sorted(ODD_NAMES)
    assert names_in(home, other_than=home / ODD_NAMES[0]) == sorted(ODD_NAMES[1:])  # as the example
    assert [make(home, ""), make(home, " ")] == ["Analysis", "Analysis 2"]
    make(home, "cafe\u0301")
    with pytest.raises(SAFEError, match="already"):
        make(home, "caf\u00e9")


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "Received: nothing"), ("../up", "has a slash"), ("a\\b", "has a slash"), (".hidden", "begins with a dot"),
        ("x" * 300, "longer than 80 characters"), ("眼" * 80, "200 bytes"), ("a\0b", "cannot be shown"),
        ("a\u202eb", "cannot be shown"), ("\ud800", "cannot be shown"), ("Runs", "a folder of SAFE's own"),
    ],
)  # fmt: skip
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


def test_what_is_no_analysis_is_found_under_no_name(home):
    make(home, "a")
    (home / "a" / "b").mkdir()
    save_files(home / "a" / "b", {LABELS_FILE: ""})
    (home / "link").symlink_to(home / "a")
    (home / "file").write_text("")
    (home / "plain").mkdir()
    assert names_in(home) == ["a"]
    for name in ("..", ".", TOP, ".safe-bin", "a/b", "a\0", "x" * 300, "\ud800", "link", "file", "plain"):
        assert folder_of(home, name) is None
        for change in (rename, delete, duplicate):
            assert "There is no analysis" in outcome(change, home, name, *(["new"] if change is rename else []))


# --- Changes ----------------------------------------------------------------------------------------------------


def test_of_two_windows_that_rename_the_same_analysis_one_is_refused(home, clusters):
    before = contents(fill(home / "a", clusters))
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda new: outcome(rename, home, "a", new), ("b", "c")))
    assert sum(text in ("b", "c") for text in made) == 1
    assert sum("no analysis" in text for text in made) == 1
    assert contents(home / names_in(home)[0]).keys() == before.keys()


def outcome(change: Callable[..., str], *given: object) -> str:
    try:
        return change(*given)
    except SAFEError as error:
        return str(error)


def test_a_renamed_analysis_finds_its_own_images_and_keeps_its_dates(home, clusters):
    folder = fill(home / "a", clusters)
    save_clusters(dataclasses.replace(clusters, image_root=folder / FAILURES, eps=0.5), folder)
    dates = {name: (folder / name).stat().st_mtime_ns for name in contents(folder)}
    assert rename(home, "a", "b") == "b"
    assert names_in(home) == ["b"]
    new = home / "b"
    for run in runs_of(new, CLUSTERS):
        assert load_clusters(new, run).image_root == new / FAILURES
    assert remembered(new, "clusters") == {"folder": str(new / FAILURES), "aside": "/elsewhere"}
    assert {name: (new / name).stat().st_mtime_ns for name in dates} == dates
    np.testing.assert_array_equal(load_clusters(new).points, clusters.points)


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


def test_what_was_deleted_is_in_the_bin_and_can_be_restored_whole(home, clusters):
    before = contents(fill(home / "a", clusters))
    delete(home, "a")
    assert names_in(home) == []
    ((name, when),) = deleted_in(home)
    assert name == "a"
    assert when.startswith("20")
    make(home, "a")  # another one of that name
    assert restore(home, "a") == "a 2"
    assert deleted_in(home) == []
    assert contents(home / "a 2") == before
    assert load_clusters(home / "a 2").image_root == home / "a 2" / FAILURES
    with pytest.raises(SAFEError, match="in the bin any more"):
        restore(home, "a")


def test_of_too_many_analyses_no_more_are_made_and_those_in_the_bin_count(home):
    names = [make(home, "") for _ in range(3)]
    gone = delete(home, names[0])
    for more in (lambda: make(home, "x", 3), lambda: duplicate(home, names[1], 3)):
        with pytest.raises(SAFEError, match=r"^Expected up to 3 analyses, with those in the bin\."):
            more()
    assert names_in(home) == names[1:]
    restore(home, gone)


def test_an_analysis_in_which_another_process_works_is_left_alone(home, clusters):
    folder = fill(home / "a", clusters)
    before = contents(folder)
    with working(folder, "retraining"), ThreadPoolExecutor(1) as pool:  # locks are those of a thread
        for change in (rename, duplicate, delete):
            refused = pool.submit(outcome, change, home, "a", *(["b"] if change is rename else []))
            assert "Another SAFE job is running" in refused.result()
    assert contents(folder) == before
    assert deleted_in(home) == []
