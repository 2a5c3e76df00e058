"""What the drawings and headings of a retraining say in words."""

import re

import pytest

from page.plots import MOST_BARS, shares_right
from page.retraining_view import GALLERY_LIMIT, _counted
from training.comparison import Changed, Share


def shares(rccs: int, noise: int) -> list[Share]:
    known = [Share(str(rcc), images=5, before=0, after=3) for rcc in range(rccs)]
    return [*known, *[Share("-1", images=noise, before=0, after=1)][: bool(noise)]]


@pytest.mark.parametrize(
    ("more", "noise", "rest"),
    [
        (0, 0, ""),
        (0, 4, "and the images in no cluster<"),
        (1, 0, "and 1 other RCC<"),
        (2, 4, "and 2 other RCCs and the images in no cluster<"),
    ],
)
def test_what_has_no_bar_is_named_for_what_it_is(more, noise, rest):
    drawn = shares_right(shares(MOST_BARS + more, noise), {})
    assert rest in drawn
    assert ("other RCC" in drawn) == bool(more)


def test_how_many_images_of_those_counted_are_shown_is_told():
    image = Changed("a.png", "night", "snow", "night")
    assert _counted("Improved", (image,), "right now") == "Improved: 1 image, right now"
    many = _counted("Improved", (image,) * 336, "right now")
    assert many == f"Improved: 336 images, right now; the first {GALLERY_LIMIT} are shown"


def test_a_thin_line_is_the_interval_of_the_share_that_is_right_now():
    drawn = shares_right([Share("0", images=4, before=0, after=4), Share("1", images=400, before=0, after=200)], {})
    assert "<title>95% interval 40% to 100%</title>" in drawn
    assert "<title>95% interval 45% to 55%</title>" in drawn


def test_rccs_of_which_most_is_still_wrong_come_first_and_lead_to_their_images():
    there = [Share("-1", images=90, before=0, after=0), Share("0", images=9, before=0, after=8)]
    drawn = shares_right([*there, Share("3", images=8, before=0, after=1)], {})
    assert re.findall("href='#rcc=(-?[0-9]+)'", drawn) == ["3", "0", "-1"]
