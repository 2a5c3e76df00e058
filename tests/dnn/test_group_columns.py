from safe_dnn.dnn.group_columns import noun_of
from safe_dnn.rccs.spots.figures import Figures, in_words
from safe_dnn.rccs.spots.rates import Rate
from safe_dnn.support.text import count


def test_groups_are_said_beside_the_images():
    assert in_words(18, "person") == " (of 18 persons)"
    assert in_words(0, "") == ""
    assert [count(n, "series") for n in (1, 2)] == ["1 series", "2 series"]
    nouns = [noun_of([name]) for name in ("class_id", "body", "day", "batch", "epoch", "cls", "drivers", "series")]
    plurals = ["classes", "bodies", "days", "batches", "epochs", "groups by cls", "groups by drivers", "series"]
    assert [count(2, noun) for noun in nouns] == [f"2 {plural}" for plural in plurals]
    rate = Rate(0, Figures(41, 32, 0.62, 0.89, 18, "person", p=1e-9), 0.15, "more")
    assert "78% of 41 tested images like these (of 18 persons) are wrong (62–89%)" in rate.in_words()
    assert "(nearly all of one person)" in rate._replace(figures=rate.figures._replace(groups=1)).in_words()
    few = rate._replace(verdict="too few")
    assert few.in_words().startswith(
        "Images of 18 persons do not decide: of 41 tested images (of 18 persons) like these, 32 "
    )
