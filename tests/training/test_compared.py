"""Two networks compared by tables of their answers."""

import json
from pathlib import Path

import pytest

from safe_dnn.options import DnnOptions
from safe_dnn.rccs.clusters import fingerprint, load_clusters, save_clusters
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from safe_dnn.report.summary_lines import retraining_summary
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.before_after import Answered, Share
from safe_dnn.training.result import also_chosen, compare_answers, retraining_of
from tests.helpers.small_models import clusters_of, draw_set

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
    assert result.improved == tuple(Answered(path, "red", "blue", "red") for path in WRONG[1:])
    assert result.worsened == (Answered("green/plain_00.png", "green", "green", "blue"),)
    assert (result.accuracy_before, result.accuracy_after) == (6 / 14, 12 / 14)
    assert result.per_class == (Share("blue", 2, 2, 2), Share("green", 2, 2, 1), Share("red", 10, 2, 9))
    assert result.per_rcc == (Share("0", 4, 0, 3), Share("1", 4, 0, 4))
    assert result.outcomes[0] == Share(WRONG[0], 1, 0, 0)
    assert "Predicted in after.csv, but the class of no image: violet (1 image)." in result.assumptions
    assert len(result.answers) == result.test_size
    assert Answered(WRONG[0], "red", "blue", "violet") in result.answers
    assert retraining_of(out, load_review(out)) == result
    assert retraining_summary(result).startswith("Not shown: +42.9 points (95% interval")


def test_how_images_were_held_out_and_what_the_others_chose_is_said(test_set, table, tmp_path):
    out, held = tmp_path / "out", ["blue/plain_00.png", "green/plain_00.png", "green/plain_01.png"]
    (tmp_path / "accuracy.json").write_text(json.dumps({"test_root": str(test_set), "hold_out": {"images": 3}}))
    paths = sorted(path.relative_to(test_set).as_posix() for path in test_set.rglob("*.png"))
    rows = [f"{path},red,{path in held},p{i % 2}" for i, path in enumerate(paths)]
    for name in ("predictions.csv", "parameters.csv"):
        (tmp_path / name).write_text("\n".join(["image,predicted,held_out,person", *rows]))
    out.mkdir()
    save_clusters(clusters_of(test_set, dict.fromkeys(WRONG, 0)), out, extra={"group": ["person"]})
    tables = table("before.csv", dict.fromkeys(WRONG, "blue")), table("after.csv", {held[0]: "red"})
    result = compare_answers(*tables, test_set, out)
    assert (result.final.counts.images, result.final.sure.groups) == (3, 2)
    assert any(one.startswith("Held out one by one, not by person: images that") for one in result.assumptions)
    assert also_chosen(result) == "the RCCs"
    of, image = fingerprint(load_clusters(out)), UnsafeImage("a.png", 0, 0.1, True)
    save_unsafe_set(UnsafeSet(test_set, (image,), 1, "", 1, (1, 0, 0), (), of, run=of), out)
    assert also_chosen(compare_answers(*tables, test_set, out)) == "the RCCs and the unsafe set"


def test_images_that_only_one_table_has_are_left_out_and_named(test_set, table, tmp_path):
    before = table("before.csv", dict.fromkeys(WRONG, "blue"), left_out=(WRONG[0],))
    after = table("after.csv", {}, left_out=(WRONG[1],))
    result = compare_answers(before, after, test_set, tmp_path / "out")
    assert result.test_size == 12
    assert result.skipped == ((WRONG[0], "no row in before.csv"), (WRONG[1], "no row in after.csv"))
    paths = [path.relative_to(test_set).as_posix() for path in test_set.rglob("*.png")]
    table("after.csv", {}, left_out=tuple(path for path in paths if path != WRONG[0]))
    with pytest.raises(SAFEError, match="a row for 1 of 14 images"):
        compare_answers(before, after, test_set, tmp_path / "out")
    with pytest.raises(SAFEError, match="no image that is in both"):
        compare_answers(before, after, test_set, tmp_path / "out", options=DnnOptions(partial=True))
