"""What the drawings and headings of a retraining say in words."""

import dataclasses
import re

import pytest

from page.retraining.plots import MOST_BARS, class_bars, shares_right
from page.retraining.view import listed_images
from tests.helpers.small_models import retraining_for
from training.certainty import Counts, certainties
from training.comparison import Answered, Share


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


def test_rccs_of_which_most_is_still_wrong_come_first_and_lead_to_their_images():
    there = [Share("-1", images=90, before=0, after=0), Share("0", images=9, before=0, after=8)]
    drawn = shares_right([*there, Share("3", images=8, before=0, after=1)], {})
    assert re.findall("href='#rcc=(-?[0-9]+)'", drawn) == ["3", "0", "-1"]


def test_classes_that_are_worse_come_first_then_those_that_changed_most():
    counts = {"same": Counts(90, 50, 0, 0), "worse": Counts(90, 80, 0, 30), "better": Counts(90, 10, 60, 0)}
    there = [Share(name, of.images, of.right_before, of.right_before + of.improved - of.worsened)
             for name, of in counts.items()]  # fmt: skip
    drawn = class_bars(there, dict(zip(counts, certainties(list(counts.values())), strict=True)))
    assert re.findall("<th scope='row' title='[a-z]+'>([a-z]+)<", drawn) == ["worse", "better", "same"]
    assert "-33.3, worse beyond doubt" in drawn
    assert "89% → 56% of 90" in drawn


def test_the_images_of_a_tile_and_of_a_cell_are_listed_before_and_after():
    answers = (
        Answered("a.png", "sea", "sea", "sea"), Answered("b.png", "sea", "sky", "sea"),
        Answered("c.png", "sky", "sea", "sea"), Answered("d.png", "sky", "sea", "sky"),
    )  # fmt: skip
    improved = tuple(Answered(*row) for row in (answers[1], answers[3]))
    result = dataclasses.replace(retraining_for(""), answers=answers, improved=improved)
    lists = {
        "improved": ("Improved: 2 images, wrong before and right now", "bd"),
        "worsened": ("Worsened: 0 images, right before and wrong now", ""),
        "wrong": ("Still wrong: 1 image, wrong before and after", "c"),
        "before:1,0": ("2 images: sky taken for sea before", "cd"),
        "after:1,0": ("1 image: sky taken for sea now", "c"),
        "after:0,0": ("2 images: sea, right now", "ab"),
        "after:9,9": ("Improved: 2 images, wrong before and right now", "bd"),
        "nothing": ("Improved: 2 images, wrong before and right now", "bd"),
    }
    for chosen, (heading, images) in lists.items():
        listed = listed_images(result, chosen)
        assert listed.heading == heading
        assert list(listed.paths) == [f"{name}.png" for name in images]
