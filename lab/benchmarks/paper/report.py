"""The sections of `lab/results/paper.md` on the paper's questions: tables and sentences, computed from the results."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lab.benchmarks.paper.measures import effect, share_above
from lab.benchmarks.results import table

Result = dict[str, Any]
Results = dict[str, Result]
"""The result of `measure_case` for each case."""
Costs = dict[str, list[dict[str, Any]]]

METHODS = ("SAFE", "HUDD", "K-means", "random")
BFLOAT16 = "SAFE, bfloat16"
PERCENTS = tuple(range(10, 101, 10))
PAPER_INSPECTED = (1.07, 5.12, 26.15)  # percent of the failures in the paper: minimum, median, maximum
UNCOUNTED = "region middle"  # unsafe values that are listed but not counted
NOT_RUN = "–"
NO_HUDD = "HUDD needs a classifier of whole images: it takes no regression and no detector"


def paper_section(results: Results) -> str:
    """RQ1 to RQ3 as Markdown."""
    return "\n\n".join([*_opening(results), *_inspected(results), *_reduced(results), *_covered(results)]) + "\n"


def _opening(results: Results) -> Iterator[str]:
    repetitions = max(len(result["repetitions"]) for result in results.values())
    extractors = sorted({result["case"]["extractor"] for result in results.values()})
    without = ", ".join(name for name, result in results.items() if "HUDD" not in result["whole"])
    yield "## The paper's research questions"
    yield (
        "This section was written by `python -m lab.benchmarks.paper`; for definitions see "
        "`lab/benchmarks/paper/measures.py` and `lab/benchmarks/paper/cases.py`. "
        f"Features: {', '.join(extractors)}. All methods get the same failing images. K-means gets SAFE's points and "
        "number of clusters; random groups have the same sizes as SAFE's clusters. *Known causes* are the groups that "
        "a perfect method would find, the best result that the definitions allow.\n"
        f"Each method runs on all failing images and on {repetitions} subsets that leave out a random tenth of them "
        "(`--repetitions`); medians and ranges are over these subsets. The subsets overlap, so a p-value only tells "
        "how stable a difference is on this set of failures.\n"
        + (f"{without}: {NO_HUDD}.\n" if without else "")
        + "Variances are compared with those of the whole test set, as in the text of the paper. The gain from "
        "retraining is measured by `lab.benchmarks.retraining`."
    )


# --- Figures of the results -------------------------------------------------------------------------------------


def covered_share(result: Result, outcome: dict[str, Any], *, source: str = "") -> float:
    """Share of the unsafe values, of one source or all that count, covered by an outcome; 0 if there are no values."""
    chosen = of_source(result, source)
    return len(set(chosen) & set(outcome["covered"])) / len(chosen) if chosen else 0.0


def of_source(result: Result, source: str) -> list[int]:
    """Indices of a case's unsafe values of one source or, if that is empty, of all values that count."""
    return [i for i, (of, _) in enumerate(result["case"]["values"]) if of == source or (not source and of != UNCOUNTED)]


def by_size(result: Result) -> dict[int, list[dict[str, Any]]]:
    """SAFE's outcomes by number of failing images, all images last. Empty without subsets."""
    outcomes: dict[int, list[dict[str, Any]]] = {}
    for one in result["subsets"]:
        outcomes.setdefault(one["size"], []).append(one)
    return outcomes | {result["case"]["failing"]: [result["whole"]["SAFE"]]} if outcomes else {}


def _over(result: Result, method: str, figure: Callable[[dict[str, Any]], float]) -> list[float]:
    """A figure of a method's outcomes on the subsets or, without subsets, on all failing images."""
    return [figure(one[method]) for one in result["repetitions"] or [result["whole"]]]


def _reduced_by_90(outcome: dict[str, Any]) -> float:
    return share_above(outcome["reductions"], 90)


def _spread(values: Sequence[float], form: str = "{:.0f}") -> str:
    """Median and range; one value alone is neither."""
    if len(values) == 1:
        return form.format(values[0])
    low, middle, high = (form.format(one) for one in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}–{high})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def methods_of(result: Result) -> list[str]:
    """The methods that were run on a case: HUDD needs a classifier, and takes no regression and no detector."""
    return [method for method in METHODS if method in result["whole"]]


def main_source(result: Result) -> str:
    """The known root causes as a source of unsafe values if there are any; otherwise all sources."""
    return "root cause" if result["case"]["causes"] else ""


# --- The research questions -------------------------------------------------------------------------------------


