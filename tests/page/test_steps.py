"""Which steps are done, without a browser."""

import pytest

from page.jobs import Jobs, PageSettings
from page.report_tab import EXPORT, REPORT, state_of
from page.results import Results
from page.steps import Steps
from pipeline.exports import export_here
from rccs.clusters import fingerprint, save_clusters
from rccs.notes import RccNote
from rccs.review import set_note
from rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from reporting.freshness import PARTS, digest_of
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


def test_what_a_report_is_made_from_is_hashed_once_for_all_that_say_whether_it_is_up_to_date(
    settings, steps, clusters, monkeypatch
):
    out, hashed = settings.out, []
    save_clusters(clusters, out)
    write_report(out)
    export_here(out)

    def counted(folder, part):
        hashed.append(part)
        return digest_of(folder, part)

    monkeypatch.setattr("page.results.digest_of", counted)

    def states():
        return ["Up to date" in state_of(product, settings) for product in (REPORT, EXPORT)]

    assert states() == [True, True]
    assert "report" in steps.now()["done"]
    assert sorted(hashed) == sorted(PARTS)
    hashed.clear()
    set_note(out, RccNote(0, "night", "", ""))
    assert "report" not in steps.now()["done"]
    assert states() == [False, False]
    assert hashed == ["judgements"]
