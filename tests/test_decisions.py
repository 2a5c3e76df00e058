"""What the code says of docs/decisions/."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("support", "features", "dbscan", "rccs", "dnn", "training", "reporting", "pipeline", "page", "cli")


def test_every_decision_that_the_code_refers_to_is_there():
    files = [*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).glob("*.py"))]
    named = {name for path in files for name in re.findall(r"docs/decisions/[\w.-]+\.md", path.read_text("utf-8"))}
    assert named
    assert {name for name in named if not (ROOT / name).is_file()} == set()
