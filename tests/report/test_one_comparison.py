"""A reason has one pair of figures wherever it is told: its rate, and what is expected without it."""

import csv
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from safe_dnn.analysis import Analysis
from safe_dnn.page.failures.tab import cards_of
from safe_dnn.SAFE_Tool import main
from safe_dnn.support.text import rate_text
from tests.helpers.places import rows_in
from tests.report.test_report import Page

N = 3000


def drawn(kind: str) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Dark and blurred images fail, each for itself, and go together; rainy ones do not. Columns, and options."""
    rng = np.random.default_rng(len(kind))
    factor, person = rng.normal(size=N), rng.integers(0, 60, N)
    dark, blurred = factor + rng.normal(size=N) > 1.2, factor + rng.normal(size=N) > 1.5
    wrong = rng.random(N) > 0.97 * np.where(dark, 0.4, 1) * np.where(blurred, 0.5, 1)
    columns = {
        "image": [f"{i}.png" for i in range(N)],
        "light": np.where(dark, "night", "day").tolist(),
        "focus": np.where(blurred, "out", "in").tolist(),
        "weather": np.where(factor + rng.normal(size=N) > 1, "rain", "sun").tolist(),
        "person": person.astype(str).tolist(),
    }
    label = rng.integers(0, 3, N)
    if kind == "regression":
        errors = np.where(wrong, 2.0, 0.1)
        columns |= {"error": errors.astype(str).tolist(), "right": np.where(wrong, "false", "true").tolist()}
    else:
        predicted = np.where(wrong, (label + 1) % 3, label)
        columns |= {"label": np.char.add("c", label.astype(str)).tolist()}
        columns |= {"predicted": np.char.add("c", predicted.astype(str)).tolist()}
    return columns, ("--group", "person") if kind == "groups" else ()


@pytest.mark.parametrize("kind", ["classes", "regression", "groups"])
def test_everything_that_tells_of_a_reason_has_the_same_pair_of_figures(kind, tmp_path, capsys):
    (columns, options), out, table = drawn(kind), tmp_path / "out", tmp_path / "predictions.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    assert main(["reasons", "--predictions", str(table), *options, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert main(["report", "--out", str(out)]) == 0
    assert main(["register", "--out", str(out)]) == 0
    report = Page((out / "report.html").read_text("utf-8")).text
    analysis = Analysis(out)
    cards = re.findall(r"<button .*?</button>", cards_of(analysis.failures, analysis.ungrouped), re.DOTALL)
    cards = [Page(card).text for card in cards if "data-opens" in card]
    rows = rows_in(out / "weak_spots.csv")
    assert {row["where"] for row in rows} >= {"light = night", "focus = out"}
    required = tmp_path / "required.yaml"
    required.write_text("".join(f"{row['where']}: at most 99 % wrong\n" for row in rows))
    main(["check", str(required), "--junit", str(tmp_path / "safe.xml"), "--out", str(out)])
    cases = ElementTree.parse(tmp_path / "safe.xml").getroot().findall("testcase")
    for row, entry, card, case in zip(rows, rows_in(out / "register.csv"), cards, cases, strict=True):
        wrong, tested, expected = int(row["wrong"]), int(row["tested"]), float(row["expected"])
        assert float(row["expected_low"]) <= expected <= float(row["expected_high"])
        assert float(row["excess"]) == pytest.approx(wrong - expected * tested)
        rate, without = rate_text(wrong / tested), f"{rate_text(expected)} expected without it"
        assert re.search(
            rf"{re.escape(row['where'])}: {wrong:,} of {tested:,} .*are wrong \({rate}, .*\), {without}", printed
        )
        assert {name: entry[name] for name in ("wrong", "expected", "excess")} == {
            name: row[name] for name in ("wrong", "expected", "excess")
        }
        assert f"{wrong:,} of {tested:,} wrong, {without}" in card
        assert rate in card
        assert re.search(
            rf"{re.escape(row['where'])}.*{wrong:,} of {tested:,}.*{rate}.*{rate_text(expected)}", report, re.DOTALL
        )
        text = "".join(case.itertext()) + "".join(each.get("message", "") for each in case)
        assert f"{wrong:,} of {tested:,} images" in text
        assert f"({wrong / tested:.2%}), {without}" in text
