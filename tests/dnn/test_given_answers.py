"""Failures from a table of a DNN's answers, in the ways in which other programs write tables."""

import json
from pathlib import Path

import pytest

from safe_dnn.dnn.failures import collect_failures, find_failures, load_failures, read_answers
from safe_dnn.dnn.tested import collected_answers, read_predictions
from safe_dnn.options import DnnOptions
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import find_images
from tests.helpers.answered import facts_of
from tests.helpers.places import names_in
from tests.helpers.small_models import colour_model, draw_set, saved

TINTED = {"red": ("blue", 2), "green": ("red", 1)}
WRONG = ["green/in_red_00.png", "red/in_blue_00.png", "red/in_blue_01.png"]


@pytest.fixture
def test_set(tmp_path) -> Path:
    """Nine images, three of which look like those of another class."""
    return draw_set(tmp_path / "test", 2, TINTED)


def answers(test_set: Path) -> list[tuple[str, str]]:
    """Image and predicted class: what the tint says."""
    found = []
    for path in sorted(test_set.rglob("*.png")):
        name = path.relative_to(test_set).as_posix()
        found.append((name, name.split("in_")[1].split("_")[0] if "/in_" in name else name.split("/")[0]))
    return found


def table(tmp_path: Path, rows, header=("image", "predicted"), separator=",", encoding="utf-8") -> Path:
    path = tmp_path / "tables" / "answers.csv"
    path.parent.mkdir(exist_ok=True)
    lines = [separator.join(header), *(separator.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def sources(failures) -> list[str]:
    return [*failures.failing]


def test_a_table_gives_the_same_files_as_the_model_that_gave_the_answers(test_set, tmp_path):
    model = saved(colour_model(), tmp_path / "model.keras")
    by_model = find_failures(model, test_set, tmp_path / "by_model")
    answered = tmp_path / "answers.csv"
    answered.write_bytes((tmp_path / "by_model" / "predictions.csv").read_bytes())
    by_table = collect_failures(answered, test_set, tmp_path / "by_table")
    assert by_table.failing == by_model.failing
    assert names_in(tmp_path / "by_table") == names_in(tmp_path / "by_model")
    for name in ("predictions.csv", "failures.csv", "failures/.safe"):
        assert (tmp_path / "by_table" / name).read_bytes() == (tmp_path / "by_model" / name).read_bytes()
    first, second = (json.loads((tmp_path / f / "accuracy.json").read_text()) for f in ("by_model", "by_table"))
    assert second["model"] == f"../{answered.name}"
    assert {key for key in first if first[key] != second[key]} == {"model", "assumptions"}
    assert second["assumptions"] == ["Answers: from answers.csv, taken as they are."]


# --- Probabilities ----------------------------------------------------------------------------------------------


def with_probabilities(test_set: Path) -> list[tuple[str, float, float, float]]:
    """In the order red, green, blue: 0.8 for the class that is predicted."""
    return [
        (image, *(0.8 if name == p else 0.1 for name in ("red", "green", "blue"))) for image, p in answers(test_set)
    ]


@pytest.mark.parametrize("header", [("red", "green", "blue"), ("p(red)", "p(green)", "p(blue)")])
def test_the_largest_probability_is_the_prediction_and_the_probabilities_are_kept(test_set, tmp_path, header):
    source = table(tmp_path, with_probabilities(test_set), ("image", *header))
    found = collect_failures(source, test_set, tmp_path / "out")
    assert sources(found) == WRONG
    assert found.known_classes == ("red", "green", "blue")
    assert found.answers.score[~found.right].tolist() == pytest.approx([0.8] * 3)
    written = tmp_path / "out" / "predictions.csv"
    header = written.read_text().partition("\n")[0]
    assert header == "image,label,predicted,confidence,right,p(red),p(green),p(blue)"
    again = collected_answers(tmp_path / "out" / "failures")
    assert again.classes == ("red", "green", "blue")
    assert again.probabilities.max(axis=1) == pytest.approx(0.8)
    assert again.paths == tuple(image for image, _ in answers(test_set))


# --- Tables of other programs -----------------------------------------------------------------------------------


# --- Regressions ------------------------------------------------------------------------------------------------


@pytest.fixture
def regression(test_set, tmp_path) -> DnnOptions:
    """Targets of 0.5 and 0.25 everywhere, in a table with decimal commas."""
    rows = [(f"../test/{image}", "0,5", "0,25") for image, _ in answers(test_set)]
    targets = table(tmp_path, rows, ("image", "red", "blue"), ";").rename(tmp_path / "tables" / "targets.csv")
    return DnnOptions(targets=targets, threshold=0.1)


def test_a_regression_is_judged_by_its_predicted_values(test_set, tmp_path, regression):
    rows = [(image, 0.25, 0.5 + 0.5 * ("/in_" in image)) for image, _ in answers(test_set)]
    found = collect_failures(
        table(tmp_path, rows, ("image", "blue", "red")), test_set, tmp_path / "out", options=regression
    )
    assert sources(found) == WRONG
    assert found.task == "regression"
    assert found.options.threshold == 0.1
    assert found.known_classes == ("red", "blue")
    assert found.answers.predicted[~found.right][0] == "1 0.25"
    assert found.answers.score[~found.right][0] == pytest.approx(0.3536, abs=1e-4)
    assert facts_of(load_failures(tmp_path / "out")) == facts_of(found)


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        (("image", "red"), (0.5,), "for each target .* Received none for blue"),
        (("image", "red", "blue"), (0.5, "much"), "a finite number under blue in line 2"),
        (("image", "red", "blue"), (0.5, "1e300"), "a finite number under blue in line 2"),
        (
            ("image", "predicted"), ("0.5",),
            "as the model has outputs, 1. Received 2 .* unless one is named, as in targets.csv:red",
        ),
    ],
)  # fmt: skip
def test_predicted_values_that_are_missing_are_told(test_set, tmp_path, regression, header, row, expected):
    rows = [(image, *row) for image, _ in answers(test_set)]
    with pytest.raises(SAFEError, match=expected):
        read_answers(table(tmp_path, rows, header), test_set, options=regression)


