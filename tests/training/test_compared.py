"""Two networks compared by tables of their answers."""

import dataclasses
import json
from pathlib import Path

import pytest

from dnn.model import DnnOptions
from pipeline.summaries import retraining_summary
from rccs.clusters import fingerprint, save_clusters
from rccs.review import load_review
from reporting.history import archive_run, restore_run
from support.errors import SAFEError
from support.run_folder import MODEL_FILE, RETRAINING_FILE
from tests.helpers.small_models import FakeModel, clusters_of, draw_set, retraining_for
from training.compared import compare_answers
from training.comparison import Answered, Changed, Outcome, Share
from training.result import load_retraining, retraining_of, save_retraining

WRONG = [f"red/in_blue_{i:02d}.png" for i in range(8)]


@pytest.fixture
def test_set(tmp_path) -> Path:
    return draw_set(tmp_path / "test", 2, {"red": ("blue", 8)})


@pytest.fixture
def table(test_set, tmp_path):
    """Write a table in which the images are right, but for some."""

    def table(name: str, wrong: dict[str, str], left_out: tuple[str, ...] = (), header="image,predicted") -> Path:
        paths = sorted(path.relative_to(test_set).as_posix() for path in test_set.rglob("*.png"))
        rows = [f"{path},{wrong.get(path, path.split('/')[0])}" for path in paths if path not in left_out]
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n")
        return tmp_path / name

    return table


