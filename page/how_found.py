"""How the RCCs were found, in words, with the curve that eps is read from, and every setting that was tried."""

import html
import re

from page.rcc_view import NO_CLUSTER_MEANS, RCC_MEANS
from pipeline.summaries import how_found
from rccs.clusters import RootCauseClusters
from rccs.confidence import consensus_text
from reporting.elbow import elbow_svg
from support.text import printable

SETTING_HEADERS = ["eps", "min_samples", "RCCs", "no cluster", "largest RCC", "silhouette", "score", ""]
TERMS = {
    "eps": "The distance up to which DBSCAN takes two images to be neighbours",
    "min_samples": "How many images must lie within eps of a core point, itself included",
    "silhouette": "How much closer images are to their own cluster than to the next; from -1 to 1, higher is better",
    "RCCs": RCC_MEANS,
    "RCC": RCC_MEANS,
    "noise": NO_CLUSTER_MEANS,
}


def how_html(clusters: RootCauseClusters, missing: str) -> str:
    """The algorithm and its settings, with the terms of the table explained, and what was not measured."""
    found = f"<p>{_explained(how_found(clusters))}</p>" + (f"<p>{_explained(missing)}</p>" if missing else "")
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
    agreed = f"<p>{_explained(consensus)}</p>" if consensus else ""
    return f"{found}<p>{_explained(search)}</p>{agreed}{elbow_svg(clusters)}"


def _explained(text: str) -> str:
    """HTML in which each of the `TERMS` has a tooltip."""
    return re.sub(
        rf"\b({'|'.join(TERMS)})\b",
        lambda term: f'<abbr title="{html.escape(TERMS[term[0]])}">{term[0]}</abbr>',
        html.escape(printable(text)),
    )


def setting_rows(clusters: RootCauseClusters) -> list[list]:
    """The settings tried, best first."""
    return [
        [
            f"{setting.eps:.4f}" + (" (knee)" if setting.at_knee else ""),
            setting.min_samples,
            setting.n_rccs,
            f"{setting.noise:.1%}",
            f"{setting.largest:.1%}",
            f"{setting.silhouette:.3f}",
            f"{setting.score:.3f}",
            "chosen" if (setting.eps, setting.min_samples) == (clusters.eps, clusters.min_samples) else "",
        ]
        for setting in sorted(clusters.settings, key=lambda setting: -setting.score)
    ]
