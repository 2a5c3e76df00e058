"""The report's sections on how its RCCs came about: how they were found, reviewed, and without which images."""

from markupsafe import Markup

from pipeline.reporting.elbow import elbow_svg
from pipeline.reporting.markup import filled
from pipeline.reporting.material import Material
from rccs.clusters import rccs_of
from rccs.confidence import consensus_text, why_unknown
from rccs.review.journal import UNKNOWN, describe_edit

MOST_ROWS = 200  # of skipped images and of edits


def skipped_section(known: Material) -> Markup:
    """The files that could not be used, with the reason."""
    if not known.clusters.skipped:
        return Markup("<p>None: all images were used.</p>")
    return filled("skipped.html", skipped=known.clusters.skipped, most=MOST_ROWS)


def edits_section(known: Material) -> Markup:
    """What the engineer has done and said in the review, undone edits included."""
    edits, found = known.edits, known.review.original
    if not edits:
        return Markup("<p>Nothing: the RCCs are as they were found.</p>")
    rows = [
        (edit.time.replace("T", " ").replace("+00:00", " UTC"), edit.engineer or UNKNOWN, describe_edit(edit, edits))
        for edit in edits[-MOST_ROWS:]
    ]
    changed = int((found.labels != known.clusters.labels).sum())
    n_rccs, now = len(rccs_of(found)), len(rccs_of(known.clusters))
    return filled("edits.html", edits=edits, rows=rows, found=n_rccs, now=now, changed=changed)


def run_section(known: Material) -> Markup:
    """The features, the settings tried and chosen, and how steady the RCCs are."""
    clusters = known.review.original
    versions = (f"{name} {version}" for name, version in known.run.get("versions", {}).items() if version)
    return filled(
        "run.html", clusters=clusters, n_rccs=len(rccs_of(clusters)), versions=", ".join(versions),
        agreed=consensus_text(clusters) or why_unknown(clusters, known.run), curve=elbow_svg(clusters),
        best=sorted(clusters.settings, key=lambda setting: -setting.score)[:10],
    )  # fmt: skip
