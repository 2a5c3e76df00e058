import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chi2_contingency
from sklearn.metrics import normalized_mutual_info_score

from lab.casestudies import people
from lab.casestudies.build import build_case
from lab.casestudies.cases import PEOPLE_CASES
from lab.casestudies.people import PEOPLE, PERSONS, SKIN_JITTER, EyeOfPerson, cast, find_person, render
from safe_dnn.casestudies import build
from safe_dnn.casestudies.cases import EYES
from safe_dnn.casestudies.parameters import DERIVED, Eye
from safe_dnn.casestudies.people import NOBODY, Person
from safe_dnn.casestudies.sets import lay_out_all
from safe_dnn.casestudies.table import names_of, write_subjects
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.FE import extract_features
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.support.errors import SAFEError
from tests.helpers.cases import PLAIN, FakeModel, an_eye, read_subjects


@pytest.fixture
def fake_training(monkeypatch):
    monkeypatch.setattr(build, "train_model", lambda *_, **__: FakeModel())


def drawn_for(person: Person, eye: Eye) -> EyeOfPerson:
    """The eye as an image of this person."""
    traits = {"skin_tone": person.skin_tone, "iris": person.iris, "brow_thickness": person.brow_thickness}
    return EyeOfPerson(**dataclasses.asdict(eye) | traits, person=person.name)


@pytest.mark.parametrize("name", PEOPLE_CASES)
@pytest.mark.parametrize("part", ["train", "improvement", "test"])
def test_all_people_occur_in_each_set_about_equally_often(name, part):
    case = PEOPLE_CASES[name]
    people = [eye.person for _, eye in case.draw(part, case.sizes[part], 0)]
    counts = [people.count(person.name) for person in PEOPLE]
    assert sum(counts) == case.sizes[part]
    assert min(counts) > 0.6 * case.sizes[part] / len(PEOPLE)


@pytest.mark.parametrize("name", PEOPLE_CASES)
def test_causes_and_classes_are_independent_of_the_person(name):
    case = PEOPLE_CASES[name]
    drawn = list(case.draw("test", case.sizes["test"], 0))
    people = [person.name for person in PEOPLE]
    properties = {cause.name: [cause.holds(eye) for _, eye in drawn] for cause in case.root_causes}
    properties |= {"label": [label for label, _ in drawn], "eyewear": [eye.eyewear for _, eye in drawn]}
    for what, values in properties.items():
        kinds = sorted(set(values))
        table = np.zeros((len(people), len(kinds)))
        for (_, eye), value in zip(drawn, values, strict=True):
            table[people.index(eye.person), kinds.index(value)] += 1
        # Ten properties or fewer are tested, so that a p below 0.005 is no accident.
        assert chi2_contingency(table).pvalue > 0.005, what


@pytest.mark.parametrize("name", PEOPLE_CASES)
def test_a_person_has_the_same_skin_iris_and_brow_in_all_images(name):
    for _, eye in PEOPLE_CASES[name].draw("test", 200, 0):
        person = find_person(eye.person)
        assert abs(eye.skin_tone - person.skin_tone) <= SKIN_JITTER + 0.0006  # rounded
        assert (eye.iris, eye.brow_thickness) == (person.iris, person.brow_thickness)


def test_people_differ_in_each_trait_and_have_frames():
    assert [person.name for person in PEOPLE] == [f"person_{number:02d}" for number in range(1, 21)]
    assert len({dataclasses.astuple(person)[2:] for person in PEOPLE}) == 20
    for field in dataclasses.fields(NOBODY)[2:]:
        assert len({getattr(person, field.name) for person in PEOPLE}) > 1, field.name
    assert all(person.frame is not None and person.seed is not None for person in PEOPLE)


def test_a_stranger_is_an_error_for_the_engineer():
    with pytest.raises(SAFEError, match=r"from person_01 to person_20\. Received: person_21"):
        find_person("person_21")


def test_casting_changes_only_the_face():
    eye = cast(np.random.default_rng(0), PLAIN)
    changed = {
        field.name for field in dataclasses.fields(Eye) if getattr(eye, field.name) != getattr(PLAIN, field.name)
    }
    assert eye.person
    assert changed <= {"skin_tone", "iris", "brow_thickness"}


def test_images_of_a_person_look_alike_and_those_of_others_do_not():
    views = [
        {"seed": 1, "gaze_deg": 30.0, "eccentricity_deg": 10.0, "openness": 0.7},
        {"seed": 2, "gaze_deg": 200.0, "eccentricity_deg": 14.0, "openness": 0.5, "light": 0.85},
    ]
    first, second = (
        np.array([render(drawn_for(person, an_eye(**view))).astype(float) for person in PEOPLE]) for view in views
    )
    # Brightness and colour of a coarse grid, and detail within its cells.
    first, second = (
        np.concatenate([cells.mean(axis=(2, 4)), cells.std(axis=(2, 4))], axis=-1).reshape(20, -1)
        for cells in (images.reshape(20, 8, 16, 8, 16, 3) for images in (first, second))
    )
    distances = np.linalg.norm(first[:, None] - second[None], axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), np.arange(20))


