"""Options of the command line, whatever the command."""

import argparse

import pytest

from safe_dnn.cli.arguments import build_parser
from safe_dnn.features.extractors import EXTRACTORS


def commands() -> dict[str, argparse.ArgumentParser]:
    [found] = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return found.choices


@pytest.mark.parametrize("name", commands())
def test_each_option_of_a_command_says_what_it_is_and_is_known_by_one_name(name):
    for action in commands()[name]._actions:
        assert action.help, action.dest
        assert len(action.option_strings) <= 1 or action.dest in ("help", "leave_out_safe"), action.option_strings


def test_the_help_of_cluster_says_what_each_extractor_is():
    text = " ".join(commands()["cluster"].format_help().split())
    assert all(name in text and kind.summary in text for name, kind in EXTRACTORS.items())
    assert build_parser().parse_args(["cluster", "x"]).extractor == next(iter(EXTRACTORS))
