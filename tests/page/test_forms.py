"""What was typed into the page's forms is kept in the output folder; which steps are done, and what went wrong."""

import dataclasses
from pathlib import Path

import numpy as np

from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.page.forms import LONGEST, remember, remembered, renewed
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.store.runs import CLUSTERS, open_clusters, runs_of
from tests.helpers.features import features_of


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
