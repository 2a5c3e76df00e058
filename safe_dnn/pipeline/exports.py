"""The images of an output folder for use elsewhere: a folder for each RCC, and the labelled ones in class folders."""

from collections.abc import Sequence
from pathlib import Path

from safe_dnn.dnn.predictions import class_folders
from safe_dnn.pipeline.reporting import export
from safe_dnn.pipeline.reporting.evidence.statement import results_in
from safe_dnn.pipeline.reporting.report import report_html
from safe_dnn.pipeline.word_reasons import present_reasons
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.store.output_folder import check_own, foreign_files, save_files, writing
from safe_dnn.support.entries import StrPath, existing_folder
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import encoded, new_folder, regular
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.run_folder import GIF_FOLDER
from safe_dnn.training import labels


def export_results(
    out: Path, to: StrPath, *, rccs: Sequence[int] | None = None, progress: Progress = no_progress
) -> export.Export:
    """Copy the images of the RCCs in the folder `out` to a folder per RCC, with a table; the engineer's edits count.

    Parameters
    ----------
    to : path
        A folder, or a name that ends in `.zip`.
    rccs : sequence of int, optional
        The RCCs to export, `NOISE` for the images in no cluster; by default all of them, with the report, GIFs and
        tables of the analysis, from which all rates can be counted again.

    Raises
    ------
    SAFEError
        As of `pipeline.reporting.export.write_copies`, or there is nothing to export.
    """
    review = load_review(out)
    export.check_target(to)
    rows = export.export_rows(review.clusters, review.notes, what=rccs or None)
    more = {} if rccs else {export.REPORT_FILE: encoded(report_html(out, progress=progress)), **_files_of(out)}
    columns = export.ExportedImage._fields
    return export.write_copies(to, review.clusters.image_root, rows, columns, more=more, progress=progress)


def _files_of(out: Path) -> dict[str, bytes]:
    """The tables and GIFs in the folder that SAFE has written, by name."""
    kinds = {"": (".csv", ".txt", ".json"), GIF_FOLDER: (".gif",)}
    named = [(name, name.rpartition("/")) for name in results_in(out)]
    names = [name for name, (folder, _, file) in named if Path(file).suffix in kinds.get(folder, ())]
    theirs = foreign_files(out, names)
    return {name: regular(out / name).read_bytes() for name in names if name not in theirs}


def export_spot(out: Path, rank: int, to: StrPath, *, progress: Progress = no_progress) -> export.Export:
    """Copy the failing images in a weak spot of the run in `out` to a ZIP file, with a table that names their RCCs.

    Raises
    ------
    SAFEError
        There is no such weak spot, or as of `pipeline.reporting.export.write_copies`.
    """
    review = load_review(out)
    images = present_reasons(out, review).images
    if not 0 < rank <= len(images):
        raise SAFEError(f"Expected the rank of a weak spot, from 1 to {len(images)}. Received: {rank}.")
    clusters = review.clusters
    wanted = {clusters.paths[row] for row in images[rank - 1].tolist()}
    folder, taken = export.spot_name(rank), set[str]()
    rows = [
        row._replace(file=f"{folder}/{export.file_name(row.image, taken)}")
        for row in export.export_rows(clusters, review.notes)
        if row.image in wanted
    ]
    return export.write_copies(to, clusters.image_root, rows, export.ExportedImage._fields, progress=progress)


def export_here(out: Path, *, progress: Progress = no_progress) -> export.Export:
    """Write what `export_results` does to `export.zip` in the folder `out` itself, which replaces the one before."""
    check_own(out, export.EXPORT_ZIP)
    try:
        with new_folder(out / export.EXPORT_ZIP) as building:
            made = export_results(out, building / export.EXPORT_ZIP, progress=progress)
            save_files(out, {export.EXPORT_ZIP: made.path.replace})
    except OSError as error:
        raise SAFEError(f"Could not write {out / export.EXPORT_ZIP}: {error.strerror or error}.") from error
    return made._replace(path=out / export.EXPORT_ZIP)


def export_labelled_set(
    out: Path, to: StrPath, labelling: labels.Labelling = labels.AS_LABELLED, *, progress: Progress = no_progress
) -> tuple[export.Export, int]:
    """Copy the labelled images of the unsafe set in the folder `out` to class folders, for training elsewhere.

    Parameters
    ----------
    to : path
        As of `pipeline.reporting.export.write_copies`.
    labelling : labels.Labelling
        Sources of further labels, which are saved in `unsafe_set.csv`. Class folders are labels only in a folder that
        is given here: those of the improvement folder may be something else.

    Returns
    -------
    Export
    int
        Number of images of the set that have no label, and are left out.
    """
    export.check_target(to)
    improvement = labelling.improvement
    classes = [] if improvement is None else class_folders(existing_folder(improvement, "the improvement folder"))
    with writing(out):
        labels.take_typed_labels(out)
        before = load_unsafe_set(out)
        unsafe = labels.label_unsafe_set(before, classes, improvement=improvement, labels=labelling.labels)
        export.check_labelled(unsafe)
        if unsafe.images != before.images:
            labels.save_labels(unsafe, out)
    rows = export.labelled_rows(unsafe)
    done = export.write_copies(to, unsafe.improvement_root, rows, export.LabelledImage._fields, progress=progress)
    return done, len(labels.unlabelled(unsafe))
