import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lab.casestudies import contact_sheet
from lab.casestudies.build import build_case
from lab.casestudies.heads import shape
from lab.casestudies.heads.cases import HEAD_CASES, HEADS, POSES, pose_class
from lab.casestudies.heads.looks import draw_looks
from lab.casestudies.heads.parameters import HAIRS, Head, draw_head
from lab.casestudies.heads.render import LANDMARKS, landmarks, render
from safe_dnn.casestudies import build
from safe_dnn.casestudies.camera import SIDE
from safe_dnn.casestudies.networks import train_model
from safe_dnn.casestudies.sets import lay_out_all
from safe_dnn.casestudies.table import write_subjects
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.dnn.failures import find_failures, read_targets, with_targets
from safe_dnn.dnn.tested import collected_answers
from safe_dnn.FE import extract_features
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.options import DnnOptions
from safe_dnn.reasons.known import known_of, weak_spots_of
from tests.helpers.cases import causes_found, read_subjects

PLAIN = Head(
    seed=1,
    yaw_deg=0.0,
    pitch_deg=0.0,
    roll_deg=0.0,
    distance_cm=70.0,
    light_side_deg=20.0,
    light_height_deg=30.0,
    light=0.8,
    fill=0.2,
    blur_px=0.2,
    noise_levels=0.0,
    cover="none",
    fringe=0.0,
    skin_tone=0.2,
    hair="black",
    hair_length=0.2,
    mouth_open=0.0,
)


def a_head(**changes) -> Head:
    return dataclasses.replace(PLAIN, **changes)


def at(name: str, head: Head) -> tuple[float, float]:
    column, row = landmarks(head)[LANDMARKS.index(name)].tolist()
    return column, row


def around(image: np.ndarray, place: tuple[float, float], size: int = 3) -> np.ndarray:
    column, row = map(round, place)
    return image[row - size : row + size + 1, column - size : column + size + 1].astype(float)


# --- The simulator ------------------------------------------------------------------------------------------------


