"""The report: all results of a run in one HTML file, for the safety case. A folder in, `report.html` out.

It needs neither a network nor scripts, and can be printed. File names, notes and other files' contents are escaped.
Limits on the number of cards, images and rows keep it at a size that a browser opens at once; if something is left out,
the report says so.

Sources: ISO 21448:2022 (safety of the intended functionality), clauses 7 and 8; Attaoui et al., ACM TOSEM 32(3):79,
2023, section 3.3 (five images suffice to recognize a root cause).
"""

import base64
import datetime
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dbscan.outcome import NOISE
from rccs.clusters import RootCauseClusters, fingerprint, rccs_of, sample
from rccs.profiles import load_profiles
from rccs.review import Review, load_review
from rccs.spot_notes import SpotNote, notes_of_run
from rccs.unsafe_set import UnsafeSet, load_unsafe_set
from reasons import Reasons, load_reasons
from reporting.cards import MOST_CARDS
from reporting.freshness import made_elements, made_from
from reporting.markup import escaped
from reporting.material import Material
from reporting.sections import SECTIONS, head, subject
from support.errors import SAFEError
from support.files import prepare_folder, read_record
from support.images import thumbnail
from support.output_folder import check_own, save_text
from support.progress import Progress, no_progress
from support.run_folder import REPORT_FILE, RETRAINING_FILE, RUN_FILE, UNSAFE_SET_FILE
from training.result import Retraining, retraining_of

MOST_IMAGE_BYTES = 20 * 2**20
# Number of images up to which they have this side and JPEG quality, to keep the report of many RCCs small.
IMAGE_SIDES = ((300, 240, 82), (1000, 176, 78))
SMALLEST_IMAGE = (128, 72)


def write_report(folder: Path, *, progress: Progress = no_progress) -> Path:
    """Write `report.html` for the run in a folder, and return its path.

    Raises
    ------
    SAFEError
        There are no clusters, one of the files is damaged, or the report cannot be written.
    """
    prepare_folder(folder)
    check_own(folder, REPORT_FILE)
    save_text(folder, REPORT_FILE, report_html(folder, progress=progress))
    return folder / REPORT_FILE


def report_html(folder: Path, *, now: datetime.datetime | None = None, progress: Progress = no_progress) -> str:
    """The report of the run in a folder, an HTML document.

    Raises
    ------
    SAFEError
        There are no clusters, or one of the files is damaged.
    """
    digests = made_from(folder)  # before it is read: what changes meanwhile counts as changed since
    known = _gather(folder, progress)
    now = now or datetime.datetime.now().astimezone()
    contents = "".join(f"<li><a href='#{key}'>{name}</a></li>" for key, name, _ in SECTIONS)
    body = "".join(
        f"<section id='{key}'><h2>{number}. {name}</h2>{content(known)}</section>"
        for number, (key, name, content) in enumerate(SECTIONS, start=1)
    )
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        # Even a defect of this module cannot make the report load or run anything.
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'\">"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"{made_elements(digests, now)}"
        f"<title>SAFE report: {escaped(subject(known))}</title><style>{style}</style></head><body><main>"
        f"{head(known, now)}<nav aria-label='Contents'><ol>{contents}</ol></nav>{body}</main></body></html>\n"
    )


# --- The material -----------------------------------------------------------------------------------------------


def _gather(folder: Path, progress: Progress) -> Material:
    review = load_review(folder)
    try:
        profiles, profiles_missing = {profile.rcc: profile.text for profile in load_profiles(folder)}, ""
    except SAFEError as error:
        profiles, profiles_missing = {}, str(error)
    try:
        reasons, reasons_missing = load_reasons(folder, review.original), ""
    except SAFEError as error:
        reasons, reasons_missing = Reasons(), str(error)
    spot_notes: dict[str, SpotNote] = {}
    spot_notes_missing = ""
    try:
        spot_notes = notes_of_run(folder)
    except SAFEError as error:
        spot_notes_missing = str(error)
    unsafe, unsafe_missing = _unsafe_set(folder, fingerprint(review.clusters))
    retraining, retraining_missing = _retraining(folder, review)
    return Material(
        folder=folder,
        review=review,
        profiles=profiles,
        profiles_missing=profiles_missing,
        reasons=reasons,
        rates=reasons.rates(review.clusters),
        reasons_missing=reasons_missing,
        spot_notes=spot_notes,
        spot_notes_missing=spot_notes_missing,
        unsafe=unsafe,
        unsafe_missing=unsafe_missing,
        retraining=retraining,
        retraining_missing=retraining_missing,
        run=read_record(folder / RUN_FILE),
        images=_images(review.clusters, progress),
    )


def _unsafe_set(folder: Path, clusters: str) -> tuple[UnsafeSet | None, str]:
    """The unsafe set of these clusters, or why there is none."""
    if not (folder / UNSAFE_SET_FILE).is_file():
        return None, "No images to label (unsafe set) have been selected."
    try:
        unsafe = load_unsafe_set(folder)
    except SAFEError as error:
        return None, str(error)
    if unsafe.clusters != clusters:
        return None, (
            "The unsafe set in this folder was selected for other clusters, or before these were last edited, and is "
            "not part of this report. Select it again."
        )
    return unsafe, ""


def _retraining(folder: Path, review: Review) -> tuple[Retraining | None, str]:
    """The result of retraining with the unsafe set of these clusters, or why there is none."""
    if not (folder / RETRAINING_FILE).is_file():
        return None, "The network has not been retrained."
    try:
        return retraining_of(folder, review), ""
    except SAFEError as error:
        return None, str(error)


def _images(clusters: RootCauseClusters, progress: Progress) -> dict[str, str]:
    """Data URIs of the samples, in the order of the RCCs' sizes, until the report would become too large."""
    groups = [*rccs_of(clusters)[:MOST_CARDS], *([NOISE] if NOISE in clusters.groups else [])]
    paths = [path for rcc in groups for path in sample(clusters, rcc)]
    side, quality = next((kind for most, *kind in IMAGE_SIDES if len(paths) <= most), SMALLEST_IMAGE)

    def uri(path: str) -> str:
        buffer = io.BytesIO()
        thumbnail(clusters.image_root / path, side).save(buffer, "JPEG", quality=quality)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

    images: dict[str, str] = {}
    used = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done, (path, data) in enumerate(zip(paths, pool.map(uri, paths), strict=True), start=1):
            used += len(data)
            if used <= MOST_IMAGE_BYTES:
                images[path] = data
            progress("Collecting images for the report", done, len(paths))
    return images