@pytest.fixture
def parameters(test_set, tmp_path) -> Path:
    """Parameters, the second of which is a target."""
    rows = [(f"../test/{image}", "sunny", i / 10, 30) for i, (image, _) in enumerate(answers(test_set))]
    return table(tmp_path, rows, ("image", "weather", "steering", "speed")).rename(tmp_path / "tables" / "known.csv")


@pytest.mark.parametrize("column", ["steering", "angle", "predicted"])
def test_one_column_of_a_table_is_the_target_and_gives_its_name_to_all_tables(test_set, tmp_path, parameters, column):
    rows = [(image, i / 10 + ("/in_" in image)) for i, (image, _) in enumerate(answers(test_set))]
    source = table(tmp_path, rows, ("image", column))
    options = DnnOptions(targets=f"{parameters}:steering", threshold=0.5)
    found = collect_failures(source, test_set, tmp_path / "out", options=options)
    assert (sources(found), found.known_classes) == (WRONG, ("steering",))
    assert (tmp_path / "out" / "failures.csv").read_text().startswith("image,source,steering,predicted,error\n")
    written = tmp_path / "out" / "predictions.csv"
    assert written.read_text().startswith("image,steering,predicted,error,right\n")
    again = read_predictions(written, test_set)
    assert again.answers.target == "steering"
    assert again.answers.label.tolist() == [f"{i / 10:g}" for i in range(9)]
    assert read_predictions(tmp_path / "out" / "predictions.csv", None).answers.target == "steering"
    # Its own table beside it gives the same answers: `steering` is not what was predicted.
    assert sources(collect_failures(written, test_set, tmp_path / "again", options=options)) == WRONG


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (":height", "Expected height among the columns of .*. Received: weather, steering, speed."),
        (":weather", r"Expected a number \(the target\) under weather in line 2 of .*. Received: sunny."),
        ("", "unless one is named, as in known.csv:steering"),
    ],
)  # fmt: skip
def test_a_target_that_is_missing_or_text_is_refused(test_set, tmp_path, parameters, column, expected):
    source = table(tmp_path, answers(test_set), ("image", "steering"))
    with pytest.raises(SAFEError, match=expected):
        read_answers(source, test_set, options=DnnOptions(targets=f"{parameters}{column}", threshold=0.5))


