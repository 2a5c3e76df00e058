"""Unsafe sets that spread over groups."""

import pytest

from rccs.spread import groups_of, spread, spread_text
from rccs.unsafe_set import UnsafeImage
from support.errors import SAFEError
from support.images import ImageListing


def images(n):
    return [UnsafeImage(f"{i}.png", 0, float(i), True) for i in range(n)]


def order(found):
    return [int(image.image.removesuffix(".png")) for image in found]


def groups(text):
    return {f"{i}.png": group for i, group in enumerate(text)}


def test_the_nearest_of_each_group_come_before_the_second_ones():
    assert order(spread(images(8), 4, groups("aaabacbb"))) == [0, 3, 5, 1, 6, 2, 7, 4]


@pytest.mark.parametrize("text", ["aaaaaa", "abcdef"])
def test_one_group_or_one_for_each_image_changes_nothing(text):
    assert order(spread(images(6), 3, groups(text))) == [0, 1, 2, 3, 4, 5]


def test_the_set_says_how_many_groups_it_holds():
    assert spread_text("drive", images(3), groups("aabc")) == "spread over drive: 2 of 3"
    assert (
        spread_text("drive", images(2), groups(["a", ""])) == "spread over drive: 1 of 1; of 1 image it is not recorded"
    )


@pytest.fixture
def listing(tmp_path):
    (tmp_path / "parameters.csv").write_text("image,drive,empty\n0.png,first,\n1.png,second,\n")
    return ImageListing(tmp_path, ("0.png", "1.png", "2.png"), ())


def test_a_table_outside_the_pages_root_is_not_read(listing, tmp_path):
    inner = tmp_path / "inner"
    with pytest.raises(SAFEError, match=r"Expected parameters\.csv"):
        groups_of("drive", listing, within=inner)
