"""What an analysis gives to a safety case in other tools, in `safety_case/`: nothing of it is read back.

- `gsn.yaml`, `gsn.json`: an argument in Goal Structuring Notation (GSN Community Standard v3), as gsn2x reads it: a
  goal for each hazard, a strategy by its reasons for failing, a goal for each of these. A reason that is closed or
  accepted has solutions; what is open stays undeveloped, and nothing is claimed that the files do not show.
- `amlas.csv`: which artefacts of AMLAS (Hawkins et al., arXiv 2102.01564) there are, and where.
- `reasons.json`: failing images with RCCs and weak spots as categories, in COCO's format, with a box around all of each
  image, and as tags.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from safe_dnn.pipeline.registering import load_register
from safe_dnn.pipeline.reporting.evidence.basis import sha256_if_there
from safe_dnn.pipeline.reporting.evidence.statement import EVIDENCE_FILE, LISTS_FOLDER
from safe_dnn.pipeline.reporting.export import REPORT_FILE
from safe_dnn.pipeline.reporting.report import is_current, made_from, write_report
from safe_dnn.pipeline.word_reasons import present_reasons
from safe_dnn.rccs.clusters import rccs_of
from safe_dnn.rccs.review.notes import SCOPE, VERDICTS, Scope, title
from safe_dnn.rccs.review.review import Review, load_review, load_scope
from safe_dnn.rccs.spots.rates import RATES_FILE
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE
from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE
from safe_dnn.reasons.claims import CONFIRMATION_FILE, asked
from safe_dnn.reasons.comparison import name_of
from safe_dnn.reasons.register import REGISTER_FILE, Entry
from safe_dnn.store.output_folder import save_files
from safe_dnn.store.runs import CONFIRMATION, present_runs
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import size_of
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import printable
from safe_dnn.training.closure import CLOSED, CLOSURE_FILE
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE

SAFETY_CASE_FOLDER = "safety_case"
GSN_FILE = "gsn.yaml"
GSN_JSON_FILE = "gsn.json"
AMLAS_FILE = "amlas.csv"
REASONS_FILE = "reasons.json"
UNSTATED = "not stated"
AMLAS = (
    ("N", "Development data", (f"{LISTS_FOLDER}/training.sha256", UNSAFE_SET_FILE)),
    ("O", "Internal test data", (f"{LISTS_FOLDER}/tested.sha256", f"{LISTS_FOLDER}/test.sha256")),
    ("P", "Verification data", (f"{LISTS_FOLDER}/fresh.sha256", f"{LISTS_FOLDER}/final-test.sha256")),
    ("S", "ML data validation results", (RETRAINING_FILE,)),
    ("U", "Model development log", (RETRAINING_FILE,)),
    ("V", "ML model", (MODEL_FILE,)),
    ("X", "Internal test results", (REPORT_FILE, RATES_FILE, WEAK_SPOTS_FILE)),
    ("Z", "ML verification results", (CONFIRMATION_FILE, CLOSURE_FILE)),
    ("AA", "Verification log", (REGISTER_FILE, EVIDENCE_FILE)),
)
"""Artefacts that SAFE makes or makes a part of: the identifier and title of AMLAS, and files of the analysis."""
NO_SCOPE = Scope()
Elements = dict[str, dict[str, Any]]


def write_safety_case(folder: Path, *, progress: Progress = no_progress) -> Elements:
    """Write the files, and the report before, to which they point, if it is out of date; the argument.

    Raises
    ------
    SAFEError
        There are no clusters, something is damaged, or the files cannot be written.
    """
    prepare_folder(folder)
    if not is_current(folder / REPORT_FILE, lambda: made_from(folder)):
        write_report(folder, progress=progress)
    review = load_review(folder)
    run = present_runs(folder).get(CONFIRMATION)
    digests = {REPORT_FILE: sha256_if_there(folder / REPORT_FILE)} | (run.files if run else {})
    argument = argument_of(
        load_register(folder), asked(run, review, CLOSURE_FILE, "state"), digests, load_scope(folder)[0]
    )
    files = {
        GSN_FILE: yaml.safe_dump(argument, sort_keys=False, allow_unicode=True, width=120),
        GSN_JSON_FILE: json.dumps(argument, indent=2) + "\n",
        AMLAS_FILE: table_text(("id", "title", "where", "status"), _artefacts(folder)),
        REASONS_FILE: json.dumps(_coco(folder, review)) + "\n",
    }
    prepare_folder(folder / SAFETY_CASE_FOLDER)
    save_files(folder, {f"{SAFETY_CASE_FOLDER}/{name}": text for name, text in files.items()})
    return argument


def argument_of(
    entries: Iterable[Entry], states: Mapping[str, str], digests: Mapping[str, str], scope: Scope = NO_SCOPE
) -> Elements:
    """The elements of the argument by identifier; the first is its root.

    Parameters
    ----------
    entries : iterable of Entry
        The register. What is judged safe, or fails no more than elsewhere and was not judged, is left out unless it
        has a hazard.
    states : mapping of str to str
        What a later model makes of reasons (see `training.closure`), by reason.
    digests : mapping of str to str
        Of the files that solutions are in.
    scope : Scope
        Each field of it is context.
    """
    made = _Argument({}, states, digests)
    root = made.add("G", "The failures that were found are acceptable")
    context = [made.add("A", "The test images are representative of the operating domain", "limits")]
    context += [
        made.add("C", f"{SCOPE[name].title}: {said}", "scope") for name, said in scope._asdict().items() if said
    ]
    over_hazards = made.add("S", "Argument over each hazard, and over what no reason explains")
    hazards: dict[str, list[Entry]] = {}
    for entry in entries:
        judged = VERDICTS[entry.note.verdict].gravity > VERDICTS[""].gravity
        if entry.note.hazard or judged or (entry.more and not entry.note.verdict):
            hazards.setdefault(entry.note.hazard or UNSTATED, []).append(entry)
    goals = [made.hazard(hazard, those) for hazard, those in hazards.items()]
    goals.append(made.add("G", "Failures without a reason are acceptable", "noise", undeveloped=True))
    made.elements[root] |= {"supportedBy": [over_hazards], "inContextOf": context}
    made.elements[over_hazards] |= {"supportedBy": goals}
    return made.elements


@dataclass
class _Argument:
    """An argument that is being made; each method adds elements, and returns the identifier of the first."""

    elements: Elements
    states: Mapping[str, str]
    digests: Mapping[str, str]

    def add(self, kind: str, text: str, anchor: str = "", **more: Any) -> str:
        key = f"{kind}{sum(key.removeprefix(kind).isdecimal() for key in self.elements) + 1}"
        url = {"url": f"../{REPORT_FILE}#{anchor}"} if anchor else {}
        self.elements[key] = {"text": printable(text), **more, **url}
        return key

    def hazard(self, hazard: str, entries: Iterable[Entry]) -> str:
        goal = self.add("G", f"The hazard is under control: {hazard}")
        strategy = self.add("S", "Argument over each reason for failing that leads to it")
        self.elements[goal] |= {"supportedBy": [strategy]}
        self.elements[strategy] |= {"supportedBy": [self.reason(entry) for entry in entries]}
        return goal

    def reason(self, entry: Entry) -> str:
        named = ", ".join(filter(None, (entry.reason, entry.where, entry.note.name)))
        goal = self.add("G", f"Failing for this reason is acceptable: {named}")
        shown, context = self._solutions(entry), self._context(entry)
        self.elements[goal] |= {"supportedBy": shown} if shown else {"undeveloped": True}
        self.elements[goal] |= {"inContextOf": context} if context else {}
        return goal

    def _context(self, entry: Entry) -> list[str]:
        texts = [f"Acceptance criterion: {entry.note.criterion}"] if entry.note.criterion else []
        if entry.figures:
            tested, wrong, rate, low, high = entry.figures
            expected = f"of new ones, {rate:.1%} are to be expected ({low:.1%} to {high:.1%})"
            texts.append(f"{wrong:,.0f} of {tested:,.0f} tested images are wrong; {expected}")
        anchor = "weak-spots" if entry.where else entry.reason.lower().replace(" ", "-")
        return [self.add("C", text, anchor) for text in texts]

    def _solutions(self, entry: Entry) -> list[str]:
        note, shown = entry.note, []
        if note.status == "closed" and CLOSED in map(self.states.get, entry.names):
            shown.append((CLOSURE_FILE, "confirmation", f"A later model has closed {entry.reason}"))
        if note.status == "accepted" and note.owner and note.residual:
            shown.append((REPORT_FILE, "register", f"Accepted by {note.owner}, residual risk: {note.residual}"))
        return [self.add("Sn", f"{text}. {file}, SHA-256 {self.digests[file]}", at) for file, at, text in shown]


def _artefacts(folder: Path) -> Iterable[tuple[str, str, str, str]]:
    for key, name, files in AMLAS:
        there = [file for file in files if (folder / file).is_file()]
        state = "not made yet" if not there else "made" if len(there) == len(files) else "made in part"
        yield key, name, "; ".join(there or files), state


def _coco(folder: Path, review: Review) -> dict[str, Any]:
    """Failing images that can be read, each with the RCC and weak spots that it is in."""
    clusters, reasons = review.clusters, present_reasons(folder, review)
    rccs = {title(rcc): (clusters.labels == rcc).nonzero()[0].tolist() for rcc in rccs_of(clusters)}
    spots = zip(reasons.spots, reasons.images, strict=True)
    names = rccs | {name_of(spot, rank, None): rows.tolist() for rank, (spot, rows) in enumerate(spots, 1)}
    sizes = {row: size for row, path in enumerate(clusters.paths) if (size := size_of(clusters.image_root / path))}
    tags: dict[int, list[str]] = {row: [] for row in sizes}
    annotations: list[dict[str, Any]] = []
    for category, (name, rows) in enumerate(names.items(), 1):
        for row in filter(sizes.__contains__, rows):
            tags[row].append(name)
            width, height = sizes[row]
            found = {"id": len(annotations) + 1, "image_id": row + 1, "category_id": category}
            annotations.append(found | {"bbox": [0, 0, width, height], "area": width * height, "iscrowd": 0})
    return {
        "info": {"description": f"Failing images of {clusters.image_root.name}, by reason"},
        "categories": [{"id": category, "name": name} for category, name in enumerate(names, 1)],
        "images": [
            {"id": row + 1, "file_name": clusters.paths[row], "width": width, "height": height, "tags": tags[row]}
            for row, (width, height) in sizes.items()
        ],
        "annotations": annotations,
    }
