"""The report: all results of a run in one HTML file, for the safety case. A folder in, `report.html` out.

It needs neither a network nor scripts, and can be printed. File names, notes and other files' contents are escaped.
Limits on the number of cards, images and rows keep it at a size that a browser opens at once; if something is left out,
the report says so.

Sources: ISO 21448:2022 (safety of the intended functionality), clauses 7 and 8; Attaoui et al., ACM TOSEM 32(3):79,
2023, section 3.3 (five images suffice to recognize a root cause).
"""

import datetime
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from safe_dnn.pipeline.explaining import since_earlier
from safe_dnn.pipeline.reporting.markup import escaped, filled, picture_uri
from safe_dnn.pipeline.reporting.material import Material, carded
from safe_dnn.pipeline.reporting.sections import SECTIONS, first_page
from safe_dnn.pipeline.tagging import all_words
from safe_dnn.pipeline.word_reasons import present_reasons
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, run_record, sample
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.profiles import load_profiles
from safe_dnn.rccs.review.review import Review, all_edits, load_review, load_scope, notes_of_run
from safe_dnn.rccs.unsafe_set import UnsafeSet, load_unsafe_set
from safe_dnn.reasons.claims import asked
from safe_dnn.reasons.comparison import Reasons
from safe_dnn.reasons.probes import load_probes
from safe_dnn.reasons.register import register_of
from safe_dnn.store.output_folder import check_own, save_files
from safe_dnn.store.runs import CLUSTERS, CONFIRMATION, PROBES, RETRAINING, SELECTION, present_runs, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.training.earlier import failing_model
from safe_dnn.training.result import Retraining, retraining_of

REPORT_FILE = "report.html"
MOST_IMAGE_BYTES = 20 * 2**20
# Number of images up to which they have this side and JPEG quality, to keep the report of many RCCs small.
IMAGE_SIDES = ((300, 240, 82), (1000, 176, 78))
SMALLEST_IMAGE = (128, 72)


def subject(known: Material) -> str:
    """The subject of the report: the end of the image folder's path."""
    return "/".join(known.clusters.home.parts[-2:]).removeprefix("//") or os.fspath(known.clusters.home)


def write_report(folder: Path, *, progress: Progress = no_progress) -> Path:
    """Write `report.html` for the run in a folder, and return its path.

    Raises
    ------
    SAFEError
        There are no clusters, one of the files is damaged, or the report cannot be written.
    """
    prepare_folder(folder)
    check_own(folder, REPORT_FILE)
    save_files(folder, {REPORT_FILE: report_html(folder, progress=progress)})
    return folder / REPORT_FILE


def report_html(folder: Path, *, progress: Progress = no_progress) -> str:
    """The report of the run in a folder, an HTML document.

    Raises
    ------
    SAFEError
        There are no clusters, or one of the files is damaged.
    """
    known = _gather(folder, progress)
    now = datetime.datetime.now().astimezone()
    page = filled(
        "report.html", known=known, subject=subject(known), now=now,
        found=datetime.datetime.fromisoformat(known.found).astimezone(now.tzinfo),
        first_page=first_page(known), network=failing_model(known.clusters.image_root),
        sections=[
            (key, name, write(known) if write else filled(f"{key}.html", known=known)) for key, name, write in SECTIONS
        ],
    )  # fmt: skip
    # It goes to others, and the folder may be moved: of what lies in that, it says where in it.
    return page.replace(escaped(f"{known.folder}/"), "")


# --- The material -----------------------------------------------------------------------------------------------


T = TypeVar("T")


def _gather(folder: Path, progress: Progress) -> Material:
    runs = present_runs(folder)  # first: what is not there any more after it is an error in one sentence
    review, missing = load_review(folder), dict[str, str]()

    def read(name: str, load: Callable[[], T], otherwise: T) -> T:
        """What is read or, if that is not possible, something else and the reason in `missing`."""
        try:
            return load()
        except SAFEError as error:
            missing[name] = str(error)
            return otherwise

    reasons = read("reasons", lambda: present_reasons(folder, review), Reasons())
    rates = reasons.rates(review.clusters)
    fresh = read("fresh", lambda: asked(runs.get(CONFIRMATION), review), dict[str, str]())
    register = register_of(folder, review, reasons, fresh)
    run, spot_notes = run_record(folder), notes_of_run(folder, reasons.spots)
    spot_notes |= {one.about.subject: one.note for one in register if one.about and one.about.spot}
    return Material(
        folder=folder, review=review, edits=all_edits(folder, review),
        profiles=read("profiles", lambda: {profile.rcc: profile.text for profile in load_profiles(folder)}, {}),
        reasons=reasons, rates=rates, spot_notes=spot_notes, missing=missing,
        confirmation=confirmation.facts if (confirmation := runs.get(CONFIRMATION)) else {},
        probes=read("probes", lambda: load_probes(runs.get(PROBES)), []),
        register=register, scope=load_scope(folder),
        unsafe=read("unsafe", lambda: _unsafe_set(folder, fingerprint(review.clusters)), None),
        retraining=read("retraining", lambda: _retraining(folder, review), None),
        run=run, found=runs[CLUSTERS].time, earlier=since_earlier(folder, run.get("predictions", {}).get("digest", "")),
        rests_on=", ".join(f"{run.number} ({kind})" for kind, run in runs.items()),
        words=_words(folder), images=_images(review.clusters, carded(review.clusters, rates), progress),
    )  # fmt: skip


def _words(folder: Path) -> tuple[str, ...]:
    """What is known of each word; a sentence on why not if the answers of the network cannot be read any more."""
    try:
        return tuple(tagging.text for tagging in all_words(folder).values())
    except SAFEError as error:
        return (str(error),)


def _unsafe_set(folder: Path, clusters: str) -> UnsafeSet | None:
    """The unsafe set of these clusters; a SAFEError if there is none."""
    if SELECTION not in present_runs(folder):
        raise SAFEError("No images to label (unsafe set) have been selected.")
    unsafe = load_unsafe_set(folder)
    if unsafe.clusters != clusters:
        raise SAFEError(
            "The unsafe set in this folder was selected for other clusters, or before these were last edited, and is "
            "not part of this report. Select it again."
        )
    return unsafe


def _retraining(folder: Path, review: Review) -> Retraining | None:
    """The result of retraining with the unsafe set of these clusters; a SAFEError if there is none."""
    if not runs_of(folder, RETRAINING):
        raise SAFEError("The network has not been retrained.")
    return retraining_of(folder, review)


def _images(clusters: RootCauseClusters, rccs: list[int], progress: Progress) -> dict[str, str]:
    """Data URIs of the samples, in the order of the RCCs, until the report would become too large."""
    groups = [*rccs, *([NOISE] if NOISE in clusters.groups else [])]
    paths = [path for rcc in groups for path in sample(clusters, rcc)]
    side, quality = next((kind for most, *kind in IMAGE_SIDES if len(paths) <= most), SMALLEST_IMAGE)

    def uri(path: str) -> str:
        return picture_uri(clusters.image_root / path, side, quality)

    images: dict[str, str] = {}
    used = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done, (path, data) in enumerate(zip(paths, pool.map(uri, paths), strict=True), start=1):
            used += len(data)
            if used <= MOST_IMAGE_BYTES:
                images[path] = data
            progress("Collecting images for the report", done, len(paths))
    return images
