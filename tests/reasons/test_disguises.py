"""Columns that are the answer under another name, and columns that are not."""

import numpy as np
import pytest

from safe_dnn import api
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.reasons.known import MOST_DOUBTED, disguised
from safe_dnn.support.tables import table_text


def draw(n: int = 2000, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """True columns, classes, and what is wrong: mostly in the dark and with sunglasses."""
    rng = np.random.default_rng(seed)
    classes, light, glasses = rng.integers(0, 4, n), rng.uniform(0, 1, n), rng.choice(["none", "sun"], n, p=[0.9, 0.1])
    wrong = rng.random(n) < np.select([light < 0.15, glasses == "sun", classes == 3], [0.9, 0.85, 0.3], 0.03)
    return {"light": light, "glasses": glasses, "noise": rng.normal(size=n)}, classes, wrong


def disguises(wrong: np.ndarray, classes: np.ndarray, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = len(wrong)
    predicted = np.where(wrong, (classes + 1) % 4, classes)
    flipped = {share: wrong ^ (rng.random(n) < share) for share in (0.02, 0.05)}
    likely = np.where(wrong, rng.uniform(0.3, 0.99, n), rng.uniform(0.6, 1, n))
    return {
        "copy": np.where(wrong, "wrong", "right"), "inverse": (~wrong).astype(float),
        "outcome": np.where(wrong, "7", "3"), "answer": predicted.astype(str).astype("U9"),
        "pair": np.array([f"{a}->{b}" for a, b in zip(classes, predicted, strict=True)]),
        "two per cent": flipped[0.02].astype(float), "five per cent": np.where(flipped[0.05], "x", "y"),
        "loss": np.where(wrong, rng.gamma(4, 1, n) + 0.7, rng.gamma(1, 0.12, n)),
        "score": np.where(wrong, rng.normal(0.3, 0.12, n), rng.normal(0.85, 0.12, n)),
        "margin": np.where(wrong, -rng.uniform(0.02, 1, n), rng.uniform(0.02, 1, n)),
        "rank": np.where(wrong, rng.integers(2, 5, n), 1).astype(float),
        "known of some": np.where(rng.random(n) < 0.1, np.nan, wrong.astype(float)),
        "log of likelihood": np.log(np.where(wrong, rng.uniform(0.01, 0.45, n), likely)),
        "softmax": np.where(wrong, rng.uniform(0.01, 0.45, n), likely), "entropy": np.where(wrong, 1, 0.2) + 0 * likely,
        "text": np.where(wrong, "it is wrong", "it is right"), "percent": 100.0 * wrong,
        "sign": np.where(wrong, -1.0, 1.0), "error code": np.where(wrong, rng.integers(1, 5, n), 0).astype(float),
        "votes": np.where(wrong, rng.integers(0, 4, n), rng.integers(3, 8, n)).astype(float),
        "noisy copy": wrong + rng.normal(0, 0.15, n),
        "distance": np.where(wrong, rng.gamma(6, 1, n), rng.gamma(1, 1, n)),
        "verdict": np.where(wrong, rng.choice(["fp", "fn"], n), "ok"),
        "day of failure": np.where(wrong, rng.integers(1, 31, n), 0).astype(float),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_disguises_are_told_by_content_and_causes_are_not(seed):
    columns, classes, wrong = draw(seed=seed)
    names = disguises(wrong, classes, seed)
    assert {*disguised(columns | names, wrong, classes=classes)} == {*names}
    assert disguised(columns, wrong, classes=classes) == {}


def reasons_with(disguise: dict[str, np.ndarray], folder) -> list[WeakSpot]:
    """Those of a table with the true columns and disguises."""
    columns, classes, wrong = draw()
    predicted = np.where(wrong, (classes + 1) % 4, classes)
    images = [f"{row}.png" for row in range(len(wrong))]
    answers = zip(images, classes.tolist(), predicted.tolist(), strict=True)
    (folder / "answers.csv").write_text(table_text(("image", "label", "predicted"), answers))
    known = columns | disguise
    rows = zip(images, *(column.tolist() for column in known.values()), strict=True)
    (folder / "known.csv").write_text(table_text(("image", *known), rows))
    found = api.reasons(folder / "answers.csv", folder / "out", parameters=folder / "known.csv")
    return list(found.value.reasons.spots)


def check_reasons(spots: list[WeakSpot]) -> None:
    """The true reasons come first, and what may be the answer last, with the doubt."""
    reasons = [{one.column for one in spot.literals} for spot in spots if not spot.may_be_chance]
    assert reasons[0] == {"light"}
    assert {"glasses"} in reasons
    assert all(columns <= {"light", "glasses", "label"} for columns in reasons)
    assert [spot.doubted for spot in spots] == sorted(spot.doubted for spot in spots)


def test_disguises_hide_no_true_reason(tmp_path):
    _, classes, wrong = draw()
    spots = reasons_with(disguises(wrong, classes), tmp_path)
    check_reasons(spots)
    assert sum(spot.doubted for spot in spots) == MOST_DOUBTED


@pytest.mark.slow
@pytest.mark.parametrize("name", disguises(np.ones(8, bool), np.zeros(8, int)))
def test_no_disguise_hides_a_true_reason_by_itself(name, tmp_path):
    _, classes, wrong = draw()
    check_reasons(reasons_with({name: disguises(wrong, classes)[name]}, tmp_path))


def test_a_disguise_is_told_where_the_class_explains_most():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 3000)
    wrong = rng.random(3000) < np.array([0.97, 0.04, 0.02])[classes]
    columns = {"flag": np.where(wrong, "a", "b"), "noise": rng.uniform(size=3000)}
    assert {*disguised(columns, wrong, classes=classes)} == {"flag"}


def test_groups_are_not_in_both_halves():
    """The person explains right and wrong of known persons, but not of others."""
    rng = np.random.default_rng(1)
    person = rng.integers(0, 60, 3000)
    wrong = rng.random(3000) < np.where(rng.random(60) < 0.5, 0.99, 0.01)[person]
    columns = {"person": np.array([f"p{one}" for one in person])}
    assert {*disguised(columns, wrong)} == {"person"}
    assert disguised(columns, wrong, groups=Groups("person", person)) == {}


def test_columns_that_are_constant_or_differ_in_all_images_say_nothing():
    wrong = np.arange(40) < 10
    columns = {"same": np.full(40, "a"), "path": np.array([f"{i}" for i in range(40)]), "none": np.full(40, np.nan)}
    assert disguised(columns, wrong) == {}
    assert disguised({}, wrong) == {}
