"""Writing `evidence.json`, with the lists of images in `evidence/` and, on request, a signature.

The order is the point: first what the results rest on, then the report, which names that by its digest, then the
evidence, which names the report by its digest. So each names the other, and nothing names itself.
"""

from pathlib import Path
from typing import Any

from pipeline.reporting.evidence.basis import basis_of, sha256_if_there
from pipeline.reporting.evidence.signature import ENVELOPE_FILE, envelope_text, signer_of
from pipeline.reporting.evidence.statement import (
    EVIDENCE_FILE,
    LISTS_FOLDER,
    digest_of_predicate,
    results_in,
    statement_text,
)
from pipeline.reporting.export import REPORT_FILE
from pipeline.reporting.freshness import is_current, made_from
from pipeline.reporting.report import write_report
from store.database import DATABASE_FILE
from store.entries import check_entries
from store.output_folder import check_own, is_outdated, save_files, working
from store.runs import CLUSTERS, present_runs
from support.errors import SAFEError
from support.files import prepare_folder
from support.progress import Progress, no_progress


def write_evidence(folder: Path, *, sign: Path | None = None, progress: Progress = no_progress) -> dict[str, Any]:
    """Write `evidence.json` of the present state, and the report before if it is out of date or names something else.

    Parameters
    ----------
    sign : path, optional
        A private key; `evidence.dsse.json` is then the evidence with a signature.

    Returns
    -------
    dict
        What the predicate says of each set of images.

    Raises
    ------
    SAFEError
        There is no analysis, something in it is damaged, or the evidence cannot be signed or written.
    """
    if not (folder / DATABASE_FILE).is_file():
        raise SAFEError(f"Expected the output folder of an analysis. Received: {folder}, without {DATABASE_FILE}.")
    signer = signer_of(sign) if sign else None
    with working(folder, "writing the evidence"):
        check_own(folder, EVIDENCE_FILE, ENVELOPE_FILE)
        check_entries(folder)
        predicate, lists = basis_of(folder, progress)
        if CLUSTERS in present_runs(folder):
            _report(folder, digest_of_predicate(predicate), progress)
        subjects = {name: sha256_if_there(folder / name) for name in results_in(folder)}
        files = {EVIDENCE_FILE: statement_text(subjects, predicate), **lists}
        gone = [path.relative_to(folder).as_posix() for path in prepare_folder(folder / LISTS_FOLDER).iterdir()]
        if is_outdated(folder, {EVIDENCE_FILE: files[EVIDENCE_FILE]}):
            gone.append(ENVELOPE_FILE)  # it signs another one
        if signer:
            files[ENVELOPE_FILE] = envelope_text(files[EVIDENCE_FILE], signer)
        save_files(folder, files, remove=gone)
    return predicate["images"]


def _report(folder: Path, basis: str, progress: Progress) -> None:
    report = folder / REPORT_FILE
    if not is_current(report, lambda: made_from(folder)) or basis.encode() not in report.read_bytes():
        write_report(folder, basis=basis, progress=progress)
