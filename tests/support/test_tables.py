"""Tables of other programs: their separators, their numbers, and what they put before the first letter."""

from collections.abc import Callable
from pathlib import Path

import pytest

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.tables import Table, read_table

Read = Callable[..., Table]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(data: bytes, **options: object) -> Table:
        (tmp_path / "table.csv").write_bytes(data)
        return read_table(tmp_path / "table.csv", "answers", **options)

    return read


@pytest.mark.parametrize(
    ("data", "decimal_comma"),
    [
        (b"image,label\na.png,stop\n", False), (b"\xef\xbb\xbfimage;label\r\na.png;stop\r\n", True),
        (b"\n image\tlabel \n\n \t\na.png\tstop", True), (b"image;label\ra.png;stop\r", True),
        (b"sep=;\r\nimage;label\r\na.png;stop\r\n", True), (b'"sep=,"\n"image","label"\n"a.png", "stop"\n', False),
        ("\ufeffsep=;\nimage;label\na.png;stop\n".encode("utf-16-le"), True),
        (b"image,label,\na.png,stop,\n,,\n", False), (b"image,label,,\na.png,stop\n", False),
    ],
)  # fmt: skip
def test_a_table_is_read_as_spreadsheets_and_programs_write_it(read, data, decimal_comma):
    table = read(data)
    assert table.header == ("image", "label")
    assert table.rows.to_numpy().tolist() == [["a.png", "stop"]]
    assert table.decimal_comma == decimal_comma


def test_separators_in_quotes_do_not_count_and_those_that_are_declared_do(read):
    assert read(b'"a;b;c;d",image\n1,2\n').header == ("a;b;c;d", "image")
    assert read(b"sep=;\na,b,c;image\n1;2\n").header == ("a,b,c", "image")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'image,label\na.png,"stop\nb.png,stop\nc.png,stop\n', 2),
        (b'image,label\na.png,stop\n"b.png,stop\nc.png",stop\n', 3), (b'image,label\na.png,stop\nb.png,st"op\n', 3),
        (b'image,label\na.png,"st"op\n', 2), (b"image,label\n\na.png,stop,wood\n", 3), (b"image,label\na.png,0,5\n", 2),
        (b"image,x,y\na.png,0,5,\n", 2), (b"image,label,\na.png,stop,wood\n", 2), (b"image,label\na.png\n", 2),
        (b"sep=;\nimage;label\na.png\n", 3), (b"sep=;\nimage;image\n", 2), (b"image,label\na.png," + b"x" * 200_000, 2),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused_with_its_line(read, tmp_path, data, line):
    with pytest.raises(SAFEError, match=f"^Expected answers as a CSV file. Received: .*table.csv, line {line}: "):
        read(data)


def test_of_a_table_of_safes_own_spreadsheets_may_leave_out_cells_and_texts_have_lines(read):
    data = b'rcc,note,verdict\n1\n2,"one, and\ntwo",safe\n3,x,,,\n'
    rows = [["1", "", ""], ["2", "one, and\ntwo", "safe"], ["3", "x", ""]]
    assert read(data, own=True).rows.to_numpy().tolist() == rows
    with pytest.raises(SAFEError, match="line 2: 3 cells under 2 column names"):
        read(b"rcc,note\n1,one, two\n", own=True)


def test_text_in_another_code_page_is_refused_and_names_of_files_are_read_as_they_are(read):
    for data in ("image,label\na.png,café\n", "image,größe\na.png,1\n"):
        with pytest.raises(SAFEError, match=r"line [12]: text that is not UTF-8; save the table as CSV in UTF-8"):
            read(data.encode("cp1252"))
    assert read("image\ncafé\n".encode() + b"caf\xe9").texts("image") == ["café", "caf\udce9"]
    assert read(b"image,nearest\na,caf\xe9", own=True).texts("nearest") == ["caf\udce9"]
