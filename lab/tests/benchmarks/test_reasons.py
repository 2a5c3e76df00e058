import json
from pathlib import Path

import numpy as np
import pytest

from lab.benchmarks.reasons import __main__ as reasons_benchmark
from lab.benchmarks.reasons.cases import ReasonsCase, load_reasons_case
from lab.benchmarks.reasons.measures import (
    Condition,
    causes_of_clusters,
    causes_of_conditions,
    counts,
    first_of,
    held_failures,
    holding,
    information,
)
from lab.benchmarks.reasons.measuring import measure_case
from lab.benchmarks.reasons.report import reasons_section
from lab.benchmarks.reasons.rivals import slice_conditions, tree_conditions
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.features.batches import present_stream, streaming
from safe_dnn.features.extractor import Extractor
from safe_dnn.rccs.answers import CONFIDENCE, Answers
from safe_dnn.reasons.known import Known
from safe_dnn.support.errors import SAFEError


def condition(column: str, *rows: int, n: int = 10) -> Condition:
    return Condition(column, frozenset([column]), np.isin(np.arange(n), rows))


# --- Measures ---------------------------------------------------------------------------------------------------


def test_a_partition_that_tells_right_from_wrong_has_the_whole_entropy():
    bits, share = information(np.array([5000, 5000]), np.array([0, 5000]))
    assert bits == pytest.approx(1, abs=1e-3)
    assert share == pytest.approx(1, abs=1e-3)


def test_a_quarter_of_wrong_images_in_one_half_is_known_by_hand():
    # H(1/8) = .5436 bits; halves with 0 and 1/4 leave .8113 / 2 bits.
    bits, share = information(np.array([4000, 0, 4000]), np.array([0, 0, 1000]))
    assert bits == pytest.approx(0.5436 - 0.8113 / 2, abs=1e-3)
    assert share == pytest.approx(bits / 0.5436, abs=1e-3)


def test_random_cells_have_no_information_on_average():
    rng = np.random.default_rng(0)
    wrong = rng.random(1000) < 0.3
    plain = [information(*counts(rng.integers(0, 40, 1000), wrong))[0] for _ in range(50)]
    assert np.mean(plain) < 0.008  # without the correction .028


@pytest.mark.parametrize(("tested", "wrong"), [([], []), ([0], [0]), ([7, 3], [7, 3]), ([7, 3], [0, 0])])
def test_without_right_or_wrong_images_there_is_no_information(tested, wrong):
    assert information(np.array(tested, int), np.array(wrong, int)) == (0, 0)


def test_each_image_is_counted_for_the_first_condition_that_holds():
    cells = first_of([condition("a", 0, 1), condition("b", 1, 2)], 4 + 6)
    assert cells.tolist() == [0, 0, 1, *[-1] * 7]
    wrong = np.isin(np.arange(10), [0, 2, 9])
    tested, failing = counts(cells, wrong)
    assert tested.tolist() == [7, 2, 1]
    assert failing.tolist() == [1, 1, 1]


def test_failures_are_held_once_however_many_conditions_hold():
    wrong = np.isin(np.arange(10), [0, 1, 8, 9])
    assert held_failures([condition("a", 0, 1, 2), condition("b", 1, 2, 3)], wrong) == (0.5, 0.5)
    held, rate = held_failures([], wrong)
    assert held == 0
    assert np.isnan(rate)


def test_a_cause_counts_if_an_rcc_that_is_called_is_almost_all_of_it():
    labels = np.array([0] * 10 + [1] * 10 + [-1] * 5)
    causes = {"night": np.arange(25) < 9, "blur": (np.arange(25) >= 12) & (np.arange(25) < 25)}
    assert causes_of_clusters(labels, causes, [0, 1]) == ["night"]  # 9 of 10; blur has 8 of 10, and noise is no RCC
    assert causes_of_clusters(labels, causes, [1]) == []


def test_a_condition_names_a_cause_by_its_parameter_and_its_failures():
    wrong = np.isin(np.arange(10), [0, 1, 2, 5, 6])
    causes = {"night": np.isin(np.arange(10), [0, 1, 2])}
    parameters = {"night": ["light"]}
    assert causes_of_conditions([condition("light", 0, 1, 5, 8)], wrong, causes, parameters) == ["night"]
    assert causes_of_conditions([condition("light", 0, 5, 8)], wrong, causes, parameters) == []  # half is not most
    assert causes_of_conditions([condition("brightness", 0, 1)], wrong, causes, parameters) == []
    assert causes_of_conditions([condition("light", 8, 9)], wrong, causes, parameters) == []  # no failure
    late = [condition("seed", 9)] * 10 + [condition("light", 0, 1)]
    assert causes_of_conditions(late, wrong, causes, parameters) == []


