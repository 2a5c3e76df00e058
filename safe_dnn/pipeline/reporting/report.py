"""The report: all results of a run in one HTML file, for the safety case. A folder in, `report.html` out.

It needs neither a network nor scripts, and can be printed. File names, notes and other files' contents are escaped.
Limits on the number of cards, images and rows keep it at a size that a browser opens at once; if something is left out,
the report says so.

Sources: ISO 21448:2022 (safety of the intended functionality), clauses 7 and 8; Attaoui et al., ACM TOSEM 32(3):79,
2023, section 3.3 (five images suffice to recognize a root cause).

It says in two `meta` elements when it was begun and which runs and entries it was made from. They are read from the
beginning of the file, or of the `report.html` in an export, to tell what has changed since.
"""

import csv
import datetime
import io
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from markupsafe import Markup

from safe_dnn.pipeline.reporting.evidence.statement import present_basis
from safe_dnn.pipeline.reporting.export import LABELS_TABLE, REPORT_FILE
from safe_dnn.pipeline.reporting.markup import escaped, filled, picture_uri
from safe_dnn.pipeline.reporting.material import Material, carded
from safe_dnn.pipeline.reporting.sections import SECTIONS, first_page
from safe_dnn.pipeline.tagging import all_words
from safe_dnn.pipeline.word_reasons import present_reasons
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, run_record, sample
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.profiles import load_profiles
from safe_dnn.rccs.review.journal import KINDS
from safe_dnn.rccs.review.review import Review, all_edits, load_review, load_scope, notes_of_run
from safe_dnn.rccs.unsafe_set import LABEL, UnsafeSet, load_unsafe_set
from safe_dnn.reasons.claims import asked
from safe_dnn.reasons.comparison import Reasons
from safe_dnn.reasons.probes import load_probes
from safe_dnn.reasons.register import register_of
from safe_dnn.store.chain import last_number
from safe_dnn.store.database import reading
from safe_dnn.store.output_folder import check_own, save_files
from safe_dnn.store.runs import CLUSTERS, COMPARISON, CONFIRMATION, PROBES, RETRAINING, SELECTION, present_runs, runs_of
from safe_dnn.store.runs import KINDS as RUN_KINDS
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import date_of, intact, prepare_folder, regular
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.training.earlier import failing_model
from safe_dnn.training.result import Retraining, retraining_of
from safe_dnn.words.tags import TAG, WORD

MOST_IMAGE_BYTES = 20 * 2**20
# Number of images up to which they have this side and JPEG quality, to keep the report of many RCCs small.
IMAGE_SIDES = ((300, 240, 82), (1000, 176, 78))
SMALLEST_IMAGE = (128, 72)


def subject(known: Material) -> str:
    """The subject of the report: the end of the image folder's path."""
    return "/".join(known.clusters.home.parts[-2:]).removeprefix("//") or os.fspath(known.clusters.home)


def write_report(folder: Path, *, basis: str | None = None, progress: Progress = no_progress) -> Path:
    """Write `report.html` for the run in a folder, and return its path.

    Parameters
    ----------
    basis : str, optional
        As of `pipeline.reporting.material.Material`; by default that of the present evidence.

    Raises
    ------
    SAFEError
        There are no clusters, one of the files is damaged, or the report cannot be written.
    """
    prepare_folder(folder)
    check_own(folder, REPORT_FILE)
    save_files(folder, {REPORT_FILE: report_html(folder, basis=basis, progress=progress)})
    return folder / REPORT_FILE


def report_html(folder: Path, *, basis: str | None = None, progress: Progress = no_progress) -> str:
    """The report of the run in a folder, an HTML document.

    Raises
    ------
    SAFEError
        There are no clusters, or one of the files is damaged.
    """
    digests = made_from(folder)  # before it is read: what changes meanwhile counts as changed since
    known = _gather(folder, progress)._replace(basis=present_basis(folder) if basis is None else basis)
    now = datetime.datetime.now().astimezone()
    page = filled(
        "report.html", known=known, subject=subject(known), made=Markup(made_elements(digests, now)), now=now,
        found=datetime.datetime.fromisoformat(known.found).astimezone(now.tzinfo),
        fingerprint=fingerprint(known.clusters), first_page=first_page(known),
        network=failing_model(known.clusters.image_root),
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
    spot_notes = notes_of_run(folder, reasons.spots)
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
        run=run_record(folder), found=runs[CLUSTERS].time,
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


# --- What it was made from, and whether that has changed since --------------------------------------------------------


PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "clusters": ("the root cause clusters", (CLUSTERS,)),
    "judgements": ("names, judgements and edits", tuple(kind for kind in KINDS if kind != "scope")),
    "scope": ("the scope", ("scope",)),
    "words": ("what was answered about words", (WORD, TAG)),
    "comparison": ("the failure rates and weak spots", (COMPARISON,)),
    "confirmation": ("what a fresh test set says", (CONFIRMATION,)),
    "probes": ("what would change the answers", (PROBES,)),
    "unsafe-set": ("the unsafe set and its labels", (SELECTION, LABEL)),
    "model": ("the retrained model", (RETRAINING,)),
}
"""What a report is made from: the name of each part, in words and as kinds of entries."""
_BEGINNING = 4096  # bytes, within which the elements stand


