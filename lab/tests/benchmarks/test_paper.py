import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from lab.benchmarks.kept import ROOT, kept, key_of
from lab.benchmarks.memory import peak_resident_mb
from lab.benchmarks.paper import __main__ as paper
from lab.benchmarks.paper.cases import PaperCase, UnsafeValue, load_paper_case, unsafe_values
from lab.benchmarks.paper.measures import covers, effect, known_cause_labels, measure_outcome, reduction, share_above
from lab.benchmarks.paper.report import by_size, cost_section, covered_share, paper_section
from lab.benchmarks.reasons import measuring
from lab.casestudies.cases import CASES
from lab.casestudies.signs.parameters import parts_of
from safe_dnn.FE import ImageFeatures
from safe_dnn.features.extractor import Extractor
from safe_dnn.support.errors import SAFEError

# --- Measures -----------------------------------------------------------------------------------------------------


def test_variance_reduction_is_one_minus_the_share_of_the_reference_that_is_left():
    assert reduction("light", np.array([1.0, 3.0]), np.array([0.0, 4.0, 0.0, 4.0])) == pytest.approx(1 - 1 / 4)
    assert reduction("light", np.array([2.0, 2.0]), np.array([0.0, 4.0])) == 1


def test_an_angle_s_variance_does_not_jump_at_north():
    reference = np.arange(0, 360, 10.0)
    assert reduction("gaze_deg", np.array([355.0, 5.0]), reference) > 0.99


def test_a_category_counts_only_where_the_rcc_s_commonest_value_is_not_everyones():
    reference = np.array(["none"] * 6 + ["sunglasses"] * 2 + ["glasses"] * 2)
    assert reduction("eyewear", np.array(["none"] * 5), reference) == 0
    assert reduction("eyewear", np.array(["sunglasses"] * 5), reference) == 1


@pytest.mark.parametrize("own", [np.array([]), np.array([3.0]), np.array([np.nan, 3.0])])
def test_fewer_than_two_known_values_reduce_nothing(own):
    assert reduction("light", own, np.array([0.0, 4.0])) == 0


