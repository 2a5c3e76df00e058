"""What the README promises is there: its commands are accepted, its files and pictures exist."""

import re
from pathlib import Path

import pytest

from cli.arguments import build_parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\.venv/bin/python SAFE_Tool\.py (.+)$", README, re.MULTILINE)


def test_the_readme_shows_commands():
    assert {command.split()[0] for command in COMMANDS} == {
        "failures",
        "cluster",
        "select",
        "retrain",
        "report",
        "export",
        "ui",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_readme_is_accepted(command):
    assert callable(build_parser().parse_args(command.split()).run)


@pytest.mark.parametrize("target", ["run", "test"])
def test_make_knows_the_two_commands(target):
    assert f"\nmake {target}\n" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.(?:py|cff|txt)|\w+/)`", README))))
def test_each_file_that_the_readme_names_exists_or_is_written_by_a_run(name):
    written = {"labels.txt", "IS_filenames.txt", "export/", "runs/", "failures/"}
    assert name in written or (ROOT / name).exists()


@pytest.mark.parametrize("picture", re.findall(r"!\[.*?\]\((.+?)\)", README))
def test_each_picture_of_the_readme_exists(picture):
    assert (ROOT / picture).stat().st_size > 10_000
