"""A plug-in of pytest: each requirement on a model is a test (see docs/ci.md).

pytest requirements.yaml --safe-out DIR
pytest requirements.yaml --safe-predictions CSV --safe-tested DIR --safe-no-worse CSV
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safe_dnn.pipeline.confirmation import check_requirements
from safe_dnn.pipeline.reporting.junit import Case
from safe_dnn.pipeline.run_record import GivenAnswers
from safe_dnn.support.errors import SAFEError

_OPTIONS = {
    "--safe-out": "the analysis that the answers are of (default: the current folder)",
    "--safe-predictions": "the network's answers, as for check --predictions",
    "--safe-tested": "the folder of test images that they are about",
    "--safe-no-worse": "an earlier model's answers to the same images: the network must not be worse for a reason",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("safe", "SAFE: requirements on a model")
    for name, what in _OPTIONS.items():
        group.addoption(name, help=what)
    group.addoption("--safe-group", action="append", default=[], help="a column by which images are of one group")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A YAML file that is named on the command line has requirements."""
    named = {Path(argument).resolve() for argument in parent.config.args}
    if file_path.suffix in (".yaml", ".yml") and file_path.resolve() in named:
        return RequirementsFile.from_parent(parent, path=file_path)
    return None


class RequirementsFile(pytest.File):
    """A file of requirements, which are checked together."""

    def collect(self) -> Iterator[pytest.Item]:
        option = self.config.getoption
        given = GivenAnswers(option("safe_predictions"), option("safe_tested"), group=tuple(option("safe_group")))
        try:
            checked = check_requirements(
                self.path, Path(option("safe_out") or "."), given, before=option("safe_no_worse")
            )
        except SAFEError as error:
            raise self.CollectError(str(error)) from error
        for case in checked.cases:
            yield CaseItem.from_parent(self, name=case.name, case=case, notes=checked.notes)


class CaseItem(pytest.Item):
    """A requirement, or a reason that two models were compared for."""

    def __init__(self, *, case: Case, notes: tuple[str, ...], **more: Any):
        super().__init__(**more)
        self._case, self._notes = case, notes

    def runtest(self) -> None:
        if self._case.failure:
            pytest.fail("\n".join((self._case.text, *self._notes)), pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"{self._case.kind}: {self.name}"
