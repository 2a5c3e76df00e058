"""Which test images belong together: named by the engineer, offered where it looks like it, and kept with the run."""

from pathlib import Path

import numpy as np
import pytest

from safe_dnn.api.explaining import explain_failures
from safe_dnn.api.generation import generate_clusters
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.options import ClusteringSettings, GivenAnswers
from safe_dnn.rccs.answers import CONFIDENCE, Answers
from safe_dnn.rccs.clusters import load_clusters
from safe_dnn.rccs.spots.weak_spots import find_weak_spots
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.reasons.known_groups import named_groups, suspected_groups
from safe_dnn.reasons.run_record import groups_of
from safe_dnn.support.errors import SAFEError

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


def draw_tested(folder: Path, paths: list[str], right: np.ndarray, *columns: str) -> tuple[AnsweredImages, Path]:
    """A test set whose images are nowhere, with a table of parameters: a text for each image, after the header."""
    table = folder / "parameters.csv"
    header, *rows = columns
    table.write_text("\n".join([f"image,{header}", *(f"{p},{row}" for p, row in zip(paths, rows, strict=True))]))
    label = np.array([path.partition("/")[0] for path in paths])
    answers = Answers(label, np.where(right, label, "other"), np.full(len(label), np.float32(0.5)), CONFIDENCE)
    predictions = folder / "predictions.csv"
    rows = [f"{path},x,s{i % 6},no" for i, path in enumerate(paths)]
    predictions.write_text("\n".join(["image,predicted,site,right", *rows]))
    return AnsweredImages(predictions, folder, tuple(paths), answers, right), table