def test_an_image_is_fixed_by_its_parameters_whatever_was_rendered_before():
    first = render(PLAIN)
    render(a_head(seed=2, cover="glasses"))
    assert first.shape == (SIDE, SIDE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(render(PLAIN), first)


def test_another_seed_shows_somebody_else():
    assert draw_looks(PLAIN, np.random.default_rng(1)) != draw_looks(PLAIN, np.random.default_rng(2))
    assert np.abs(render(PLAIN).astype(int) - render(a_head(seed=2))).mean() > 5


def test_a_cover_changes_nothing_else_of_somebody():
    covered = a_head(cover="scarf")
    assert draw_looks(PLAIN, np.random.default_rng(1)) == draw_looks(covered, np.random.default_rng(1))
    np.testing.assert_array_equal(landmarks(PLAIN), landmarks(covered))


@pytest.mark.parametrize(("yaw_deg", "pitch_deg"), [(30.0, 0.0), (-30.0, 0.0), (0.0, 20.0), (0.0, -20.0)])
def test_the_nose_moves_further_than_the_eyes_to_where_the_head_turns(yaw_deg, pitch_deg):
    turned = a_head(yaw_deg=yaw_deg, pitch_deg=pitch_deg)
    nose, eye = (
        np.subtract(at(name, turned), at(name, PLAIN)) * (np.sign(yaw_deg), -np.sign(pitch_deg))
        for name in ("nose", "left_eye")
    )
    assert nose.sum() > 4
    assert abs(yaw_deg) == 0 or nose[0] > eye[0]


def test_landmarks_lie_where_the_face_has_them():
    points = dict(zip(LANDMARKS, landmarks(PLAIN).tolist(), strict=True))
    assert points["left_eye"][0] < points["nose"][0] < points["right_eye"][0]
    rows = [points[name][1] for name in ("left_brow", "left_eye", "nose", "left_mouth", "chin")]
    assert rows == sorted(rows)
    assert 0 < min(map(min, points.values())) < max(map(max, points.values())) < SIDE
    # A brow is darker than the forehead above it, and a pupil than the cheek below it.
    image = render(PLAIN)
    for name, beside in (("left_brow", -7), ("right_brow", -7), ("left_eye", 12), ("right_eye", 12)):
        column, row = points[name]
        assert around(image, (column, row), 1).mean() < 0.85 * around(image, (column, row + beside), 1).mean(), name


def test_landmarks_of_a_nearer_head_are_further_apart():
    widths = [at("right_eye", head)[0] - at("left_eye", head)[0] for head in (PLAIN, a_head(distance_cm=60.0))]
    assert widths[1] > 1.1 * widths[0]


def test_sunglasses_darken_the_eyes_and_glasses_hardly():
    bare, glasses, dark = (
        around(render(a_head(cover=cover)), at("left_eye", PLAIN), 3).mean()
        for cover in ("none", "glasses", "sunglasses")
    )
    assert glasses > 0.7 * bare
    assert dark < 0.6 * bare


@pytest.mark.parametrize("cover", ["scarf", "hand"])
def test_a_scarf_or_a_hand_hides_the_mouth_and_not_the_eyes(cover):
    bare, covered = render(PLAIN), render(a_head(cover=cover))
    for name, changed in (("left_mouth", True), ("left_eye", False)):
        difference = np.abs(around(bare, at(name, PLAIN)) - around(covered, at(name, PLAIN))).mean()
        assert (difference > 15) == changed, name


def test_hair_hides_one_eye():
    bare, covered = render(PLAIN), render(a_head(fringe=0.9))
    changes = [
        np.abs(around(bare, at(name, PLAIN)) - around(covered, at(name, PLAIN))).mean()
        for name in ("left_eye", "right_eye")
    ]
    assert max(changes) > 3 * min(changes)


def test_light_from_one_side_leaves_the_other_dark():
    image = render(a_head(light_side_deg=-85.0, light_height_deg=10.0, fill=0.03)).astype(float)
    row = at("nose", PLAIN)[1]
    places = [(at(name, PLAIN)[0] + shift, row) for name, shift in (("left_mouth", -4), ("right_mouth", 4))]
    left, right = (around(image, place).mean() for place in places)
    assert left > 2 * right


def test_less_light_makes_a_darker_image():
    brightness = [render(a_head(light=light)).mean() for light in (0.03, 0.1, 0.3, 0.9)]
    assert brightness == sorted(brightness)


def test_the_distances_of_parts_are_negative_inside_and_positive_outside():
    build_ = draw_looks(PLAIN, np.random.default_rng(1)).build
    middle, far = (tuple(np.full(1, value, np.float32) for value in point) for point in ((0, 0, 0), (3, 0, 0)))
    for part in (shape.skin, shape.hair, shape.scarf):
        assert part(far, build_)[0] > 1.5
    assert shape.skin(middle, build_)[0] < -0.3
    sphere = shape.ellipsoid(far, (0, 0, 0), (1, 1, 1))
    assert sphere[0] == pytest.approx(2)
    assert shape.capsule(far, (0, -1, 0), (0, 1, 0), 0.5)[0] == pytest.approx(2.5)


def test_a_seam_is_rounded_and_what_is_far_from_it_is_not():
    a, b = np.array([0.0, 1.0]), np.array([0.0, 3.0])
    assert shape.join(a, b, 0.4).tolist() == pytest.approx([-0.1, 1.0])
    assert shape.intersect(a, b, 0.4).tolist() == pytest.approx([0.1, 3.0])
    assert shape.carve(a, b, 0.4).tolist() == pytest.approx([0.1, 1.0])


def test_dark_skin_has_no_fair_hair():
    rng = np.random.default_rng(0)
    ranges = {field.name: (0.7, 0.7) for field in dataclasses.fields(Head) if field.type is float}
    hairs = {draw_head(rng, ranges, {"none": 1.0}).hair for _ in range(50)}
    assert hairs == {"black", "brown", "grey"} < set(HAIRS)


# --- The cases ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yaw_deg", "pitch_deg", "expected"),
    [
        (0.0, 0.0, "4_level_straight"),
        (-16.0, 0.0, "4_level_straight"),
        (-16.1, 0.0, "3_level_left"),
        (16.0, 0.0, "5_level_right"),
        (0.0, 11.0, "1_up_straight"),
        (0.0, -11.0, "4_level_straight"),
        (40.0, -11.1, "8_down_right"),
        (-40.0, 30.0, "0_up_left"),
    ],
)
def test_a_direction_belongs_to_one_of_nine_classes(yaw_deg, pitch_deg, expected):
    head = a_head(yaw_deg=yaw_deg, pitch_deg=pitch_deg)
    assert pose_class(head) == expected
    assert expected in HEAD_CASES["hpd"].classes


def test_the_distances_to_the_nearest_borders_by_hand():
    head = a_head(yaw_deg=20.0, pitch_deg=-5.0)
    assert (head.yaw_to_border_deg, head.pitch_to_border_deg) == (4.0, 6.0)
    assert len(POSES) == 9


def test_parameters_but_the_seed_are_read_as_they_were_written(tmp_path):
    heads = {"test/0.png": a_head(seed=0), "test/1.png": a_head(seed=0, cover="hand", yaw_deg=12.345)}
    path = tmp_path / "parameters.csv"
    write_subjects(path, [(image, "4_level_straight", head) for image, head in heads.items()], HEADS)
    assert read_subjects(path, HEADS) == heads
    assert "yaw_to_border_deg" in path.read_text().splitlines()[0].split(",")


def test_the_contact_sheet_of_heads_has_a_row_for_each_cause():
    sheet = contact_sheet.contact_sheet(tuple(HEAD_CASES.values()), columns=1)
    causes = {cause.name for case in HEAD_CASES.values() for cause in case.root_causes}
    assert sheet.shape == ((1 + len(causes)) * SIDE, SIDE, 3)
    assert sheet.reshape(-1, SIDE, SIDE, 3).any(axis=(1, 2, 3)).all()  # no place is empty


