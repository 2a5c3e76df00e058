"""Analyses of versions before 2.0, taken over when they are opened.

Those kept everything in files: the present run in the output folder itself, earlier ones as copies in `runs/<time>/`,
and what people said in tables and JSON files beside them. `.safe.json` listed the files that SAFE wrote.

Nothing of them is changed before all is in the database and in folders of runs. An entry says when that was begun, and
one that it is done. What a killed process has left in between is removed, and begun anew; what it has left afterwards
is moved to `before-migration/` by the next one. Nobody else reads the files of those versions.
"""

import contextlib
import csv
import dataclasses
import datetime
import functools
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rccs.clusters import CLUSTERS_FILE, RUN_FILE, fingerprint, load_clusters, save_clusters, subjects_of
from rccs.dbscan.outcome import NOISE
from rccs.image_map import MAP_FILE
from rccs.review.journal import MAKING, TURNING, Edit, add_edit, reviewed
from rccs.review.notes import SAID, RccNote, SpotNote, tidy_note
from rccs.review.review import checked_conditions
from rccs.rounds import rounds_in
from rccs.spots.weak_spots import WEAK_SPOTS_FILE, load_spots
from rccs.unsafe_set import (
    LABEL,
    SELECTION_FILE,
    UNSAFE_IMAGES_FILE,
    UNSAFE_SET_FILE,
    UnsafeSet,
    load_unsafe_set,
    save_unsafe_set,
)
from reasons.comparison import COMPARISON_FILE, load_reasons
from store.database import COPY_FILE, DATABASE_FILE, RUNS_FOLDER, changing, reading
from store.entries import append, present, speaking
from store.output_folder import Writer, claim, working, writing
from store.places import recorded, relative
from store.runs import CLUSTERS, COMPARISON, MAP, Run, add_run
from support.contents import digest_of
from support.entries import StrPath
from support.errors import SAFEError
from support.files import (
    DAMAGED,
    date_of,
    free_name,
    prepare_folder,
    read_json,
    read_record,
    regular,
    replacing,
    write_text,
)
from support.run_folder import ACCURACY_FILE
from support.tables import from_cell, read_table
from training.labels import KeptLabel, add_labels
from training.result import MODEL_FILE, MODELS_FOLDER, RETRAINING_FILE, Retraining, add_retraining, read_retraining

EARLIER_MARK_FILE = ".safe.json"
"""The mark of an analysis of an earlier version (see `pipeline/migration.py`)."""
BEFORE_FOLDER = "before-migration"
"""The files of an earlier version, after they were taken over."""

MIGRATION, BEGUN, DONE = "migration", "begun", "done"
"""The kind of an entry, and its values."""
_NOTES, _EDITS, _SPOT_NOTES, _LABELS = "rcc_notes.csv", "rcc_edits.json", "weak_spot_notes.csv", "image_labels.csv"
_FORMS, _VIEWS, _PLAN, _HOME = "forms.json", "views.json", ".safe-plan.json", ".safe-analysis.json"
# What is put aside afterwards, the mark last.
_GONE = (
    *(CLUSTERS_FILE, RUN_FILE, COMPARISON_FILE, MAP_FILE, SELECTION_FILE),
    *(_NOTES, _EDITS, _SPOT_NOTES, _LABELS, _FORMS, _VIEWS, _PLAN, _HOME, EARLIER_MARK_FILE),
)
_TIME = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")  # the name of an earlier run


def migrate(folder: Path) -> str:
    """Take over what a version before 2.0 wrote to a folder, if it did and it was not yet taken over.

    Returns
    -------
    str
        A sentence that says so; otherwise empty.

    Raises
    ------
    SAFEError
        A file is damaged, which the sentence names, or the folder cannot be written to: nothing is changed.
    """
    if not _is_earlier(folder):
        return ""
    with writing(folder), working(folder, "taking over the files of an earlier version"):
        if not _is_earlier(folder):
            return ""  # another process was faster
        with reading(folder) as db:
            kinds = dict(db.execute("SELECT kind, value FROM entry ORDER BY number").fetchall())
        if MIGRATION not in kinds and kinds.keys() - {"deletion"}:  # an analysis may be put into the bin as it is
            return ""  # an earlier version has written to an analysis of this one
        if kinds.get(MIGRATION) != json.dumps(DONE):
            _forget(folder)
            try:
                with speaking(""):  # who said it is not known
                    _take_over(folder)
            except SAFEError:
                _forget(folder)
                raise
        _put_aside(folder)
    return (
        f"{folder} was written by an earlier version of SAFE: all that it holds was taken over, and the files that are "
        f"no longer needed are in {BEFORE_FOLDER}."
    )


