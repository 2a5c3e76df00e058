"""The table of tabs, which steps, jobs, forms and scripts take their names from."""

from types import SimpleNamespace

import pytest

from safe_dnn.analysis import Analysis
from safe_dnn.page.steps import steps_of
from safe_dnn.rccs.clusters import fingerprint, rccs_of, save_clusters
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from safe_dnn.report.report import write_report
from safe_dnn.support.run_folder import ACCURACY_FILE
from tests.helpers.laid_out import settings_of


@pytest.fixture
def steps(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    settings = settings_of(out)
    return lambda: steps_of(settings)


def test_what_is_done_leads_to_the_next_step_and_labels_are_once_none_lacks_one(steps, clusters, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert steps() == {"done": [], "next": "", "text": ""}  # it asks by itself
    (out / ACCURACY_FILE).write_text("{}")
    assert steps() == {"done": ["failures"], "next": "failures", "text": "Next: find the reasons"}
    save_clusters(clusters, out)
    assert steps() == {"done": ["failures", "clusters"], "next": "clusters", "text": "Next: judge the reasons"}
    for rcc in rccs_of(clusters):
        assert steps()["next"] == "clusters"
        set_note(out, Note(rcc, verdict="unclear"))
    other, run = "1" * 16, fingerprint(clusters)
    monkeypatch.setattr(Analysis, "failures", SimpleNamespace(known_classes=("sea",)))
    sets = ((other, "a", "", "unsafe"), (run, "a", "", "labels"), (run, "a", "sea", "retraining"))
    for of, image, label, after in (*sets, (run, "sea/a", "", "retraining")):  # the last in the folder of its class
        images = (UnsafeImage(image, 0, 0.5, True, label),)
        save_unsafe_set(UnsafeSet(tmp_path, images, 1, "N = 1", 1, (1,), (), of, run=of), out)
        assert steps()["next"] == after
    write_report(out)
    assert steps()["done"] == ["failures", "clusters", "unsafe", "labels", "report"]
