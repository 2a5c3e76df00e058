"""Which steps are done, without a browser."""

import pytest

from page.jobs import Jobs, PageSettings
from page.results import Results
from page.steps import Steps
from rccs.clusters import fingerprint, save_clusters
from rccs.notes import RccNote
from rccs.review import set_note
from rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from reporting.report import write_report
from support.run_folder import ACCURACY_FILE


@pytest.fixture
def steps(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    return Steps(PageSettings(out, Jobs(), Results(out)))


def test_what_is_done_leads_to_the_next_step(steps, clusters, tmp_path):
    out = tmp_path / "out"
    assert steps.now() == {"done": [], "next": "", "text": ""}
    (out / ACCURACY_FILE).write_text("{}")
    assert steps.now() == {"done": ["failures"], "next": "failures", "text": "Next: find the reasons"}
    save_clusters(clusters, out)
    assert steps.now()["done"] == ["failures", "clusters"]
    assert steps.now()["next"] == "unsafe"


def test_labels_are_done_when_no_image_lacks_one_and_the_report_when_nothing_changed_since(steps, clusters, tmp_path):
    out = tmp_path / "out"
    save_clusters(clusters, out)
    for label, after in (("", "labels"), ("sea", "retraining")):
        images = (UnsafeImage("a.png", 0, 0.5, True, label),)
        save_unsafe_set(UnsafeSet(tmp_path, images, 1, "N = 1", 1, (1,), (), fingerprint(clusters)), out)
        assert steps.now()["next"] == after
    write_report(out)
    assert steps.now()["done"] == ["clusters", "unsafe", "labels", "report"]
    set_note(out, RccNote(0, "night", "", ""))
    assert "report" not in steps.now()["done"]


def test_an_unsafe_set_of_other_clusters_is_not_done(steps, clusters, tmp_path):
    out = tmp_path / "out"
    save_clusters(clusters, out)
    images = (UnsafeImage("a.png", 0, 0.5, True),)
    save_unsafe_set(UnsafeSet(tmp_path, images, 1, "N = 1", 1, (1,), (), "0" * 16, run="1" * 16), out)
    assert steps.now()["next"] == "unsafe"
    assert "unsafe" not in steps.now()["done"]
