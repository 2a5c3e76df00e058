"""Whether an analysis is as `evidence.json` says. Nothing is changed, unpickled or trusted."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from safe_dnn.pipeline.reporting.evidence.basis import sha256_if_there, sha256_of_each
from safe_dnn.pipeline.reporting.evidence.signature import ENVELOPE_FILE, fault_of_signature
from safe_dnn.pipeline.reporting.evidence.statement import LISTS_FOLDER, Evidence, read_evidence, results_in
from safe_dnn.pipeline.reporting.export import REPORT_FILE
from safe_dnn.store.chain import check_entries, digests_of
from safe_dnn.store.database import DATABASE_FILE, RUNS_FOLDER
from safe_dnn.store.places import absolute
from safe_dnn.support.entries import is_within
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.training.result import MODELS_FOLDER

MISSING, CHANGED, ADDED, SIGNED, CONTINUED = "missing", "changed", "added later", "signature", "continued"
_WHAT_TO_DO = {
    MISSING: "Put it back from a copy; if it is meant to be gone, write the evidence again",
    CHANGED: "Put it back from a copy; if the change is meant, write the evidence again",
    ADDED: "Remove it if it does not belong there; otherwise write the evidence again",
    SIGNED: "Ask whoever signed for their evidence or public key, or sign again",
    CONTINUED: "Added later to the chain of entries, which holds; to include it, write the evidence again",
}
_LINE = re.compile(r"[0-9a-f]{64}  (?!(?:.*/)?\.\.(?:/|$)).+")  # of a list; no path leads out of the folder by `..`


class Finding(NamedTuple):
    """Something that is not as the evidence says; of CONTINUED, the evidence holds all the same."""

    kind: str
    about: str

    @property
    def text(self) -> str:
        """For example `changed: labels.txt. Put it back from a copy; …`."""
        return f"{self.kind}: {self.about}. {_WHAT_TO_DO[self.kind]}."


def verify(
    folder: Path, *, images: bool = False, key: Path | None = None, progress: Progress = no_progress
) -> list[Finding]:
    """All in which an analysis differs from its evidence.

    Parameters
    ----------
    images : bool
        Read every image anew, and models and tables outside of the analysis; otherwise nothing outside is read.
    key : path, optional
        The public key of whoever should have signed.

    Raises
    ------
    SAFEError
        There is no evidence, it is damaged or of a newer version, or the key is invalid.
    """
    evidence = read_evidence(folder)
    fault = fault_of_signature(folder, key)
    found = [Finding(SIGNED, f"{ENVELOPE_FILE} {fault}")] if fault else []
    found += [*_files(folder, evidence, images), *_entries(folder, evidence), *_added(folder, evidence)]
    return [*found, *_images(folder, evidence, progress)] if images else found


def _files(folder: Path, evidence: Evidence, outside: bool) -> Iterator[Finding]:
    """Results, runs, lists, models and tables; those that lie elsewhere only if they may be read."""
    for place, digest in (evidence.files | evidence.subjects).items():
        path = Path(absolute(place, folder))
        if outside or is_within(path, folder.resolve()):
            if (now := sha256_if_there(path)) != digest:
                yield Finding(CHANGED if now or path.is_file() else MISSING, place)
        elif not place.startswith(("../", "/")):
            yield Finding(CHANGED, f"{place}, perhaps: a link out of the analysis, which is read along with the images")
    report = folder / REPORT_FILE
    reported = REPORT_FILE in evidence.subjects and report.is_file() and is_within(report, folder.resolve())
    if reported and evidence.basis.encode() not in report.read_bytes():
        yield Finding(CHANGED, f"what the results rest on, of which {REPORT_FILE} names another digest")


def _entries(folder: Path, evidence: Evidence) -> Iterator[Finding]:
    """The chain of entries, and whether it has the last one of then."""
    number, digest = evidence.last
    try:
        check_entries(folder)
        present = digests_of(folder)
    except SAFEError as error:
        yield Finding(CHANGED, f"{DATABASE_FILE} ({error})")
        return
    if number and present.get(number) != digest:
        kind = CHANGED if number in present else MISSING
        yield Finding(kind, f"entry {number} of {DATABASE_FILE}, the last one when the evidence was written")
    elif later := [one for one in present if one > number]:
        yield Finding(CONTINUED, f"entries {later[0]} to {later[-1]} of {DATABASE_FILE}")


def _added(folder: Path, evidence: Evidence) -> Iterator[Finding]:
    """Files with a name of SAFE's that the evidence does not know."""
    below = (path for name in (RUNS_FOLDER, MODELS_FOLDER, LISTS_FOLDER) for path in (folder / name).rglob("*"))
    files = {path.relative_to(folder).as_posix() for path in below if path.is_symlink() or not path.is_dir()}
    unknown = files.union(results_in(folder)) - evidence.files.keys() - evidence.subjects.keys()
    yield from (Finding(ADDED, name) for name in sorted(unknown))


def _images(folder: Path, evidence: Evidence, progress: Progress) -> Iterator[Finding]:
    """The images in the lists that are as they were."""
    for file, place in evidence.sets.items():
        root = Path(absolute(place, folder))
        if sha256_if_there(folder / file) != evidence.files[file]:
            continue  # said of the list
        lines = (folder / file).read_text("utf-8", "surrogateescape").split("\n")[:-1]
        if lines and not root.is_dir():
            yield Finding(MISSING, f"{place}, the folder of the images in {file}")
        elif not all(map(_LINE.fullmatch, lines)):
            yield Finding(CHANGED, f"{file}, which is no list of images")
        else:
            digests = sha256_of_each([root / line[66:] for line in lines], f"Reading images, {file}", progress)
            for line, digest in zip(lines, digests, strict=True):
                if digest != line[:64]:
                    yield Finding(CHANGED if digest else MISSING, f"{root.name}/{line[66:]} (of {file})")
