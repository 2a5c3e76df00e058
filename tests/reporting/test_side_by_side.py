import dataclasses
import os

import numpy as np
import pytest

from dbscan.outcome import NOISE
from page.beside import beside_html
from rccs.clusters import rccs_of, save_clusters
from rccs.notes import RccNote
from rccs.review import set_note
from reporting.history import archive_run, compare_clusters, list_runs
from reporting.side_by_side import Match, judged, matches, sides
from support.errors import SAFEError
from support.run_folder import CLUSTERS_FILE
from tests.helpers.small_models import clusters_of, retraining_for

EARLIER, PRESENT = "20240501-120000", "20240501-120500"


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


def test_runs_without_an_image_or_an_rcc_in_common_have_no_pairs(tmp_path):
    a, none = labelled(tmp_path, 0, 0, 1), labelled(tmp_path, NOISE, NOISE, NOISE)
    assert matches(a, none, compare_clusters(a, none)) == [Match(0, None, 0, 0.0), Match(1, None, 0, 0.0)]
    other = clusters_of(tmp_path, {"x.png": 0, "y.png": 0})
    assert matches(a, other, compare_clusters(a, other))[-1] == Match(None, 0, 0, 0.0)


@pytest.fixture
def out(clusters, tmp_path):
    """A run of noon whose first RCC is judged, and the present one, in which the same images are another RCC."""
    folder = tmp_path / "out"
    folder.mkdir()
    save_clusters(clusters, folder)
    os.utime(folder / CLUSTERS_FILE, (1714564800, 1714564800))
    set_note(folder, RccNote(0, "<b>dark</b>", "", "unsafe"))
    present = dataclasses.replace(clusters, labels=np.where(clusters.labels < 0, NOISE, 2 - clusters.labels))
    assert archive_run(folder, successor=present) == EARLIER
    save_clusters(present, folder)
    os.utime(folder / CLUSTERS_FILE, (1714565100, 1714565100))
    (folder / "rcc_notes.csv").unlink()
    (folder / "rcc_edits.json").unlink(missing_ok=True)
    return folder


def test_each_side_has_its_own_names_and_verdicts(out):
    assert [run.name for run in list_runs(out)] == [PRESENT, EARLIER]
    one, other, found = sides(out, EARLIER, PRESENT)
    assert (judged(one), judged(other)) == (1, 0)
    assert one.accuracy is None
    page = beside_html(one, other, found)
    assert page.count("&lt;b&gt;dark&lt;/b&gt;") == 1
    assert page.count("unsafe") == 1
    assert f"1 of {len(rccs_of(one.clusters))}" in page
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
