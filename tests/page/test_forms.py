"""What was typed into the page's forms is kept in the output folder; which steps are done, and what went wrong."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.page.analyses import NOWHERE
from safe_dnn.page.clusters.cards import words_of
from safe_dnn.page.clusters.form import PATHS, ClustersForm
from safe_dnn.page.forms import LONGEST, remember, remembered, renewed
from safe_dnn.page.job_view import JobView
from safe_dnn.page.jobs import Job, Jobs, _Stopped
from safe_dnn.page.retraining import tab as retraining_tab
from safe_dnn.page.steps import Steps
from safe_dnn.page.unsafe.tab import UnsafeTab
from safe_dnn.pipeline.reporting.report import write_report
from safe_dnn.rccs.clusters import fingerprint, save_clusters
from safe_dnn.rccs.profiles import Finding, Profile
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from safe_dnn.store.runs import CLUSTERS, open_clusters, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_MARK
from safe_dnn.training.finetuning import Epoch
from tests.helpers.browsing import wait_until
from tests.helpers.features import features_of
from tests.helpers.laid_out import laid_out, settings_of


def test_what_is_too_long_or_was_never_typed_is_not_kept(tmp_path):
    remember(tmp_path, "unsafe", {"accuracy": "1" * LONGEST, "size": None, "factor": "0.3"})
    assert remembered(tmp_path, "unsafe") == {"factor": "0.3"}


def test_another_run_has_its_own_fields_and_at_first_those_of_the_same_images(tmp_path):
    clusters = find_root_cause_clusters(features_of([12, 9, 6]))
    save_clusters(clusters, tmp_path)
    remember(tmp_path, "unsafe", {"size": "6"})
    save_clusters(dataclasses.replace(clusters, labels=np.where(clusters.labels == 0, 0, -1)), tmp_path)
    assert remembered(tmp_path, "unsafe") == {"size": "6"}
    remember(tmp_path, "unsafe", {"size": "7"})
    open_clusters(tmp_path, runs_of(tmp_path, CLUSTERS)[0].number)
    assert remembered(tmp_path, "unsafe") == {"size": "6"}
    save_clusters(dataclasses.replace(clusters, image_root=Path("/elsewhere")), tmp_path)
    assert remembered(tmp_path, "unsafe") == {}


def test_with_another_run_fields_hold_what_it_was_made_with_but_for_what_was_typed_since():
    before = {"model": "a.keras", "train": "a", "rate": "", "seed": "1", "only_labelled": True}
    typed = {"model": "a.keras", "train": "typed", "rate": None, "seed": "1", "only_labelled": True}
    after = {"model": "b.keras", "train": "b", "rate": "0.1", "seed": "1", "only_labelled": False}
    assert renewed(before, typed, after) == {"model": "b.keras", "rate": "0.1", "only_labelled": False}
    assert renewed({}, dict.fromkeys(after, "typed"), after) == {}


def retrain(out: Path, job: Job, **sent: object) -> None:
    """Send the form of the tab Retraining."""
    tab = laid_out(lambda: retraining_tab.RetrainingTab(settings_of(out)))
    form = dict.fromkeys(tab.form.named(tab.form.widgets), "") | dict.fromkeys(("model", "train", "test"), str(out))
    job.form = tab._wanted(form | sent)
    tab._retrain(job, form | sent, trust=False)


@pytest.mark.parametrize(("checked", "unlabelled"), [(True, 0), (False, None), ("", None)])
def test_labelled_images_only_are_what_the_box_asks_for(tmp_path, monkeypatch, checked, unlabelled):
    asked = []
    monkeypatch.setattr(retraining_tab, "retrain_apart", lambda *paths, wishes, **more: asked.append(wishes))
    retrain(tmp_path, Job("retraining", 1, print), one_pass=checked)
    assert [wishes.unlabelled for wishes in asked] == [unlabelled]


def test_without_a_folder_the_failures_that_were_collected_are_grouped(tmp_path):
    form = ClustersForm.__new__(ClustersForm)  # without its widgets
    form._settings = settings_of(tmp_path)
    fields = dict.fromkeys(("folder", "aside", "group", "partial", "extractor", "reducer", "precision"))
    fields |= {name: "" for _, name, _, _ in PATHS}
    with pytest.raises(SAFEError, match=r"an image folder\. Received: nothing"):
        form.wanted(fields)
    (tmp_path / FAILURES).mkdir()
    (tmp_path / FAILURES / FAILURES_MARK).write_text("a/0.png")
    assert form.wanted(fields)[0] == str(tmp_path / FAILURES)


def test_stopping_ends_a_retraining_at_once_until_there_is_an_epoch_to_keep(tmp_path, monkeypatch):
    def stopped_while(*given, watch, **more):
        progress, on_epoch, should_stop = watch
        epochs = tuple(Epoch(i, 0.5, 0.5, 0.5, 0.1) for i in range(2))
        on_epoch(epochs[:1], (1,))
        progress("Retraining", 0, 1)
        job.cancel()
        with pytest.raises(_Stopped):
            progress("Retraining", 0, 1)
        on_epoch(epochs, (1,))
        progress("Retraining", 1, 1)
        stopped.append(should_stop())

    stopped, job = [], Job("retraining", 1, print)
    monkeypatch.setattr(retraining_tab, "retrain_apart", stopped_while)
    retrain(tmp_path, job)
    assert stopped == [True]


# --- Which steps are done ---------------------------------------------------------------------------------------


@pytest.fixture
def steps(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    return Steps(settings_of(out))


def test_what_is_done_leads_to_the_next_step_and_labels_are_once_none_lacks_one(steps, clusters, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert steps.now() == {"done": [], "next": "failures", "text": "From a model: collect its failures"}
    (out / ACCURACY_FILE).write_text("{}")
    assert steps.now() == {"done": ["failures"], "next": "failures", "text": "Next: find the reasons"}
    save_clusters(clusters, out)
    assert steps.now() == {"done": ["failures", "clusters"], "next": "clusters", "text": "Next: judge the reasons"}
    set_note(out, Note(0, verdict="unclear"))
    other, run = "1" * 16, fingerprint(clusters)
    monkeypatch.setattr("safe_dnn.page.steps.load_failures", lambda out: SimpleNamespace(classes=("sea",)))
    sets = ((other, "a", "", "unsafe"), (run, "a", "", "labels"), (run, "a", "sea", "retraining"))
    for of, image, label, after in (*sets, (run, "sea/a", "", "retraining")):  # the last in the folder of its class
        images = (UnsafeImage(image, 0, 0.5, True, label),)
        save_unsafe_set(UnsafeSet(tmp_path, images, 1, "N = 1", 1, (1,), (), of, run=of), out)
        assert steps.now()["next"] == after
    write_report(out)
    assert steps.now()["done"] == ["failures", "clusters", "unsafe", "labels", "report"]


# --- What went wrong --------------------------------------------------------------------------------------------


class Widget:
    """Enough of one, so that no page is laid out."""

    def click(self, *_, **__) -> None:
        pass


@pytest.fixture
def view(monkeypatch):
    monkeypatch.setattr("safe_dnn.page.job_view.gr.State", lambda value: None)
    status, button, cancel, result = (Widget() for _ in range(4))
    settings = SimpleNamespace(jobs=Jobs(), where=NOWHERE)
    return JobView(settings, "retraining", status, button, cancel, lambda: "", result), status, settings.jobs


def fail(job):
    raise SAFEError("Expected a model. Received: a note.")


def test_an_error_stays_in_sight_while_the_result_is_the_one_shown_before(view):
    view, status, jobs = view
    job = jobs.start("retraining", fail)
    wait_until(lambda: job.finished(0))
    result = {status: "an earlier result"}
    assert "Expected a model" in view.look(result.copy, job.number, same=True)[status]
    assert view.look(result.copy, job.number) == result  # it has been replaced since
    assert view.look(result.copy) == result  # a window that is opened


def test_rccs_judged_safe_are_left_out_unless_the_box_says_otherwise(tmp_path):
    assert laid_out(lambda: UnsafeTab(settings_of(tmp_path))).form["leave_out_safe"].value is True


def test_a_card_is_not_titled_with_what_most_other_images_have_as_well():
    # Of merged RCCs of the example: in good light, as most of the others are, though it varies much less.
    known = {"known": 60, "usual_low": 0.62, "usual_high": 0.98, "share": 0.89, "reduction": 0.87}
    common = Finding(0, "light", "number", overall_share=0.7, information=0.14, **known)
    own = common._replace(overall_share=0.2, information=1.5)
    titles = [
        words_of(SimpleNamespace(spot_of={}, profiles={0: Profile(0, (one,))}), 0)  # type: ignore[arg-type]
        for one in (common, own)
    ]
    assert titles == ["", "light from 0.62 to 0.98"]
