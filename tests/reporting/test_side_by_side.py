import dataclasses

import numpy as np
import pytest

from dbscan.outcome import NOISE
from page.clusters.beside import beside_html
from rccs.clusters import rccs_of, save_clusters
from rccs.review.notes import RccNote
from rccs.review.review import set_note
from reporting.history import compare_clusters, list_runs
from reporting.side_by_side import Match, judged, matches, sides
from support.errors import SAFEError
from tests.helpers.small_models import clusters_of, retraining_for

EARLIER, PRESENT = "1", "4"


def labelled(folder, *labels):
    return clusters_of(folder, {f"{number}.png": label for number, label in enumerate(labels)})


def test_each_rcc_is_matched_once_with_the_one_it_has_most_images_in_common_with(tmp_path):
    a = labelled(tmp_path, 0, 0, 0, 0, 1, 1, 1, 2, 2, NOISE)
    b = labelled(tmp_path, 1, 1, 1, 0, 0, 0, 0, NOISE, NOISE, 2)
    assert matches(a, b, compare_clusters(a, b)) == [
        Match(0, 1, 3, 3 / 4),
        Match(1, 0, 3, 3 / 4),
        Match(2, None, 0, 0.0),
        Match(None, 2, 0, 0.0),
    ]


@pytest.fixture
def out(clusters, tmp_path, monkeypatch):
    """A run of noon of which two RCCs are judged, and the present one, in which one of them has the same images."""
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.setattr("store.entries._now", lambda: "2024-05-01T12:00:00+00:00")
    save_clusters(clusters, folder)
    set_note(folder, RccNote(0, "<b>dark</b>", "", "unsafe"))
    set_note(folder, RccNote(1, "bright", "", "safe"))
    labels = np.where(clusters.labels < 0, NOISE, 2 - clusters.labels)
    labels[clusters.paths.index("snow_07.png")] = NOISE
    monkeypatch.setattr("store.entries._now", lambda: "2024-05-01T12:05:00+00:00")
    save_clusters(dataclasses.replace(clusters, labels=labels), folder)
    return folder


def test_each_side_has_the_names_and_verdicts_of_its_own_images(out):
    assert [run.name for run in list_runs(out)] == [PRESENT, EARLIER]
    one, other, found = sides(out, EARLIER, PRESENT)
    assert (judged(one), judged(other)) == (2, 1)
    assert one.accuracy is None
    page = beside_html(one, other, found)
    assert page.count("&lt;b&gt;dark&lt;/b&gt;") == page.count("unsafe") == 2
    assert page.count("bright") == 1
    assert f"2 of {len(rccs_of(one.clusters))}" in page
    assert f"1 of {len(rccs_of(other.clusters))}" in page
    for name in ("2024-05-01 12:00:00", "2024-05-01 12:05:00 (present)"):
        assert page.count(name) == 2  # above both tables
    assert "Accuracy" not in page  # neither was retrained


def test_accuracies_have_their_intervals(out):
    one, other, found = sides(out, EARLIER, PRESENT)
    retrained = one._replace(retraining=retraining_for(""))
    before, after = retrained.accuracy
    # Clopper and Pearson, 2 and 3 of 4
    assert before == pytest.approx((0.5, 0.0676, 0.9324), abs=1e-4)
    assert after == pytest.approx((0.75, 0.1941, 0.9937), abs=1e-4)
    page = beside_html(retrained, other, found)
    assert "<td>75.0% (95% interval 19.4–99.4%)</td><td>–</td>" in page
    assert "<td>4 images</td><td>–</td>" in page


def test_the_same_run_twice_and_one_that_is_not_there_are_refused(out):
    with pytest.raises(SAFEError, match="the same one twice"):
        sides(out, EARLIER, EARLIER)
    with pytest.raises(SAFEError, match=r"Received: \.\./x"):
        sides(out, EARLIER, "../x")
