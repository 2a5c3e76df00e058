"""What an RCC's images have in common, as drawn: where the values lie, and the median of all failing images."""

import re
from types import SimpleNamespace

import pytest

from safe_dnn.page.clusters.reasons import card, words_of
from safe_dnn.rccs.confidence import representative
from safe_dnn.rccs.profiles import Finding, Profile
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.reasons.listed import Reason
from safe_dnn.report.markup import filled
from tests.helpers.spots import figures_of, weak_spot

DARK = Finding(
    0, "brightness", "number", 40, 0.1, 0.3, 0.2, 0.1, 0.3, "dark", 1.0, 0.2, 0.9, 1.0,
    overall_low=0.0, overall_high=1.0, overall_median=0.4, measured=True,
)  # fmt: skip


def lefts(html: str, part: str) -> list[str]:
    return re.findall(rf"class='{part}' style='left:([\d.]+%)", html)


def test_a_measured_range_has_a_line_at_the_median_of_all_failures():
    html = filled("page/clusters/findings.html", findings=(DARK,))
    assert lefts(html, "safe-finding-own") == ["10.0%"]
    assert lefts(html, "safe-rate-base") == ["40.0%"]
    assert "all failures 0.0–1.0, median 0.4" in html


NOISY = DARK._replace(parameter="noise", value="noisy")
SUNGLASSES = Finding(0, "eyewear", "category", 40, value="sunglasses", share=1.0, overall_share=0.2, information=2.3)


@pytest.mark.parametrize(
    ("findings", "words"),
    [
        ((NOISY, DARK), "noisy, dark"),  # another RCC may be noisy and bright
        ((DARK,), "dark"),
        ((SUNGLASSES, DARK), "eyewear = sunglasses"),
        ((), ""),
    ],
)
def test_a_card_of_an_rcc_says_what_is_recorded_or_up_to_two_words_below_its_number(clusters, findings, words):
    shown = SimpleNamespace(clusters=clusters, profiles={0: Profile(0, findings)})
    assert words_of(shown, 0) == words
    rcc = Reason(
        "RCC 0", "", rcc=0, figures=figures_of(20, 9, 0.3, 0.6, expected=0.1), images=("a.png",), picture="a.png"
    )
    shown.notes, shown.listed = {}, [rcc]
    of_rcc = card(shown, rcc, {})
    assert of_rcc["image"] == representative(clusters, 0)
    assert (of_rcc["title"], of_rcc["words"]) == ("RCC 0", words), "what images have in common is no condition"
    dark = weak_spot((Literal("light", "<", 0.4),), 115, 102, 0.8, 0.9, 0.01)
    spot = rcc._replace(name="weak spot 1 (RCC 0)", spot=dark)
    shown.listed = [rcc, spot._replace(images=clusters.members(0))]
    assert card(shown, rcc, {})["image"] == "a.png", "which no other reason holds"
    of_spot = card(shown, spot, {"weak spot 1 (RCC 0)": "2 more"})
    assert (of_spot["title"], of_spot["words"], of_spot["fold"]) == ("light < 0.4", "", "2 more")
    assert of_spot["facts"] == "9 of 20 wrong, 10% expected without it: about 7 failures more · RCC 0"


def test_a_card_is_not_titled_with_what_most_other_images_have_as_well():
    # Of merged RCCs of the example: in good light, as most of the others are, though it varies much less.
    known = {"known": 60, "usual_low": 0.62, "usual_high": 0.98, "share": 0.89, "reduction": 0.87}
    common = Finding(0, "light", "number", overall_share=0.7, information=0.14, **known)
    own = common._replace(overall_share=0.2, information=1.5)
    titles = [
        words_of(SimpleNamespace(profiles={0: Profile(0, (one,))}), 0)  # type: ignore[arg-type]
        for one in (common, own)
    ]
    assert titles == ["", "light from 0.62 to 0.98"]
