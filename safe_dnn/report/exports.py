"""What leaves an output folder: its images, with a table of them, in a new folder or ZIP file; and the register.

RCC_03_sunglasses-at-night/   the images of an RCC, those nearest to its core first in the table
no_cluster/
labels.csv                    a row for each image (docs/files.md)
report.html, weak_spots.csv…  the report, the tables, GIFs and heatmaps, unless only some images are exported

The labelled unsafe set, for training with another framework, has a folder for each class.

The register is written as tables, with the figures of words (see `reasons.register`).

The files that show the present state of an analysis, the paper's and tables, are written here as well.
"""

import contextlib
import csv
import io
import itertools
import os
import re
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from safe_dnn.analysis import Analysis
from safe_dnn.dnn.predictions import class_folders
from safe_dnn.options import AS_LABELLED, Labelling
from safe_dnn.rccs.clusters import LABELS_FILE, RootCauseClusters, labels_text
from safe_dnn.rccs.confidence import by_closeness, confidence
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.gifs import gif_shows, write_gifs, write_spot_gifs
from safe_dnn.rccs.profiles import PROFILES_FILE, profiles_text
from safe_dnn.rccs.review.journal import SCOPE, Note
from safe_dnn.rccs.review.review import Review, load_review
from safe_dnn.rccs.spots.curves import CURVES_FILE
from safe_dnn.rccs.spots.rates import RATES_FILE, rates_text
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE, spots_text
from safe_dnn.rccs.unsafe_set import SHOWN_FILES, UNSAFE_SET_FILE, UnsafeSet, load_unsafe_set, unsafe_table
from safe_dnn.reasons.claims import CONFIRMATION_FILE
from safe_dnn.reasons.comparison import Reasons, load_reasons
from safe_dnn.reasons.known import FRESH_FILE, TESTED_FILE
from safe_dnn.reasons.probes import PROBES_FILE
from safe_dnn.reasons.register import (
    REGISTER_FILE,
    SCOPE_COLUMNS,
    SCOPE_FILE,
    Entry,
    changes_in,
    register_text,
    scope_entry,
)
from safe_dnn.reasons.run_record import describe_rccs, table_of
from safe_dnn.report.evidence import results_in
from safe_dnn.report.report import REPORT_FILE, report_html
from safe_dnn.store.output_folder import (
    Writer,
    check_own,
    foreign_files,
    is_edited,
    is_outdated,
    own_files,
    save_files,
    showing,
    writing,
)
from safe_dnn.store.runs import COMPARISON, CONFIRMATION, PROBES, SELECTION, present_runs, texts_of
from safe_dnn.support.errors import SAFEError, StrPath, existing_folder, path_of
from safe_dnn.support.files import encoded, intact, new_folder, prepare_folder, regular
from safe_dnn.support.images import FORMATS, UNREADABLE, Skipped, read_bytes, reason_for
from safe_dnn.support.progress import report_progress
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import count, printable, some
from safe_dnn.training import labels
from safe_dnn.training.certainty import CLOSURE_FILE
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE, retraining_files, show_retraining

EXPORT_FOLDER = "export"
EXPORT_ZIP = "export.zip"
"""The same as one file, which the page packs anew each time."""
LABELS_TABLE = "labels.csv"
LONGEST_SLUG = 40
_KINDS = (".csv", ".txt", ".json", ".gif", ".png")  # of the files that are exported beside images

Row = dict[str, Any]
"""Of `labels.csv`, by column: `image` is the path in the image folder, `file` that of the copy in the export."""


class Export(NamedTuple):
    """A folder or ZIP file, the number of images in it, and those that could not be copied."""

    path: Path
    images: int
    missing: tuple[Skipped, ...]


