"""How the RCCs were found, in words, with the curve that eps is read from. (The report has the settings tried.)"""

from markupsafe import Markup

from pipeline.summaries import how_found
from rccs.clusters import RootCauseClusters
from rccs.confidence import consensus_text
from reporting.elbow import elbow_svg
from reporting.markup import filled


def how_html(clusters: RootCauseClusters, missing: str) -> Markup:
    """The algorithm and its settings, and what was not measured. (The screen's card of terms explains them.)"""
    return filled(
        "page/clusters/how_found.html", clusters=clusters, found=how_found(clusters), missing=missing,
        consensus=consensus_text(clusters), curve=elbow_svg(clusters),
    )  # fmt: skip
