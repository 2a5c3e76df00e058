"""What the README promises is there: all commands, the order for a newcomer, its pictures, the other documents."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\.venv/bin/python SAFE_Tool\.py (.+)$", README, re.MULTILINE)


def test_the_readme_shows_commands():
    steps = "failures cluster confirm probe check heatmaps select retrain compare"
    results = "register report export evidence verify safety-case ui"
    assert {command.split()[0] for command in COMMANDS} == {*steps.split(), *results.split()}


def test_each_document_is_listed_in_the_readme_and_in_the_index_of_documents():
    documents = {path.name for path in ROOT.glob("docs/*.md")} - {"README.md"}
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    assert documents <= set(re.findall(r"\]\(docs/([^)#]+\.md)\)", README))
    assert documents <= set(re.findall(r"\]\(([^)#/]+\.md)\)", index))
