"""Which steps are done, without a browser."""

import pytest

from page.jobs import Jobs, PageSettings
from page.results import Results
from page.steps import Steps
from pipeline.reporting.report import write_report
from rccs.clusters import fingerprint, save_clusters
from rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from support.run_folder import ACCURACY_FILE


@pytest.fixture
def steps(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    return Steps(PageSettings(out, Jobs(), Results(out)))


def test_what_is_done_leads_to_the_next_step_and_labels_are_once_none_is_missing(steps, clusters, tmp_path):
    out = tmp_path / "out"
    assert steps.now() == {"done": [], "next": "", "text": ""}
    (out / ACCURACY_FILE).write_text("{}")
    assert steps.now() == {"done": ["failures"], "next": "failures", "text": "Next: find the reasons"}
    save_clusters(clusters, out)
    assert steps.now()["done"] == ["failures", "clusters"]
    other, run = "1" * 16, fingerprint(clusters)
    for of, label, after in ((other, "", "unsafe"), (run, "", "labels"), (run, "sea", "retraining")):
        images = (UnsafeImage("a.png", 0, 0.5, True, label),)
        save_unsafe_set(UnsafeSet(tmp_path, images, 1, "N = 1", 1, (1,), (), of, run=of), out)
        assert steps.now()["next"] == after
    write_report(out)
    assert steps.now()["done"] == ["failures", "clusters", "unsafe", "labels", "report"]
