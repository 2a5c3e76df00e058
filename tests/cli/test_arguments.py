"""Options of the command line, whatever the command."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from safe_dnn import options
from safe_dnn.cli.arguments import build_parser
from safe_dnn.features.extractor import EXTRACTORS

ROOT = Path(__file__).parents[2]
RECORDS = [
    one
    for one in vars(options).values()
    if hasattr(one, "_field_defaults") and isinstance(one, type) and one is not options.Option
]
# Other records; what the command line takes otherwise; and what programs alone give.
NOT_TYPED = {
    "answers",
    "loading",
    "labelling",
    "truth",
    "results",
    "images",
    "yolo",
    "unlabelled",
    "leave_out",
    "learned",
}


def commands() -> dict[str, argparse.ArgumentParser]:
    [found] = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return found.choices


@pytest.mark.parametrize("name", commands())
def test_each_option_of_a_command_says_what_it_is_and_is_known_by_one_name(name):
    for action in commands()[name]._actions:
        assert action.help, action.dest
        assert len(action.option_strings) <= 1 or action.dest in ("help", "leave_out_safe"), action.option_strings


def test_the_help_of_cluster_says_what_each_extractor_is():
    [found] = [action for action in commands()["cluster"]._actions if action.dest == "extractor"]
    assert [*found.choices] == [*EXTRACTORS]
    assert re.findall(r"(?:^|; )(\S+?)(?: \(default\))?: ", found.help) == [*EXTRACTORS]


@pytest.mark.parametrize("record", RECORDS)
def test_each_field_of_a_record_is_declared_once_and_is_an_option_with_this_help_and_in_its_docstring(record):
    helps = {(action.dest, action.help) for one in commands().values() for action in one._actions}
    declared = options.options_of(record)
    assert [*declared] == [*record._fields]
    for name, option in declared.items():
        assert option.help or name in NOT_TYPED
        assert ((name, option.help.replace("%", "%%")) in helps) == bool(option.sort)
        assert f"{name}\n    {option.help}" in record.__doc__
        assert bool(option.sort) != (name in NOT_TYPED)


def test_without_docstrings_the_help_is_the_same():
    """Options and sentences are data: `python -OO` strips docstrings."""
    for words in (["cluster"], ["retrain"], []):
        texts = [
            subprocess.run(
                [sys.executable, *flags, "SAFE_Tool.py", *words, "--help"],
                capture_output=True,
                text=True,
                check=True,
                cwd=ROOT,
            ).stdout
            for flags in ([], ["-OO"])
        ]
        assert texts[0] == texts[1]
        assert "--extractor" in texts[0] or words != ["cluster"]


def test_the_records_of_options_import_nothing_that_takes_long():
    code = "import sys, safe_dnn.options; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert {"numpy", "pandas", "tensorflow", "gradio", "scipy"}.isdisjoint(loaded.split())
