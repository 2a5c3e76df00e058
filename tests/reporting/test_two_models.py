"""Two models side by side: counts by hand, what cannot be compared, words, and the command."""

import shutil

import numpy as np
import pytest

from dnn.failures import DETECTION, collect_failures
from dnn.model import DnnOptions
from rccs.clusters import load_clusters, save_clusters
from rccs.review.review import load_review
from rccs.spots.conditions import Literal
from rccs.spots.weak_spots import WeakSpot
from reasons.comparison import Reasons
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


def test_the_same_model_a_detector_and_a_regression_beside_a_classifier_are_refused(a, tmp_path, test_set):
    with pytest.raises(SAFEError, match="Expected two different models"):
        compared(a, a)
    regression = regress(tmp_path / "r", test_set, threshold=2.0, errors={})
    with pytest.raises(SAFEError, match="Choose models of the same kind"):
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
    with pytest.raises(SAFEError, match="with the same targets and threshold"):
        compared(first, third)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(100, 80, 15, 1), "B is better beyond doubt: +14.0 points for B (95% interval "),
        (Counts(100, 80, 1, 15), "A is better beyond doubt: -14.0 points for B (95% interval "),
        (Counts(100, 80, 0, 0), "Not shown which is better: +0.0 points for B (95% interval "),
        (Counts(100, 80, 6, 4), "both differ on 10 test images, of which the second one gets 6 right; at least 9 "),
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


def test_where_groups_are_known_models_are_compared_by_groups(a, b):
    rows = [f"{path},p{i % 3}" for i, path in enumerate(compared(a, b).images.paths)]
    (a / "persons.csv").write_text("\n".join(["image,person", *rows]))
    source = {"source": str(a / "persons.csv")}
    save_clusters(load_clusters(a), a, more={"group": ["person"], "parameters": source})
    sure = compared(a, b).sure
    assert (sure.groups, sure.group) == (3, "person")
    assert "McNemar by 3 persons" in verdict_text(sure)
    save_clusters(load_clusters(a), a, more={"group": ["driver"], "parameters": source})
    two = compared(a, b)
    assert (two.sure.groups, two.sure.group) == (0, "driver")
    assert two.notes[0].startswith("Images count as independent: Expected a column")