@pytest.mark.parametrize("column", ["steering", "predicted"])
def test_numbers_as_answers_lead_to_targets_and_threshold(tmp_path, column):
    test = draw_set(tmp_path / "test", 2).joinpath("red")
    source = table(tmp_path, [(path, 0.5) for path in find_images(test).paths], ("image", column))
    with pytest.raises(SAFEError, match=f"Expected the targets and a threshold, since {column} in") as caught:
        read_answers(source, test)
    assert caught.value.fields == ("targets", "threshold")


@pytest.mark.parametrize(("target", "off"), [(5412345.1, 0.02), (1.7e9, 0.02), (0.3, 0.1), (5412345.1, 0.1)])
def test_a_regression_is_judged_by_its_numbers_as_they_are_and_again_by_those_it_writes(
    test_set, tmp_path, target, off
):
    images = [image for image, _ in answers(test_set)]
    targets = [(f"../test/{image}", target) for image in images]
    source = table(tmp_path, targets, ("image", "x")).rename(tmp_path / "tables" / "targets.csv")
    options = DnnOptions(targets=source, threshold=0.1)
    given = [(image, f"{target + off + 0.14 * ('/in_' in image):.12g}") for image in images]
    found = collect_failures(table(tmp_path, given, ("image", "x")), test_set, tmp_path / "out", options=options)
    assert sources(found) == WRONG
    assert found.answers.score[~found.right][0] == pytest.approx(off + 0.14, abs=1e-6)
    assert float(found.answers.label[~found.right][0]) == pytest.approx(target, abs=1e-3)
    again = read_answers(tmp_path / "out" / "predictions.csv", test_set, options=options)
    assert [path for path, right in zip(again.paths, again.right, strict=True) if not right] == WRONG


def test_a_class_of_the_training_folder_counts(test_set, tmp_path):
    draw_set(tmp_path / "train", 1)
    (tmp_path / "train" / "grey").mkdir()
    rows = [
        (image, *(0.3 if name == p else 0.1 for name in ("red", "green", "blue")), 0.5)
        for image, p in answers(test_set)
    ]
    source = table(tmp_path, rows, ("image", "red", "green", "blue", "grey"))
    assert read_answers(source, test_set, train=tmp_path / "train").accuracy == 0
    (tmp_path / "train" / "red").rename(tmp_path / "train" / "Red")
    with pytest.raises(SAFEError, match="Received: Red and red"):
        read_answers(source, test_set, train=tmp_path / "train")


def test_an_angle_has_the_error_of_the_smaller_way(test_set, tmp_path):
    paths = find_images(test_set).paths
    targets = tmp_path / "angles.csv"
    targets.write_text("\n".join(["image,yaw_deg,x", *(f"{path},359,359" for path in paths)]))
    answers = table(
        tmp_path, [(path, "1", "359" if i else "1") for i, path in enumerate(paths)], ("image", "yaw_deg", "x")
    )
    found = read_answers(answers, test_set, options=DnnOptions(targets=targets, threshold=3))
    assert found.answers.score[1:].tolist() == pytest.approx([2**0.5] * (len(paths) - 1))
    assert found.right.tolist() == [False] + [True] * (len(paths) - 1)
    assert any("Columns treated as angles in degrees (359 and 1 differ by 2): yaw_deg." in note for note in found.notes)
