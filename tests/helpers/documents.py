"""The documents, and the commands in them."""

import argparse
import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from safe_dnn.cli.arguments import build_parser

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("lab/*.md")])
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in DOCUMENTS}
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def commands_of(text: str) -> list[str]:
    """Commands in blocks of code and, whole, in inline code; without comments and the environment's folder."""
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    indented = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    lines = [*blocks.splitlines(), *indented, *INLINE.findall(without_code(text))]
    lines = [part.split(" #")[0].strip().removeprefix(".venv/bin/") for line in lines for part in line.split("&&")]
    return [line for line in lines if re.match(r"(python -m|python SAFE_Tool\.py|make|pip install) \S", line)]


COMMANDS = sorted({(name, command) for name, text in TEXTS.items() for command in commands_of(text)})
LAB_COMMANDS = [(name, command) for name, command in COMMANDS if command.startswith("python -m lab.")]


class Accepted(Exception):  # noqa: N818, no error
    """Arguments were parsed."""


def accept(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that a program knows a command and its arguments; nothing is run."""
    program, *words = shlex.split(command)
    if program == "make":
        targets = [word for word in words if "=" not in word]
        known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(targets) <= set(known)
    elif program == "pip":
        assert all((ROOT / word).is_file() for word in words if word.startswith("requirements"))
    elif words[0] == "SAFE_Tool.py":
        assert callable(build_parser().parse_args(words[1:]).run)
    elif words[1] == "pytest":
        assert all((ROOT / word).exists() for word in words[2:] if "/" in word)
    else:
        parse = argparse.ArgumentParser.parse_args

        def stop(parser: argparse.ArgumentParser, *arguments: object) -> None:
            parse(parser, *arguments)
            raise Accepted

        module = importlib.import_module(
            f"{words[1]}.__main__" if (ROOT / words[1].replace(".", "/")).is_dir() else words[1]
        )
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
        monkeypatch.setattr(sys, "argv", words[1:])
        with pytest.raises(Accepted):
            module.main()
