"""Two runs beside each other, as HTML: a column for each, with its name and date; RCCs that are alike share a row."""

from markupsafe import Markup

from rccs.clusters import rccs_of
from reporting.history import Comparison, Listed
from reporting.markup import filled
from reporting.side_by_side import Side, judged, matches
from support.text import count


def run_title(run: Listed) -> str:
    """Name and date of a run, as text."""
    return f"{run.time:%Y-%m-%d %H:%M:%S}" + (" (present)" if run.current else "")


def beside_html(a: Side, b: Side, found: Comparison) -> Markup:
    """What two runs have found, and the models that they led to."""
    sides = (a, b)
    accuracies = [side.accuracy for side in sides]
    facts = {
        "Failing images": [f"{len(side.clusters.paths):,}" for side in sides],
        "Root cause clusters": [f"{len(rccs_of(side.clusters)):,}" for side in sides],
        "Images in no cluster": [f"{side.run.noise:,}" for side in sides],
        "Judged": [f"{judged(side)} of {len(rccs_of(side.clusters))}" for side in sides],
        "Features reduced by": [side.run.reducer.upper() for side in sides],
        "Wrong, of all test images": [f"{side.base:.1%}" if side.base else "" for side in sides],
        "Accuracy before retraining": [found and found[0] for found in accuracies],
        "Accuracy after retraining": [found and found[1] for found in accuracies],
        "Tested on": [count(side.retraining.test_size, "image") if side.retraining else "" for side in sides],
    }
    pairs = matches(a.clusters, b.clusters, found)
    return filled("page/clusters/beside.html", sides=sides, facts=facts.items(), matches=pairs, run_title=run_title)
