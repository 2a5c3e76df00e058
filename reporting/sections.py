"""The sections of the report in order, and its head: functions from the material of a run to HTML."""

import datetime
import os

from rccs.clusters import fingerprint
from reporting.cards import noise_section, rccs_section
from reporting.improvement import retraining_section, unsafe_set_section
from reporting.markup import escaped, fact_list, path_text
from reporting.material import Material
from reporting.provenance import edits_section, run_section, skipped_section
from reporting.summary import summary_section
from reporting.weak_spots import weak_spots_section
from reporting.wording import limits_section, reading_section, sign_off_section
from support.run_folder import CLUSTERS_FILE
from support.text import count


def subject(known: Material) -> str:
    """The subject of the report: the end of the image folder's path."""
    return "/".join(known.clusters.home.parts[-2:]).removeprefix("//") or os.fspath(known.clusters.home)


def head(known: Material, now: datetime.datetime) -> str:
    """Title, dates, and the folders of images and results."""
    clusters = known.clusters
    written = datetime.datetime.fromtimestamp((known.folder / CLUSTERS_FILE).stat().st_mtime, now.tzinfo)
    facts = fact_list(
        [
            ("Report written", escaped(now.strftime("%Y-%m-%d %H:%M %Z"))),
            ("Clusters found", escaped(written.strftime("%Y-%m-%d %H:%M %Z"))),
            ("Failing images", path_text(clusters.image_root)),
            ("Results", path_text(known.folder)),
            ("Fingerprint of the clusters", f"<code>{fingerprint(clusters)}</code>"),
        ]
    )
    return (
        "<header><p class='kicker'>SAFE · safety analysis of a DNN's failures</p>"
        f"<h1>Why the network fails: {escaped(subject(known))}</h1>"
        f"<p class='lede'>{count(len(clusters.paths), 'image')} on which an image-processing DNN fails, grouped by "
        "the reason for failing. The images of a group, a <em>root cause cluster</em> (RCC), look alike. Where this "
        "report says so, an engineer has judged them.</p>"
        f"{facts}</header>"
    )


# The sections in order: key, title, and the function that writes it.
SECTIONS = (
    ("summary", "Summary", summary_section),
    ("reading", "How to read this report", reading_section),
    ("rccs", "Root cause clusters", rccs_section),
    ("weak-spots", "Weak spots", weak_spots_section),
    ("noise", "Images in no cluster", noise_section),
    ("skipped", "Skipped images", skipped_section),
    ("edits", "What was changed by hand", edits_section),
    ("unsafe-set", "The images to label (the unsafe set)", unsafe_set_section),
    ("retraining", "Retraining", retraining_section),
    ("run", "How the clusters were found", run_section),
    ("limits", "Limits", limits_section),
    ("sign-off", "Sign-off", sign_off_section),
)