class Made(NamedTuple):
    """A report or an export that was written.

    Attributes
    ----------
    time : datetime
        When it was begun; in the local time zone.
    changed : tuple of str or None
        What has changed since, in words. None if it does not say what it was made from.
    missing : int
        Images that an export lacks, since they could not be read.
    """

    time: datetime.datetime
    changed: tuple[str, ...] | None
    missing: int = 0


def made_from(folder: Path) -> dict[str, str]:
    """What a report on the present state is made from, by part: the numbers of the runs and of the last entries."""
    runs = present_runs(folder)
    with reading(folder) as db:

        def number_of(kind: str) -> int:
            return (runs[kind].number if kind in runs else 0) if kind in RUN_KINDS else last_number(db, kind)

        return {part: "-".join(str(number_of(kind)) for kind in kinds) for part, (_, kinds) in PARTS.items()}


def made_elements(digests: dict[str, str], now: datetime.datetime) -> str:
    """The `meta` elements for these digests."""
    listed = " ".join(f"{part}={digest}" for part, digest in digests.items())
    time = now.isoformat(timespec="seconds")
    return f"<meta name='safe-made' content='{time}'><meta name='safe-from' content='{listed}'>"


def when_made(file: Path, digests: Callable[[], Mapping[str, str]]) -> Made | None:
    """Read when a report, or an export with one (`.zip`), was made, and what has changed in the folder since.

    Parameters
    ----------
    digests : callable
        Gives those that `made_from` gives of the folder now. It is called only if they are needed.

    Returns
    -------
    Made or None
        None if there is no such file.

    Raises
    ------
    SAFEError
        It is damaged.
    """
    try:
        modified = regular(file).stat().st_mtime
    except OSError:
        return None
    with intact(file, "Make it again."):
        if file.suffix == ".zip":
            beginning, missing = _of_export(file)
        else:
            with file.open("rb") as report:
                beginning, missing = report.read(_BEGINNING), 0
    return _made(beginning.decode("utf-8", "replace"), modified, digests)._replace(missing=missing)


def _made(text: str, modified: float, digests: Callable[[], Mapping[str, str]]) -> Made:
    then, listed = (_content(text, name) for name in ("safe-made", "safe-from"))
    known = dict(pair.split("=", 1) for pair in listed.split() if "=" in pair)
    try:
        time = datetime.datetime.fromisoformat(then)
    except ValueError:
        time, known = date_of(modified), {}
    changed = None
    if known.keys() == PARTS.keys():
        now = digests()
        changed = tuple(words for part, (words, _) in PARTS.items() if known[part] != now[part])
    return Made(time.astimezone(), changed)


def _of_export(file: Path) -> tuple[bytes, int]:
    """The beginning of an export's report, and how many images the export lacks."""
    with zipfile.ZipFile(file) as archive, archive.open(REPORT_FILE) as report, archive.open(LABELS_TABLE) as table:
        rows = csv.DictReader(io.TextIOWrapper(table, "utf-8-sig", newline=""))
        return report.read(_BEGINNING), sum(not row["file"] for row in rows)


def is_current(report: Path, digests: Callable[[], Mapping[str, str]]) -> bool:
    """Whether there is a report, and nothing that it is made from has changed since (`digests` as for `when_made`)."""
    try:
        made = when_made(report, digests)
    except SAFEError:
        return False
    return made is not None and made.changed == ()


def _content(text: str, name: str) -> str:
    found = re.search(rf"<meta name='{name}' content='([^'<>]*)'>", text)
    return found[1] if found else ""
