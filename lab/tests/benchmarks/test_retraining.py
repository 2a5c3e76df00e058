import json

import numpy as np
import pytest

from lab.benchmarks.retraining import __main__ as retraining
from lab.benchmarks.retraining.choice import (
    STRATEGIES,
    Pool,
    choose_images,
    entropy_of,
    farthest_first,
    margin_of,
    output_change,
    transformed,
)
from lab.benchmarks.retraining.ranks import rank
from lab.benchmarks.retraining.report import compare, gain, retraining_section
from lab.benchmarks.retraining.runs import CaseRuns, load_cases, read_runs
from safe_dnn.dnn.model import load_dnn
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.finetuning import TRAINING, TrainingData, fine_tune
from safe_dnn.training.settings import Settings
from tests.helpers.small_models import NAMES, Ready, colour_model, draw_colour, saved


@pytest.fixture
def pool():
    """20 images: the first 12 near RCC 0, the others near RCC 1, each the nearer the lower its number."""
    rcc = np.repeat([0, 1], [12, 8])
    distance = np.concatenate([np.arange(12.0), np.arange(8.0)])
    entropy = np.linspace(0, 1, 20)
    wrong = np.arange(20) % 4 == 0
    likely = np.tile([0, 0.5, 1, 0], 5)
    points = distance[:, None].astype(np.float32)
    return Pool(rcc, distance, points, entropy, likely, wrong, np.array([30, 10]), 1 - entropy, likely)


def rng():
    return np.random.default_rng(0)


def case_runs(accuracies, **more):
    """Runs of 100 labels from lists of accuracies by choice."""
    about = {
        "name": "gd",
        "accuracy": 0.8,
        "test_images": 1800,
        "rccs": 7,
        "noise": 3,
        "formula": 399,
        "improvement_images": 900,
        "of_improvement_images": 1500,
        "wrong": 300,
        "training_images": 4000,
        "of_training_images": 4000,
        "settings": {"epochs": 4, "learning_rate": 0.001, "batch_size": 32},
        "setup": "a",
    }
    runs = [
        {
            "setup": "a",
            "strategy": strategy,
            "labels": 0 if strategy == "none" else 100,
            "seed": seed,
            "accuracy": accuracy,
            "kept": 0.98,
            "wrong": None if strategy == "none" else 0.5,
            "seconds": 3.0,
        }
        for strategy, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    return CaseRuns({**about, **more}, runs)


def test_with_equal_quotas_the_nearest_of_each_rcc_are_taken_the_same_number_of_each(pool):
    chosen, groups = choose_images("SAFE", 6, pool, rng())
    assert chosen.tolist() == [0, 1, 2, 12, 13, 14]
    assert groups.tolist() == [0, 0, 0, 1, 1, 1]


def test_an_odd_image_goes_to_the_larger_rcc(pool):
    assert choose_images("SAFE", 5, pool, rng())[1].tolist() == [0, 0, 0, 1, 1]


def test_ranked_by_entropy_only_the_nearest_four_quotas_compete(pool):
    # Two of each RCC, of the nearest eight
    assert sorted(choose_images("SAFE + entropy", 4, pool, rng())[0].tolist()) == [6, 7, 18, 19]


def test_spread_images_begin_with_the_nearest_and_go_far(pool):
    assert choose_images("SAFE + spread", 4, pool, rng())[0].tolist() == [0, 7, 12, 19]


def test_half_are_the_nearest_and_half_those_of_the_next_on_which_the_model_is_likely_wrong(pool):
    # Four of each RCC, two of them out of the next eight
    chosen = choose_images("SAFE + likely wrong", 8, pool, rng())[0]
    assert chosen.tolist() == [0, 1, 2, 6, 12, 13, 14, 18]


def test_a_single_image_of_an_rcc_is_its_nearest(pool):
    assert choose_images("SAFE + likely wrong", 2, pool, rng())[0].tolist() == [0, 12]


def test_by_size_an_rcc_gets_labels_as_it_has_failing_images_and_weighs_every_image_the_same(pool):
    chosen, groups = choose_images("SAFE by size", 8, pool, rng())
    assert chosen.tolist() == [0, 1, 2, 3, 4, 5, 12, 13]
    assert set(groups.tolist()) == {0}


def test_margin_and_consistency_take_the_images_of_which_the_model_is_least_sure(pool):
    assert choose_images("margin", 3, pool, rng())[0].tolist() == [19, 18, 17]
    assert choose_images("consistency", 3, pool, rng())[0].tolist() == [2, 6, 10]
    assert margin_of(np.array([[0.2, 0.7, 0.1], [0.4, 0.2, 0.4]])) == pytest.approx([0.5, 0])


def test_an_output_that_changes_with_the_image_is_not_consistent():
    outputs = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert output_change(outputs, [outputs, outputs[::-1]]).tolist() == [0.25, 0.25]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 40, 3), np.uint8)
    copies = transformed(pixels)
    assert all(copy.shape == pixels.shape and copy.dtype == np.uint8 and (copy != pixels).any() for copy in copies)
    assert (copies[0][:, 1:] == pixels[:, :-1]).all()


