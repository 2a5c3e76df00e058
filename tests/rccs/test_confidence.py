import pytest

from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.confidence import (
    Place,
    confidence,
    confidence_means,
    confidence_text,
    is_changed,
    is_loose,
    loose_text,
    near_rcc,
    near_text,
    place_of,
    place_text,
)
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.edits import merge_rccs, undo_edit
from safe_dnn.rccs.review.review import load_review
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


def rows(clusters, scene: str) -> list[int]:
    return [row for row, path in enumerate(clusters.paths) if path.startswith(scene)]


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


# --- Images -----------------------------------------------------------------------------------------------------


def test_an_image_between_two_rccs_says_so(known):
    *others, between = rows(known, "snow")
    assert place_text(known, between) == (
        "between RCC 1 and RCC 0: together with their images in 55% and 38% of the clusterings"
    )
    assert near_rcc(known, between) == 0
    assert [place_text(known, row) for row in (*others, *rows(known, "night"))] == [""] * 17
    assert (near_text(known, 1), near_text(known, 0), near_text(known, NOISE)) == ("1 also near another RCC", "", "")


def test_an_image_in_no_rcc_says_which_one_it_is_near(known):
    near, far = rows(known, "sea")
    assert place_text(known, near) == "nearest to RCC 2: together with its images in 30% of the clusterings"
    assert place_text(known, far) == ""
    assert place_of(known, far) == Place(None, 2, pytest.approx(0.1))
    words = "near an RCC: together with its images in at least 20% of the clusterings"
    assert confidence_text(known, NOISE) == f"1 of them is {words}"
    known.steadiness.of_beside[near] = 0.19
    assert confidence_text(known, NOISE) == f"None of them is {words}"


# --- Edits ------------------------------------------------------------------------------------------------------


def test_nothing_is_said_of_rccs_that_were_merged_nor_of_what_lies_beside_them(known, out):
    between = rows(known, "snow")[-1]
    merge_rccs(out, 2, 0)
    after = load_review(out).clusters
    assert confidence_text(after, 0) == "Changed by hand: how steady it is now is not known"
    assert is_changed(after, 0)
    assert not is_loose(after, 0)
    assert confidence_text(after, 1) == confidence_text(known, 1)
    assert place_of(after, between) == Place(pytest.approx(0.55), None, None)  # RCC 0 is another one now
    assert [place_text(after, row) for row in range(26)] == [""] * 26
    assert confidence_text(after, NOISE).startswith("None of them is near an RCC")
    assert loose_text(after) == "1 of 2 is loose"
    undo_edit(out)
    assert place_text(load_review(out).clusters, between) == place_text(known, between)


# --- The run ----------------------------------------------------------------------------------------------------
