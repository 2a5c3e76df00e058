"""What the drawings and headings of a retraining say in words."""

import dataclasses
import re

import pytest

from page.plots import MOST_BARS, class_bars, keeping, learning_curves, shares_right
from page.retraining_view import listed_images
from tests.helpers.small_models import retraining_for
from training.certainty import Counts, certainties
from training.comparison import Answered, Changed, Share
from training.finetuning import Epoch
from training.together import TradeOff


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


def test_a_thin_line_is_the_interval_of_the_share_that_is_right_now():
    drawn = shares_right([Share("0", images=4, before=0, after=4), Share("1", images=400, before=0, after=200)], {})
    assert "title='95% interval 40% to 100%'" in drawn
    assert "title='95% interval 45% to 55%'" in drawn


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


def test_a_second_pass_is_a_line_of_its_own():
    history = [Epoch(i, 0.5, 0.9, i / 8, 1.0) for i in range(7)]
    assert learning_curves(history, 6, best=5).count("<polyline") == 2  # held out, unsafe set
    drawn = learning_curves(history, 6, best=5, first_pass=3)
    assert drawn.count("<polyline") == 4
    assert drawn.count(">second pass<") == 1


def test_the_images_of_a_tile_and_of_a_cell_are_listed_before_and_after():
    answers = (
        Answered("a.png", "sea", "sea", "sea"), Answered("b.png", "sea", "sky", "sea"),
        Answered("c.png", "sky", "sea", "sea"), Answered("d.png", "sky", "sea", "sky"),
    )  # fmt: skip
    improved = tuple(Changed(*row) for row in (answers[1], answers[3]))
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
        assert [image.image for image in listed.images] == [f"{name}.png" for name in images]


def test_what_both_networks_together_would_keep_is_a_row_for_each_share():
    found = (TradeOff(0.0, 160, 8), TradeOff(0.3, 150, 2))
    result = retraining_for("run")
    result = dataclasses.replace(result, trade_off=found, test_size=200, accuracy_before=0.6)
    drawn = keeping(result)
    assert "<th scope='row'>0% (this model)</th><td>80.00% (+20.0)</td>" in drawn
    assert "<th scope='row'>30%</th><td>75.00% (+15.0)</td>" in drawn
    assert "2 (1.67%)" in drawn
    assert "width:25.0%" in drawn
    assert keeping(dataclasses.replace(result, trade_off=())) == ""
