import re

import pytest

from safe_dnn.SAFE_Tool import main
from safe_dnn.support.version import VERSION
from tests.helpers.documents import ROOT, TEXTS


def test_the_changelog_and_the_citation_have_the_version():
    released = re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$", TEXTS["CHANGELOG.md"], re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    version = re.search(r"^version: (.+)$", citation, re.MULTILINE).group(1)
    date = re.search(r"^date-released: (.+)$", citation, re.MULTILINE).group(1)
    assert released[0] == (version, date)
    assert version == VERSION


def test_the_command_line_says_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"SAFE {VERSION}\n"
