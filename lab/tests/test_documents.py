"""The commands and results that documents name."""

import re

import pytest

from lab.benchmarks.results import RESULTS
from tests.helpers.documents import LAB_COMMANDS, TEXTS, accept


@pytest.mark.parametrize(("name", "command"), LAB_COMMANDS)
def test_each_command_of_a_document_is_accepted(name, command, monkeypatch):
    accept(command, monkeypatch)


def test_each_page_of_results_is_listed():
    index = (RESULTS / "RESULTS.md").read_text(encoding="utf-8")
    assert all(f"]({page.name})" in index for page in RESULTS.glob("*.md") if page.name != "RESULTS.md")


def repeated_from_results():
    """What `docs/evaluation.md` repeats, as the pages of results have it."""
    page = {path.stem: path.read_text(encoding="utf-8") for path in RESULTS.glob("*.md")}
    settings = re.search(r"(\d+) settings of [\d,]+ drawn scenes", page["reasons"])[1]
    blind, discovered, false, named = re.search(
        r"\| all \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", page["reasons"]
    ).groups()
    yield f"| {settings} | {blind} | {discovered} | {false} of {named} |"
    sees = ("VGG16", "the network", "the network, squares only")
    for settings in page["spotcheck"].split("### "):
        rows = [line.strip("| ").split(" | ") for line in settings.splitlines() if line.startswith("| ")]
        of = {(row[0], row[1]): row for row in rows if len(row) > 6}
        for name in ("SAFE's RCCs", "K-means, 25", "Spotlight", "Domino", "PlaneSpot"):
            yield f"| {name} | {' | '.join(', '.join(of[name, one][10:12]) for one in sees)} |"
        for name in ("SAFE's conditions", "SliceLine", "Decision tree"):
            yield f"| {name} | {', '.join(of[name, 'metadata'][3:5])} | {of[name, 'metadata'][6]} |"
    for name, wrong in re.findall(r"^### (\w+): ([\d.]+%) are wrong", page["imagenetx"], re.M):
        named, missing = re.search(
            rf"^{name}: (\d+ of \d+) factors .*? are(?:, not (.+?))?, by", page["imagenetx"], re.M
        ).groups()
        doubtful = re.search(rf"^{name}: .*by p or interval: (.+?)\.(?= |$)", page["imagenetx"], re.M)[1]
        found, held = re.search(rf"^\| {name} \| (\d+) \|.*\| (\d+) \| \d+ \|$", page["imagenetx"], re.M).groups()
        yield f"| {name} | {wrong} | {named} | {missing or '–'} | {doubtful} | {held} of {found} |"
    drawn = [line.strip("| ").split(" | ") for line in page["expected"].splitlines() if line.startswith("| ")]
    for kind in ("1 class", "5 classes", "50 classes", "5 classes, 40 groups", "10 classes, 5 causes"):
        given, found, _ = (row for row in drawn if row[0] == kind)
        yield f"| {kind} | {given[1]} | {given[3]} | {found[1]} | {found[2]} |"
    yield re.search(r"They differ beyond doubt in .*?(?=\.)", page["imagenetx"])[0]
    for case in ("gd", "oc", "gd-people", "oc-people", "hpd", "fld", "od"):
        methods = ("weak spots", "decision tree", "SliceLine", "pysubgroup")
        causes = [
            re.search(rf"^\| {case} \| {name} \| \d+ \| (\d+ of \d+) \|", page["reasons"], re.M)[1] for name in methods
        ]
        yield f"| `{case}` | {' | '.join(causes)} |"
        ways = ("looks", "K-means of looks, 12", r"as SAFE chooses(?: \(looks\))?", "ceiling")
        rows = [
            re.search(rf"^\| {case} \| [^|]*\| {way} \|(.*)$", page["explained_uncertainty"], re.M)[1].split(" | ")
            for way in ways
        ]
        yield f"| `{case}` | {' | '.join(row[6].strip() for row in rows)} |"
    for case, failures, inspected in re.findall(
        r"^\| (\w+) \| (\d+) of [\d,]+ \| \d+ \| \d+ \| ([\d.]+) \|", page["paper"], re.M
    ):
        yield f"| `{case}` | {failures} | {inspected} % |"


@pytest.mark.parametrize("text", list(repeated_from_results()))
def test_the_evaluation_repeats_figures_of_results(text):
    assert text in " ".join(TEXTS["docs/evaluation.md"].split())