def test_farthest_first_takes_no_point_twice_even_of_equal_points():
    assert sorted(farthest_first(np.zeros((4, 2)), 4).tolist()) == [0, 1, 2, 3]
    assert farthest_first(np.zeros((2, 2)), 5).tolist() == [0, 1]
    assert farthest_first(np.zeros((0, 2)), 5).tolist() == []


def test_bl1_takes_those_that_the_model_gets_wrong_and_fills_up_with_others(pool):
    chosen, groups = choose_images("BL1", 4, pool, rng())
    assert pool.wrong[chosen].all()
    assert set(groups.tolist()) == {0}
    filled, _ = choose_images("BL1", 8, pool, rng())
    assert pool.wrong[filled].sum() == 5
    assert len(set(filled.tolist())) == 8


def test_bl1_counted_has_the_wrong_ones_of_as_many_labels_and_repeats_them(pool):
    drawn, _ = choose_images("BL2", 6, pool, rng())
    chosen, groups = choose_images("BL1 counted", 6, pool, rng())
    assert set(chosen.tolist()) == {i for i in drawn.tolist() if pool.wrong[i]}
    assert len(chosen) == len(groups) == 6
    none_wrong = pool._replace(wrong=np.zeros_like(pool.wrong))
    assert choose_images("BL1 counted", 6, none_wrong, rng())[0].tolist() == drawn.tolist()


def test_bl2_depends_on_the_seed_alone(pool):
    first, again = (choose_images("BL2", 8, pool, np.random.default_rng(3))[0] for _ in range(2))
    other = choose_images("BL2", 8, pool, np.random.default_rng(4))[0]
    assert first.tolist() == again.tolist() != other.tolist()


def test_highest_entropy_takes_the_least_sure_first(pool):
    assert choose_images("entropy", 3, pool, rng())[0].tolist() == [19, 18, 17]


def test_entropy_is_that_of_the_textbook_and_finite_where_the_model_is_sure():
    assert entropy_of(np.array([[0.5, 0.5], [1.0, 0.0]])) == pytest.approx([np.log(2), 0], abs=1e-9)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in ("none", "BL1 counted")])
def test_every_choice_keeps_to_the_budget_and_takes_no_image_twice(pool, strategy):
    for n in (1, 7, 19, 20):
        assert len(set(choose_images(strategy, n, pool, rng())[0].tolist())) == n


def test_a_seed_is_finished_before_the_next_and_what_needs_no_label_runs_once():
    assert list(retraining.plan(2, [100, 300, 100], ["none", "SAFE"])) == [
        ("none", 0, 0),
        ("SAFE", 100, 0),
        ("SAFE", 300, 0),
        ("none", 0, 1),
        ("SAFE", 100, 1),
        ("SAFE", 300, 1),
    ]


