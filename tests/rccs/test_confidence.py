import pytest

from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.confidence import (
    confidence,
    confidence_means,
    confidence_text,
    is_changed,
    is_loose,
    loose_text,
)
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.review import load_review, merge_rccs, undo_edit
from tests.helpers.steadied import steadied


@pytest.fixture
def known(clusters):
    return steadied(clusters)


@pytest.fixture
def out(known, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    save_clusters(known, folder)
    return folder


# --- RCCs -------------------------------------------------------------------------------------------------------


def test_an_rcc_says_how_often_its_images_are_together_and_whether_it_is_loose(known):
    assert (
        confidence_text(known, 0) == "Steady: two of its images are together in 94% of the clusterings of random parts"
    )
    assert (
        confidence_text(known, 1)
        == "Loose: two of its images are together in only 52% of the clusterings of random parts"
    )
    assert [is_loose(known, rcc) for rcc in (0, 1, 2, NOISE)] == [False, True, False, False]
    assert confidence(known, 0) == pytest.approx(0.94)
    assert confidence(known, 3) is confidence(known, NOISE) is None
    assert confidence_means(known).startswith("100 random parts of the images were clustered. ")
    assert "Below 75% an RCC is loose" in confidence_means(known)


# --- Edits ------------------------------------------------------------------------------------------------------


def test_nothing_is_said_of_rccs_that_were_merged(known, out):
    merge_rccs(out, 2, 0)
    after = load_review(out).clusters
    assert confidence_text(after, 0) == "Changed by hand: how steady it is now is not known"
    assert is_changed(after, 0)
    assert not is_loose(after, 0)
    assert confidence_text(after, 1) == confidence_text(known, 1)
    assert loose_text(after) == "1 of 2 is loose"
    undo_edit(out)
    assert confidence_text(load_review(out).clusters, 0) == confidence_text(known, 0)


# --- The run ----------------------------------------------------------------------------------------------------
