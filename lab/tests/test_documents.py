"""The commands and results that documents name."""

import pytest

from lab.benchmarks.results import RESULTS
from tests.helpers.documents import LAB_COMMANDS, accept


@pytest.mark.parametrize(("name", "command"), LAB_COMMANDS)
def test_each_command_of_a_document_is_accepted(name, command, monkeypatch):
    accept(command, monkeypatch)


def test_each_page_of_results_is_listed():
    index = (RESULTS / "RESULTS.md").read_text(encoding="utf-8")
    assert all(f"]({page.name})" in index for page in RESULTS.glob("*.md") if page.name != "RESULTS.md")
