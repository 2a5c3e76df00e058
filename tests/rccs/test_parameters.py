from pathlib import Path

import numpy as np
import pytest

from safe_dnn.dnn.failures import collect_failures
from safe_dnn.rccs.parameters import find_parameters, read_parameters, read_texts
from safe_dnn.support.errors import SAFEError, confined
from safe_dnn.support.run_folder import FAILURES
from tests.helpers.answered import AnsweredCase, draw_case

IMAGES = ("a/0.png", "a/1.png", "b/0.png")


@pytest.fixture
def write(tmp_path: Path):
    """`write(text)`: parameters.csv beside the folder `failing`; returns the two paths."""

    def write(text: str, encoding: str = "utf-8") -> tuple[Path, Path]:
        (tmp_path / "failing").mkdir(exist_ok=True)
        path = tmp_path / "parameters.csv"
        path.write_text(text, encoding=encoding)
        return path, tmp_path / "failing"

    return write


def test_kinds_of_columns(write):
    images = tuple(f"{i}.png" for i in range(8))
    rows = "".join(f"{image},{i - 3},{i + 0.5},{i % 2},place {i % 3}\n" for i, image in enumerate(images))
    columns = read_parameters(*write("image,yaw_deg,speed,belt,place\n" + rows), images).columns
    assert {name: column.dtype.kind for name, column in columns.items()} == {
        "yaw_deg": "f",
        "speed": "f",
        "belt": "U",  # 0 and 1 again and again: a category
        "place": "U",
    }


def test_missing_repeated_and_unknown_images_are_told_and_the_rest_is_used(write):
    known = read_parameters(*write("image,x\na/0.png,1\na/0.png,9\nz/5.png,3\nb/0.png,4\n"), IMAGES)
    assert known.columns["x"][[0, 2]].tolist() == [1, 4]
    assert known.notes == (
        "No row for 1 of 3 images, the first a/1.png.",
        "Several rows for 1 image, the first a/0.png; the first row is used.", "1 row about other images.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "alike"),
    [
        (("9007199254740992", "9007199254740993", "5"), "9007199254740992, 9007199254740993"),
        (("0.30000000000000004", "0.3", "0.1"), ""),
        (("9007199254740992", "", "9007199254740994"), ""),
        (("1e-99999999999999999999999", "0", "nan"), ""),
    ],
)
def test_numbers_that_float64_cannot_tell_apart_are_told(write, values, alike):
    rows = "".join(f"{image},{value}\n" for image, value in zip(IMAGES, values, strict=True))
    notes = [one for one in read_parameters(*write("image,serial\n" + rows), IMAGES).notes if "alike" in one]
    assert notes == (
        [f"Numbers in the column serial that are too alike to be distinguished: {alike}."] if alike else []
    )


def test_text_among_numbers_is_told_and_unknown(write):
    images = tuple(f"{i}.png" for i in range(20))
    rows = "".join(f"{image},{'dark' if i == 3 else i}\n" for i, image in enumerate(images))
    known = read_parameters(*write("image,x\n" + rows), images)
    assert np.isnan(known.columns["x"][3])
    assert np.isfinite(np.delete(known.columns["x"], 3)).all()
    assert known.notes == (
        "Not numbers in the column x: 1 value, 'dark'; they count as unknown. Leave empty what is unknown.",
    )


@pytest.mark.parametrize(
    ("values", "placeholder"),
    [
        ([0.1, 0.4, 0.9, -999, -999], "-999"),
        ([10, 20, 45, -1, -1], "-1"),
        ([10, 20, 45, -999, 12], ""),  # once
        ([-170, 20, 170, -999, -999], "-999"),
    ],
)
def test_a_number_that_may_stand_for_unknown_is_told_and_kept(write, values, placeholder):
    images = tuple(f"{i}.png" for i in range(len(values)))
    known = read_parameters(*write("image,x_deg\n" + "".join(map("{},{}\n".format, images, values))), images)
    assert known.columns["x_deg"].tolist() == values
    assert [f"is {placeholder} in 2 images, far from all others" in note for note in known.notes] == [True] * bool(
        placeholder
    )


def test_spellings_of_one_value_count_as_one_and_are_told(write):
    texts = [
        "caf\u00e9", "cafe\u0301", "caf\u00e9", "Stop sign", "stop\u00a0sign ", "stop sign", "\u200bstop sign", "x",
    ]  # fmt: skip
    images = tuple(f"{i}.png" for i in range(len(texts)))
    rows = "".join(f"{image},{text}\n" for image, text in zip(images, texts, strict=True))
    known = read_parameters(*write("image,place\n" + rows), images)
    assert known.columns["place"].tolist() == ["caf\u00e9"] * 3 + ["Stop sign"] * 4 + ["x"]
    (note,) = known.notes
    assert note.startswith(
        "Spellings in the column place that count as one value: 'caf\\xe9' = 'cafe\\u0301', 'Stop sign'"
    )
    # Of some of the images as of all: a condition found in one must hold in the other.
    assert (
        read_parameters(*write("image,place\n" + rows), images[4:]).columns["place"].tolist()[:2] == ["Stop sign"] * 2
    )