def test_what_became_better_and_worse_is_counted_for_classes_and_rccs(test_set, table, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    clusters = clusters_of(test_set, {path: i // 4 for i, path in enumerate(WRONG)})
    save_clusters(clusters, out)
    before = table("before.csv", dict.fromkeys(WRONG, "blue"))
    after = table("after.csv", {WRONG[0]: "violet", "green/plain_00.png": "blue"})
    result = compare_answers(before, after, test_set, out)
    assert result.improved == tuple(Changed(path, "red", "blue", "red") for path in WRONG[1:])
    assert result.worsened == (Changed("green/plain_00.png", "green", "green", "blue"),)
    assert (result.accuracy_before, result.accuracy_after) == (6 / 14, 12 / 14)
    assert result.per_class == (Share("blue", 2, 2, 2), Share("green", 2, 2, 1), Share("red", 10, 2, 9))
    assert result.per_rcc == (Share("0", 4, 0, 3), Share("1", 4, 0, 4))
    assert result.outcomes[0] == Outcome(WRONG[0], False, False)
    assert "Predicted in after.csv, but the class of no image: violet (1 image)." in result.assumptions
    assert len(result.answers) == result.test_size
    assert Answered(WRONG[0], "red", "blue", "violet") in result.answers
    assert retraining_of(out, load_review(out)) == result
    assert retraining_summary(result).startswith("Not shown: +42.9 points (95% interval")


def test_a_result_without_all_answers_by_an_older_version_is_read(test_set, table, tmp_path):
    result = compare_answers(
        table("before.csv", {}), table("after.csv", {WRONG[0]: "blue"}), test_set, tmp_path / "out"
    )
    file = tmp_path / "out" / RETRAINING_FILE
    record = json.loads(file.read_text())
    assert record["answers"][0] == list(result.answers[0])
    file.write_text(json.dumps({name: value for name, value in record.items() if name != "answers"}))
    assert load_retraining(tmp_path / "out") == dataclasses.replace(result, answers=())
    file.write_text(json.dumps(record | {"answers": record["answers"][1:]}))
    with pytest.raises(SAFEError, match="answers are missing"):
        load_retraining(tmp_path / "out")


def test_better_beyond_doubt_is_told_without_an_epoch(test_set, table, tmp_path):
    before, after = table("before.csv", dict.fromkeys(WRONG, "blue")), table("after.csv", {})
    summary = retraining_summary(compare_answers(before, after, test_set, tmp_path / "out"))
    assert summary.startswith("Better beyond doubt: +57.1 points")
    assert summary.endswith("8 improved, 0 worsened of 14 images")


def test_images_that_only_one_table_has_are_left_out_and_named(test_set, table, tmp_path):
    before = table("before.csv", dict.fromkeys(WRONG, "blue"), left_out=(WRONG[0],))
    after = table("after.csv", {}, left_out=(WRONG[1],))
    result = compare_answers(before, after, test_set, tmp_path / "out")
    assert result.test_size == 12
    assert result.skipped == ((WRONG[0], "no row in before.csv"), (WRONG[1], "no row in after.csv"))
    paths = [path.relative_to(test_set).as_posix() for path in test_set.rglob("*.png")]
    table("after.csv", {}, left_out=tuple(path for path in paths if path != WRONG[0]))
    with pytest.raises(SAFEError, match="no image that is in both"):
        compare_answers(before, after, test_set, tmp_path / "out")


def test_tables_that_disagree_on_a_class_are_refused(test_set, table, tmp_path):
    rows = "\n".join(f"{path},green,red" for path in WRONG)
    (tmp_path / "after.csv").write_text(f"image,label,predicted\n{rows}\nred/plain_00.png,red,red\n")
    with pytest.raises(SAFEError, match=r"the same class for red/in_blue_00\.png .* Received: red and green"):
        compare_answers(table("before.csv", {}), tmp_path / "after.csv", test_set, tmp_path / "out")


def test_the_same_file_twice_is_refused(test_set, table, tmp_path):
    before = table("before.csv", {})
    with pytest.raises(SAFEError, match="the same file twice"):
        compare_answers(before, tmp_path / "." / "before.csv", test_set, tmp_path / "out")
    assert not (tmp_path / "out" / RETRAINING_FILE).exists()


def test_a_model_of_an_earlier_retraining_is_kept_but_not_offered_as_the_one_that_was_compared(
    test_set, table, tmp_path
):
    out = tmp_path / "out"
    out.mkdir()
    earlier = save_retraining(retraining_for(""), FakeModel(b"weights"), out)
    compare_answers(table("before.csv", dict.fromkeys(WRONG, "blue")), table("after.csv", {}), test_set, out)
    assert not (out / MODEL_FILE).exists()
    assert (out / "retrained_models" / f"{earlier.digest[:16]}.keras").read_bytes() == b"weights"
    assert load_retraining(out).digest == ""


def test_a_comparison_belongs_to_its_run_and_comes_back_with_it(test_set, table, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    first = clusters_of(test_set, {path: i // 4 for i, path in enumerate(WRONG)})
    second = clusters_of(test_set, dict.fromkeys(WRONG, 0))
    save_clusters(first, out)
    result = compare_answers(table("before.csv", dict.fromkeys(WRONG, "blue")), table("after.csv", {}), test_set, out)
    name = archive_run(out, successor=second)
    save_clusters(second, out)
    with pytest.raises(SAFEError, match="was for other root cause clusters"):
        retraining_of(out, load_review(out))
    save_retraining(retraining_for(fingerprint(second)), FakeModel(b"weights"), out)
    restore_run(out, name)
    assert retraining_of(out, load_review(out)) == result
    assert not (out / MODEL_FILE).exists()  # of the other run


def test_a_regression_is_compared_by_its_errors(test_set, tmp_path):
    targets = tmp_path / "targets.csv"
    images = [path.relative_to(test_set).as_posix() for path in test_set.rglob("*.png")]
    targets.write_text("\n".join(["image,angle", *(f"test/{image},10" for image in images)]) + "\n")
    for name, error in (("before", 5), ("after", 1)):
        rows = (f"{image},{10 + error * ('/in_' in image)}" for image in images)
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,angle", *rows]) + "\n")
    options = DnnOptions(targets=targets, threshold=2.0)
    tables = tmp_path / "before.csv", tmp_path / "after.csv"
    result = compare_answers(*tables, test_set, tmp_path / "out", options=options)
    assert [change.image for change in result.improved] == WRONG
    assert result.improved[0] == Changed(WRONG[0], "10", "15", "11")
    assert result.per_class == ()
    assert result.threshold == 2
    assert load_retraining(tmp_path / "out") == result
