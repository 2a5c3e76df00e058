"""Figures derived from the results of `lab.benchmarks.paper`, shared by tables, sentences and pictures."""

from typing import Any

Results = dict[str, dict[str, Any]]
"""The result of `measure_case` for each case."""


PAPER_INSPECTED = (1.07, 5.12, 26.15)  # percent of the failures in the paper: minimum, median, maximum
UNCOUNTED = "region middle"  # unsafe values that are listed but not counted


def covered_share(result: dict[str, Any], outcome: dict[str, Any], *, source: str = "") -> float:
    """Share of the unsafe values, of one source or all that count, covered by an outcome; 0 if there are no values."""
    chosen = of_source(result, source)
    return len(set(chosen) & set(outcome["covered"])) / len(chosen) if chosen else 0.0


def of_source(result: dict[str, Any], source: str) -> list[int]:
    """Indices of a case's unsafe values of one source or, if that is empty, of all values that count."""
    return [i for i, (of, _) in enumerate(result["case"]["values"]) if of == source or (not source and of != UNCOUNTED)]


def by_size(result: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """SAFE's outcomes by number of failing images, all images last. Empty without subsets."""
    found: dict[int, list[dict[str, Any]]] = {}
    for one in result["subsets"]:
        found.setdefault(one["size"], []).append(one)
    return found | {result["case"]["failing"]: [result["whole"]["SAFE"]]} if found else {}


def growth_of(runs: list[dict[str, Any]]) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """The cost of each method by number of failing images: its runs, as in the `cost` of a case."""
    found: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for run in sorted(runs, key=lambda run: run["size"]):
        found.setdefault(run["size"], {}).setdefault(run["label"], []).append(run)
    return found
