"""Two models side by side: counts by hand, what cannot be compared, words, and the command."""

import shutil

import numpy as np
import pytest

from dnn.failures import DETECTION, collect_failures
from dnn.model import DnnOptions
from rccs.conditions import Literal
from rccs.review import load_review
from rccs.weak_spots import WeakSpot
from reasons import Reasons
from reporting.models import answers_of, models_of
from reporting.two_models import (
    A_RIGHT,
    B_RIGHT,
    BOTH,
    EVERY,
    NEITHER,
    ONLY_A,
    ONLY_B,
    compare_models,
    comparison_lines,
    images_of_count,
    verdict_text,
)
from SAFE_Tool import main
from support.errors import SAFEError
from tests.helpers.two_analyses import WRONG_A, WRONG_B, cluster, collect, draw_test
from training.certainty import Counts, certainty


@pytest.fixture
def test_set(tmp_path):
    return draw_test(tmp_path / "test")


@pytest.fixture
def a(tmp_path, test_set):
    out = collect(tmp_path / "a", test_set, WRONG_A, name="first")
    return cluster(out, {"blue/plain_00.png": 0, "red/plain_00.png": 1})


@pytest.fixture
def b(tmp_path, test_set):
    return collect(tmp_path / "b", test_set, WRONG_B, name="second")


def compared(a, b, **more):
    return compare_models(*(answers_of(models_of(folder)[0]) for folder in (a, b)), **more)


def images(two, chosen) -> list[str]:
    return [path for path, _ in images_of_count(two, chosen).images]


def test_each_image_is_right_for_both_for_one_or_for_none(a, b):
    two = compared(a, b)
    assert images(two, ONLY_A) == ["green/plain_00.png"]
    assert images(two, ONLY_B) == ["red/plain_00.png"]
    assert images(two, NEITHER) == ["blue/plain_00.png"]
    assert images(two, BOTH) == ["blue/plain_01.png", "green/plain_01.png", "red/plain_01.png"]
    assert images(two, A_RIGHT) == sorted([*images(two, BOTH), *images(two, ONLY_A)])
    assert images(two, B_RIGHT) == sorted([*images(two, BOTH), *images(two, ONLY_B)])
    assert len(images(two, EVERY)) == 6
    assert two.found.accuracy_before == two.found.accuracy_after == pytest.approx(4 / 6)
    assert two.notes == ()
    assert two.sure.counts == Counts(6, 4, 1, 1)
    assert [(one.name, one.images, one.before, one.after) for one in two.found.per_class] == [
        ("blue", 2, 1, 1), ("green", 2, 2, 1), ("red", 2, 1, 2)
    ]  # fmt: skip


def test_the_images_of_a_class_say_what_both_models_said(a, b):
    two = compared(a, b)
    green = two.images.classes.index("green")
    listed = images_of_count(two, f"class:{green}/{ONLY_A}")
    assert listed.heading == "1 image of green: only A is right"
    assert listed.images == (("green/plain_00.png", "green · A: green · B: red"),)
    assert (listed.root / listed.images[0][0]).is_file()


def test_failing_images_of_rccs_and_weak_spots_are_counted_for_both(a, b):
    review = load_review(a)
    spot = WeakSpot((Literal("label", "=", "red"),), 2, 1, 0.1, 0.9, 0.1)
    reasons = Reasons((spot,), (np.array([review.clusters.paths.index("red/plain_00.png")]),), None, 1 / 3)
    two = compared(a, b, review=review, reasons=reasons)
    counts = {one.key: (one.failing, len(one.outcomes), one.right(A_RIGHT), one.right(B_RIGHT)) for one in two.groups}
    assert counts == {"rcc:0": (1, 1, 0, 0), "rcc:1": (1, 1, 0, 1), "spot:0": (1, 1, 0, 1)}
    listed = images_of_count(two, f"rcc:1/{B_RIGHT}")
    assert listed.heading == "1 image of RCC 1: B is right"
    assert listed.images == (("red/plain_00.png", "red · A: blue · B: red"),)
    assert listed.root == review.clusters.image_root
    assert images(two, f"rcc:0/{B_RIGHT}") == []
    assert images(two, f"spot:0/{EVERY}") == ["red/plain_00.png"]


@pytest.mark.parametrize(
    "chosen", ["", "x", "class:7/b", "class:-1/b", "rcc:9/b", "class:9999999999999/only-a", "//", "é:1/é"]
)
def test_what_no_widget_sends_lists_images_all_the_same(a, b, chosen):
    assert set(images(compared(a, b), chosen)) <= set(images(compared(a, b), EVERY))


def test_images_that_only_one_was_run_on_are_left_out_and_counted(a, tmp_path, test_set):
    other = collect(tmp_path / "c", test_set, WRONG_B, name="third", left_out="red/plain_01.png")
    two = compared(a, other)
    assert len(images(two, EVERY)) == 5
    assert two.notes == ("Left out, since only one of the models was run on them: 1 image of A.",)


