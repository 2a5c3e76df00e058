"""Which steps are done, without a browser."""

import pytest

from page.jobs import Jobs, PageSettings
from page.report.tab import EXPORT, REPORT, state_of
from page.results import Results
from page.steps import Steps
from pipeline.exports import export_here
from rccs.clusters import fingerprint, save_clusters
from rccs.review.notes import RccNote
from rccs.review.review import set_note
from rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from reporting.report import write_report
from support.run_folder import ACCURACY_FILE


@pytest.fixture
def settings(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    return PageSettings(out, Jobs(), Results(out))


@pytest.fixture
def steps(settings):
    return Steps(settings)


def test_what_is_done_leads_to_the_next_step(steps, clusters, tmp_path):
    out = tmp_path / "out"
    assert steps.now() == {"done": [], "next": "", "text": ""}
    (out / ACCURACY_FILE).write_text("{}")
    assert steps.now() == {"done": ["failures"], "next": "failures", "text": "Next: find the reasons"}
    save_clusters(clusters, out)
    assert steps.now()["done"] == ["failures", "clusters"]
    assert steps.now()["next"] == "unsafe"


def test_labels_are_done_when_no_image_of_the_unsafe_set_of_these_clusters_lacks_one(steps, clusters, tmp_path):
    out = tmp_path / "out"
    save_clusters(clusters, out)
    other, run = "1" * 16, fingerprint(clusters)
    for of, label, after in ((other, "", "unsafe"), (run, "", "labels"), (run, "sea", "retraining")):
        images = (UnsafeImage("a.png", 0, 0.5, True, label),)
        save_unsafe_set(UnsafeSet(tmp_path, images, 1, "N = 1", 1, (1,), (), of, run=of), out)
        assert steps.now()["next"] == after
    write_report(out)
    assert steps.now()["done"] == ["clusters", "unsafe", "labels", "report"]


def test_a_report_and_an_export_are_up_to_date_until_something_is_said(settings, steps, clusters):
    out = settings.out
    save_clusters(clusters, out)
    write_report(out)
    export_here(out)

    def states():
        return ["Up to date" in state_of(product, settings) for product in (REPORT, EXPORT)]

    assert states() == [True, True]
    assert "report" in steps.now()["done"]
    set_note(out, RccNote(0, "night", "", ""))
    assert "report" not in steps.now()["done"]
    assert states() == [False, False]
