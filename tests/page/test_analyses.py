"""Analyses: the folders of the page's list, and how they are named, found and made."""

import os
from pathlib import Path
from urllib.parse import unquote

import pytest
from starlette.datastructures import URL

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
from safe_dnn.rccs.clusters import LABELS_FILE
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.store.output_folder import save_files
from safe_dnn.support.errors import SAFEError

ODD_NAMES = ["50% dark #1?", "a&b=c;d, {x} $y 'z' \"q\"", "🚗 مركبة עין 眼", "-rf x.y"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


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
