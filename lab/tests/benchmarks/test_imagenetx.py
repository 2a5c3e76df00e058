import csv
import re

import numpy as np
import pytest

from lab.benchmarks.imagenetx import beyond_others, factors_of, load_networks, main, metaclasses_of, place_of

N = 1600


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Two networks: both fail on blocked objects, the second one less; patterns go with a class that is often wrong."""
    folder, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    label = rng.integers(0, 8, N)
    factors = {
        "blocked": rng.random(N) < 0.12,
        "pattern": rng.random(N) < np.where(label < 2, 0.8, 0.1),
        "style": rng.random(N) < 0.2,
    }
    rate = np.where(label < 2, 0.5, 0.1)
    draw = rng.random(N)
    wrong = {"A": draw < rate + 0.45 * factors["blocked"], "B": draw < rate + 0.1 * factors["blocked"]}
    rows = [[f"{i}.png", *("yes" if factors[name][i] else "no" for name in factors)] for i in range(N)]
    write(folder / "factors.csv", ["image", *factors], rows)
    for name, failing in wrong.items():
        predicted = (label + failing * rng.integers(1, 8, N)) % 8
        answers = [[f"{i}.png", f"c{label[i]}", f"c{predicted[i]}"] for i in range(N)]
        write(folder / f"{name}.csv", ["image", "label", "predicted"], answers)
    return folder


def write(path, header, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_a_factor_that_matters_is_named_and_one_that_goes_with_a_class_does_not_hold(tables, tmp_path):
    network = load_networks(tables, tmp_path)[0]
    factors = {factor.name: factor for factor in factors_of(network, network.classes)}
    assert place_of(network, "blocked")
    assert place_of(network, "pattern") is None
    blocked, pattern = factors["blocked"], factors["pattern"]
    holds = network.factors()["blocked"]
    assert blocked.ratio == pytest.approx(network.wrong[holds].mean() / network.wrong.mean())
    assert blocked.matters
    assert blocked.holds
    assert pattern.matters
    assert not pattern.holds
    assert pattern.low <= pattern.expected <= pattern.high


def test_the_page_says_what_is_named_what_holds_and_what_two_networks_differ_in(tables, capsys):
    assert main(["--data", str(tables), "--halves", "1", "--shuffles", "1"]) == 0
    text = capsys.readouterr().out
    assert "A: 1 of 2 factors that should be named are, not pattern" in text
    assert "Ratios that do not hold given the class, by p or interval: pattern" in text
    assert "by more or less than on other images of the same class in blocked." in text
    assert "| A | 0 | 0 | 0 |" in text
    assert re.search(r"^\| A \| \d+\.\d \(\d+\.\d to \d+\.\d\) \| \d+ \(", text, re.M)


def test_what_two_networks_differ_in_is_compared_within_classes():
    classes = np.repeat([0, 1], 500)
    holds = np.r_[np.arange(500) < 400, np.arange(500) < 50]  # mostly of the first class
    gain = np.where(classes == 0, 1.0, 0.0)
    gain[::2] -= 1
    difference, half, p = beyond_others(gain, holds, classes)
    assert difference == pytest.approx(0)
    assert 0 < half < 0.2
    assert p == pytest.approx(1)


def test_classes_have_the_metaclass_of_their_number(tables, tmp_path):
    network = load_networks(tables, tmp_path)[0]
    write(tmp_path / "names.csv", ["wnid", "name"], [["n", name] for name in ["dog", "dog", *["tool"] * 5, "fish"]])
    found = metaclasses_of(network, tmp_path / "names.csv")
    assert len(np.unique(found)) == 2
    assert ((found == found.max()) == np.isin(network.known.columns["label"], ["c0", "c1"])).all()


def test_a_folder_without_answers_is_refused(tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 2
    assert "a CSV of answers for each network" in capsys.readouterr().err
