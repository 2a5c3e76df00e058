"""The names of what a run writes."""

from pathlib import Path

import pytest

from support import run_folder

IGNORED = (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()
FILES = sorted(value for name, value in vars(run_folder).items() if name.endswith("_FILE"))


@pytest.mark.parametrize("file", FILES)
def test_git_ignores_what_a_run_writes_into_the_repository(file):
    assert f"/{file}" in IGNORED