def _is_earlier(folder: Path) -> bool:
    return (folder / EARLIER_MARK_FILE).is_file()


def _forget(folder: Path) -> None:
    """Remove what was taken over in part."""
    for run in (folder / RUNS_FOLDER).glob("*"):
        if run.name.isdecimal():
            shutil.rmtree(run)
    for name in (COPY_FILE, *(f"{DATABASE_FILE}{end}" for end in ("-wal", "-shm", ""))):
        (folder / name).unlink(missing_ok=True)


def _take_over(folder: Path) -> None:
    with changing(folder) as db:
        append(db, MIGRATION, "", BEGUN)
    _finish_plan(folder)
    old = _Old(folder, _listed(folder), _Move.of(folder))
    places = [*_earlier(folder), folder]
    runs = {place: run for place in places if (run := _take_run(old, place))}
    latest = {run.clusters: place for place, run in runs.items()}  # edits went on with a run that was found again
    sets = {place: _take_selection(old, place) for place in places}
    _take_retrainings(old, places)
    for place in places:
        run = runs.get(place)
        if run:
            _take_review(old, place, run, with_edits=latest[run.clusters] == place)
        _take_spot_notes(old, place, run)
        _take_forms(old, place, run)
    _take_labels(old)
    if found := sets[folder]:
        add_labels(found[0], folder, run=found[1])  # also those that were typed into the table
    table = old.file(folder, UNSAFE_SET_FILE)
    texts = {UNSAFE_SET_FILE: table.read_bytes().decode("utf-8", "surrogateescape")} if table else {}
    claim(folder, {name: texts.get(name, _as_it_is) for name in sorted(old.listed - {*_GONE})})
    with changing(folder) as db:
        append(db, MIGRATION, "", DONE)


# --- The old files ----------------------------------------------------------------------------------------------


class _Move(NamedTuple):
    """From where an analysis last lay to where it lies now, for texts that may be paths of its own files."""

    old: str
    new: str

    @classmethod
    def of(cls, folder: Path) -> "_Move":
        home = read_record(folder / _HOME).get("home")
        return cls(home.rstrip("/") if isinstance(home, str) and len(Path(home).parts) > 1 else "", os.fspath(folder))

    def value(self, value: Any) -> Any:
        """A value of JSON with its texts moved, as far as they lead to something in the new place."""
        if isinstance(value, dict):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        if not isinstance(value, str) or not self.old or not f"{value}/".startswith(f"{self.old}/"):
            return value
        moved = self.new + value.removeprefix(self.old)
        is_there = os.path.lexists(moved) if value != self.old else not os.path.lexists(self.old)
        return moved if is_there else value

    def path(self, path: StrPath) -> Path:
        return Path(self.value(os.fspath(path)))


class _Old(NamedTuple):
    """An analysis of a version before 2.0.

    Attributes
    ----------
    listed : frozenset of str
        The files in the folder itself that SAFE wrote.
    """

    folder: Path
    listed: frozenset[str]
    move: _Move

    def file(self, place: Path, name: str) -> Path | None:
        """A file of SAFE's of the present or an earlier run; None if there is none."""
        own = place != self.folder or name in self.listed
        return place / name if own and os.path.lexists(place / name) else None

    def record(self, place: Path, name: str) -> dict[str, Any]:
        """A JSON object with paths as they are now; empty if there is no such file."""
        path = self.file(place, name)
        if path is None:
            return {}
        with _intact(path):
            return dict(self.move.value(read_json(path)))


@contextlib.contextmanager
def _intact(path: Path) -> Iterator[None]:
    """Name the file where what is read in the block is damaged."""
    try:
        yield
    except DAMAGED as error:
        raise SAFEError(
            f"{path}, which an earlier version of SAFE wrote, is damaged or cannot be read. Nothing was changed. Put "
            "back a copy of it, or move it away to open the rest."
        ) from error


def _listed(folder: Path) -> frozenset[str]:
    with _intact(folder / EARLIER_MARK_FILE):
        names = json.loads((folder / EARLIER_MARK_FILE).read_text(encoding="utf-8"))["files"]
        # Engineers could copy notes there, and the hidden files were not listed.
        return frozenset((*map(str, names), *(name for name in _GONE if name.startswith((".", "rcc_", "weak_")))))