def _inspected(results: Results) -> Iterator[str]:
    low, middle, high = PAPER_INSPECTED
    yield f"### RQ1: share of the failures to inspect (paper: {low}–{high} %, median {middle} %)"
    rows = []
    for name, result in results.items():
        safe, hudd = result["whole"]["SAFE"], result["whole"].get("HUDD")
        failing = f"{result['case']['failing']:,} of {result['case']['tested']:,}"
        subsets = _spread(_over(result, "SAFE", lambda one: one["inspect_percent"]), "{:.1f}")
        of_hudd = [len(hudd["sizes"]), f"{hudd['inspect_percent']:.1f}"] if hudd else [NOT_RUN] * 2
        of_safe = [len(safe["sizes"]), _percent(safe["noise"]), f"{safe['inspect_percent']:.1f}", subsets]
        rows.append([name, failing, *of_safe, *of_hudd])
    header = ("case", "failures of test images", "RCCs", "noise, %", "inspected, %", "on subsets")
    yield table((*header, "HUDD's RCCs", "inspected, %"), rows)
    inspected = [result["whole"]["SAFE"]["inspect_percent"] for result in results.values()]
    yield (
        f"The median over the cases is {statistics.median(inspected):.1f} %. With five images of each RCC, the share "
        "falls as the number of failures grows: it depends as much on the size of the case as on the method."
    )
    rows = [
        [
            name,
            f"{size:,}",
            _spread([len(one["sizes"]) for one in outcomes]),
            _spread([one["inspect_percent"] for one in outcomes], "{:.1f}"),
            _spread([100 * covered_share(result, one, source=main_source(result)) for one in outcomes]),
        ]
        for name, result in results.items()
        for size, outcomes in by_size(result).items()
    ]
    if rows:
        most = max(len(outcomes) for result in results.values() for outcomes in by_size(result).values())
        yield (
            f"SAFE's results for {most} random subsets of the failures of each size (`--subsets`); the last row of "
            "each case is for all of them"
        )
        yield table(
            ("case", "failures", "RCCs", "inspected, %", "covered values of known root causes (or all), %"), rows
        )


def _reduced(results: Results) -> Iterator[str]:
    yield "### RQ2: do the images of an RCC have something in common?"
    yield "Share of RCCs, %, whose best parameter's variance is reduced by more than"
    rows = []
    for name, result in results.items():
        for method in [*methods_of(result), *(["known causes"] if result["case"]["causes"] else [])]:
            outcome = result["whole"][method]
            shares = [_percent(share_above(outcome["reductions"], percent)) for percent in PERCENTS]
            over = _spread(_over(result, method, lambda one: 100 * _reduced_by_90(one)))
            among = _percent(share_above(outcome["among_failing"], 90))
            rows.append([f"{name}, {method}", len(outcome["reductions"]), *shares, over, among])
    ends = ("90 % on subsets", "90 % of the failing images' variance")
    yield table(("", "RCCs", *(f"{percent} %" for percent in PERCENTS), *ends), rows)
    yield (
        "In the last column, an RCC's variance is compared with that of the failing images, as in HUDD's code, instead "
        "of that of the test set.\n"
        "By the paper's definition, a group that merely lacks a parameter's rare images (for example the blurred ones) "
        "also reduces its variance: a reduction alone does not mean that the parameter characterises the group. RQ3 "
        "tests this."
    )
    yield (
        "In the paper, a median of 100 % of RCCs reduce a variance by more than 90 % for GD and OC (HUDD 86 and 57 %), "
        "and 90 % for HPD and FLD.\n"
    ) + "\n".join(
        f"- {name}: {_compared(result, _reduced_by_90, 'RCCs above 90 %')}{_causes_that_vary(result)}"
        for name, result in results.items()
    )


def _causes_that_vary(result: Result) -> str:
    """A sentence on the known causes that would not reach 90 % even if they were found exactly."""
    causes, perfect = result["case"]["causes"], result["whole"].get("known causes")
    if not perfect or len(perfect["reductions"]) != len(causes):
        return ""
    below = ", ".join(
        f"{cause} ({best} by {100 * reduced:.0f} %)"
        for cause, best, reduced in zip(causes, perfect["best"], perfect["reductions"], strict=True)
        if reduced <= 0.9
    )
    found = ". Even if found exactly, these known causes would not reduce a variance by more than 90 %: "
    return f"{found}{below}" if below else ""


def _compared(result: Result, figure: Callable[[dict[str, Any]], float], what: str) -> str:
    """SAFE beside each other method, on the subsets."""
    parts, ours = [], _over(result, "SAFE", figure)
    for other in methods_of(result)[1:]:
        theirs = _over(result, other, figure)
        p, a12 = effect(ours, theirs)
        mine, others = (100 * statistics.median(one) for one in (ours, theirs))
        word = f"more {what} than" if mine > others else f"fewer {what} than" if mine < others else f"as many {what} as"
        parts.append(f"{word} {other} ({mine:.0f} against {others:.0f} %, p {p:.2g}, Â12 {a12:.2f})")
    return "; ".join(parts)


