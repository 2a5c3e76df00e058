"""What was typed into the page's forms is kept in the output folder."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from clustering import find_root_cause_clusters
from page.forms import LONGEST, remember, remembered, renewed
from page.jobs import Job, Jobs, PageSettings, _Stopped
from page.results import Results
from page.retraining import tab as retraining_tab
from rccs.clusters import save_clusters
from store.runs import CLUSTERS, open_clusters, runs_of
from tests.helpers.features import features_of
from tests.helpers.laid_out import laid_out
from training.finetuning import Epoch


def test_each_tab_gets_back_what_it_kept_last(tmp_path):
    remember(tmp_path, "unsafe", {"accuracy": "0.9", "leave_out": True, "size": None})
    remember(tmp_path, "retraining", {"model": "<b>\ud800</b>", "only_labelled": False, "rate": ""})
    remember(tmp_path, "unsafe", {"accuracy": "0.8", "leave_out": False, "size": "7"})
    assert remembered(tmp_path, "unsafe") == {"accuracy": "0.8", "leave_out": False, "size": "7"}
    assert remembered(tmp_path, "retraining") == {"model": "<b>\ud800</b>", "only_labelled": False, "rate": ""}
    assert remembered(tmp_path, "clusters") == {}


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


@pytest.mark.parametrize(("checked", "unlabelled"), [(True, 0), (False, None), ("", None)])
def test_labelled_images_only_are_what_the_box_asks_for(tmp_path, monkeypatch, checked, unlabelled):
    asked = []
    monkeypatch.setattr(retraining_tab, "retrain_apart", lambda *paths, wishes, **more: asked.append(wishes))
    tab = laid_out(lambda: retraining_tab.RetrainingTab(PageSettings(tmp_path, Jobs(), Results(tmp_path, None))))
    form = dict.fromkeys(tab.form.named(tab.form.widgets), "") | {"model": "m", "train": "a", "test": "b"}
    tab._retrain(Job("retraining", 1, print), form | {"one_pass": checked}, trust=False)
    assert [wishes.unlabelled for wishes in asked] == [unlabelled]


def test_stopping_ends_a_retraining_at_once_until_there_is_an_epoch_to_keep(tmp_path, monkeypatch):
    def retrain(*paths, progress, on_epoch, should_stop, **more):
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
    monkeypatch.setattr(retraining_tab, "retrain_apart", retrain)
    tab = laid_out(lambda: retraining_tab.RetrainingTab(PageSettings(tmp_path, Jobs(), Results(tmp_path, None))))
    form = dict.fromkeys(tab.form.named(tab.form.widgets), "") | {"model": "m", "train": "a", "test": "b"}
    tab._retrain(job, form, trust=False)
    assert stopped == [True]
