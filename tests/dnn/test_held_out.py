"""Images that are held out: whole groups, drawn without a look at answers, and in nothing else."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from safe_dnn.dnn.failures import collect_failures, load_failures
from safe_dnn.dnn.group_columns import HoldOut, draw, held_out_among
from safe_dnn.dnn.predictions import LabelledImages
from safe_dnn.dnn.tested import collected_answers, read_predictions
from safe_dnn.support.images import find_images
from safe_dnn.support.run_folder import FAILURES, PREDICTIONS_FILE
from tests.helpers.answered import facts_of
from tests.helpers.places import rows_in


def images_of(folder: Path, paths: list[str]) -> LabelledImages:
    classes = tuple(sorted({path.partition("/")[0] for path in paths}))
    labels = np.array([classes.index(path.partition("/")[0]) for path in paths])
    return LabelledImages(folder, tuple(paths), classes, labels)


def of_persons(folder: Path, sizes: list[int]) -> tuple[LabelledImages, np.ndarray]:
    """Images of persons, in a table beside them: as many as given, of three classes each."""
    person = np.repeat(np.arange(len(sizes)), sizes)
    paths = [f"{'abc'[i % 3]}/{i:04d}.png" for i in range(len(person))]
    rows = [f"{path},p{one}" for path, one in zip(paths, person, strict=True)]
    (folder / "parameters.csv").write_text("\n".join(["image,person", *rows]))
    order = np.argsort(paths)
    return images_of(folder, [paths[i] for i in order]), person[order]


# --- The draw ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.3, "0.5", 0.85])
def test_the_same_share_of_each_class_is_held_out_whatever_the_network_answers(tmp_path, share):
    images = images_of(tmp_path, [f"{'aaab'[i % 4]}/{i:03d}.png" for i in range(400)])
    held, (sentence,) = draw(images.root, images.paths, images.labels, HoldOut(share))
    assert np.bincount(images.labels[held]).tolist() == [round(300 * float(share)), round(100 * float(share))]
    assert sentence.startswith(f"Held out, to prove a retraining: {round(400 * float(share))} of 400 images. ")
    backwards = images_of(tmp_path, list(reversed(images.paths)))
    alone, _ = draw(images.root, images.paths, images.labels, HoldOut(share, ("image",)))
    np.testing.assert_array_equal(alone, held)
    again, _ = draw(backwards.root, backwards.paths, backwards.labels, HoldOut(share))
    assert set(images.taken(held).paths) == set(backwards.taken(again).paths)


@pytest.mark.parametrize("sizes", [[20] * 18, [3] * 150, [200, *[10] * 20], [1, 5, 9, 40, 2, 80, 33, 21, 4, 60]])
def test_groups_are_held_out_as_a_whole(tmp_path, sizes):
    images, person = of_persons(tmp_path, sizes)
    held, (sentence,) = draw(images.root, images.paths, images.labels, HoldOut(0.3, ("person",)))
    assert not set(person[held]) & set(person[~held])
    assert abs(held.mean() - 0.3) < max(0.1, 0.5 * min(sizes) / len(person))
    assert f"({len(set(person[held]))} of {len(sizes)} persons)" in sentence


# --- What it takes no part in -----------------------------------------------------------------------------------


def test_held_out_images_are_named_without_answers_and_in_nothing_else(case, tmp_path):
    out = tmp_path / "collected"
    failures = collect_failures(case.table, case.test, out, hold_out=HoldOut(0.3))
    every = find_images(case.test).paths
    held = set(itertools.compress(every, held_out_among(out / FAILURES, case.test, every)))
    assert (len(held), {*failures.held_out}, len(failures.paths)) == (22, held, 52)
    assert facts_of(load_failures(out)) == facts_of(failures)
    assert json.loads((out / "accuracy.json").read_text())["hold_out"] == {"images": 22, "group": []}
    rows = {row["image"]: row for row in rows_in(out / PREDICTIONS_FILE)}
    assert {path for path, row in rows.items() if row["held_out"] == "true"} == held
    assert {rows[path][name] for path in held for name in ("label", "predicted", "confidence", "right")} == {""}
    tested = collected_answers(out / FAILURES)
    assert {*tested.held_out} == held
    assert not tested.notes
    for paths in (
        tested.paths,
        read_predictions(out / PREDICTIONS_FILE, None).paths,
        find_images(out / FAILURES).paths,
    ):
        assert paths
        assert not held & set(paths)


def test_in_another_folder_held_out_images_are_known_by_their_content(case, tmp_path):
    held = collect_failures(case.table, case.test, tmp_path / "out", hold_out=HoldOut(0.3)).held_out
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    names = [path.replace("/", "_") for path in find_images(case.test).paths]
    for path, name in zip(find_images(case.test).paths, names, strict=True):
        shutil.copyfile(case.test / path, renamed / name)
    found = held_out_among(tmp_path / "out" / FAILURES, renamed, names)
    assert {name for name, is_held in zip(names, found, strict=True) if is_held} == {
        path.replace("/", "_") for path in held
    }