def export_results(out: Path, to: StrPath, *, rccs: Sequence[int] | None = None) -> Export:
    """Copy the images of the RCCs in the folder `out` to a folder per RCC, with a table; the engineer's edits count.

    Parameters
    ----------
    to : path
        A folder that does not exist yet, or a file whose name ends in `.zip`.
    rccs : sequence of int, optional
        The RCCs to export, `NOISE` for the images in no cluster; by default all of them, with the report, GIFs and
        tables of the analysis, from which all rates can be counted again.

    Raises
    ------
    SAFEError
        `to` exists or cannot be written, there is nothing to export, or no image can be read.
    """
    review, extra_files = Analysis(out).review, dict[str, bytes]()
    _check_new(to)
    rows = export_rows(review.clusters, review.notes, rccs=rccs or None)
    if not rccs:
        own = own_files(out, [name for name in results_in(out) if name.endswith(_KINDS)])
        extra_files = {name: regular(out / name).read_bytes() for name in own}
        extra_files[REPORT_FILE] = encoded(report_html(out))
    return write_copies(to, review.clusters.image_root, rows, extra_files=extra_files)


def export_here(out: Path) -> Export:
    """Write what `export_results` does to `export.zip` in the folder `out` itself, which replaces the one before."""
    check_own(out, EXPORT_ZIP)
    try:
        with new_folder(out / EXPORT_ZIP) as building:
            made = export_results(out, building / EXPORT_ZIP)
            save_files(out, {EXPORT_ZIP: made.path.replace})
    except OSError as error:
        raise SAFEError(f"Could not write {out / EXPORT_ZIP}: {error.strerror or error}.") from error
    return made._replace(path=out / EXPORT_ZIP)


def missing_in(packed: Path) -> int:
    """How many images a ZIP file lacks, since they could not be read; SAFEError if it is damaged."""
    with intact(packed, "Pack it again."), zipfile.ZipFile(packed) as archive, archive.open(LABELS_TABLE) as table:
        rows = csv.DictReader(io.TextIOWrapper(table, "utf-8-sig", newline=""))
        return sum(not row["file"] for row in rows)


# --- The table --------------------------------------------------------------------------------------------------------


def export_rows(
    clusters: RootCauseClusters, notes: Mapping[int, Note], *, rccs: Sequence[int] | None = None
) -> list[Row]:
    """The rows by RCC, the largest first, and within each the images nearest to its core first.

    Raises
    ------
    SAFEError
        One of the RCCs does not exist, or there is nothing to export.
    """
    wanted = clusters.groups if rccs is None else [rcc for rcc in clusters.groups if rcc in rccs]
    unknown = {*(rccs or ())} - {*wanted}
    if unknown or not wanted:
        raise SAFEError(
            f"Expected RCCs to export. Received: {', '.join(map(str, sorted(unknown))) or 'none'}, "
            "which have no images. Choose from those that are displayed."
        )
    row_of, answers = {path: row for row, path in enumerate(clusters.paths)}, clusters.answers
    rows = []
    for rcc in wanted:
        note, taken = notes.get(rcc, Note(rcc)), set[str]()
        folder = folder_name(rcc, note.name, clusters.n_rccs)
        for path, distance in by_closeness(clusters, rcc):
            row = row_of[path]
            label, predicted, score = ("", "", None) if answers is None else (one[row].item() for one in answers[:3])
            rows.append({
                "image": path, "rcc": rcc, "name": note.name, "verdict": note.verdict,
                "core": str(clusters.is_core[row]).lower(), "distance": distance,
                "file": f"{folder}/{_file_name(path, taken)}",
                "label": label, "predicted": predicted, "score": score, "rcc_confidence": confidence(clusters, rcc),
            })  # fmt: skip
    return rows


def folder_name(rcc: int, name: str, n_rccs: int) -> str:
    """For example `RCC_03_sunglasses-at-night`."""
    if rcc == NOISE:
        return "no_cluster"
    slug = re.sub(r"[^\w]+", "-", printable(name)).strip("-_")[:LONGEST_SLUG].strip("-_")
    return f"RCC_{rcc:0{max(2, len(str(n_rccs - 1)))}d}{slug and f'_{slug}'}"