def test_a_benchmark_goes_on_where_it_stopped(tmp_path, monkeypatch):
    case = case_runs({}).about
    monkeypatch.setattr(retraining, "load_retraining_case", lambda options, work: FakeCase(case))
    ran = []

    def run_once(case, strategy, labels, seed):
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append((strategy, labels, seed))
        return {"setup": "a", "strategy": strategy, "labels": labels, "seed": seed, "accuracy": 0.5, "kept": 1,
                "seconds": 1}  # fmt: skip

    monkeypatch.setattr(retraining, "run_once", run_once)
    options = retraining._parser().parse_args(
        ["--case", "gd", "--data", "x", "--seeds", "2", "--budgets", "50", "formula", "--strategies", "SAFE", "BL2"]
    )
    with pytest.raises(KeyboardInterrupt):
        retraining.run_case(options, tmp_path)
    assert len(read_runs(tmp_path / "runs.jsonl")) == 3
    first, ran = ran, []
    with pytest.raises(KeyboardInterrupt):
        retraining.run_case(options, tmp_path)
    second, ran = ran, []
    retraining.run_case(options, tmp_path)
    assert first + second + ran == list(retraining.plan(2, [50, 399], ["SAFE", "BL2"]))


def test_runs_of_another_setup_are_run_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(retraining, "load_retraining_case", lambda options, work: FakeCase(case_runs({}).about))
    monkeypatch.setattr(
        retraining, "run_once",
        lambda case, strategy, labels, seed: {"setup": "a", "strategy": strategy, "labels": labels, "seed": seed,
                                              "accuracy": 0.5, "kept": 1, "seconds": 1},
    )  # fmt: skip
    folder = tmp_path / "gd"
    folder.mkdir()
    old = {"setup": "b", "strategy": "SAFE", "labels": 50, "seed": 0, "accuracy": 0.1}
    (folder / "runs.jsonl").write_text(json.dumps(old) + "\n")
    options = retraining._parser().parse_args(
        ["--case", "gd", "--data", "x", "--seeds", "1", "--budgets", "50", "5000", "--strategies", "SAFE"]
    )
    retraining.run_case(options, folder)
    assert [run["setup"] for run in read_runs(folder / "runs.jsonl")] == ["b", "a"]
    case = load_cases(tmp_path)[0]
    assert case.values("SAFE", 50) == [0.5]
    assert case.budgets == [50]  # 5,000 are more than there are


class FakeCase:
    def __init__(self, about):
        self.about = about


def test_a_damaged_file_of_runs_is_refused(tmp_path):
    (tmp_path / "runs.jsonl").write_text('{"setup": ')
    with pytest.raises(SAFEError, match="Delete it"):
        read_runs(tmp_path / "runs.jsonl")


def test_without_runs_there_is_no_report(tmp_path):
    with pytest.raises(SAFEError, match="Run a case first"):
        load_cases(tmp_path)


def test_a_budget_is_a_number_or_the_formula(capsys):
    with pytest.raises(SystemExit):
        retraining.main(["--budgets", "-3"])
    assert "number of labels or `formula`" in capsys.readouterr().err


def test_without_a_case_it_says_what_is_missing(tmp_path, capsys):
    assert retraining.main(["--work", str(tmp_path), "--case", "gd"]) == 2
    assert "--data" in capsys.readouterr().err


def test_the_table_tells_mean_deviation_gain_and_effect():
    case = case_runs({"SAFE": [0.9, 0.92, 0.94, 0.96], "BL2": [0.8, 0.82, 0.84, 0.86], "none": [0.81]})
    text = retraining_section([case])
    assert "| 100 | BL2 | 4 | 0.8300 | 0.0258 | +3.00 | 98.0% | 50% | 1.00, 0.029 |  |" in text
    assert "| 0 | none | 1 | 0.8100 |  | +1.00 | 98.0% |  |  |  |" in text
    assert "900 (a random part of 1,500) improvement images" in text
    assert "All 4,000 training images" in text
    assert "the selected ones, 4 epochs, " in text
    for number, run in enumerate(case.runs):
        run["epochs"] = 20 + number
    assert "the selected ones, 20 to 28 epochs, " in retraining_section([case])
    further = retraining_section([case], further=True)
    assert further.startswith("## Retraining: further cases")
    assert further.partition("### gd")[2] == retraining_section([case]).partition("### gd")[2] != ""