def test_a_parameter_that_never_varies_reduces_nothing():
    assert reduction("light", np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0


def test_a_value_is_covered_up_to_a_quarter_of_its_sub_range_and_half_of_the_variance():
    value = UnsafeValue("root cause", "light", 0.5, 0.4)
    assert covers(value, np.array([0.59, 0.59]), 0.5)
    assert not covers(value, np.array([0.61, 0.61]), 0.9)
    assert not covers(value, np.array([0.5, 0.5]), 0.49)


def test_an_angle_s_distance_to_an_unsafe_value_goes_round_the_circle():
    value = UnsafeValue("other border", "gaze_deg", 355.0, 45.0)
    assert covers(value, np.array([3.0, 5.0]), 0.9)
    assert not covers(value, np.array([10.0, 12.0]), 0.9)


def test_a_category_is_covered_where_it_is_the_commonest():
    value = UnsafeValue("root cause", "eyewear", "sunglasses", 0.0)
    assert covers(value, np.array(["sunglasses", "sunglasses", "none"]), 0.6)
    assert not covers(value, np.array(["none", "none", "sunglasses"]), 0.6)


def small_case():
    light = np.array([0.1, 0.1, 0.1, 0.9, 0.9, 0.5])
    blur = np.array([1.0, 5.0, 9.0, 1.0, 5.0, 9.0])
    reference = {"light": np.linspace(0, 1, 50), "blur": np.linspace(0, 10, 50)}
    values = (UnsafeValue("root cause", "light", 0.1, 0.2), UnsafeValue("root cause", "blur", 0.0, 2.0))
    return {"light": light, "blur": blur}, reference, values


def test_all_measures_of_a_clustering_by_hand():
    failing, reference, values = small_case()
    found = measure_outcome(np.array([0, 0, 0, 1, 1, -1]), failing, reference, values)
    assert found.sizes == [3, 2]
    assert found.inspect_percent == pytest.approx(100 * 5 / 6)
    assert found.noise == pytest.approx(1 / 6)
    assert found.best == ["light", "light"]
    assert found.reductions == pytest.approx([1, 1])
    assert found.among_failing == pytest.approx([1, 1])
    assert found.covered == [0]


def test_no_cluster_at_all_covers_nothing():
    failing, reference, values = small_case()
    found = measure_outcome(np.full(6, -1), failing, reference, values)
    assert (found.sizes, found.covered, found.inspect_percent, found.noise) == ([], [], 0, 1)
    assert share_above(found.reductions, 10) == 0


def test_the_share_above_100_percent_is_of_what_rounds_to_it():
    assert share_above([0.996, 0.994, 0.9, 0.91], 100) == 1 / 4
    assert share_above([0.996, 0.994, 0.9, 0.91], 90) == 3 / 4


def test_an_image_of_several_known_causes_belongs_to_the_first():
    causes = {"dark": np.array([True, False, True, False]), "blurred": np.array([True, True, False, False])}
    assert known_cause_labels(causes).tolist() == [0, 1, 0, -1]


def test_the_effect_size_is_the_chance_of_the_larger_value():
    assert effect([3, 4], [1, 2])[1] == 1
    assert effect([1, 2], [3, 4])[1] == 0
    assert effect([5, 5], [5, 5]) == (1, 0.5)
    assert all(math.isnan(one) for one in effect([], [1]))


# --- Unsafe values ------------------------------------------------------------------------------------------------


def test_the_unsafe_values_of_gd_are_its_root_causes_and_the_eight_borders():
    eyes = [eye for _, eye in CASES["gd"].draw("test", 800, 0)]
    values = list(unsafe_values("gd", {}, eyes))
    borders = {value.value: value for value in values if value.parameter == "gaze_deg" and value.width == 45}
    assert sorted(borders) == [22.5 + 45 * k for k in range(8)]
    assert [at for at, value in borders.items() if value.source == "root cause"] == [112.5, 292.5]
    categories = {value.value for value in values if isinstance(value.value, str)}
    assert categories == {"sunglasses", "glasses"}
    dark = next(value for value in values if value.parameter == "light")
    assert 0.008 <= dark.value <= 0.04
    assert dark.width < 0.033


def test_the_unsafe_values_of_oc_have_the_border_of_open_eyes_once():
    eyes = [eye for _, eye in CASES["oc"].draw("test", 800, 0)]
    values = list(unsafe_values("oc", {}, eyes))
    assert [v.source for v in values if v.parameter == "openness" and v.value == 0.4] == ["root cause"]
    assert ("other border", "pupil_to_lid_mm", 0.0) in [value[:3] for value in values]


def test_the_unsafe_values_of_hpd_are_its_root_causes_and_the_four_borders():
    heads = [head for _, head in CASES["hpd"].draw("test", 800, 0)]
    values = list(unsafe_values("hpd", {}, heads))
    borders = {(v.parameter, v.value): v.source for v in values if v.width in (32, 22)}
    assert borders == {
        ("yaw_deg", 16.0): "root cause",
        ("pitch_deg", -11.0): "root cause",
        ("yaw_deg", -16.0): "other border",
        ("pitch_deg", 11.0): "other border",
    }
    left = [v for v in values if v.parameter == "yaw_deg" and v.value < -16]
    assert [v.source for v in left] == ["root cause"]  # at night


def test_a_regression_has_no_border():
    heads = [head for _, head in CASES["fld"].draw("test", 800, 0)]
    values = list(unsafe_values("fld", {}, heads))
    assert {v.source for v in values} == {"root cause"}
    assert {v.value for v in values if isinstance(v.value, str)} == {"sunglasses", "scarf", "hand"}


def test_the_unsafe_values_of_a_detector_are_those_of_its_objects():
    parts = [part for _, scene in CASES["od"].draw("test", 400, 0) for part in parts_of(scene)]
    near_by = np.array([str(part.near_by) for part in parts])
    values = {v.parameter: v for v in unsafe_values("od", {"near_by": near_by}, parts)}
    assert {v.source for v in values.values()} == {"root cause"}
    assert values["truncated"].value == "yes"
    assert values["surroundings"].value == "shops"
    assert values["near_by"].value == "1"  # a category, since it is only 0 or 1
    assert 10 < values["object_px"].value < 18


def test_the_unsafe_values_of_photographs_are_the_ends_of_their_parameters():
    column = np.linspace(0, 100, 101)
    values = list(unsafe_values("gtsrb", {"brightness": column, "original_width": column}, []))
    assert [(v.parameter, round(v.value), round(v.width)) for v in values] == [
        ("brightness", 11, 18),
        ("brightness", 89, 18),
        ("original_width", 11, 18),
    ]


def test_a_case_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(SAFEError, match="Expected the case gd"):
        load_paper_case("gd", tmp_path, tmp_path)
    with pytest.raises(SAFEError, match="Expected a case of"):
        load_paper_case("ts", tmp_path, tmp_path)


# --- The runs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results():
    """A case of three plain root causes, measured with all methods; twice with a tenth left out."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 30)
    features = (np.eye(3)[truth] @ rng.random((3, 40)) * 5 + 0.1 * rng.random((90, 40))).astype(np.float32)
    light = np.choose(truth, [0.1, 0.5, 0.9]) + 0.01 * rng.random(90)
    extractor = Extractor("vgg16-conv", "some", None)
    features = np.pad(features, ((0, 0), (0, 4224 - 40)))
    paths = tuple(f"{i:03d}.png" for i in range(90))
    images = ImageFeatures(SimpleNamespace(), paths, features, extractor, ())
    case = PaperCase(
        "gd",
        None,
        None,
        paths,
        {"light": light},
        {"light": rng.random(300)},
        {f"cause {i}": truth == i for i in range(3)},
        (UnsafeValue("root cause", "light", 0.1, 0.2), UnsafeValue("other border", "light", 0.3, 0.1)),
        "digest",
    )
    distances = {"conv": np.abs(light[:, None] - light).astype(np.float32)}
    whole, *repetitions = (paper.compare_methods(case, images, distances, seed) for seed in (None, 0, 1))
    cost = {
        label: [{"seconds": s, "cpu_seconds": s, "process_mb": 900.0, "python_mb": mb, "parts": {"Heatmaps": s}}]
        for label, s, mb in (("SAFE", 10.0, 5.0), ("SAFE, bfloat16", 3.0, 5.0), ("HUDD", 20.0, 600.0))
    }
    about = {
        "failing": 90,
        "tested": 300,
        "values": [(value.source, value.text) for value in case.values],
        "causes": list(case.causes),
        "extractor": "some",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "SUBSET_SIZES", (60, 500))
        subsets = paper._subsets(case, images, 4)
    result = {
        "case": about,
        "whole": whole,
        "repetitions": repetitions,
        "subsets": subsets,
        "cost": cost,
    }
    return json.loads(json.dumps({"gd": result}))


@pytest.mark.slow
def test_all_methods_see_the_same_images_and_random_groups_have_safe_s_sizes(results):
    whole = results["gd"]["whole"]
    assert list(whole) == ["SAFE", "HUDD", "K-means", "random", "known causes"]
    assert whole["random"]["sizes"] == whole["SAFE"]["sizes"]
    assert len(whole["K-means"]["sizes"]) == len(whole["SAFE"]["sizes"])
    assert whole["known causes"]["sizes"] == [30, 30, 30]
    for one in results["gd"]["repetitions"]:
        assert sum(one["known causes"]["sizes"]) == 81


@pytest.mark.slow
def test_methods_that_find_the_causes_cover_their_value_and_random_groups_do_not(results):
    result = results["gd"]
    shares = {
        method: covered_share(result, outcome, source="root cause") for method, outcome in result["whole"].items()
    }
    assert shares["HUDD"] == shares["known causes"] == shares["SAFE"] == 1
    assert shares["random"] == 0
    assert covered_share(result, result["whole"]["known causes"]) == 1 / 2


@pytest.mark.slow
def test_the_report_answers_every_research_question(results):
    text = paper_section(results)
    for heading in ("RQ1", "RQ2", "RQ3"):
        assert f"### {heading}" in text
    assert "Even the known causes do not cover light 0.3, since they lie elsewhere." in text
    text = cost_section(results)
    assert text.startswith("### RQ4")
    assert "| gd, HUDD | 20 | 20 | 600.0 | 900 |" in text
    assert (
        "SAFE takes 0.5 of the time (0.15 in bfloat16) and 0.0083 of the Python memory of HUDD. 100 % of SAFE's time "
        "is “Heatmaps”." in text
    )
    assert cost_section({"gd": {**results["gd"], "cost": {}}}) == ""


@pytest.mark.slow
def test_a_regression_is_reported_without_hudd(results):
    def without(outcomes):
        return {method: outcome for method, outcome in outcomes.items() if method != "HUDD"}

    gd = results["gd"]
    fld = {**gd, "whole": without(gd["whole"]), "repetitions": list(map(without, gd["repetitions"])), "cost": {}}
    text = paper_section({"gd": gd, "fld": fld})
    assert "fld: HUDD needs a classifier of whole images: it takes no regression and no detector." in text
    assert "fld, HUDD" not in text
    cost = {label: runs for label, runs in gd["cost"].items() if not label.startswith("HUDD")}
    assert "- fld: HUDD needs a classifier of whole images" in cost_section({"fld": {**fld, "cost": cost}})
    row = next(line for line in text.splitlines() if line.startswith("| fld | 90 of 300 |"))
    assert row.endswith("| – | – |")


@pytest.mark.slow
def test_what_is_found_in_fewer_failures_stands_beside_what_is_found_in_all(results):
    sizes = by_size(results["gd"])
    assert {size: len(found) for size, found in sizes.items()} == {60: 4, 90: 1}
    assert all(sum(one["sizes"]) <= 60 for one in sizes[60])
    assert sizes[60][0]["sizes"] != sizes[60][1]["sizes"]
    assert "| gd | 90 | 3 |" in paper_section(results)
    assert by_size({**results["gd"], "subsets": []}) == {}


@pytest.mark.slow
def test_known_causes_that_vary_too_much_are_named(results):
    exact = results["gd"]["whole"]["known causes"]
    whole = {**results["gd"]["whole"], "known causes": {**exact, "reductions": [0.99, 0.83, 0.98]}}
    assert "more than 90 %: cause 1 (light by 83 %)" in paper_section({"gd": {**results["gd"], "whole": whole}})
    assert "would not reduce" not in paper_section(results)


def test_a_result_is_computed_once_and_again_when_its_key_changes(tmp_path):
    calls = []

    def compute():
        calls.append(len(calls))
        return calls[-1]

    path = tmp_path / "result.json"
    assert [kept(path, key, compute) for key in ("a", "a", "b", "b")] == [0, 0, 1, 1]


def test_a_key_follows_the_content_of_source_files():
    errors, files = "safe_dnn/support/errors.py", "safe_dnn/support/files.py"
    assert key_of("x", errors) == key_of("x", errors)
    assert len({key_of("x", errors), key_of("y", errors), key_of("x", files)}) == 3


@pytest.mark.parametrize("module", [paper, measuring])
def test_the_source_files_that_kept_results_depend_on_are_there(module):
    named = {file for name, files in vars(module).items() if name.endswith("SOURCES") for file in files}
    assert named
    assert {file for file in named if not (ROOT / file).is_file()} == set()


@pytest.mark.parametrize(("data", "message"), [("gd", "NAME=PATH"), ("gd=", "NAME=PATH"), ("ts=/a", "must name cases")])
def test_a_folder_without_its_case_is_one_line(tmp_path, capsys, data, message):
    assert paper.main(["--cases", "gd", "--work", str(tmp_path), "--data", data]) == 2
    assert message in capsys.readouterr().err


def test_photographs_that_were_not_named_are_left_out(tmp_path, capsys):
    assert paper.main(["--cases", "gtsrb", "--work", str(tmp_path)]) == 2
    assert "gtsrb: left out" in capsys.readouterr().err


def test_the_peak_of_this_process_is_more_than_what_it_holds():
    block = np.ones(4_000_000)
    assert peak_resident_mb() > block.nbytes / 1e6