def test_hairs_and_pores_of_a_person_stay_where_they_are(monkeypatch):
    person = max(PEOPLE, key=lambda person: person.roughness)

    def change() -> float:
        """Difference between skin and brow in two images, moved to the same place."""
        first, second = (render(drawn_for(person, an_eye(seed=seed)))[:40].astype(float) for seed in (1, 2))
        shifts = [(down, right) for down in range(-9, 10) for right in range(-9, 10)]
        return min(np.abs(np.roll(first, shift, (0, 1)) - second)[10:-10, 10:-10].mean() for shift in shifts)

    same = change()
    monkeypatch.setattr(people, "find_person", lambda _: dataclasses.replace(person, seed=None))
    assert same < 0.6 * change()


@pytest.mark.parametrize("kind", ["glasses", "sunglasses"])
def test_the_frame_is_that_of_the_person(kind):
    plain = an_eye(eyewear=kind, lens_reflection=0.0)
    red = next(person for person in PEOPLE if person.frame is not None and person.frame[0] > 10 * person.frame[1])
    image = render(drawn_for(red, plain)).astype(int)
    bare = render(drawn_for(red, an_eye())).astype(int)

    def red_pixels(pixels: np.ndarray) -> int:
        return np.count_nonzero((pixels[..., 0] > 80) & (pixels[..., 1] < 0.45 * pixels[..., 0]))

    assert red_pixels(image) > red_pixels(bare) + 300


def test_parameters_of_people_but_the_seed_are_read_as_they_were_written(tmp_path):
    eyes = [drawn_for(PEOPLE[6], an_eye(seed=0)), drawn_for(PEOPLE[2], an_eye(seed=0, light=0.05))]
    path = tmp_path / "parameters.csv"
    write_subjects(path, [(f"test/0_right/{i}.png", "0_right", eye) for i, eye in enumerate(eyes)], PERSONS)
    assert list(read_subjects(path, PERSONS).values()) == eyes
    with path.open(newline="") as file:
        assert [row["person"] for row in csv.DictReader(file)] == ["person_07", "person_03"]
    assert path.read_text().splitlines()[0].split(",") == ["image", "label", *names_of(EYES), "person", *DERIVED]


@pytest.mark.parametrize("name", PEOPLE_CASES)
def test_a_case_with_people_names_the_person_of_each_image(tmp_path, fake_training, name):
    build_case(name, tmp_path / name, scale=0.004)
    with (tmp_path / name / "parameters.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["image"].split("/")[0] for row in rows} >= {"train", "improvement", "test"}
    assert {row["person"] for row in rows} <= {person.name for person in PEOPLE}
    drawn = [row for part in lay_out_all(PEOPLE_CASES[name], seed=0, scale=0.004).values() for row in part]
    path, _, eye = drawn[-1]
    assert read_subjects(tmp_path / name / "parameters.csv", PERSONS)[path] == dataclasses.replace(eye, seed=0)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name / path)), render(eye))


@pytest.mark.case
@pytest.mark.slow
@pytest.mark.parametrize("name", PEOPLE_CASES)
def test_failures_of_people_look_alike_by_person_and_have_other_reasons(tmp_path, name):
    accuracy = build_case(name, tmp_path / name)
    assert 0.60 < accuracy["test_accuracy"] < 0.93
    assert 250 <= accuracy["failures"] <= 900
    causes = json.loads((tmp_path / name / "causes.json").read_text())
    for cause in causes:
        assert cause["failure_rate_inside"] > 5 * cause["failure_rate_elsewhere"], cause["name"]
        assert cause["failures"] >= 20, cause["name"]

    features = extract_features(tmp_path / name / "failures", choose_extractor("vgg16-conv"))
    clusters = find_root_cause_clusters(features)
    eyes = read_subjects(tmp_path / name / "parameters.csv", PERSONS)
    kept = clusters.labels >= 0
    assert kept.mean() > 0.8
    people = np.array([eyes[f"failures/{path}"].person for path in clusters.paths])
    reasons = [
        "+".join(cause["name"] for cause in causes if f"failures/{path}" in cause["failing"]) for path in clusters.paths
    ]
    with_person = normalized_mutual_info_score(people[kept], clusters.labels[kept])
    with_reason = normalized_mutual_info_score(np.array(reasons)[kept], clusters.labels[kept])
    assert with_person > 0.55
    assert with_reason < with_person - 0.1