def test_the_sentences_say_better_worse_and_no_difference_shown():
    good, bad, mixed = [0.9, 0.92, 0.94, 0.96], [0.8, 0.82, 0.84, 0.86], [0.89, 0.93, 0.95, 0.91]
    case = case_runs({"SAFE": good, "BL1": mixed, "BL2": bad, "entropy": [0.97, 0.98, 0.99, 0.975]})
    sentence = compare(case, "SAFE", 100)
    assert "better than BL2 (+10.00)" in sentence
    assert "worse than entropy" in sentence
    assert "no significant difference from BL1" in sentence
    assert gain(case, "SAFE", 100) == pytest.approx(13)


def test_ranks_over_all_cases_are_those_of_the_means_and_say_where_a_strategy_is_worse():
    good, fair, bad = [0.9, 0.92, 0.94, 0.96], [0.9, 0.9, 0.9, 0.9], [0.8, 0.82, 0.84, 0.86]
    cases = [
        case_runs({"SAFE": good, "BL2": bad, "entropy": fair, "BL1": good}, name="gd"),
        case_runs({"SAFE": good, "BL2": fair, "entropy": bad}, name="oc"),
        case_runs({"SAFE": good, "BL2": bad, "entropy": fair}, name="hpd"),
        case_runs({"SAFE": bad, "BL2": good}, name="fld"),  # too few to be ranked
    ]
    ranks = rank(cases, ["SAFE", "BL2", "entropy", "BL1"])
    assert ranks.strategies == ("SAFE", "entropy", "BL2")  # BL1 has no runs of oc and hpd
    assert ranks.means.tolist() == pytest.approx([1, 7 / 3, 8 / 3])
    assert ranks.p == pytest.approx(np.exp(-14 / 3 / 2))  # Friedman's statistic is 14 / 3, with 2 degrees of freedom
    assert ranks.critical == pytest.approx(2.343 * np.sqrt(3 * 4 / 6 / 3), abs=0.01)  # Demšar's table 5
    assert ranks.worse[0] == ()
    assert ranks.worse[1] == ("oc, 100 (SAFE)", "oc, 100 (BL2)")
    text = retraining_section(cases)
    assert "| SAFE | 1.00 | nowhere |" in text
    assert "Friedman's p is 0.1" in text


def test_of_two_strategies_or_one_block_there_are_no_ranks():
    runs = {"SAFE": [0.9], "BL2": [0.8], "entropy": [0.7]}
    assert rank([case_runs(runs)], list(runs)) is None
    assert rank([case_runs(runs), case_runs(runs)], ["SAFE", "BL2"]) is None
    assert "mean rank" not in retraining_section([case_runs(runs)])


def test_a_single_seed_gives_no_effect():
    text = retraining_section([case_runs({"SAFE": [0.9], "BL2": [0.8]})])
    assert "| 100 | BL2 | 1 | 0.8000 |  | +0.00 | 98.0% | 50% |  |  |" in text


@pytest.mark.slow
def test_a_copy_that_is_reused_trains_as_a_new_one_does(tmp_path):
    dnn = load_dnn(saved(colour_model(), tmp_path / "colours.keras"))
    draw = np.random.default_rng(0)
    images = np.stack([np.asarray(draw_colour(name, draw, tint)) for tint in (None, "red") for name in NAMES * 6])
    rccs = np.repeat([TRAINING, 0], 18)
    data = TrainingData(Ready(dnn, images), np.tile([0, 1, 2], 12), rccs)
    settings = Settings(learning_rate=0.05, epochs=2, batch_size=8)

    def losses(seed):
        return [epoch.loss for epoch in fine_tune(dnn, data, settings._replace(seed=seed)).history[1:]]

    new = [losses(seed) for seed in (0, 1)]
    kept = {}
    with retraining.compiled_once(kept):
        reused = [losses(seed) for seed in (0, 1, 0)]
    assert len(kept) == 1
    assert reused[0] == pytest.approx(new[0])
    assert reused[1] == pytest.approx(new[1])
    assert reused[2] == reused[0] != reused[1]