def of_persons(folder: Path, *, persons: int = 10, each: int = 20, column: str = "person") -> tuple:
    """Half of the persons fail on 15 of 20 images, the others on 1."""
    paths = [f"a/{i:04d}.png" for i in range(persons * each)]
    person = np.arange(persons * each) // each
    right = np.arange(persons * each) % each >= np.where(person % 2, 15 * each // 20, 1)
    return draw_tested(folder, paths, right, column, *(f"p{i}" for i in person))


def test_the_groups_are_the_values_of_a_column(tmp_path):
    tested, table = of_persons(tmp_path)
    known = named_groups(["person"], tested, parameters=table)
    assert (known.named, known.groups.name, known.groups.column) == (True, "person", "person")
    assert np.bincount(known.groups.of).tolist() == [20] * 10
    assert known.notes[0].startswith("The images are of 10 persons, with an intra-group correlation of failing of 0.5")
    assert named_groups([], tested, parameters=table) is None


def test_several_columns_combine_those_of_the_predictions_too(tmp_path):
    tested, table = of_persons(tmp_path)
    known = named_groups(["person", "site"], tested, parameters=table)
    assert (known.groups.name, known.groups.column) == ("person-site", "")
    assert len(np.unique(known.groups.of)) == 60


def test_an_unknown_column_is_an_error_that_names_those_that_are_known(tmp_path):
    tested, table = of_persons(tmp_path)
    with pytest.raises(SAFEError, match=r"Received: persona\. Known are person, site\."):
        named_groups(["persona"], tested, parameters=table)
    with pytest.raises(SAFEError, match="Received twice: person"):
        named_groups(["person", "site", "person"], tested, parameters=table)


def test_groups_that_say_little_are_told_and_those_of_another_test_set_are_not_required(tmp_path):
    """A group for each image, one group, unknown values, a group that determines the class, and no such column."""
    paths = [f"{label}/{i}.png" for label in "ab" for i in range(30)]
    right = np.random.default_rng(0).random(60) < 0.7
    told = {
        "Each image is of another lesion: images count as independent.": [str(i) for i in range(60)],
        "All images are of one lesion: what is found may hold for this one alone.": ["x"] * 60,
        "The lesion of 10 images is unknown: each counts as one of its own.": ["", "N/A", *"xyzz"] * 5 + ["z"] * 30,
        "Each lesion has images of one class only, so that classes are compared between them alone.": [
            str(i // 6) for i in range(60)
        ],
    }
    for note, values in told.items():
        tested, table = draw_tested(tmp_path, paths, right, "lesion", *values)
        known = named_groups(["lesion"], tested, parameters=table)
        assert note in known.notes
        find_weak_spots({"light": np.arange(60.0)}, ~right, groups=known.groups)
    (note,) = named_groups(["drive"], tested, parameters=table, required=False).notes
    assert note.startswith("Images count as independent: Expected a column that says which images are of one group.")


@pytest.mark.parametrize(
    ("column", "one", "ten"),
    [
        ("person", "person", "10 persons"),
        ("subject_id", "subject", "10 subjects"),
        ("Patient", "group by Patient", "10 groups by Patient"),  # its plural may be another one
    ],
)
def test_a_column_that_is_named_like_a_group_is_offered_if_failing_depends_on_it(tmp_path, column, one, ten):
    tested, table = of_persons(tmp_path, column=column)
    (sentence,) = suspected_groups(tested, parameters=table).notes
    assert sentence.startswith(f"Images of one {one} are not independent ({ten}, intra-group correlation of ")
    assert f"name {column} as the group" in sentence


def test_few_groups_single_images_and_independent_ones_are_not_offered(tmp_path):
    for tested, table in (of_persons(tmp_path, persons=4), of_persons(tmp_path, persons=40, each=1)):
        assert suspected_groups(tested, parameters=table) is None
    paths = [f"a/{i:04d}.png" for i in range(200)]
    right = np.random.default_rng(0).random(200) < 0.8
    tested, table = draw_tested(tmp_path, paths, right, "person", *(f"p{i // 20}" for i in range(200)))
    assert suspected_groups(tested, parameters=table) is None


def test_names_of_files_may_say_it(tmp_path):
    """Numbers begin anew in each folder; a name goes on in the next."""
    paths = [f"{label}/{track:05d}_{i:05d}.png" for label in "ab" for track in range(5) for i in range(10)]
    right = np.arange(100) // 10 % 2 == 0
    tested, table = draw_tested(tmp_path, paths, right, "light", *["1"] * 100)
    assert (
        "(10 sequences, intra-group correlation of failing 1.00): name prefix as the group"
        in (suspected_groups(tested, parameters=table).notes[0])
    )
    named, _ = draw_tested(tmp_path, [path.replace("/", "/cam") for path in paths], right, "light", *["1"] * 100)
    groups = named_groups(["prefix"], named, parameters=table).groups
    assert (len(np.unique(groups.of)), groups.name) == (5, "sequence")
    deeper, _ = draw_tested(
        tmp_path, [f"{p[0]}/{i // 10}/{i}.png" for i, p in enumerate(paths)], right, "x", *["1"] * 100
    )
    assert "name folder as the group" in suspected_groups(deeper, parameters=table).notes[0]


def test_names_of_several_numbers_are_no_sequence_unless_they_are_named_as_such(tmp_path):
    """Faces are named by age, sex and time: failing depends on these."""
    rng = np.random.default_rng(0)
    ages, right = rng.permutation(np.repeat(np.arange(20), 10)), np.repeat(np.arange(20) % 2 == 0, 10)
    paths = [f"{age % 2}/{age}_{age % 2}_{20170109150557335 + 90_000 * i}.jpg" for i, age in enumerate(ages.tolist())]
    tested, table = draw_tested(tmp_path, paths, right[ages * 10], "light", *["1"] * 200)
    assert suspected_groups(tested, parameters=table) is None
    assert len(np.unique(named_groups(["prefix"], tested, parameters=table).groups.of)) == 20


@pytest.mark.slow
def test_groups_are_kept_with_the_run_and_in_its_rates(people):
    named = SETTINGS._replace(parameters=people.parameters, answers=GivenAnswers(group=("person",)))
    generate_clusters(people.failing, people.out, named)
    assert groups_of(people.out) == ("person",)
    explain_failures(people.out)
    reasons = load_reasons(people.out, load_clusters(people.out))
    assert (reasons.comparison.groups.name, len(np.unique(reasons.comparison.groups.of))) == ("person", 4)
    assert len(reasons.comparison.groups.of) == len(reasons.comparison.of_failing) + len(reasons.comparison.of_right)
    assert reasons.comparison.notes[0].startswith("The images are of 4 persons")
    rates = reasons.rates
    assert all(rate.figures.groups == 1 for rate in rates.values())  # each RCC is one person
    generate_clusters(people.failing, people.out, SETTINGS._replace(parameters=people.parameters))
    explain_failures(people.out)
    again = load_reasons(people.out, load_clusters(people.out))
    assert groups_of(people.out) == ()
    assert again.comparison.groups is None


@pytest.mark.slow
def test_one_note_warns_of_what_looks_like_groups(people, monkeypatch):
    monkeypatch.setattr("safe_dnn.reasons.known_groups.LEAST_GROUPS", 4)
    monkeypatch.setattr("safe_dnn.reasons.known_groups.LEVEL", 1.1)
    monkeypatch.setattr("safe_dnn.reasons.known_groups.LEAST_LOSS", 1.0)
    generate_clusters(people.failing, people.out, SETTINGS._replace(parameters=people.parameters))
    explain_failures(people.out)
    reasons = load_reasons(people.out, load_clusters(people.out))
    assert sum("name person as the group" in note for note in reasons.comparison.notes) == 1
    assert not any("person" in rate.in_words() for rate in reasons.rates.values())
