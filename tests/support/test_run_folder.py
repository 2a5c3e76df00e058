"""The names of what SAFE writes to an output folder."""

import pytest

from store.database import DATABASE_FILE
from tests.helpers.written import FILES, ROOT

IGNORED = (ROOT / ".gitignore").read_text().splitlines()
ELSEWHERE = {
    "clusters.npz",
    "run.json",
    "map.npz",
    "comparison.npz",
    "unsafe_set.json",
    "defects.log",
    *("heatmap.npz", "heatmaps.json"),
    *("gsn.yaml", "gsn.json", "amlas.csv", "reasons.json"),
}  # a run, the cache, heatmaps/, safety_case/


@pytest.mark.parametrize("file", sorted((FILES - ELSEWHERE) | {DATABASE_FILE + end for end in ("-shm", "-wal")}))
def test_git_ignores_what_a_run_writes_into_the_repository(file):
    assert f"/{file}" in IGNORED
