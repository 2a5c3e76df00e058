import csv

import numpy as np
import pytest

from lab.benchmarks.imagenetx import factors_of, load_networks, main, place_of, spots_on_fresh_images

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
    factors = {factor.name: factor for factor in factors_of(network)}
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
    assert "They differ beyond doubt in blocked, pattern, style, and not in none." in text
    assert "| A | 0 | 0 | 0 |" in text


def test_a_weak_spot_is_counted_in_the_half_that_was_not_searched(tables, tmp_path):
    network = load_networks(tables, tmp_path)[0]
    searched = np.zeros(N, bool)
    searched[np.argsort(np.random.default_rng(0).permutation(N), kind="stable")[: N // 2]] = True
    blocked = network.factors()["blocked"]
    expected = [network.wrong[blocked & half].mean() for half in (searched, ~searched)]
    assert expected in [[spot.seen, spot.fresh] for spot in spots_on_fresh_images(network, 0)]
    assert expected[::-1] in [[spot.seen, spot.fresh] for spot in spots_on_fresh_images(network, 1)]


def test_a_folder_without_answers_is_refused(tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 2
    assert "a CSV of answers for each network" in capsys.readouterr().err