def test_columns_named_like_answers_are_no_parameters_and_told(write):
    header = "image,Right,predicted,confidence,error,held_out,p(a),speed,label\n"
    rows = "".join(f"{image},true,a,0.{i},{i},false,0.{i},{i},{image[0]}\n" for i, image in enumerate(IMAGES))
    known = read_parameters(*write(header + rows), IMAGES)
    assert [*known.columns] == ["speed", "label"]
    assert known.notes == (
        "Left out of the parameters, since they are named like a network's answers: Right, predicted, confidence, "
        "error, held_out, … (6 in all).",
    )
    assert [*read_texts(*write(header + rows), IMAGES)] == ["speed", "label"]


def test_numbers_may_have_a_decimal_comma_where_columns_are_not_separated_by_commas(write):
    known = read_parameters(*write("image;x;place\na/0.png;0,5;a,b\na/1.png;-1,25e1;c\nb/0.png;2;c\n"), IMAGES)
    assert known.columns["x"].tolist() == [0.5, -12.5, 2]
    assert known.columns["place"].tolist() == ["a,b", "c", "c"]


@pytest.mark.parametrize(
    ("separator", "number"), [(";", "1.234,5"), (";", "1 234,5"), (",", '"1,234.5"'), (",", '"1,234,567"')]
)
def test_thousands_separators_are_refused(write, separator, number):
    rows = f"image;x\na/0.png;1\na/1.png;{number}\n".replace(";", separator)
    with pytest.raises(SAFEError, match=r"Expected a number without thousands separators under x in line 3 of"):
        read_parameters(*write(rows), IMAGES)


def test_remarks_and_constants_are_left_out(write):
    images = tuple(f"{i}.png" for i in range(60))
    rows = "".join(f"{image},remark number {i},7\n" for i, image in enumerate(images))
    known = read_parameters(*write("image,remark,seven\n" + rows), images)
    assert known.columns == {}
    assert known.notes == (
        "The column remark is left out: text with 60 different values.",
        "No column has different values for the failing images.",
    )


def test_a_table_without_the_column_image_takes_the_first_and_says_so(write):
    known = read_parameters(*write("file,x\na/0.png,1\na/1.png,2\nb/0.png,3\n"), IMAGES)
    assert known.columns["x"].tolist() == [1, 2, 3]
    assert known.notes[0] == "There is no column image; the first column, file, is used instead."


def test_too_few_rows_of_a_table_that_was_given_are_refused_and_more_rows_are_not(write):
    path, root = write("image,x\na/0.png,1\na/1.png,2\nz/1.png,2\nz/2.png,2\n")
    with pytest.raises(SAFEError, match=r"Received a row for 2 of 3 images \(not for b/0\.png\)\. Correct"):
        read_parameters(path, root, IMAGES, partial=False)
    assert read_parameters(path, root, IMAGES[:2], partial=False).columns["x"].tolist() == [1, 2]


# --- Of images that SAFE has copied from the test set -----------------------------------------------------------


@pytest.fixture
def case(tmp_path: Path) -> AnsweredCase:
    """Failures that were collected to `out/failures`."""
    case = draw_case(tmp_path / "case")
    collect_failures(case.table, case.test, case.out)
    return case


def test_parameters_of_the_test_set_are_found_and_those_beside_the_copies_go_first(case):
    failing = case.out / FAILURES
    assert find_parameters(failing) is None
    for folder in (case.test.parent, case.test, case.out, failing):  # each goes before the one before
        (folder / "parameters.csv").write_text("image,light\n")
        assert find_parameters(failing) == folder / "parameters.csv"


def test_a_table_of_a_test_set_outside_the_root_is_not_taken(case):
    (case.test / "parameters.csv").write_text("image,light\n")
    with confined(case.out.resolve()):
        assert find_parameters(case.out / FAILURES) is None


def test_a_copy_has_the_row_of_its_test_image_though_others_end_in_the_same_name(case):
    failing = case.out / FAILURES
    images = sorted(path.relative_to(failing).as_posix() for path in failing.rglob("*.png"))
    rows = [f"{folder}/{image},{i - k}" for k, folder in enumerate(("test", "train")) for i, image in enumerate(images)]
    table = case.test.parent / "parameters.csv"
    table.write_text("\n".join(["image,number", *rows]))
    assert read_parameters(table, failing, images).columns["number"].tolist() == list(range(26))
    table.write_text("\n".join(["image,number", *(f"{failing}/{image},{i}" for i, image in enumerate(images))]))
    assert read_parameters(table, failing, images).columns["number"].tolist() == list(range(26))
