"""One table of answers in any form: its figures are those of the plain one, or it is refused."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safe_dnn.dnn.failures import read_answers
from safe_dnn.options import DnnOptions
from safe_dnn.support.errors import SAFEError

CLASSES = ("café", "stop", "yield; or not")
IMAGES = [f"{name}/{i:02d}.png" for name in CLASSES for i in range(8)]
WRONG = {image: CLASSES[(i // 8 + 1) % 3] for i, image in enumerate(IMAGES) if i % 5 == 0}
PREDICTED = {image: WRONG.get(image, image.split("/")[0]) for image in IMAGES}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-16-le", "utf-16-be", "utf-32", "latin-1")


@st.composite
def tables(draw: st.DrawFn, root: Path) -> bytes:
    """The table in the form of some program or other, with a few faults or none."""
    separator, probabilities = draw(st.sampled_from(",;\t")), draw(st.booleans())
    decimal = draw(st.sampled_from(".,"))
    columns = [f"p({name})" for name in CLASSES] if probabilities else ["predicted", "confidence"]
    place = draw(st.sampled_from(["", "", f"{root}/", "test/", "./", "/mnt/data/val/", "C:\\data\\val\\", "val/"]))
    rows = [["image", *columns]]
    for image in draw(st.permutations(IMAGES)):
        numbers = [0.8 if name == PREDICTED[image] else 0.1 for name in CLASSES] if probabilities else [0.75]
        cells = [str(number).replace(".", decimal) for number in numbers]
        rows.append([place + image, *([] if probabilities else [PREDICTED[image]]), *cells])
    for _ in range(draw(st.integers(0, 3))):
        draw(st.sampled_from(FAULTS))(draw, rows, root)
    quoted = draw(st.sampled_from(["needed", "all", "none"]))
    lines = [separator.join(written(text, quoted, separator) for text in row) for row in rows]
    lines = [f"sep={draw(st.sampled_from([separator, separator, ';']))}", *lines] if draw(st.booleans()) else lines
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join([*lines, *draw(st.sampled_from([[""], [], ["", ""]]))])
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2])) if is_even(rows) else 0):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(['"', separator, "\n", '"\n', " "])) + text[at:]
    return text.encode(draw(st.sampled_from(ENCODINGS)), "replace")


def written(text: str, quoted: str, separator: str) -> str:
    needs = quoted == "all" or (quoted == "needed" and any(letter in text for letter in f'"{separator}\r\n'))
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if needs else text


def is_even(rows: list[list[str]]) -> bool:
    """Whether no row has a cell too many or too few: one of each would make another table that is as good."""
    return len({len(row) for row in rows}) == 1


def move(draw, rows, root) -> None:
    row = rows[draw(st.integers(1, len(rows) - 1))]
    image = "/".join(row[0].replace("\\", "/").split("/")[-2:])
    row[0] = draw(st.sampled_from([str(root / image), f"/mnt/{image}", image, f"val/{image}", image.split("/")[-1]]))


def repeat(draw, rows, root) -> None:
    copy = list(draw(st.sampled_from(rows)))
    rows.insert(draw(st.integers(1, len(rows))), copy)
    if draw(st.booleans()):
        copy[-draw(st.integers(1, min(3, len(copy))))] = "0.9"


def leave_out(draw, rows, root) -> None:
    del rows[draw(st.integers(1, len(rows) - 1)) :][: draw(st.integers(1, 3))]


def leave_out_a_cell(draw, rows, root) -> None:
    row = draw(st.sampled_from(rows if is_even(rows) else [[""]]))
    del row[draw(st.integers(0, len(row) - 1))]


def add_a_cell(draw, rows, root) -> None:
    row = draw(st.sampled_from(rows if is_even(rows) else [[]]))
    row.insert(draw(st.integers(0, len(row))), draw(st.sampled_from(["", "1", "0,5", "stop"])))


def add_a_column(draw, rows, root) -> None:
    more = ["predicted"] if "predicted" in rows[0] else []  # one beside probabilities is what counts
    name, at = draw(st.sampled_from(["", "note", "image", *more])), draw(st.integers(0, len(rows[0])))
    for row in rows:
        row.insert(at, name if row is rows[0] else "stop")


def undecide(draw, rows, root) -> None:
    row = rows[draw(st.integers(1, len(rows) - 1))]
    number = draw(st.sampled_from(["0", "0.4", "nan"]))
    for at, name in enumerate(rows[0][: len(row)]):
        row[at] = number if name.startswith("p(") else row[at]


def open_a_quote(draw, rows, root) -> None:
    row = rows[draw(st.integers(1, len(rows) - 1))]
    at = draw(st.integers(0, len(row) - 1))
    row[at] = draw(st.sampled_from([f'"{row[at]}', f'{row[at]}"', f' "{row[at]}"']))


FAULTS = (move, repeat, leave_out, leave_out_a_cell, add_a_cell, add_a_column, undecide, open_a_quote)


@pytest.fixture(scope="module")
def root():
    with tempfile.TemporaryDirectory() as folder:
        for image in IMAGES:
            (Path(folder).resolve() / "test" / image).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder).resolve() / "test" / image).touch()
        yield Path(folder).resolve() / "test"


@pytest.mark.slow
@settings(max_examples=500, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_500_tables_in_any_form_have_the_figures_of_the_plain_one_or_are_refused(root, data):
    (root.parent / "answers.csv").write_bytes(data.draw(tables(root)))
    try:
        found = read_answers(root.parent / "answers.csv", root)
    except SAFEError:
        return
    assert found.answers.predicted.tolist() == [PREDICTED[path] for path in found.paths]
    assert found.right.tolist() == [path not in WRONG for path in found.paths]
    assert len(found.paths) >= 0.9 * len(IMAGES)
    skipped = {path for path, reason in found.skipped if reason == "no row in answers.csv"}
    assert skipped == {*IMAGES} - {*found.paths}
    if skipped:
        n = len(found.paths)
        assert f"All figures are of {n} of 24 images: {24 - n} have no row." in found.notes


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("place", ["", "{}/", "test/", "/mnt/data/val/", "C:\\data\\val\\"])
def test_a_table_without_a_fault_is_understood(root, separator, encoding, declared, place):
    number = "0,75" if separator != "," else "0.75"
    rows = [["image", "predicted", "confidence"]]
    rows += [[place.format(root) + image, PREDICTED[image], number] for image in IMAGES]
    lines = [separator.join(written(text, "needed", separator) for text in row) for row in rows]
    text = "\r\n".join([f"sep={separator}", *lines] if declared else lines) + "\r\n"
    (root.parent / "answers.csv").write_bytes(text.encode(encoding))
    found = read_answers(root.parent / "answers.csv", root, options=DnnOptions())
    assert found.paths == tuple(sorted(IMAGES))
    assert found.right.tolist() == [path not in WRONG for path in found.paths]
    assert set(found.answers.score.tolist()) == {0.75}
