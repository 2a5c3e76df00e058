"""Drawings of rates: what is shaded, what a bin says, and that labels do not lie over each other."""

import html
import re

import numpy as np

from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.curves import find_curves
from safe_dnn.reasons.comparison import Reasons
from safe_dnn.report.drawings import COLOURS, MOST_BARS, curve_svg, curves_of, gaps_of
from tests.helpers.spots import weak_spot

RNG = np.random.default_rng(0)
N = 1200
KNOWN = {
    "label": np.repeat(["man", "woman"], N // 2), "contrast": RNG.random(N),
    "age": RNG.integers(0, 80, N).astype(float), "gaze_deg": RNG.uniform(0, 360, N),
    "weather": RNG.choice(["sun", "rain", "<fog>"], N),
}  # fmt: skip
WRONG = RNG.random(N) < np.where((KNOWN["age"] < 20) & (KNOWN["label"] == "woman"), 0.9, 0.1)


def bins_of(*columns, wrong=WRONG):
    known = {name: KNOWN[name] for name in ("label", *columns)}
    return tuple(each for each in find_curves(known, wrong, label="label") if each.column in columns)


def attributes(svg, css_class):
    return [
        dict(re.findall(r"([\w-]+)='([^']*)'", tag)) for tag in re.findall(rf"<rect class='{css_class}'[^>]*>", svg)
    ]


def spot(*literals):
    return weak_spot(literals, 100, 80, 0.7, 0.9, 0.1)


def test_each_bin_says_its_range_and_its_rate_for_each_class():
    bins = bins_of("age")
    drawing = curve_svg(bins, [], WRONG.mean())
    rectangles, women = attributes(drawing, "safe-bin"), [each for each in bins if each.of_class == "woman"]
    assert [(each["data-column"], each["data-low"]) for each in rectangles] == [
        ("age", ""), *(("age", str(each.low)) for each in women[1:])
    ]  # fmt: skip
    assert [each["data-high"] for each in rectangles] == [*(str(each.high) for each in women[:-1]), ""]
    first = re.findall("<title>(.*?)</title>", drawing)[0]
    assert first.startswith(f"age below {women[0].high:g}: woman {women[0].wrong} of {women[0].tested} wrong (")
    assert "; man " in first
    assert [drawing.count(f"<polyline points='{point}") for point in ("", "nan")] == [2, 0]
    assert re.search(r"aria-label='How often it is wrong, by age: woman .*; man .*\.'", drawing)


def test_a_category_has_a_bar_for_each_of_its_most_frequent_values():
    bins = bins_of("weather", wrong=RNG.random(N) < 0.2)
    drawing = curve_svg(bins, [Literal("weather", "!=", "sun")], 0.2)
    rows = attributes(drawing, "safe-bin")
    assert {html.unescape(each["data-value"]) for each in rows} == {"sun", "rain", "<fog>"}
    assert "<fog>" not in drawing
    shaded = {each["y"] for each in attributes(drawing, "safe-range")}
    assert shaded == {each["y"] for each in rows if each["data-value"] != "sun"}
    assert drawing.count(f"fill='{COLOURS[0]}'") == 3
    streets = np.array([f"street {i % 30}" for i in range(N)])
    many = curve_svg(find_curves({"street": streets}, WRONG), [], 0.3)
    assert (len(attributes(many, "safe-bin")), "18 more" in many) == (MOST_BARS, True)


def test_a_reason_has_the_curve_of_what_was_recorded_first_and_one_of_classes_alone_their_bars():
    woman, dark, old = Literal("label", "=", "woman"), Literal("contrast", "<", 0.2), Literal("age", ">=", 60.0)
    reasons = Reasons(base=0.3, curves=bins_of("contrast", "age"))
    assert list(curves_of(reasons, [(woman, dark, old)])) == ["age"]
    assert list(curves_of(reasons, [(dark,)])) == ["contrast"]
    assert curves_of(reasons, [(woman,)]) == {}
    with_classes = Reasons(base=0.3, curves=bins_of("label", "contrast"))
    assert [list(curves_of(with_classes, [each])) for each in ((woman,), (woman, dark))] == [
        ["label"],
        ["contrast"],
    ]
    both = curves_of(reasons, [(old,), (woman, Literal("age", "<", 5.0)), (dark,)])
    assert list(both) == ["age", "contrast"]
    assert len(attributes(both["age"], "safe-range")) == 2
    assert curves_of(Reasons(), [(old,)]) == {}


def test_no_line_is_drawn_where_no_image_is_and_other_limits_there_are_said_to_do_as_well():
    """Images are dark or bright, and none lies between: nothing tells where failing begins."""
    rng = np.random.default_rng(0)
    light = np.where(np.arange(600) < 100, rng.uniform(0, 0.05, 600), rng.uniform(0.6, 1, 600)).round(3)
    bins = find_curves({"light": light}, rng.random(600) < np.where(light < 0.1, 0.9, 0.05))
    below, above = float(light[light < 0.3].max()), float(light[light > 0.3].min())
    assert gaps_of(bins) == [(below, above)]
    drawn = curve_svg(bins, [dark := Literal("light", "<", 0.4)], 0.2)
    assert f"no images from {below:g} to {above:g}" in drawn
    assert f"Any limit from {below:g} to {above:g} separates them as well:" in drawn
    assert drawn.count("<polyline") == 2
    elsewhere = curve_svg(bins, [Literal("light", "<", 0.8)], 0.2)
    ids = [re.findall("id='([^']+)'|url\\(#([^)]+)\\)", one) for one in (drawn, elsewhere)]
    assert [len({name for pair in each for name in pair if name}) for each in ids] == [1, 1]
    assert ids[0] != ids[1], "of one that is hidden, no hatching would be drawn"
    assert "Any limit" not in elsewhere
    second = curves_of(Reasons(base=0.2, curves=bins_of("age") + bins), [(old := Literal("age", ">=", 60.0), dark)])
    assert ["Any limit" in curve for curve in second.values()] == [False, True]
    sure = curves_of(Reasons(base=0.2, curves=bins_of("age") + bins), [(old, Literal("light", "<", 0.8))])
    assert [*sure] == ["age"]
    even = find_curves({"light": np.linspace(0, 1, 600)}, np.arange(600) < 60)
    assert gaps_of(even) == []
    assert "no images" not in curve_svg(even, [], 0.1)