def _safe_name(name: str) -> str:
    """A file name, changed only where a ZIP file or another system takes no such name."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f\ufffd]', "_", printable(name)).rstrip(". ") or "_"


def _file_name(path: str, taken: set[str]) -> str:
    """The name of an image's copy, with a number if it is already taken in the folder, ignoring case."""
    first = Path(_safe_name(Path(path).name))
    numbered = (f"{first.stem}_{number}{first.suffix}" for number in itertools.count(2))
    name = next(name for name in itertools.chain([first.name], numbered) if name.casefold() not in taken)
    taken.add(name.casefold())
    return name


# --- Writing ----------------------------------------------------------------------------------------------------------


def _check_new(to: StrPath) -> Path:
    """The path of a folder or file that does not exist; SAFEError if it does."""
    target = path_of(to, "a place to export to")
    if os.path.lexists(target):
        raise SAFEError(
            f"Expected a new folder or ZIP file to export to. Received: {target}, which exists. Choose another name."
        )
    return target


def write_copies(
    to: StrPath, root: Path, rows: Sequence[Row], *, extra_files: Mapping[str, bytes] | None = None
) -> Export:
    """Copy images to a new folder or ZIP file, with a table of the rows and further files: all of it or nothing.

    A row whose image cannot be read has no `file` in the table. Errors are those of `export_results`.
    """
    target, written, missing = _check_new(to), list[Row](), list[Skipped]()
    try:
        with new_folder(target) as building:
            made = building / "export"
            for done, row in enumerate(rows, start=1):
                try:
                    data = read_bytes(root / row["image"])
                    Image.open(io.BytesIO(data), formats=FORMATS).close()
                except UNREADABLE as error:
                    missing.append(Skipped(row["image"], reason_for(error)))
                    written.append(row | {"file": ""})
                else:
                    _put(made / row["file"], data)
                    written.append(row)
                report_progress("Copying images", done, len(rows))
            if len(missing) == len(rows) > 0:
                raise SAFEError(
                    f"Expected the images that the results are of. Received none of {len(rows):,} in {root}; the "
                    f"first, {missing[0].path}: {missing[0].reason}. Were they moved or deleted?"
                )
            cells = ([round(one, 6) if isinstance(one, float) else one for one in row.values()] for row in written)
            for name, data in {**(extra_files or {}), LABELS_TABLE: encoded(table_text(rows[0], cells))}.items():
                _put(made / name, data)
            if target.suffix.lower() == ".zip":
                made = Path(shutil.make_archive(str(made), "zip", made))
            made.rename(_check_new(target))
    except OSError as error:
        raise SAFEError(
            f"Could not write the export to {target}: {error.strerror or error}. Choose another folder."
        ) from error
    return Export(target, len(rows) - len(missing), tuple(missing))


