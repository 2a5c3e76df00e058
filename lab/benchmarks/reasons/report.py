"""The section of `lab/results/reasons.md` on reasons for failing."""

import math
from collections.abc import Mapping
from typing import Any

from lab.benchmarks.reasons.measures import FIRST, PURE

INTRODUCTION = f"""
## Reasons, not looks

This section was written by `python -m lab.benchmarks.reasons`; definitions are in
`lab/benchmarks/reasons/measures.py`. RCCs are found in the failing images of a test set as always. Failure rates and
weak spots compare them with the images that the DNN gets right.

### RCCs and their failure rates

*Causes* are the known causes that make up {100 * PURE:.0f} % or more of an RCC that is said to fail more often, and, in
brackets, of any RCC. *Intervals* are those that hold the failure rate of the whole test set. *Information* is what the
RCC in whose region an image lies tells about whether it is right or wrong, as a share of the entropy; what random
regions would tell on average is subtracted. NMI is that of RCCs and cause, class, or a nuisance (the person, where the
case has one), without noise. *Of one value* are RCCs with {100 * PURE:.0f} % or more images of one person, and, in
brackets, those of them that are said to fail more often. K-means has as many
clusters, of the same points; all failing images are in one.
HUDD clusters heatmaps of the DNN (the layer that it chose is in brackets); a tested image lies in the region of the
nearest other failing image by the distance of heatmaps of that layer. Clusters of one image are noise. HUDD has no row
of figures where its relevance cannot be propagated through the DNN, or the DNN is a regression or a detector.
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
pysubgroup have no test, and are left out; so is HUDD, to save time.
"""
TIME = """
### Time

Rates include reading the cached features of the images that are right; weak spots are searched once what is known of
the images has been read. One run each, on 2 cores shared with other work.
"""
ELSEWHERE = """
Measured elsewhere: RCCs with a parameter or looks set aside (docs/decisions/032-unknown-nuisances.md).
"""
CLUSTER_COLUMNS = (
    *("case", "method", "RCCs", "noise", "more", "as often", "less", "too few", "causes", "intervals"),
    *("information", "NMI cause", "class", "nuisance", "of one value"),
)


def reasons_section(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown.

    Parameters
    ----------
    results : mapping of str to mapping
        For each case, the result of `measure_case`.
    """
    parts = [
        _paragraphs(INTRODUCTION),
        "\n".join(_about(name, result["case"]) for name, result in results.items()),
        _clusters(results),
        _paragraphs(CONDITIONS),
        _conditions(results),
        *(_first(name, result["conditions"]["weak spots"]) for name, result in results.items()),
        _paragraphs(CHANCE),
        _chance({name: result for name, result in results.items() if result["chance"]}),
        _paragraphs(TIME),
        _seconds(results),
        f"{_paragraphs(ELSEWHERE)} {_absent(results)}".strip(),
    ]
    return "\n\n".join(parts)


def further_section(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The same tables, without the definitions, for cases that are measured apart from the others."""
    shuffled = {name: result for name, result in results.items() if result["chance"]}
    parts = [
        "## Reasons: further cases",
        f"Measured by `python -m lab.benchmarks.reasons --further`, as those above. {_absent(results)}".strip(),
        "\n".join(_about(name, result["case"]) for name, result in results.items()),
        _clusters(results),
        _conditions(results),
        *(_first(name, result["conditions"]["weak spots"]) for name, result in results.items()),
        *([_chance(shuffled)] if shuffled else []),
    ]
    return "\n\n".join(parts)


def _absent(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence on each rival that was left out."""
    methods = {method for result in results.values() for method in result["conditions"]}
    absent = [method for method in ("SliceLine", "pysubgroup") if method not in methods]
    return " ".join(f"{method} was not run: see --{method.lower()}." for method in absent)


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


def _clusters(results: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, result in results.items():
        n_causes = len(result["case"]["causes"])
        for method, one in result["clusters"].items():
            if one is None:
                rows.append((name, method, *["–"] * (len(CLUSTER_COLUMNS) - 2)))
                continue
            nmi = one["nmi"]
            nuisance = next((what for what in nmi if what not in ("cause", "label")), "")
            rows.append(
                (
                    name,
                    f"{method} ({one['layer']})" if "layer" in one else method,
                    str(one["rccs"]),
                    _percent(one["noise"]),
                    *(str(one["verdicts"][verdict]) for verdict in ("more", "as often", "less", "too few")),
                    f"{_share(len(one['causes']), n_causes)} ({len(one['causes of any'])})" if n_causes else "–",
                    _share(one["holding"], one["rccs"]),
                    f"{one['information'][0]:.3f} bits, {_percent(one['information'][1])}",
                    *(_number(nmi[what]) if what in nmi else "–" for what in ("cause", "label", nuisance)),
                    f"{one['of one']} ({one['of one, more']})" if nuisance in nmi else "–",
                )
            )
    return _table(CLUSTER_COLUMNS, rows)


def _conditions(results: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, result in results.items():
        n_causes, base = len(result["case"]["causes"]), _base(result["case"])
        for method, one in result["conditions"].items():
            rows.append(
                (
                    name,
                    method,
                    str(one["conditions"]),
                    _share(len(one["causes"]), n_causes) if n_causes else "–",
                    _percent(one["held"]),
                    "–" if one["rate"] is None else _percent(one["rate"]),
                    "–" if one["rate"] is None else f"{one['rate'] / base:.1f}",
                    *(f"{one[what][0]:.3f} bits, {_percent(one[what][1])}" for what in ("information", "unseen")),
                )
            )
    header = (
        "case",
        "method",
        "conditions",
        "causes named",
        "held",
        "rate",
        "× base",
        "information",
        "of unseen images",
    )
    return _table(header, rows)


def _first(name: str, spots: Mapping[str, Any]) -> str:
    lines = [f"{i}. `{where}`: {wrong:,} of {tested:,}" for i, (where, tested, wrong) in enumerate(spots["first"], 1)]
    if not lines:
        return f"{name} has no weak spot."
    return f"The first weak spots of {name}, with wrong and tested images:\n\n" + "\n".join(lines)


def _chance(results: Mapping[str, Mapping[str, Any]]) -> str:
    methods = list(dict.fromkeys(method for result in results.values() for method in result["chance"][0]["conditions"]))
    rows = []
    for name, result in results.items():
        clusters = [shuffle["clusters"] for shuffle in result["chance"]]
        conditions = [shuffle["conditions"] for shuffle in result["chance"]]
        called = [sum(one[method]["more"] > 0 for one in clusters) for method in ("RCCs", "K-means")]
        holding, n_rccs = (sum(one["RCCs"][what] for one in clusters) for what in ("holding", "rccs"))
        found = [
            str(sum(one[method] > 0 for one in conditions)) if method in conditions[0] else "–" for method in methods
        ]
        rows.append((name, str(len(clusters)), *map(str, called), _share(holding, n_rccs), *found))
    return _table(("case", "shuffles", "RCC fails more", "of K-means", "intervals", *methods), rows)


def _seconds(results: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (name, f"{one['case']['images']:,}", *(f"{one['seconds'][what]:.1f}" for what in ("rates", "weak spots")))
        for name, one in results.items()
    ]
    return _table(("case", "images", "rates, s", "weak spots, s"), rows)


def _share(part: int, of: int) -> str:
    return f"{part} of {of}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---", "---", *("---:" for _ in header[2:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