def test_intervals_that_hold_the_rate_are_counted():
    assert holding([(0.1, 0.2), (0.2, 0.3), (0.3, 0.4)], 0.2) == 2


# --- Rivals -----------------------------------------------------------------------------------------------------


def dark_and_red(n: int = 600) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Images that fail if they are dark, or if they are red and large."""
    rng = np.random.default_rng(1)
    columns = {"light": rng.random(n), "size": rng.random(n), "colour": rng.choice(["red", "blue", "green"], n)}
    wrong = (columns["light"] < 0.2) | ((columns["colour"] == "red") & (columns["size"] > 0.6))
    return columns, wrong


def test_a_tree_s_leaves_are_conditions_in_words():
    columns, wrong = dark_and_red()
    found = tree_conditions(columns, wrong, np.arange(len(wrong)))
    assert held_failures(found, wrong) == (1, 1)
    assert {one.columns for one in found} == {frozenset(["light"]), frozenset(["light", "size", "colour"])}
    (dark,) = (one for one in found if one.where.count(" and ") == 0)
    assert dark.where.startswith("light <= 0.")
    assert np.array_equal(dark.holds, columns["light"] < 0.2)
    (red,) = (one for one in found if "colour" in one.columns)
    assert np.array_equal(red.holds, (columns["light"] >= 0.2) & wrong)


def test_a_tree_that_sees_half_of_the_images_speaks_of_all():
    columns, wrong = dark_and_red()
    found = tree_conditions(columns, wrong, np.arange(0, len(wrong), 2))
    held, rate = held_failures([found[0]], wrong)
    assert found[0].holds[1::2].any()
    assert rate > 0.9
    assert held > 0.3


def test_slices_are_read_back_as_conditions(tmp_path):
    columns, wrong = dark_and_red()
    columns = {"constant": np.full(len(wrong), 128.0), **columns}
    columns["light"][:5] = np.nan
    # A stand-in for the environment with sliceline: the slice "colour = red", and "light unknown".
    answer = [[None, None, 3], [0, None, None]]
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}' > \"$3\"\n")
    python.chmod(0o755)
    red, unknown = slice_conditions(columns, wrong, np.arange(len(wrong)), python=python)
    assert (red.where, red.columns) == ("colour = red", {"colour"})
    assert np.array_equal(red.holds, columns["colour"] == "red")
    assert unknown.where == "light unknown"
    assert np.flatnonzero(unknown.holds).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("package", ["sliceline", "pysubgroup"])
def test_a_python_without_the_package_is_one_sentence(tmp_path, package):
    columns, wrong = dark_and_red(40)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "No module named, says $1" >&2\nexit 1\n')
    python.chmod(0o755)
    script = {"sliceline": "slices.py", "pysubgroup": "subgroups.py"}[package]
    with pytest.raises(SAFEError, match=rf"a Python with the package {package}.*No module named, says .*{script}"):
        slice_conditions(columns, wrong, np.arange(40), python=python, package=package)


# --- Whole cases ------------------------------------------------------------------------------------------------


def looks_and_reasons(root: Path, n: int = 1000) -> ReasonsCase:
    """Persons look different; the DNN fails on dark images, which look alike as well."""
    rng = np.random.default_rng(2)
    person, light = rng.integers(0, 4, n), rng.random(n)
    dark = light < 0.15
    wrong = np.where(dark, rng.random(n) < 0.95, rng.random(n) < 0.1)
    centres = np.repeat(10 * np.eye(5), 12, axis=1)  # of four persons, and of dark images
    features = (centres[np.where(dark, 4, person)] + rng.random((n, 60))).astype(np.float32)
    label = rng.choice(["left", "right"], n)
    predicted = np.where(wrong, np.where(label == "left", "right", "left"), label)
    paths = tuple(f"{one}/{i:04d}.png" for i, one in enumerate(label))
    for path in paths:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(b"")
    answers = Answers(label, predicted, np.ones(n, np.float32), CONFIDENCE)
    names = np.array([f"p{number}" for number in person])
    known = Known({"label": label, "predicted": predicted, "light": light, "person": names}, frozenset())
    tested = AnsweredImages(root / "predictions.csv", root, paths, answers, ~wrong)
    extractor = Extractor("vgg16-fc2", "vgg16-fc2-60-0-float32", None)  # of any dimension
    return ReasonsCase("drawn", tested, known, features, extractor, {"dark": dark & wrong}, {"dark": ["light"]})


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    from lab.benchmarks.reasons import measuring

    root, work = tmp_path_factory.mktemp("test"), tmp_path_factory.mktemp("work")
    case = looks_and_reasons(root)
    original = measuring.compare_with_right

    def from_memory(clusters, tested):  # the features are not in the cache
        with streaming(present_stream() or measuring._stream_of(case)):
            return original(clusters, tested)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "compare_with_right", from_memory)
        patch.setattr("safe_dnn.rccs.clusters.recall_extractor", lambda name, identity, weights=None: _Sized())
        python = work / "python"  # a stand-in for the environment with pysubgroup: the subgroup of the darkest tenth
        python.write_text("#!/bin/sh\necho '[[null, 1, null]]' > \"$3\"\n")
        python.chmod(0o755)
        result = measure_case(case, work, shuffles=1, rivals={"pysubgroup": python})
        assert measure_case(case, work, shuffles=1, rivals={"pysubgroup": python}) == result
    return result


class _Sized:
    dimension = 60


@pytest.mark.slow
def test_a_known_cause_is_found_and_persons_are_not_called_reasons(measured):
    rccs = measured["clusters"]["RCCs"]
    assert rccs["causes"] == ["dark"]
    assert rccs["verdicts"]["more"] == 1
    assert rccs["information"][1] > 0.3
    assert measured["clusters"]["K-means"]["rccs"] == rccs["rccs"]


@pytest.mark.slow
def test_conditions_name_the_cause_and_hold_for_unseen_images(measured):
    for method in ("weak spots", "decision tree"):
        one = measured["conditions"][method]
        assert one["causes"] == ["dark"]
        assert one["held"] > 0.5
        assert one["rate"] > 0.8
        assert one["unseen"][1] > 0.3
    assert measured["conditions"]["weak spots"]["first"][0][0].startswith("light <")


@pytest.mark.slow
def test_shuffled_images_have_no_weak_spot(measured):
    (chance,) = measured["chance"]
    assert chance["conditions"]["weak spots"] == 0
    assert chance["clusters"]["RCCs"]["more"] == 0


@pytest.mark.slow
def test_a_section_has_a_row_for_each_case_and_method(measured):
    text = reasons_section({"drawn": measured})
    assert text.startswith("## Reasons, not looks\n")
    assert "SliceLine was not run: see --sliceline." in text
    assert "pysubgroup was not run" not in text
    assert text.count("\n| drawn | ") == 2 + 3 + 1
    assert "| drawn | pysubgroup | 1 | 1 of 1 | " in text
    assert "1. `light < " in text
    further = reasons_section({"drawn": measured}, further=True)
    assert further.startswith("## Reasons: further cases\n")
    assert further.count("\n| drawn | ") == text.count("\n| drawn | ")
    assert "is *named* if" not in further
    assert "| shuffles |" not in reasons_section({"drawn": {**measured, "chance": []}})


@pytest.mark.slow
def test_a_case_without_weak_spots_is_said_to_have_none(measured):
    none = {**measured["conditions"]["weak spots"], "conditions": 0, "first": [], "rate": None}
    text = reasons_section({"drawn": {**measured, "conditions": {"weak spots": none}, "chance": []}})
    assert "drawn has no weak spot." in text


# --- The program ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["gd", "gd=", "=/somewhere"])
def test_a_case_without_folder_is_one_line(tmp_path, capsys, data):
    assert reasons_benchmark.main(["--data", data, "--work", str(tmp_path)]) == 2
    assert "--data must be NAME=PATH" in capsys.readouterr().err


def test_a_folder_without_test_images_is_refused(tmp_path):
    with pytest.raises(SAFEError, match="with a folder test"):
        load_reasons_case("gd", tmp_path, tmp_path, Extractor("vgg16-conv", "x", None))