def _put(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


# --- The labelled unsafe set, for training with another framework -----------------------------------------------------


def export_labelled_set(out: Path, to: StrPath, labelling: Labelling = AS_LABELLED) -> tuple[Export, int]:
    """Copy the labelled images of the unsafe set in the folder `out` to class folders, for training elsewhere.

    Parameters
    ----------
    to : path
        As of `export_results`.
    labelling : Labelling
        Sources of further labels, which are saved in `unsafe_set.csv`. Class folders are labels only in a folder that
        is given here: those of the improvement folder may be something else.

    Returns
    -------
    Export
    int
        Number of images of the set that have no label, and are left out.
    """
    _check_new(to)
    improvement = labelling.improvement
    classes = [] if improvement is None else class_folders(existing_folder(improvement, "the improvement folder"))
    with writing(out):
        labels.take_typed_labels(out)
        before = load_unsafe_set(out)
        unsafe = labels.label_unsafe_set(before, classes, improvement=improvement, labels=labelling.labels)
        rows = _labelled_rows(unsafe)
        if unsafe.images != before.images:
            labels.save_labels(unsafe, out)
    done = write_copies(to, unsafe.improvement_root, rows)
    return done, len(labels.unlabelled(unsafe))


def _labelled_rows(unsafe: UnsafeSet) -> list[Row]:
    """By class, and within each as in the unsafe set; SAFEError without labels that can be names of folders."""
    labelled = sorted((image for image in unsafe.images if image.label), key=lambda image: image.label)
    if not labelled:
        raise SAFEError(
            "Expected labelled images in the unsafe set. Received none. Label them, or give a table or class folders."
        ).about("labels", "improvement")
    names = {image.label for image in labelled}
    if odd := sorted(name for name in names if _safe_name(name) != name or name.startswith(".")):
        raise SAFEError(
            f"Expected labels that are valid names of folders. Received: {printable(some(map(repr, odd)))}. Rename "
            "them."
        )
    # Classes that differ only in case share a folder on some file systems, where their images must not either.
    taken = defaultdict[str, set[str]](set)
    files = (f"{image.label}/{_file_name(image.image, taken[image.label.casefold()])}" for image in labelled)
    return [
        {"image": image.image, "label": image.label, "rcc": image.rcc, "file": file}
        for image, file in zip(labelled, files, strict=True)
    ]


def write_register(folder: Path) -> list[Entry]:
    """Write `register.csv` and `scope.csv` to the folder of an analysis; returns the entries of the first one.

    Raises
    ------
    SAFEError
        There are no clusters, the folder cannot be written to, or a table there has entries that were not read yet.
    """
    entries, scope = Analysis(prepare_folder(folder)).register, scope_entry(folder)
    check_own(folder, REGISTER_FILE, SCOPE_FILE)
    for name in (REGISTER_FILE, SCOPE_FILE):
        if is_edited(folder, name) and (changes := changes_in(folder / name, entries, scope)):
            raise SAFEError(
                f"{folder / name} has {count(len(changes), 'change')} that would be lost, the first: "
                f"{changes[0].text}. Take them over, or move the table away."
            ).about("read")
    rows = ((field, SCOPE[field].title, text) for field, text in scope.note._asdict().items())
    save_files(folder, {REGISTER_FILE: register_text(folder, entries), SCOPE_FILE: table_text(SCOPE_COLUMNS, rows)})
    return entries


# --- The present state --------------------------------------------------------------------------------------------

SHOWN = (
    LABELS_FILE, PROFILES_FILE, WEAK_SPOTS_FILE, CURVES_FILE, RATES_FILE, *SHOWN_FILES, MODEL_FILE, RETRAINING_FILE,
)  # fmt: skip
"""Files in the output folder itself that show the present state."""
_REASONS = (
    WEAK_SPOTS_FILE, CURVES_FILE, RATES_FILE, TESTED_FILE, CONFIRMATION_FILE, CLOSURE_FILE, FRESH_FILE, PROBES_FILE,
)  # fmt: skip


def refresh_rccs(out: Path) -> RootCauseClusters:
    """Write the files that show the present RCCs: GIFs, `labels.txt`, profiles, error rates; to be called after an
    edit.

    GIFs come last: by an outdated one, `mend` knows that the others may be outdated.
    """
    with showing(out):
        with writing(out):
            review = load_review(out)
            files = {**_profiles_file(out, review), **_rcc_files(out, review)}
            save_files(out, files, remove=(PROFILES_FILE, *_REASONS))
        _draw(out, review)
    return review.clusters


def _draw(out: Path, review: Review) -> None:
    write_spot_gifs(review.clusters, out, _reasons(out, review).images)
    write_gifs(review.clusters, out)


def show_reasons(out: Path) -> None:
    """Write `weak_spots.csv`, `rates.csv` and `rcc_rates.csv`, as they are for the present RCCs."""
    with showing(out), writing(out):
        save_files(out, _reasons_files(out, load_review(out)), remove=_REASONS)


def show_unsafe_set(out: Path) -> None:
    """Write `IS_filenames.txt`, `unsafe_set.csv` and `unsafe_images.csv`, as they are for the present RCCs.

    A table that somebody has edited in another program stays until its labels are taken over.
    """
    with showing(out), writing(out):
        files, gone = _unsafe_files(out)
        save_files(out, files, remove=gone)


def show_present(out: Path) -> None:
    """Write all that shows the present state of an analysis.

    Raises
    ------
    SAFEError
        A file cannot be written. What was computed is kept: the files are written when the analysis is next opened.
    """
    show_unsafe_set(out)
    show_retraining(out)
    refresh_rccs(out)


def mend(out: Path) -> bool:
    """Write again what a killed process or a full disk has left outdated; files of somebody else stay as they are.

    Returns
    -------
    bool
        Whether anything was outdated.

    Raises
    ------
    SAFEError
        A file cannot be written, or the database is damaged.
    """
    review = _review_in(out)
    drawn = review is None or all(gif_shows(review.clusters, out, rcc) for rcc in review.clusters.groups)
    files, gone = _texts_and_model(out, review)
    if drawn and not is_outdated(out, files, remove=gone):
        return False
    with writing(out):
        review = _review_in(out)
        files, gone = _texts_and_model(out, review)
        if review and not foreign_files(out, [PROFILES_FILE]):
            files, gone = files | _profiles_file(out, review), [*gone, PROFILES_FILE]
        save_files(out, files, remove=gone)
    if review:
        _draw(out, review)
    return True


def _review_in(out: Path) -> Review | None:
    """None if there are no clusters, or damaged ones, which is reported where they are read."""
    try:
        return load_review(out)
    except SAFEError:
        return None


def _texts_and_model(out: Path, review: Review | None) -> tuple[dict[str, Writer], list[str]]:
    """What shows the present state and can be compared with the files in no time, and the names of what is to go."""
    unsafe, no_selection = _unsafe_files(out)
    retraining, no_retraining = retraining_files(out)
    gone = [*no_selection, *no_retraining, *(_REASONS if review else ())]
    files = {**unsafe, **retraining, **(_rcc_files(out, review) if review else {})}
    theirs = foreign_files(out, files)
    return {name: content for name, content in files.items() if name not in theirs}, gone


def _profiles_file(out: Path, review: Review) -> dict[str, Writer]:
    try:
        source = table_of(out, "parameters")
        profiles, _ = describe_rccs(review.clusters, parameters=source)
    except SAFEError:
        return {}  # the parameters can no longer be read, and the old profiles are about other RCCs
    return {PROFILES_FILE: profiles_text(profiles)} if profiles else {}


def _rcc_files(out: Path, review: Review) -> dict[str, Writer]:
    return {LABELS_FILE: labels_text(review.clusters), **_reasons_files(out, review)}


def _reasons_files(out: Path, review: Review) -> dict[str, Writer]:
    reasons = _reasons(out, review)
    rates = reasons.rates.values()
    files: dict[str, Writer] = {WEAK_SPOTS_FILE: spots_text(reasons.spots)} if reasons.base else {}
    files |= {RATES_FILE: rates_text(rates)} if rates else {}
    runs = present_runs(out)
    files |= texts_of(runs.get(COMPARISON), TESTED_FILE, CURVES_FILE)
    files |= texts_of(runs.get(CONFIRMATION), CONFIRMATION_FILE, CLOSURE_FILE, FRESH_FILE)
    return files | texts_of(runs.get(PROBES), PROBES_FILE)


def _reasons(out: Path, review: Review) -> Reasons:
    try:
        return load_reasons(out, review.original).on(review.clusters)
    except SAFEError:
        return Reasons()  # damaged, which is reported where they are read


def _unsafe_files(out: Path) -> tuple[dict[str, Writer], list[str]]:
    run = present_runs(out).get(SELECTION)
    files: dict[str, Writer] = {**texts_of(run, *(name for name in SHOWN_FILES if name != UNSAFE_SET_FILE))}
    edited = is_edited(out, UNSAFE_SET_FILE)
    if run and not edited:
        with contextlib.suppress(SAFEError):  # damaged, which is reported where it is read
            files[UNSAFE_SET_FILE] = unsafe_table(load_unsafe_set(out))
    return files, [name for name in SHOWN_FILES if not (edited and name == UNSAFE_SET_FILE)]
