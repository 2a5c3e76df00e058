"""Paths as an analysis records them."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from rccs.clusters import load_clusters, run_of, save_clusters
from rccs.review.subjects import subjects_of
from store.places import recorded


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/data/analyses/one", "."),
        ("/data/analyses/one/images", "images"),
        ("/data/analyses/one/images/../images/", "images"),
        ("/data/analyses/images", "../images"),  # beside it
        ("/data/analyses/one more", "../one more"),
        ("/data/analyses", "/data/analyses"),
        ("/data/images", "/data/images"),
        ("/elsewhere", "/elsewhere"),
        ("/elsewhere/caf\udce9", "/elsewhere/caf\\xe9"),
    ],
)
def test_what_is_in_or_beside_an_analysis_is_recorded_as_seen_from_it(path, text):
    assert recorded(path, Path("/data/analyses/one")) == text
    text.encode()


def test_an_analysis_that_was_moved_with_its_images_is_about_the_same(clusters, tmp_path):
    first = tmp_path / "first"
    (first / "out").mkdir(parents=True)
    shutil.move(tmp_path / "failing", first / "failing")
    subjects = []
    for place in (first, tmp_path / "second"):
        if place != first:
            shutil.move(first, place)
        else:
            save_clusters(dataclasses.replace(clusters, image_root=place / "failing"), place / "out")
        found = load_clusters(place / "out")
        assert found.image_root == place / "failing"
        subjects.append((run_of(found, place / "out"), subjects_of(found, place / "out")))
    assert subjects[0] == subjects[1]
    assert len({*subjects[0][1].values()}) == 4