def _finish_plan(folder: Path) -> None:
    """Do the rest of what a process of that version had begun to rename and remove together when it was killed."""
    record = read_record(folder / _PLAN)
    for old, new in _texts(record.get("rename")).items():
        if Path(old).name == old and Path(new).name == new and (folder / old).is_file():
            (folder / old).replace(folder / new)
    for name in _listed(folder) & {*map(str, record.get("remove", ()))}:
        (folder / name).unlink(missing_ok=True)
    (folder / _PLAN).unlink(missing_ok=True)


def _earlier(folder: Path) -> list[Path]:
    """The folders of the earlier runs, the oldest first."""
    found = [(match, path) for path in (folder / RUNS_FOLDER).glob("*") if (match := _TIME.fullmatch(path.name))]
    return [path for match, path in sorted(found, key=lambda one: (one[0][1], int(one[0][2] or 1)))]


def _written(path: Path) -> str:
    """When a file was written, as entries say it."""
    return date_of(path.stat().st_mtime).isoformat(timespec="seconds")


def _texts(value: object) -> dict[str, str]:
    """The texts of an object of JSON; empty if it is none."""
    return {name: text for name, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}


def _as_it_is(_: Path) -> None:
    """Stands for the content of a file that stays where it is."""


# --- Runs -------------------------------------------------------------------------------------------------------


def _take_run(old: _Old, place: Path) -> Run | None:
    """The clusters, with their comparison with right images and their map."""
    path, record = old.file(place, CLUSTERS_FILE), old.record(place, RUN_FILE)
    if path is None:
        return None
    with _intact(path):
        clusters = load_clusters(old.folder, _in(place))
    root, weights = old.move.path(clusters.image_root), old.move.value(clusters.weights)
    clusters = dataclasses.replace(clusters, image_root=root, weights=weights)
    time, offer = _written(path), record.pop("offer", None)
    if named := _TIME.fullmatch(place.name) if place != old.folder else None:
        with _intact(place):
            time = datetime.datetime.strptime(f"{named[1]}+0000", "%Y%m%d-%H%M%S%z").isoformat()
    more = {**record, "image_root": relative(clusters.home, old.folder)}
    run = save_clusters(clusters, old.folder, more=more, time=time)
    compared, spots = old.file(place, COMPARISON_FILE), old.file(place, WEAK_SPOTS_FILE)
    if compared and spots:
        with _intact(spots):
            load_spots(_in(place))
        files = {COMPARISON_FILE: _copy_of(compared), WEAK_SPOTS_FILE: _copy_of(spots)}
        facts, time = {"offer": offer} if offer else {}, _written(compared)
        add_run(old.folder, COMPARISON, files, clusters=run.itself, facts=facts, time=time)
        with _intact(compared):
            load_reasons(old.folder, clusters, run)
    if drawn := old.file(place, MAP_FILE):
        add_run(old.folder, MAP, {MAP_FILE: _copy_of(drawn)}, clusters=run.itself, time=_written(drawn))
    return run


def _in(place: Path) -> Run:
    """The files of a run where that version kept them."""
    return Run(0, CLUSTERS, "", "", {}, {}, place)


def _copy_of(path: Path) -> Writer:
    return functools.partial(shutil.copyfile, path)


def _take_selection(old: _Old, place: Path) -> tuple[UnsafeSet, Run] | None:
    """The unsafe set; that of the present run without labels, which are said of its images."""
    path, record = old.file(place, UNSAFE_SET_FILE), old.record(place, SELECTION_FILE)
    if path is None or not record:
        return None
    with _intact(path):
        unsafe = load_unsafe_set(old.folder, _in(place))
    root, model = old.move.path(unsafe.improvement_root), old.move.value(unsafe.model)
    unsafe = dataclasses.replace(unsafe, improvement_root=root, model=model)
    images = tuple(image._replace(label="") if place == old.folder else image for image in unsafe.images)
    whole = old.file(place, UNSAFE_IMAGES_FILE)
    more: Mapping[str, Writer] = {UNSAFE_IMAGES_FILE: _copy_of(whole)} if whole else {}
    bare, time = dataclasses.replace(unsafe, images=images), _written(place / SELECTION_FILE)
    return unsafe, save_unsafe_set(bare, old.folder, more=more, time=time)


