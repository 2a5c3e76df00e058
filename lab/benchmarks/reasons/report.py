"""The section of `lab/results/reasons.md` on reasons for failing."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.benchmarks.reasons.measures import FIRST, PURE
from lab.benchmarks.results import table

INTRODUCTION = f"""
## Reasons, not looks

This section was written by `python -m lab.benchmarks.reasons`; definitions are in
`lab/benchmarks/reasons/measures.py`. RCCs are found in the failing images of a test set as always. Failure rates and
weak spots compare them with the images that the DNN gets right.

### RCCs and their failure rates

*Causes* are the known causes that make up {100 * PURE:.0f} % or more of an RCC that is said to fail more often, and, in
brackets, of any RCC. *Intervals* are those that hold the failure rate of the whole test set. *Information* is what the
RCC in whose region an image lies tells about whether it is right or wrong, as a share of the entropy; what random
regions would tell on average is subtracted. K-means has as many clusters, of the same points; all failing images are in
one.
"""
CONDITIONS = f"""
### Conditions in words

A cause is *named* if one of the first {FIRST} conditions is about one of its parameters and most failures for which it
holds have that cause. *Held* is the share of the failures for which any condition holds, at the *rate* and its multiple
of the base rate. *Information* is that of the first condition that holds for an image; for *unseen* images, conditions
are searched in a random half of the test set and counted in the other one, both ways. The decision tree (scikit-learn,
depth 3), SliceLine and pysubgroup get the same columns without the predicted class; a leaf counts if the 95 % interval
of its rate lies above the base rate. SliceLine gives its ten best slices (α = .95, at most two columns), and pysubgroup
its ten best subgroups (beam search of width 20, weighted relative accuracy, at most three columns); both get numbers in
tenths.
"""
CHANCE = """
### What is found by chance

Right and wrong are dealt out at random among the images of the test set, the images that are wrong then are clustered
anew, and rates and conditions are computed. Given is in how many of these shuffles anything is found, and the share of
all intervals of RCCs that hold the base rate, which should be 95 %. SliceLine and
pysubgroup have no test, and are left out.
"""
CLUSTER_COLUMNS = (
    *("case", "method", "RCCs", "noise", "more", "as often", "less", "too few", "causes", "intervals", "information"),
)
CONDITION_COLUMNS = (
    *("case", "method", "conditions", "causes named", "held", "rate", "× base", "information", "of unseen images"),
)
Results = Mapping[str, Mapping[str, Any]]
"""The result of `measure_case` for each case."""


def reasons_section(results: Results, *, further: bool = False) -> str:
    """Markdown; that of further cases has the same tables without the definitions."""
    shuffled = {name: result for name, result in results.items() if result["chance"]}
    methods = {method for result in results.values() for method in result["conditions"]}
    absent = [
        f"{name} was not run: see --{name.lower()}." for name in ("SliceLine", "pysubgroup") if name not in methods
    ]
    reference = "## Reasons: further cases\n\nMeasured by `python -m lab.benchmarks.reasons --further`, as those above."
    parts = [
        " ".join([reference if further else _paragraphs(INTRODUCTION), *absent]),
        "\n".join(_about(name, result["case"]) for name, result in results.items()),
        _clusters(results),
        *([] if further else [_paragraphs(CONDITIONS)]),
        _conditions(results),
        *(_first(name, result["conditions"]["weak spots"]) for name, result in results.items()),
        *([_paragraphs(CHANCE)] if shuffled and not further else []),
        *([_chance(shuffled)] if shuffled else []),
    ]
    return "\n\n".join(parts)


def _paragraphs(text: str) -> str:
    """One line for each paragraph, as elsewhere in the file."""
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in text.strip().split("\n\n"))


def _about(name: str, case: Mapping[str, Any]) -> str:
    causes = ", ".join(f"{cause} ({failing})" for cause, failing in case["causes"].items())
    return (
        f"- {name}: {case['failing']:,} of {case['images']:,} test images fail ({_percent(_base(case))}); "
        f"{f'known causes (failures): {causes}' if causes else 'no cause is known'}; {len(case['recorded'])} columns "
        f"are recorded, with label and prediction, and {case['measured']} are measured in the images; features: "
        f"{case['extractor']}."
    )


def _base(case: Mapping[str, Any]) -> float:
    return case["failing"] / case["images"]


def _clusters(results: Results) -> str:
    rows = []
    for name, result in results.items():
        n_causes = len(result["case"]["causes"])
        for method, one in result["clusters"].items():
            verdicts = [one["verdicts"][verdict] for verdict in ("more", "as often", "less", "too few")]
            causes = f"{len(one['causes'])} of {n_causes} ({len(one['causes of any'])})" if n_causes else "–"
            holding = f"{one['holding']} of {one['rccs']}"
            told = _told(one["information"])
            rows.append((name, method, one["rccs"], _percent(one["noise"]), *verdicts, causes, holding, told))
    return table(CLUSTER_COLUMNS, rows, texts=2)


def _conditions(results: Results) -> str:
    rows = []
    for name, result in results.items():
        n_causes, base = len(result["case"]["causes"]), _base(result["case"])
        for method, one in result["conditions"].items():
            causes = f"{len(one['causes'])} of {n_causes}" if n_causes else "–"
            rate = ["–", "–"] if one["rate"] is None else [_percent(one["rate"]), f"{one['rate'] / base:.1f}"]
            told = [_told(one[what]) for what in ("information", "unseen")]
            rows.append((name, method, one["conditions"], causes, _percent(one["held"]), *rate, *told))
    return table(CONDITION_COLUMNS, rows, texts=2)


def _first(name: str, spots: Mapping[str, Any]) -> str:
    lines = [f"{i}. `{where}`: {wrong:,} of {tested:,}" for i, (where, tested, wrong) in enumerate(spots["first"], 1)]
    if not lines:
        return f"{name} has no weak spot."
    return f"The first weak spots of {name}, with wrong and tested images:\n\n" + "\n".join(lines)


def _chance(results: Results) -> str:
    methods = list(dict.fromkeys(method for result in results.values() for method in result["chance"][0]["conditions"]))
    rows = []
    for name, result in results.items():
        clusters = [shuffle["clusters"] for shuffle in result["chance"]]
        conditions = [shuffle["conditions"] for shuffle in result["chance"]]
        called = [sum(one[method]["more"] > 0 for one in clusters) for method in ("RCCs", "K-means")]
        holding, n_rccs = (sum(one["RCCs"][what] for one in clusters) for what in ("holding", "rccs"))
        found = [sum(one[method] > 0 for one in conditions) for method in methods]
        rows.append((name, len(clusters), *called, f"{holding} of {n_rccs}", *found))
    return table(("case", "shuffles", "RCC fails more", "of K-means", "intervals", *methods), rows, texts=2)


def _told(information: Sequence[float]) -> str:
    return f"{information[0]:.3f} bits, {_percent(information[1])}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
