"""Tables of other programs: their separators, their numbers, and what they put before the first letter."""

import math

import pytest

from support.tables import number_in, parse_table


@pytest.mark.parametrize(
    ("data", "decimal_comma"),
    [
        (b"image,label\na.png,stop\n", False),
        (b"\xef\xbb\xbfimage;label\r\na.png;stop\r\n", True),
        (b"\n image\tlabel \n\na.png\tstop".lstrip(), True),
    ],
)
def test_the_separator_is_the_commonest_in_the_first_line(data, decimal_comma):
    table = parse_table(data)
    assert table.header == ["image", "label"]
    assert table.rows == [["a.png", "stop"]]
    assert table.decimal_comma == decimal_comma


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x02", b"\xff\xfei\x00m\x00"])
def test_what_is_no_text_has_no_columns(data):
    assert "image" not in parse_table(data).header


@pytest.mark.parametrize(
    ("text", "decimal_comma", "number"),
    [
        ("0.25", False, 0.25),
        ("0.25", True, 0.25),
        ("0,25", True, 0.25),
        ("-1,5e-3", True, -0.0015),
        ("0,25", False, math.nan),  # in a table with commas between columns it may be one thousand, or a fault
        ("1.234,5", True, math.nan),
        ("1,234,5", True, math.nan),
        ("", True, math.nan),
        ("much", False, math.nan),
    ],
)
def test_a_number_is_one_that_can_be_read_in_one_way_only(text, decimal_comma, number):
    assert number_in(text, decimal_comma=decimal_comma) == pytest.approx(number, nan_ok=True)
