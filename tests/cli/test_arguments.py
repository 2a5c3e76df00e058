"""Options of the command line, whatever the command."""

import argparse
import re

import pytest

from safe_dnn import options
from safe_dnn.cli.arguments import build_parser
from safe_dnn.features.extractor import EXTRACTORS

RECORDS = [one for one in vars(options).values() if hasattr(one, "_field_defaults") and isinstance(one, type)]
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
def test_each_field_that_a_record_describes_is_an_option_with_this_help(record):
    helps = {(action.dest, action.help) for one in commands().values() for action in one._actions}
    described = " ".join(record.__doc__.split())
    fields = {
        name for name in record._fields if any(name == dest and help_ in described for dest, help_ in helps if help_)
    }
    assert {*record._fields} - fields <= NOT_TYPED
    assert fields
