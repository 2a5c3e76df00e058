"""Figures that tables, sentences and pictures share, read from the results of `benchmarks.paper`."""

UNCOUNTED = "region middle"  # unsafe values that are only listed beside the others


def covered_share(result: dict, outcome: dict, source: str = "") -> float:
    """Share of the unsafe values (of one source, or of all that count) that an outcome covers; 0 without any."""
    chosen = of_source(result, source)
    return len(set(chosen) & set(outcome["covered"])) / len(chosen) if chosen else 0.0


def of_source(result: dict, source: str) -> list[int]:
    """Indices of a case's unsafe values of one source, or of all that count."""
    return [i for i, (of, _) in enumerate(result["case"]["values"]) if of == source or (not source and of != UNCOUNTED)]
