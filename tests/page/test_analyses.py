"""Analyses: the folders of the page's list, and how they are named, found and made."""

import os
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


# --- Names and addresses ----------------------------------------------------------------------------------------


def test_an_odd_name_becomes_a_folder_and_an_address_that_leads_back_to_it(tmp_path):
    for name in ODD_NAMES:
        assert make(tmp_path, f"  {name} ") == name
        address = address_of(name)
        assert address.isascii()
        sent = URL(f"http://127.0.0.1{address}")
        assert (sent.query, sent.fragment) == ("", "")
        assert split_address(unquote(sent.path) + "config") == (name, "/config")
    assert names_in(tmp_path) == sorted(ODD_NAMES)
    assert names_in(tmp_path, other_than=tmp_path / ODD_NAMES[0]) == sorted(ODD_NAMES[1:])  # as the example
    assert [make(tmp_path, ""), make(tmp_path, " ")] == ["Analysis", "Analysis 2"]
    make(tmp_path, "cafe\u0301")
    with pytest.raises(SAFEError, match="already"):
        make(tmp_path, "caf\u00e9")


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "Received: nothing"), ("../up", "has a slash"), ("a\\b", "has a slash"), (".hidden", "begins with a dot"),
        ("x" * 300, "longer than 200 bytes"), ("眼" * 80, "200 bytes"), ("a\0b", "cannot be shown"),
        ("a\u202eb", "cannot be shown"), ("\ud800", "cannot be shown"), ("Runs", "a folder of SAFE's own"),
    ],
)  # fmt: skip
def test_a_name_that_is_none_for_a_folder_is_refused_in_one_sentence(tmp_path, typed, why):
    with pytest.raises(SAFEError, match=why) as refused:
        checked_name(typed)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 320
    if typed:
        with pytest.raises(SAFEError, match=why):
            make(tmp_path, typed)
    assert names_in(tmp_path) == []


def test_what_is_no_analysis_is_found_under_no_name(tmp_path):
    make(tmp_path, "a")
    (tmp_path / "a" / "b").mkdir()
    save_files(tmp_path / "a" / "b", {LABELS_FILE: ""})
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "file").write_text("")
    (tmp_path / "plain").mkdir()
    assert names_in(tmp_path) == ["a"]
    for name in ("..", ".", TOP, ".safe-bin", "a/b", "a\0", "x" * 300, "\ud800", "link", "file", "plain"):
        assert folder_of(tmp_path, name) is None


# --- Changes in the file manager --------------------------------------------------------------------------------


def test_of_too_many_analyses_no_more_are_made(tmp_path):
    names = [make(tmp_path, "") for _ in range(3)]
    with pytest.raises(SAFEError, match=r"^Expected up to 3 analyses\."):
        make(tmp_path, "x", 3)
    assert names_in(tmp_path) == names


def test_the_analysis_that_was_changed_last_is_shown_first_unless_the_folder_is_one(tmp_path):
    assert latest_in(tmp_path) == TOP
    for number, name in enumerate(("b", "c", "a")):
        os.utime(tmp_path / make(tmp_path, name) / DATABASE_FILE, (10**9 - number, 10**9 - number))
    assert latest_in(tmp_path) == "b"
    assert latest_in(tmp_path, other_than=tmp_path / "b") == "c"
    (tmp_path / DATABASE_FILE).touch()
    assert latest_in(tmp_path) == TOP