class FakeModel:
    """Says the same of each image; saved as a text file."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, images, training):
        return np.tile(self.answer, (len(images), 1))

    def save(self, path):
        path.write_text("a model")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_regression_has_targets_instead_of_class_folders(tmp_path, monkeypatch):
    case = HEAD_CASES["fld"]
    answer = np.mean([landmarks(head).ravel() for _, head in case.draw("test", 8, 0)], axis=0)
    monkeypatch.setattr(build, "train_model", lambda *_, **__: FakeModel(answer))
    folder = tmp_path / "fld"
    accuracy = build_case("fld", folder, scale=0.006)
    assert names(folder) >= {"train", "improvement", "test", "failures", "targets.csv", "parameters.csv", "causes.json"}
    targets = read_targets(folder / "targets.csv")
    assert targets.names == case.classes
    described = read_subjects(folder / "parameters.csv", case.kind)
    heads = {image: head for rows in lay_out_all(case, seed=0, scale=0.006).values() for image, _, head in rows}
    assert set(heads) == {image for image in described if not image.startswith("failures/")}
    assert set(heads) == set(targets.table.texts("image"))
    for part in ("train", "improvement", "test"):
        known = with_targets(folder / part, targets)
        assert not known.skipped
        for path, row in zip(known.paths, known.labels, strict=True):
            np.testing.assert_allclose(row, landmarks(heads[f"{part}/{path}"]).ravel(), atol=0.006)

    errors = {
        image: np.sqrt(np.mean((np.array(row) - answer) ** 2))
        for image, row in zip(targets.table.texts("image"), targets.rows.tolist(), strict=True)
        if image.startswith("test/")
    }
    wrong = {image for image, error in errors.items() if error > accuracy["threshold"]}
    assert 0 < len(wrong) == accuracy["failures"]
    assert {f"test/{name}" for name in names(folder / "failures")} == wrong
    found = collected_answers(folder / "failures")
    assert found.answers.kind == "error"
    assert {f"test/{path}" for path, right in zip(found.paths, found.right, strict=True) if not right} == wrong
    with (folder / "failures.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert float(row["error"]) == pytest.approx(errors[row["source"]], abs=1e-3)
            assert (folder / row["image"]).read_bytes() == (folder / row["source"]).read_bytes()
    listed = {image for cause in json.loads((folder / "causes.json").read_text()) for image in cause["failing"]}
    assert listed <= {f"failures/{name}" for name in names(folder / "failures")}


@pytest.mark.slow
def test_the_failures_of_the_saved_regression_are_those_that_safe_finds(tmp_path, monkeypatch):
    """On a few images: trained for one step only, so that the DNN is wrong about nearly all of them."""
    case = HEAD_CASES["fld"]

    def train_briefly(case, images, answers, **options):
        return train_model(dataclasses.replace(case, epochs=1), images, answers, **options)

    monkeypatch.setattr(build, "train_model", train_briefly)
    folder = tmp_path / "fld"
    accuracy = build_case("fld", folder, scale=0.004)
    options = DnnOptions(targets=folder / "targets.csv", threshold=case.regression.threshold)
    found = find_failures(folder / "model.keras", folder / "test", tmp_path / "out", options=options)
    assert found.task == "regression"
    assert len(found.paths) == accuracy["test_size"]
    assert {*found.failing} == names(folder / "failures")


@pytest.mark.case
@pytest.mark.slow
@pytest.mark.parametrize(("name", "found_by_rcc"), [("hpd", 3), ("fld", 6)])
def test_the_dnn_fails_for_the_known_root_causes_and_safe_finds_them(tmp_path, name, found_by_rcc):
    accuracy = build_case(name, tmp_path / name)
    assert 0.60 < accuracy["test_accuracy"] < 0.90
    assert 200 <= accuracy["failures"] <= 500
    causes = json.loads((tmp_path / name / "causes.json").read_text())
    explained = {image for cause in causes for image in cause["failing"]}
    assert len(explained) > 0.9 * accuracy["failures"]
    for cause in causes:
        assert cause["failure_rate_inside"] > 5 * cause["failure_rate_elsewhere"], cause["name"]
        assert cause["failures"] >= 25, cause["name"]

    tested = collected_answers(tmp_path / name / "failures")
    spots = weak_spots_of(tested, known_of(tested))[:10]
    named = {literal.column for spot in spots for literal in spot.literals}
    for cause in causes:
        assert named & set(cause["parameters"]), cause["name"]

    features = extract_features(tmp_path / name / "failures", choose_extractor("vgg16-conv"))
    clusters = find_root_cause_clusters(features)
    assert len(causes_found(clusters, causes)) >= found_by_rcc