def _take_retrainings(old: _Old, places: list[Path]) -> None:
    """The figures of each retraining once: they were kept with the runs and with the models."""
    of_runs = [path for place in places if (path := old.file(place, RETRAINING_FILE))]
    found: dict[object, tuple[Path, Retraining]] = {}
    for path in (*sorted((old.folder / MODELS_FOLDER).glob("*.json")), *of_runs):
        with _intact(path):
            result = read_retraining(path, old.folder)
        found[result.digest or (result.model, result.after, result.accuracy_after)] = path, result
    at = {path: path.stat().st_mtime for path, _ in found.values()}
    last = {result.run: max(at[other] for other, one in found.values() if one.run == result.run)
            for _, result in found.values()}  # fmt: skip

    def order(one: tuple[Path, Retraining]) -> tuple[float, int]:
        """By time, but that of a run last of those for its clusters."""
        path, result = one
        return (last[result.run], of_runs.index(path)) if path in of_runs else (at[path], -1)

    for path, result in sorted(found.values(), key=order):
        after = old.move.path(result.after) if result.after else None
        model, test_root = old.move.path(result.model), old.move.path(result.test_root)
        result = dataclasses.replace(result, model=model, test_root=test_root, after=after)
        add_retraining(result, old.folder, time=_written(path))
    _keep_model(old)


def _keep_model(old: _Old) -> None:
    """The model, which may be there alone."""
    if model_file := old.file(old.folder, MODEL_FILE):
        model = prepare_folder(old.folder / MODELS_FOLDER) / f"{digest_of(model_file)[:16]}{model_file.suffix}"
        if not model.is_file():
            with replacing(model) as temporary:
                shutil.copyfile(model_file, temporary)


# --- What people said -------------------------------------------------------------------------------------------


def _take_review(old: _Old, place: Path, run: Run, *, with_edits: bool) -> None:
    """Notes and edits of a run, if they are of its clusters."""
    clusters = load_clusters(old.folder, run)
    record, at = old.record(place, _EDITS), place / _EDITS
    if record and record.get("clusters") != fingerprint(clusters):
        return
    with _intact(at):
        edits = tuple(_edit_of(number, entry) for number, entry in enumerate(record.get("edits", ())))
        reach = {int(rcc): float(value) for rcc, value in record.get("reach", {}).items()}
        after = reviewed(clusters, edits, known_reach=reach)
    table = old.file(place, _NOTES)
    with _intact(place / _NOTES):
        notes = _read_notes(table) if table else {}
    with changing(old.folder) as db:
        numbers: dict[int | None, int] = {}
        for edit in edits if with_edits else ():
            of_last = reach if edit is edits[-1] else None
            numbers[edit.number] = add_edit(db, run.clusters, edit._replace(of=numbers.get(edit.of), reach=of_last))
        if not notes and not record and place != old.folder:
            return  # nobody has looked at it, and what was said elsewhere counts
        subjects = subjects_of(after, run.clusters)
        known = dict.fromkeys(range(clusters.n_rccs + len(edits)), 0.0)
        for n in reversed(range(len(edits))):  # of RCCs without images, in case they get them back: those they had
            if not notes.keys() <= subjects.keys():
                earlier = reviewed(clusters, edits[:n], known_reach=known)
                subjects = {**subjects_of(earlier, run.clusters), **subjects}
        said, time = present(db, "rcc"), _written(table or place / CLUSTERS_FILE)
        for rcc, subject in sorted(subjects.items(), key=lambda one: one[0] in after.groups):
            note = notes.get(rcc, RccNote(rcc))
            before = RccNote(*said[subject]["after"])._replace(rcc=rcc) if subject in said else RccNote(rcc)
            if note != before and (rcc in notes or rcc in after.groups):
                value = {"before": before, "after": note}
                append(db, "rcc", subject, value, run=run.clusters, time=time)


def _read_notes(path: Path) -> dict[int, RccNote]:
    """Read `rcc_notes.csv`; one of DAMAGED if a row is invalid."""
    notes: dict[int, RccNote] = {}
    for row in _rows_of(path):
        number = re.fullmatch(r"(?:rcc)?\s*(-?\d{1,9})(?:\.0)?", row["rcc"], re.IGNORECASE)
        rcc = int(number[1]) if number else NOISE - 1
        if rcc < NOISE or rcc in notes:
            raise ValueError(f"an RCC that is none, or has two rows: {row['rcc']}")
        notes[rcc] = tidy_note(RccNote(rcc, *(row.get(name, "") for name in SAID)))
    return notes


