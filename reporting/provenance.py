"""The report's sections on how its RCCs came about: how they were found, reviewed, and without which images."""

from rccs.clusters import RUN_FILE, RootCauseClusters, rccs_of
from rccs.confidence import consensus_text, why_unknown
from rccs.review.journal import UNKNOWN, describe_edit
from reporting.elbow import elbow_svg
from reporting.markup import escaped, fact_list, html_table, more, path_text, percent
from reporting.material import Material
from support.text import count

MOST_ROWS = 200  # of skipped images and of edits


def skipped_section(known: Material) -> str:
    """The files that could not be used, with the reason."""
    skipped = known.clusters.skipped
    if not skipped:
        return "<p>None: all images were used.</p>"
    rows = [[path_text(path), escaped(reason)] for path, reason in skipped[:MOST_ROWS]]
    return (
        f"<p>{count(len(skipped), 'file')} could not be used and are in no RCC.</p>"
        f"{html_table(['Image', 'Reason'], rows)}{more(len(skipped), len(rows), RUN_FILE)}"
    )


def edits_section(known: Material) -> str:
    """What the engineer has done and said in the review, undone edits included."""
    edits = known.edits
    if not edits:
        return "<p>Nothing: the RCCs are as they were found.</p>"
    rows = [
        [
            escaped(edit.time.replace("T", " ").replace("+00:00", " UTC")),
            escaped(edit.engineer or UNKNOWN),
            escaped(describe_edit(edit, edits)),
        ]
        for edit in edits[-MOST_ROWS:]
    ]
    found = len(rccs_of(known.review.original))
    changed = int((known.review.original.labels != known.clusters.labels).sum())
    return (
        f"<p>The clustering found {count(found, 'RCC')}; after the edits there are "
        f"{len(rccs_of(known.clusters)):,}, and {count(changed, 'image')} changed cluster. All edits are recorded, "
        f"including undone ones.</p>{html_table(['Time', 'Who', 'Edit'], rows)}"
        + (f"<p class='soft small'>The last {len(rows):,} of {len(edits):,}.</p>" if len(rows) < len(edits) else "")
    )


def run_section(known: Material) -> str:
    """The features, the settings tried and chosen, and how steady the RCCs are."""
    clusters = known.review.original
    components = f"PCA to {clusters.points.shape[1]} components"
    averaging = "UMAP" if clusters.reducer == "umap" else "neighbour averaging"
    dbscan = "nothing to tune: too few images, or all of them alike"
    if clusters.settings:
        dbscan = f"eps {clusters.eps:.4g}, min_samples {clusters.min_samples}"
    versions = (f"{name} {version}" for name, version in known.run.get("versions", {}).items() if version)
    facts = [
        ("Features", escaped(clusters.extractor) + (f": {escaped(clusters.notice)}" if clusters.notice else "")),
        ("Identity of the features", f"<code>{escaped(clusters.extractor_identity)}</code>"),
        ("Reduced by", f"{components}, then {averaging}"),
        ("DBSCAN", dbscan),
        ("Found", f"{count(len(rccs_of(clusters)), 'RCC')}, {percent(clusters.noise_share)} in no cluster"),
        ("Versions", escaped(", ".join(versions))),
    ]
    agreed = consensus_text(clusters) or why_unknown(clusters, known.run)
    agreed = f"<p>{escaped(agreed)}</p>" if agreed else ""
    what = f"Sorted distances of the images to neighbour number {clusters.min_samples}, with the knee and the eps used."
    curve = elbow_svg(clusters)
    figure = f"<div class='figure'>{curve}<p class='soft small'>{what}</p></div>" if curve else ""
    return f"{fact_list(facts)}{agreed}{_tried(clusters)}{figure}"


def _tried(clusters: RootCauseClusters) -> str:
    """A table of the best settings that were tried."""
    best = sorted(clusters.settings, key=lambda setting: -setting.score)[:10]
    if not best:
        return ""
    rows = [
        [
            f"{s.eps:.4f}" + (" (knee)" if s.at_knee else ""),
            str(s.min_samples),
            f"{s.n_rccs:,}",
            percent(s.noise),
            percent(s.largest),
            f"{s.silhouette:.3f}",
            f"{s.score:.3f}",
        ]
        for s in best
    ]
    caption = f"The best {len(best)} of {count(len(clusters.settings), 'setting')} tried; the first was used"
    caption += " for all images" if clusters.steadiness else ""
    headers = ["eps", "min_samples", "RCCs", "In no cluster", "Largest RCC", "Silhouette", "Score"]
    return html_table(headers, rows, caption=caption, numbers=range(7))
