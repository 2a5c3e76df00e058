"""The sections of `lab/results/paper.md` on the paper's questions: tables and sentences, computed from the results."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from lab.benchmarks.paper.cases import BUILT_FROM
from lab.benchmarks.paper.figures import PAPER_INSPECTED, Results, by_size, covered_share, growth_of, of_source
from lab.benchmarks.paper.measures import effect, share_above
from lab.benchmarks.paper.plots import GROWTH_PLOT, PERCENTS, plot_of

Result = dict[str, Any]
Costs = dict[str, list[dict[str, Any]]]

METHODS = ("SAFE", "HUDD", "K-means", "random")
OURS = ("SAFE", "SAFE, bfloat16")  # whose cost is measured
# Of the paper; for oc, more than its 64 %
AIM_COVERED = {"gd": 0.92, "oc": 0.80, "hpd": 0.80}
AIM_REDUCED = {"gd": 0.9, "oc": 0.9, "hpd": 0.9, "fld": 0.9}  # share of RCCs with a reduction above 90 %
HEADINGS = {
    "paper": "The paper's research questions",
    "paper-large": "The paper's research questions with as many failures as in the paper",
}
NOT_RUN = "–"
NO_HUDD = "HUDD needs a classifier of whole images: it takes no regression and no detector"
PAPER_CASE_SIZE = 3000  # failing images
AIM_TIME, AIM_MEMORY = 1 / 5, 1 / 100  # of HUDD's


def paper_section(results: Results, *, section: str = "paper") -> str:
    """RQ1 to RQ3 as Markdown, with the pictures of a section of the page."""
    return "\n".join(
        [
            *_opening(results, HEADINGS[section]),
            *_inspected(results, plot_of(section, "inspected")),
            *_reduced(results, plot_of(section, "variance")),
            *_covered(results, plot_of(section, "coverage")),
            *_listed("Aims", aims(results)),
        ]
    )


def cost_section(results: Results) -> str:
    """RQ4 as Markdown; empty if neither time nor memory was measured."""
    measured = {name: result["cost"] for name, result in results.items() if result["cost"]}
    if not measured:
        return ""
    return "\n".join([*_costs(measured), *_listed("Aims of RQ4", cost_aims(measured))])


def growth_section(results: Results) -> str:
    """RQ4 by number of failing images as Markdown; empty if that was not measured."""
    measured = {name: growth_of(result["growth"]) for name, result in results.items() if result["growth"]}
    lines = [line for name, sizes in measured.items() for line in _growth(name, sizes)]
    return "\n".join([*lines, *_listed("Aims of RQ4 by number of failures", growth_aims(measured))]) if lines else ""


def _opening(results: Results, heading: str) -> Iterator[str]:
    repetitions = max(len(result["repetitions"]) for result in results.values())
    extractors = sorted({result["case"]["extractor"] for result in results.values()})
    yield from (
        f"## {heading}",
        "",
        "This section was written by `python -m lab.benchmarks.paper`; for definitions see "
        "`lab/benchmarks/paper/measures.py` and `lab/benchmarks/paper/cases.py`. "
        f"Features: {', '.join(extractors)}. All methods get the same failing images. K-means gets SAFE's points and "
        "number of clusters; random groups have the same sizes as SAFE's clusters. *Known causes* are the groups that "
        "a perfect method would find, the best result that the definitions allow.",
        f"Each method runs on all failing images and on {repetitions} subsets that leave out a random tenth of them "
        "(`--repetitions`); medians and ranges are over these subsets. The subsets overlap, so a p-value only tells "
        "how stable a difference is on this set of failures.",
        *([f"{without}: {NO_HUDD}."] if (without := _without_hudd(results)) else []),
        "Variances are compared with those of the whole test set, as in the text of the paper. The gain from "
        "retraining is measured by `lab.benchmarks.retraining`.",
        "",
    )


# --- Figures of the results -------------------------------------------------------------------------------------


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


def _without_hudd(results: Results) -> str:
    return ", ".join(name for name, result in results.items() if "HUDD" not in result["whole"])


def main_source(result: Result) -> str:
    """The source of the unsafe values in the aims: the known root causes if there are any, otherwise all sources."""
    return "root cause" if result["case"]["causes"] else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    yield from ("| " + " | ".join(row) + " |" for row in rows)
    yield ""


# --- The research questions -------------------------------------------------------------------------------------


def _inspected(results: Results, plot: str) -> Iterator[str]:
    low, middle, high = PAPER_INSPECTED
    yield f"### RQ1: share of the failures to inspect (paper: {low}–{high} %, median {middle} %)"
    yield ""
    rows = []
    for name, result in results.items():
        safe, hudd = result["whole"]["SAFE"], result["whole"].get("HUDD")
        rows.append(
            [
                name,
                f"{result['case']['failing']:,} of {result['case']['tested']:,}",
                str(len(safe["sizes"])),
                _percent(safe["noise"]),
                f"{safe['inspect_percent']:.1f}",
                _spread(_over(result, "SAFE", lambda one: one["inspect_percent"]), "{:.1f}"),
                str(len(hudd["sizes"])) if hudd else NOT_RUN,
                f"{hudd['inspect_percent']:.1f}" if hudd else NOT_RUN,
            ]
        )
    yield from _table(
        (
            "case",
            "failures of test images",
            "RCCs",
            "noise, %",
            "inspected, %",
            "on subsets",
            "HUDD's RCCs",
            "inspected, %",
        ),
        rows,
    )
    inspected = [result["whole"]["SAFE"]["inspect_percent"] for result in results.values()]
    yield (
        f"The median over the cases is {statistics.median(inspected):.1f} %. With five images of each RCC, the share "
        "falls as the number of failures grows: it depends as much on the size of the case as on the method."
    )
    yield ""
    rows = [
        [
            name,
            f"{size:,}",
            _spread([len(one["sizes"]) for one in found]),
            _spread([one["inspect_percent"] for one in found], "{:.1f}"),
            _spread([100 * covered_share(result, one, source=main_source(result)) for one in found]),
        ]
        for name, result in results.items()
        for size, found in by_size(result).items()
    ]
    if rows:
        most = max(len(found) for result in results.values() for found in by_size(result).values())
        yield (
            f"SAFE's results for {most} random subsets of the failures of each size (`--subsets`); the last row of "
            "each case is for all of them"
        )
        yield ""
        yield f"![Inspected share by number of failures](plots/{plot})"
        yield ""
        header = ("case", "failures", "RCCs", "inspected, %", "covered values of known root causes (or all), %")
        yield from _table(header, rows)


def _reduced(results: Results, plot: str) -> Iterator[str]:
    yield "### RQ2: do the images of an RCC have something in common?"
    yield ""
    picture = "Share of RCCs whose best parameter's variance is reduced by more than 10 to 100 %"
    yield f"![{picture}](plots/{plot})"
    yield ""
    yield "Share of RCCs, %, whose best parameter's variance is reduced by more than"
    yield ""
    rows = []
    for name, result in results.items():
        methods = [*methods_of(result), *(["known causes"] if result["case"]["causes"] else [])]
        for method in methods:
            reductions = result["whole"][method]["reductions"]
            over = _over(result, method, lambda one: 100 * share_above(one["reductions"], 90))
            shares = [_percent(share_above(reductions, percent)) for percent in PERCENTS]
            among = _percent(share_above(result["whole"][method]["among_failing"], 90))
            rows.append([f"{name}, {method}", str(len(reductions)), *shares, _spread(over), among])
    ends = ("90 % on subsets", "90 % of the failing images' variance")
    yield from _table(("", "RCCs", *(f"{percent} %" for percent in PERCENTS), *ends), rows)
    yield (
        "In the last column, an RCC's variance is compared with that of the failing images, as in HUDD's code, instead "
        "of that of the test set."
    )
    yield (
        "By the paper's definition, a group that merely lacks a parameter's rare images (for example the blurred ones) "
        "also reduces its variance: a reduction alone does not mean that the parameter characterises the group. RQ3 "
        "tests this."
    )
    yield ""
    yield (
        "In the paper, a median of 100 % of RCCs reduce a variance by more than 90 % for GD and OC (HUDD 86 and 57 %), "
        "and 90 % for HPD and FLD."
    )
    for name, result in results.items():
        yield (
            f"- {name}: "
            + "; ".join(_compared(result, other, _reduced_by_90, "RCCs above 90 %") for other in methods_of(result)[1:])
            + _causes_that_vary(result)
        )
    yield ""


def _causes_that_vary(result: Result) -> str:
    """A sentence on the known causes that would not reach 90 % even if they were found exactly."""
    causes, perfect = result["case"]["causes"], result["whole"].get("known causes")
    if not perfect or len(perfect["reductions"]) != len(causes):
        return ""
    below = [
        f"{cause} ({best} by {100 * reduced:.0f} %)"
        for cause, best, reduced in zip(causes, perfect["best"], perfect["reductions"], strict=True)
        if reduced <= 0.9
    ]
    if not below:
        return ""
    return (
        f". Even if found exactly, these known causes would not reduce a variance by more than 90 %: {', '.join(below)}"
    )


def _compared(result: Result, other: str, figure: Callable[[dict[str, Any]], float], what: str) -> str:
    ours, theirs = (_over(result, method, figure) for method in ("SAFE", other))
    p, a12 = effect(ours, theirs)
    mine, others = (100 * statistics.median(one) for one in (ours, theirs))
    word = f"more {what} than" if mine > others else f"fewer {what} than" if mine < others else f"as many {what} as"
    return f"{word} {other} ({mine:.0f} against {others:.0f} %, p {p:.2g}, Â12 {a12:.2f})"


def _covered(results: Results, plot: str) -> Iterator[str]:
    yield "### RQ3: unsafe values covered"
    yield ""
    yield f"![Covered unsafe values: median and range](plots/{plot})"
    yield ""
    yield "Share of the unsafe values, %, covered on all failing images and, in brackets, on subsets"
    yield ""
    rows = []
    for name, result in results.items():
        sources = dict.fromkeys(source for source, _ in result["case"]["values"])
        for source in ["", *(sources if len(sources) > 1 else [])]:
            count = len(of_source(result, source))
            run = methods_of(result)
            cells = [_covered_cell(result, method, source) if method in run else NOT_RUN for method in METHODS]
            perfect = result["whole"].get("known causes")
            cells.append(_percent(covered_share(result, perfect, source=source)) if perfect else NOT_RUN)
            rows.append([f"{name}, {source or 'all'}", str(count), *cells])
    yield from _table(("values", "number", *METHODS, "known causes"), rows)
    yield "Share of RCCs, %, with a unique set of values"
    yield ""
    rows = [
        [
            name,
            *(
                _spread(_over(result, method, lambda one: 100 * one["unique"]))
                if method in methods_of(result)
                else NOT_RUN
                for method in METHODS
            ),
        ]
        for name, result in results.items()
    ]
    yield from _table(("", *METHODS), rows)
    yield "Coverage in the paper: 92, 64 and 80 % (GD, OC, HPD); HUDD 71, 50 and 60 %."
    for name, result in results.items():
        yield f"- {name}: {_coverage_sentence(result)}"
    yield ""


def _covered_cell(result: Result, method: str, source: str) -> str:
    whole = _percent(covered_share(result, result["whole"][method], source=source))
    return f"{whole} [{_spread(_over(result, method, lambda one: 100 * covered_share(result, one, source=source)))}]"


def _coverage_sentence(result: Result) -> str:
    source = main_source(result)
    comparison = "; ".join(
        _compared(result, other, lambda one: covered_share(result, one, source=source), "values")
        for other in methods_of(result)[1:]
    )
    covered = set(result["whole"]["SAFE"]["covered"])
    values = result["case"]["values"]
    missed = [values[i][1] for i in of_source(result, source) if i not in covered]
    perfect = result["whole"].get("known causes")
    out_of_reach = [values[i][1] for i in of_source(result, "") if perfect and i not in perfect["covered"]]
    comparison += f". SAFE does not cover {', '.join(missed)}" if missed else ". SAFE covers all of them"
    of_what = " of the known root causes" if source else ""
    text = f"values{of_what}: {comparison}."
    if out_of_reach:
        text += f" Even the known causes do not cover {', '.join(out_of_reach)}, since they lie elsewhere."
    if not result["layers"]:
        return f"{text} HUDD was not run: it needs a classifier of whole images."
    chosen = next(layer for layer in result["layers"] if layer["chosen"])
    best = max(result["layers"], key=lambda layer: covered_share(result, layer, source=source))
    return text + (
        f" HUDD chose the layer {chosen['layer']} ({_percent(covered_share(result, chosen, source=source))} %); "
        f"the best layer in hindsight was {best['layer']} ({_percent(covered_share(result, best, source=source))} %)."
    )


def _costs(measured: dict[str, Costs]) -> Iterator[str]:
    yield "### RQ4: time and memory from a cold start"
    yield ""
    yield (
        "Each run is a new process: loading, features or heatmaps, clusters; nothing is cached. *Python* is the peak "
        "memory of Python and NumPy after the libraries and the network (VGG16, or the DNN under test) are loaded "
        "(tracemalloc); *process* is the peak resident memory. HUDD keeps the heatmaps of all layers in memory, as "
        "published; *disk* is this project's variant, with the same clusters. *AlexNet* is the network of the paper's "
        "case studies, untrained, on the same images, and shows the cost of HUDD on a network of that size. SAFE's "
        "cost does not depend on the DNN under test."
    )
    yield ""
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
    yield from _table(("", "seconds", "CPU seconds", "Python, MB", "process, MB"), rows)
    yield "In the paper, Python's memory is 0.82–74.2 MB for SAFE and 3,551–78,641 MB for HUDD."
    yield ""
    for name, costs in measured.items():
        yield f"- {name}: {_cost_sentence(costs)}"
    yield ""


def _growth(name: str, sizes: dict[int, Costs]) -> Iterator[str]:
    yield f"### Time and memory by number of failures: random subsets of {name}"
    yield ""
    yield f"![Time and memory of SAFE and HUDD by number of failing images](plots/{GROWTH_PLOT})"
    yield ""
    yield (
        "*One by one*: one image and one pair of heatmaps at a time, as in the published tool; this project's HUDD "
        "uses batches and matrix products. *bfloat16*: `cluster --precision bfloat16`, on a processor with bfloat16 "
        "instructions. *VGG16* as the DNN under test is as large as SAFE's feature extractor. One run each. In "
        "brackets: SAFE's time and SAFE's time in bfloat16, or SAFE's memory, as a share of HUDD's."
    )
    yield ""
    rows = []
    for size, costs in sizes.items():
        for label, (cost,) in costs.items():
            memory = f"{cost['python_mb']:,.1f}" if cost["python_mb"] else ""
            if label.startswith("HUDD"):
                seconds, of_memory = cost_ratios(costs, label)
                share = f" ({seconds:.2g}, {cost_ratios(costs, label, ours='SAFE, bfloat16')[0]:.2g})"
                memory += f" ({of_memory:.2g})" if memory else ""
            else:
                share = ""
            rows.append(
                [
                    f"{size:,}",
                    label,
                    f"{cost['seconds']:.0f}{share}",
                    f"{cost['cpu_seconds']:.0f}",
                    memory,
                    f"{cost['process_mb']:,.0f}",
                ]
            )
    yield from _table(("failures", "", "seconds", "CPU seconds", "Python, MB", "process, MB"), rows)


def cost_ratios(costs: Costs, rival: str, *, ours: str = "SAFE") -> tuple[float, float]:
    """SAFE's time and Python memory as shares of a rival's."""
    seconds = {label: statistics.median(run["seconds"] for run in runs) for label, runs in costs.items()}
    return (
        seconds[ours] / seconds[rival],
        costs[ours][0]["python_mb"] / max(costs[rival][0]["python_mb"], 1e-9),
    )


def _cost_sentence(costs: Costs) -> str:
    parts = []
    for rival in (label for label in costs if label not in OURS):
        time_ratio, memory_ratio = cost_ratios(costs, rival)
        bfloat16 = f" ({cost_ratios(costs, rival, ours=OURS[1])[0]:.2g} in bfloat16)" if OURS[1] in costs else ""
        parts.append(f"{time_ratio:.2g} of the time{bfloat16} and {memory_ratio:.2g} of the Python memory of {rival}")
    slowest = max(costs["SAFE"][0]["parts"].items(), key=lambda part: part[1])
    total = sum(costs["SAFE"][0]["parts"].values())
    takes = f"SAFE takes {'; '.join(parts)}. " if parts else f"{NO_HUDD}. "
    return f"{takes}{100 * slowest[1] / total:.0f} % of SAFE's time is “{slowest[0]}”."


# --- The aims ---------------------------------------------------------------------------------------------------


def _listed(heading: str, found: Iterator[tuple[bool, str]]) -> Iterator[str]:
    yield f"### {heading}"
    yield ""
    yield from (f"- {'Met' if met else '**Not met**'}: {text}" for met, text in found)


def aims(results: Results) -> Iterator[tuple[bool, str]]:
    """Whether each aim of RQ1 to RQ3 is met, and a sentence with the figures."""
    for name, result in results.items():
        source = BUILT_FROM[name]
        if source in AIM_REDUCED:
            yield _reduced_aim(name, result, AIM_REDUCED[source])
        if source in AIM_COVERED:
            yield _covered_aim(name, result, AIM_COVERED[source])
    for name, result in results.items():
        medians = {
            method: statistics.median(_over(result, method, partial(covered_share, result)))
            for method in methods_of(result)
        }
        above = all(medians["SAFE"] > medians[other] for other in ("HUDD", "random") if other in medians)
        shares = ", ".join(f"{method} {_percent(share)}" for method, share in medians.items())
        rivals = "HUDD and random groups" if "HUDD" in medians else "random groups"
        yield (
            above,
            f"{name}: coverage of all unsafe values on subsets, median: {shares} % (aim: above {rivals}).",
        )
    inspected = {name: result["whole"]["SAFE"]["inspect_percent"] for name, result in results.items()}
    large = {name: share for name, share in inspected.items() if results[name]["case"]["failing"] >= PAPER_CASE_SIZE}
    if large:
        middle = statistics.median(large.values())
        shares = ", ".join(f"{name} {share:.1f} %" for name, share in large.items())
        yield (
            middle <= PAPER_INSPECTED[1],
            f"{middle:.1f} % of failures are inspected, the median over the cases of {PAPER_CASE_SIZE:,} failures or "
            f"more ({shares}; aim: {PAPER_INSPECTED[1]} %).",
        )


def _reduced_aim(name: str, result: Result, aim: float) -> tuple[bool, str]:
    shares = {method: _reduced_by_90(outcome) for method, outcome in result["whole"].items()}
    rivals = [
        f"{title} {_percent(shares[method])} %"
        for method, title in (("HUDD", "HUDD"), ("known causes", "the known causes themselves"))
        if method in shares
    ]
    return (
        shares["SAFE"] >= aim,
        f"{name}: {_percent(shares['SAFE'])} % of RCCs have a variance reduction above 90 % (aim: {_percent(aim)} %)"
        + "".join(f"; {rival}" for rival in rivals)
        + ".",
    )


def _covered_aim(name: str, result: Result, aim: float) -> tuple[bool, str]:
    found, source = result["whole"], main_source(result)
    share = covered_share(result, found["SAFE"], source=source)
    hudd = f"; HUDD {_percent(covered_share(result, found['HUDD'], source=source))} %" if "HUDD" in found else ""
    return (
        share >= aim,
        f"{name}: {_percent(share)} % of the values of known root causes are covered (aim: {_percent(aim)} %{hudd}); "
        f"{_percent(covered_share(result, found['SAFE']))} % including all other borders.",
    )


def cost_aims(measured: dict[str, Costs]) -> Iterator[tuple[bool, str]]:
    """Whether each aim of RQ4 is met on each case, and a sentence with the figures."""
    for name, costs in measured.items():
        for rival in [label for label in costs if label in ("HUDD", "HUDD, AlexNet")]:
            for ours in [label for label in OURS if label in costs]:
                share, _ = cost_ratios(costs, rival, ours=ours)
                yield share <= AIM_TIME, f"{name}: {ours} takes {share:.2g} of the time of {rival} (aim: 0.2)."
            _, share = cost_ratios(costs, rival)
            yield share <= AIM_MEMORY, f"{name}: {share:.2g} of the Python memory of {rival} (aim: 0.01)."


def growth_aims(measured: dict[str, dict[int, Costs]]) -> Iterator[tuple[bool, str]]:
    """The same aims for the largest number of failing images of a case on which each rival was run."""
    for name, sizes in measured.items():
        rivals = dict.fromkeys(label for costs in sizes.values() for label in costs if label.startswith("HUDD"))
        for rival in rivals:
            size = max(size for size, costs in sizes.items() if rival in costs)
            for ours in OURS:
                share, _ = cost_ratios(sizes[size], rival, ours=ours)
                yield (
                    share <= AIM_TIME,
                    f"{name}, {size:,} images: {ours} takes {share:.2g} of the time of {rival} (aim: 0.2).",
                )
            if sizes[size][rival][0]["python_mb"]:
                _, share = cost_ratios(sizes[size], rival)
                yield (
                    share <= AIM_MEMORY,
                    f"{name}, {size:,} images: {share:.2g} of the Python memory of {rival} (aim: 0.01).",
                )
