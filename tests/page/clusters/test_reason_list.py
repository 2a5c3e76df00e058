"""What an RCC's images have in common, as drawn: where the values lie, and the median of all failing images."""

import re
from types import SimpleNamespace

import pytest

from safe_dnn.page.clusters.reason_list import words_of
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.rccs.profiles import Finding, Profile

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
        ((), "brightness < 0.4"),
    ],
)
def test_a_card_says_what_is_recorded_or_up_to_two_words(clusters, findings, words):
    reasons = SimpleNamespace(spots=[SimpleNamespace(where="brightness < 0.4")])
    shown = SimpleNamespace(clusters=clusters, rates={}, reasons=reasons, profiles={0: Profile(0, findings)})
    shown.spot_of = {0: 0, 1: 0}
    assert words_of(shown, 0) == words  # a weak spot that holds another RCC as well tells them not apart
    shown.spot_of = {0: 0}
    assert words_of(shown, 0) == "brightness < 0.4"


def test_a_card_is_not_titled_with_what_most_other_images_have_as_well():
    # Of merged RCCs of the example: in good light, as most of the others are, though it varies much less.
    known = {"known": 60, "usual_low": 0.62, "usual_high": 0.98, "share": 0.89, "reduction": 0.87}
    common = Finding(0, "light", "number", overall_share=0.7, information=0.14, **known)
    own = common._replace(overall_share=0.2, information=1.5)
    titles = [
        words_of(SimpleNamespace(spot_of={}, profiles={0: Profile(0, (one,))}), 0)  # type: ignore[arg-type]
        for one in (common, own)
    ]
    assert titles == ["", "light from 0.62 to 0.98"]