def test_a_copy_of_the_test_set_is_the_same_and_another_one_is_refused(a, tmp_path, test_set):
    copy = tmp_path / "copy"
    shutil.copytree(test_set, copy)
    other = collect(tmp_path / "c", copy, WRONG_B, name="third")
    assert compared(a, other).notes == ()
    shutil.rmtree(copy)
    [note] = compared(a, other).notes
    assert note.startswith("Matched by name alone, since they are gone from")
    assert note.endswith(": 6 images.")
    draw_test(copy, 3)  # the first of each class are others: of other random numbers
    with pytest.raises(SAFEError, match=r"tested on the same images\. Received: .* is another image than in"):
        compared(a, other)


def test_test_sets_without_a_common_image_are_refused(a, tmp_path, test_set):
    elsewhere = tmp_path / "elsewhere"
    for path in test_set.rglob("*.png"):
        target = elsewhere / path.parent.name / f"other_{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    with pytest.raises(SAFEError, match=r"Expected answers to the same images .* Received no image that is in both"):
        compared(a, collect(tmp_path / "c", elsewhere, {}, name="third"))


def test_the_same_model_a_detector_and_a_regression_beside_a_classifier_are_refused(a, tmp_path, test_set):
    with pytest.raises(SAFEError, match="Expected two different models"):
        compared(a, a)
    regression = regress(tmp_path / "r", test_set, threshold=2.0, errors={})
    with pytest.raises(SAFEError, match="Received: a classifier, and a regression"):
        compared(a, regression)
    classifier, detector = (answers_of(models_of(folder)[0]) for folder in (a, regression))
    detector = detector._replace(given=detector.given._replace(task=DETECTION))
    with pytest.raises(SAFEError, match="Expected classifiers or regressions: what a detector finds"):
        compare_models(classifier, detector)


def regress(out, test, *, threshold: float, errors: dict[str, float]):
    """The failures of a regression whose targets are all 10."""
    paths = sorted(path.relative_to(test).as_posix() for path in test.rglob("*.png"))
    targets, table = out.parent / f"{out.name}_targets.csv", out.parent / f"{out.name}.csv"
    targets.write_text("\n".join(["image,angle", *(f"{test.name}/{path},10" for path in paths)]) + "\n")
    table.write_text("\n".join(["image,angle", *(f"{path},{10 + errors.get(path, 0)}" for path in paths)]) + "\n")
    collect_failures(table, test, out, options=DnnOptions(targets=targets, threshold=threshold))
    return out


def test_two_regressions_are_compared_by_their_errors_if_their_thresholds_are_the_same(tmp_path, test_set):
    first = regress(tmp_path / "r", test_set, threshold=2.0, errors={"red/plain_00.png": 3.0})
    second = regress(tmp_path / "s", test_set, threshold=2.0, errors={"blue/plain_00.png": 3.0})
    two = compared(first, second)
    assert images_of_count(two, ONLY_B).images == (("red/plain_00.png", "10 · A: 13 · B: 10"),)
    assert two.found.per_class == ()
    assert two.sure_of_classes == []
    third = regress(tmp_path / "t", test_set, threshold=5.0, errors={"blue/plain_00.png": 6.0})
    with pytest.raises(SAFEError, match=r"the same threshold\. Received: 2, and 5"):
        compared(first, third)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(100, 80, 15, 1), "B is better beyond doubt: +14.0 points for B (95% interval "),
        (Counts(100, 80, 1, 15), "A is better beyond doubt: -14.0 points for B (95% interval "),
        (Counts(100, 80, 0, 0), "Not shown which is better: both are right on the same images (95% interval "),
        (Counts(100, 80, 3, 2), "They differ on 5 images, and fewer than 6 cannot show anything"),
        (Counts(100, 80, 6, 4), "They differ on 10 images, of which B gets 6 right; 9 for one of them would show it"),
    ],
)
def test_the_verdict_says_which_is_better_or_what_is_missing(counts, expected):
    assert expected in verdict_text(certainty(counts))


def test_the_command_prints_the_comparison(a, b, capsys):
    assert main(["beside", str(b), "--out", str(a)]) == 0
    printed = capsys.readouterr().out
    assert "A: first.csv, tested" in printed
    assert "B: second.csv, tested" in printed
    assert "Of 6 test images of both, both are right on 3, only A is right on 1, only B is right on 1" in printed
    assert "RCC 1: A gets 0, B gets" not in printed
    assert "RCC 1: A gets 0, B 1 right of 1 failing image" in printed
    assert main(["beside", str(b), "--out", str(a), "--model-b", "?"]) == 2
    assert "accuracy.json (second.csv, tested" in capsys.readouterr().err
    assert main(["beside", str(a), "--out", str(a)]) == 2
    assert "Received: no other one" in capsys.readouterr().err


def test_lines_name_classes_on_which_one_is_better_beyond_doubt(tmp_path):
    test_set = draw_test(tmp_path / "test", 20)
    wrong = {f"red/plain_{i:02d}.png": "blue" for i in range(18)}
    a = collect(tmp_path / "a", test_set, wrong, name="first")
    b = collect(tmp_path / "b", test_set, {"red/plain_00.png": "blue"}, name="second")
    found = comparison_lines(compared(a, b))
    assert any(line.startswith("Class red: B is better: +85.0 points for B (95% interval ") for line in found)
    assert not any(line.startswith("Class blue") for line in found)
