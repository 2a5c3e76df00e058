"""The report's sections on how its RCCs came about, and on what is said of them: the register."""

import numpy as np
from markupsafe import Markup

from pipeline.reporting.markup import filled
from pipeline.reporting.material import Material
from rccs.clusters import RootCauseClusters
from rccs.review.notes import REGISTER
from reasons.register import Entry


def run_section(known: Material) -> Markup:
    """The features, the settings tried and chosen, and how steady the RCCs are."""
    return filled("run.html", known=known, curve=elbow_svg(known.review.original))


def register_section(known: Material) -> Markup:
    """A row for each reason of which anything is said, and what a safety case would ask for."""
    entries = known.register
    said = [(one, _said(one)) for one in entries if any(getattr(one.note, field) for field in REGISTER)]
    missing = [f"{one.reason}: {text}" for one in entries for text in one.missing]
    return filled("register.html", said=said, missing=missing)


def _said(entry: Entry) -> list[tuple[str, str]]:
    """The fields that are filled in, each with its name."""
    said = ((known.title, getattr(entry.note, field)) for field, known in REGISTER.items() if field != "status")
    return [(title, text) for title, text in (*said, ("Fresh test set", entry.fresh)) if text]


def elbow_svg(clusters: RootCauseClusters) -> Markup:
    """The k-distance curve with its knee and the chosen eps, as an SVG drawing in the colour of the text around it."""
    curve = clusters.k_distances
    if len(curve) < 2 or curve[-1] <= 0:
        return Markup("")
    width, height, left, bottom = 560, 240, 46, 206
    ranks = np.unique(np.linspace(0, len(curve) - 1, 300).astype(int))
    x = left + np.arange(len(curve)) / (len(curve) - 1) * (width - left - 10)
    y = 10 + (1 - np.append(curve, min(clusters.eps, curve[-1])) / curve[-1]) * (bottom - 10)
    return filled(
        "elbow.svg", clusters=clusters, curve=curve, width=width, height=height, left=left, bottom=bottom,
        line=" ".join(f"{x[rank]:.1f},{y[rank]:.1f}" for rank in ranks), eps=round(float(y[-1]), 1),
        knee=None if clusters.knee is None else round(float(x[clusters.knee]), 1),
    )  # fmt: skip
