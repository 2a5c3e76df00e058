"""Analyses: the folders of the page's list, and how they are named, found and made."""

import dataclasses
import os
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from starlette.datastructures import URL

from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.page.analyses import (
    TOP,
    address_of,
    checked_name,
    folder_of,
    latest_in,
    make,
    names_in,
    split_address,
)
from safe_dnn.page.forms import remember, remembered
from safe_dnn.rccs.clusters import LABELS_FILE, RootCauseClusters, labels_text, load_clusters, save_clusters
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.store.output_folder import save_files
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
        ("x" * 300, "longer than 200 bytes"), ("眼" * 80, "200 bytes"), ("a\0b", "cannot be shown"),
        ("a\u202eb", "cannot be shown"), ("\ud800", "cannot be shown"), ("Runs", "a folder of SAFE's own"),
    ],
)  # fmt: skip
def test_a_name_that_is_none_for_a_folder_is_refused_in_one_sentence(home, typed, why):
    with pytest.raises(SAFEError, match=why) as refused:
        checked_name(typed)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 320
    if typed:
        with pytest.raises(SAFEError, match=why):
            make(home, typed)
    assert names_in(home) == []


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


# --- Changes in the file manager --------------------------------------------------------------------------------


def test_a_renamed_and_a_copied_analysis_find_their_own_images_and_keep_their_dates(home, clusters):
    folder = fill(home / "a", clusters)
    save_clusters(dataclasses.replace(clusters, image_root=folder / FAILURES, eps=0.5), folder)
    dates = {name: (folder / name).stat().st_mtime_ns for name in contents(folder)}
    folder.rename(home / "b")
    shutil.copytree(home / "b", home / "c")
    assert names_in(home) == ["b", "c"]
    for new in (home / "b", home / "c"):
        for run in runs_of(new, CLUSTERS):
            assert load_clusters(new, run).image_root == new / FAILURES
        assert remembered(new, "clusters") == {"folder": str(new / FAILURES), "aside": "/elsewhere"}
        assert {name: (new / name).stat().st_mtime_ns for name in dates} == dates
        np.testing.assert_array_equal(load_clusters(new).points, clusters.points)


def test_of_too_many_analyses_no_more_are_made(home):
    names = [make(home, "") for _ in range(3)]
    with pytest.raises(SAFEError, match=r"^Expected up to 3 analyses\."):
        make(home, "x", 3)
    assert names_in(home) == names


def test_the_analysis_that_was_changed_last_is_shown_first_unless_the_folder_is_one(home):
    assert latest_in(home) == TOP
    for number, name in enumerate(("b", "c", "a")):
        os.utime(home / make(home, name) / DATABASE_FILE, (10**9 - number, 10**9 - number))
    assert latest_in(home) == "b"
    assert latest_in(home, other_than=home / "b") == "c"
    (home / DATABASE_FILE).touch()
    assert latest_in(home) == TOP
