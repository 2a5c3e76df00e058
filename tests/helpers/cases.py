"""Eyes, a stand-in for a DNN, and what holds of the images that any case study draws."""

import csv
import dataclasses
import typing
from collections import Counter

import numpy as np
import pytest

from safe_dnn.casestudies.case import Case, Kind, Subject
from safe_dnn.casestudies.parameters import Eye
from safe_dnn.casestudies.table import names_of
from safe_dnn.support.tables import IMAGE

PLAIN = Eye(
    seed=1, gaze_deg=0.0, eccentricity_deg=0.0, openness=0.9, head_yaw_deg=0.0, head_pitch_deg=0.0, distance_cm=60.0,
    light_side_deg=-20.0, light_height_deg=30.0, light=0.9, blur_px=0.2, noise_levels=0.0, eyewear="none",
    lens_reflection=0.5, lens_tint=0.5, skin_tone=0.2, iris="brown", pupil_mm=4.0, brow_thickness=0.5,
)  # fmt: skip


def an_eye(**changes) -> Eye:
    return dataclasses.replace(PLAIN, **changes)


def read_subjects(path, kind: Kind) -> dict[str, Subject]:
    """The subjects in a file that `safe_dnn.casestudies.table.write_subjects` wrote without their seeds, by image."""
    types = typing.get_type_hints(kind.type)
    seed = {"seed": 0} if "seed" in types else {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row[IMAGE]: kind.type(**seed, **{name: types[name](row[name]) for name in names_of(kind)})
            for row in csv.DictReader(file)
        }


def causes_found(clusters, causes) -> set[str]:
    """The root causes of `causes.json` that explain more than half of the images of some RCC."""
    found = set()
    for rcc in range(clusters.labels.max() + 1):
        members = {clusters.paths[i] for i in np.flatnonzero(clusters.labels == rcc)}
        counts = Counter(
            {c["name"]: len(members & {i.removeprefix("failures/") for i in c["failing"]}) for c in causes}
        )
        name, count = counts.most_common(1)[0]
        found |= {name} if count > len(members) / 2 else set()
    return found


class FakeModel:
    """Says `0_right` to everything; saved as a text file."""

    def __call__(self, images, training):
        return np.tile(np.eye(8)[0], (len(images), 1))

    def save(self, path):
        path.write_text("a model")


def lacks_its_causes_in_training(case: Case, *, least: float = 0.04) -> None:
    """The training set lacks the known root causes, or keeps few; each is in more than `least` of the test set."""
    train, test = (
        [set(case.causes_of(subject)) for _, subject in case.draw(part, 800, seed=0)] for part in ("train", "test")
    )
    for cause in case.root_causes:
        in_test = sum(cause in each for each in test) / len(test)
        in_train = sum(cause in each for each in train) / len(train)
        assert in_test > least, cause.name
        assert in_train <= 0.5 * in_test if cause.share_in_training else in_train == 0, cause.name


def has_each_situation_by_itself(case: Case, cover: str) -> None:
    """Situations occur with their shares and one at a time; `cover` names the parameter of what covers eye or face."""
    subjects = [subject for _, subject in case.draw("test", 1500, seed=0)]
    assert all(map(case.clear, subjects))
    inside = np.zeros(len(subjects), int)
    for situation in case.situations:
        holds = np.array(
            [
                all(low <= getattr(subject, key) <= high for key, (low, high) in situation.ranges.items())
                and situation.cover in (None, getattr(subject, cover))
                for subject in subjects
            ]
        )
        assert holds.mean() == pytest.approx(situation.share, rel=0.3)
        inside += holds
    assert inside.max() == 1


def has_sets_that_differ_and_repeat(case: Case) -> None:
    """The sets differ, and a seed repeats them; the classes are in the order of their folders."""
    drawn = {part: list(case.draw(part, 5, seed=3)) for part in case.sizes}
    assert drawn["test"] == list(case.draw("test", 5, seed=3))
    assert drawn["test"] != drawn["improvement"]
    assert drawn["test"] != list(case.draw("test", 5, seed=4))
    assert all(label == case.label(subject) for rows in drawn.values() for label, subject in rows)
    if not case.regression:
        assert list(case.classes) == sorted(case.classes)
        assert case.parts or {label for rows in drawn.values() for label, _ in rows} <= set(case.classes)
