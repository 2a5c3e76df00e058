"""How the RCCs were found, in words, with the curve that eps is read from. (The report has the settings tried.)"""

from pipeline.summaries import how_found
from rccs.clusters import RootCauseClusters
from rccs.confidence import consensus_text
from reporting.elbow import elbow_svg
from reporting.markup import escaped


def how_html(clusters: RootCauseClusters, missing: str) -> str:
    """The algorithm and its settings, and what was not measured. (The screen's card of terms explains them.)"""
    found = f"<p>{escaped(how_found(clusters))}</p>" + (f"<p>{escaped(missing)}</p>" if missing else "")
    if not clusters.settings:
        return found
    consensus = consensus_text(clusters)
    became = "are kept, each with its own eps" if consensus else "became RCCs, each with its own eps"
    search = (
        f"DBSCAN was run with {len(clusters.settings)} values of min_samples. For each of them, eps was lowered from "
        f"above the knee of the curve below, each image's distance to its neighbour {clusters.min_samples}, while "
        f"clusters split into branches. The branches that explain most images and are best separated {became}; the "
        "largest eps is given here. The min_samples with the best score was chosen; the score depends on the "
        "silhouette as well. Images that are in no RCC are noise."
    )
    agreed = f"<p>{escaped(consensus)}</p>" if consensus else ""
    return f"{found}<p>{escaped(search)}</p>{agreed}{elbow_svg(clusters)}"