def _rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table of notes as texts, by column."""
    table = read_table(path, "notes", own=True)
    return [{name.lower(): table.text(name, row) for name in table.header} for row in range(len(table.rows))]


def _edit_of(number: int, entry: Mapping[str, Any]) -> Edit:
    """An entry of the journal; the number is its place there, by which undos and redos name it."""
    edit = Edit(number, str(entry["time"]), str(entry["kind"]), by=str(entry.get("by", "")))
    if edit.kind in TURNING:
        return edit._replace(of=int(entry["of"]))
    if edit.kind not in MAKING:
        raise ValueError(f"an edit of the kind {edit.kind}")
    images, source = tuple(map(str, entry.get("images", ()))), tuple(map(int, entry["from"]))
    notes = tuple(tidy_note(RccNote(**note)) for note in entry.get("notes", ()))
    if len(source) != (1 if edit.kind == "merge" else len(images)) or len(notes) != 3 * (edit.kind == "merge"):
        raise ValueError("an edit with too many or too few parts")
    return edit._replace(images=images, source=source, target=int(entry["to"]), notes=notes)


def _take_spot_notes(old: _Old, place: Path, run: Run | None) -> None:
    """Of an earlier run those that nobody has changed since."""
    table = old.file(place, _SPOT_NOTES)
    if table is None:
        return
    notes: list[SpotNote] = []
    with _intact(table):
        for row in _rows_of(table):
            tested = recorded(old.move.value(row["tested"]), old.folder) if row.get("tested") else ""
            texts = {name: row.get(name, "") for name in SAID}
            notes.append(tidy_note(SpotNote(checked_conditions(row["conditions"]), tested, **texts)))
    with changing(old.folder) as db:
        said = present(db, "spot")
        for note in notes:
            subject = json.dumps(note[:2])
            before = SpotNote(*said[subject]["after"]) if subject in said else SpotNote(*note[:2])
            if note != before:
                value, of = {"before": before, "after": note}, run.clusters if run else ""
                append(db, "spot", subject, value, run=of, time=_written(table))


def _take_forms(old: _Old, place: Path, run: Run | None) -> None:
    """What was typed into the forms, as `page/forms.py` keeps it."""
    inside = f"{old.folder}{os.sep}"
    with changing(old.folder) as db:
        for tab, fields in old.record(place, _FORMS).items():
            if isinstance(fields, dict):
                value = {
                    name: {"here": typed.removeprefix(inside)}
                    if isinstance(typed, str) and typed.startswith(inside)
                    else typed
                    for name, typed in fields.items()
                }
                append(db, "form", tab, value, run=run.clusters if run else "", time=_written(place / _FORMS))


def _take_labels(old: _Old) -> None:
    """The labels that were given to images, in this order."""
    table = old.file(old.folder, _LABELS)
    if table is None:
        return
    with _intact(table), regular(table).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = [
            KeptLabel(*(from_cell(row[name]) for name in KeptLabel._fields))
            for row in csv.DictReader(file, strict=True)
        ]
    with changing(old.folder) as db:
        for image, root, content, label in rows:
            subject = json.dumps([image, relative(old.move.path(root), old.folder)])
            append(db, LABEL, subject, {"label": label, "content": content}, time=_written(table))


# --- Afterwards -------------------------------------------------------------------------------------------------


def _put_aside(folder: Path) -> None:
    """Move away what is not needed any more, and make the paths in `accuracy.json` relative; as often as wanted."""
    move, own = _Move.of(folder), _listed(folder)
    try:
        for place in (folder, *rounds_in(folder)):
            _make_relative(place / ACCURACY_FILE, move)
        earlier = [path.relative_to(folder) for path in _earlier(folder)]
        for name in (*earlier, *(Path(name) for name in _GONE if name in own)):
            if os.path.lexists(folder / name):
                target = folder / BEFORE_FOLDER / name
                target.parent.mkdir(parents=True, exist_ok=True)
                (folder / name).rename(free_name(target) if os.path.lexists(target) else target)
    except OSError as error:
        raise SAFEError(f"Could not move files to {folder / BEFORE_FOLDER}: {error.strerror or error}.") from error


def _make_relative(path: Path, move: _Move) -> None:
    record = read_record(path)
    absolute = {name: value for name, value in _texts(record).items() if name in ("model", "test_root")}
    changed = {name: relative(move.path(value), path.parent) for name, value in absolute.items() if value[:1] == "/"}
    if changed != {name: value for name, value in absolute.items() if name in changed}:
        state = path.stat()  # its date says when the failures were collected
        write_text(path, json.dumps({**record, **changed}, indent=2, ensure_ascii=False) + "\n")
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
