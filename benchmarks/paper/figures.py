"""Figures that tables, sentences and pictures share, read from the results of `benchmarks.paper`."""

PAPER_INSPECTED = (1.07, 5.12, 26.15)  # per cent of the failures, in the paper: least, median, most
UNCOUNTED = "region middle"  # unsafe values that are only listed beside the others


def covered_share(result: dict, outcome: dict, source: str = "") -> float:
    """Share of the unsafe values (of one source, or of all that count) that an outcome covers; 0 without any."""
    chosen = of_source(result, source)
    return len(set(chosen) & set(outcome["covered"])) / len(chosen) if chosen else 0.0


def of_source(result: dict, source: str) -> list[int]:
    """Indices of a case's unsafe values of one source, or of all that count."""
    return [i for i, (of, _) in enumerate(result["case"]["values"]) if of == source or (not source and of != UNCOUNTED)]


def by_size(result: dict) -> dict[int, list[dict]]:
    """What SAFE found by how many failing images it was given; all of them last. Empty without subsets."""
    found: dict[int, list[dict]] = {}
    for one in result["subsets"]:
        found.setdefault(one["size"], []).append(one)
    return found | {result["case"]["failing"]: [result["whole"]["SAFE"]]} if found else {}


def growth_of(runs: list[dict]) -> dict[int, dict[str, list[dict]]]:
    """By number of failing images, what each method cost: its runs, as in the `cost` of a case."""
    found: dict[int, dict[str, list[dict]]] = {}
    for run in sorted(runs, key=lambda run: run["size"]):
        found.setdefault(run["size"], {}).setdefault(run["label"], []).append(run)
    return found