def _covered(results: Results) -> Iterator[str]:
    yield "### RQ3: unsafe values covered"
    yield "Share of the unsafe values, %, covered on all failing images and, in brackets, on subsets"
    rows = []
    for name, result in results.items():
        sources = dict.fromkeys(source for source, _ in result["case"]["values"])
        for source in ["", *(sources if len(sources) > 1 else [])]:
            cells = [_covered_cell(result, method, source) for method in (*METHODS, "known causes")]
            rows.append([f"{name}, {source or 'all'}", len(of_source(result, source)), *cells])
    yield table(("values", "number", *METHODS, "known causes"), rows)
    yield "Coverage in the paper: 92, 64 and 80 % (GD, OC, HPD); HUDD 71, 50 and 60 %.\n" + "\n".join(
        f"- {name}: {_coverage_sentence(result)}" for name, result in results.items()
    )


def _covered_cell(result: Result, method: str, source: str) -> str:
    if method not in result["whole"]:
        return NOT_RUN
    whole = _percent(covered_share(result, result["whole"][method], source=source))
    if method not in METHODS:
        return whole
    return f"{whole} [{_spread(_over(result, method, lambda one: 100 * covered_share(result, one, source=source)))}]"


def _coverage_sentence(result: Result) -> str:
    source, values = main_source(result), result["case"]["values"]
    compared = _compared(result, lambda one: covered_share(result, one, source=source), "values")
    perfect = result["whole"].get("known causes")
    missed, out_of_reach = (
        ", ".join(values[i][1] for i in of_source(result, of) if outcome and i not in outcome["covered"])
        for of, outcome in ((source, result["whole"]["SAFE"]), ("", perfect))
    )
    return (
        f"values{' of the known root causes' if source else ''}: {compared}. "
        + (f"SAFE does not cover {missed}." if missed else "SAFE covers all of them.")
        + (f" Even the known causes do not cover {out_of_reach}, since they lie elsewhere." if out_of_reach else "")
    )


# --- Time and memory --------------------------------------------------------------------------------------------


def cost_section(results: Results) -> str:
    """RQ4 as Markdown; empty if neither time nor memory was measured."""
    measured: dict[str, Costs] = {name: result["cost"] for name, result in results.items() if result["cost"]}
    if not measured:
        return ""
    rows = [
        [
            f"{name}, {label}",
            _spread([run["seconds"] for run in runs]),
            _spread([run["cpu_seconds"] for run in runs]),
            f"{runs[0]['python_mb']:,.1f}",
            f"{max(run['process_mb'] for run in runs):,.0f}",
        ]
        for name, costs in measured.items()
        for label, runs in costs.items()
    ]
    return (
        "### RQ4: time and memory from a cold start\n\n"
        "Each run is a new process: loading, features or heatmaps, clusters; nothing is cached. *Python* is the peak "
        "memory of Python and NumPy after the libraries and the network (VGG16, or the DNN under test) are loaded "
        "(tracemalloc); *process* is the peak resident memory. HUDD keeps the heatmaps of all layers in memory, as "
        "published. *AlexNet* is the network of the paper's case studies, untrained, on the same images, and shows the "
        "cost of HUDD on a network of that size. SAFE's cost does not depend on the DNN under test.\n\n"
        f"{table(('', 'seconds', 'CPU seconds', 'Python, MB', 'process, MB'), rows)}\n\n"
        "In the paper, Python's memory is 0.82–74.2 MB for SAFE and 3,551–78,641 MB for HUDD.\n\n"
        + "\n".join(f"- {name}: {_cost_sentence(costs)}" for name, costs in measured.items())
        + "\n"
    )


def cost_ratios(costs: Costs, rival: str, *, ours: str = "SAFE") -> tuple[float, float]:
    """SAFE's time and Python memory as shares of a rival's."""
    seconds = {label: statistics.median(run["seconds"] for run in runs) for label, runs in costs.items()}
    return (
        seconds[ours] / seconds[rival],
        costs[ours][0]["python_mb"] / max(costs[rival][0]["python_mb"], 1e-9),
    )


def _cost_sentence(costs: Costs) -> str:
    parts = []
    for rival in (label for label in costs if label.startswith("HUDD")):
        time_ratio, memory_ratio = cost_ratios(costs, rival)
        bfloat16 = f" ({cost_ratios(costs, rival, ours=BFLOAT16)[0]:.2g} in bfloat16)" if BFLOAT16 in costs else ""
        parts.append(f"{time_ratio:.2g} of the time{bfloat16} and {memory_ratio:.2g} of the Python memory of {rival}")
    steps = costs["SAFE"][0]["parts"]
    slowest = max(steps, key=steps.__getitem__)
    takes = f"SAFE takes {'; '.join(parts)}. " if parts else f"{NO_HUDD}. "
    return f"{takes}{100 * steps[slowest] / sum(steps.values()):.0f} % of SAFE's time is “{slowest}”."
