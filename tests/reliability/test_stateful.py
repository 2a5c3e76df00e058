"""Whatever engineers do in one output folder, in any order, with kills and full disks: nothing of theirs is lost.

Hypothesis makes up the sequences. Beside the folder a simple model says what must be there, and after each step both
are compared. What a step that was killed has done is either nothing or all of it.
"""

import contextlib
import copy
import csv
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from PIL import Image

from dbscan.outcome import NOISE
from features.cache import content_key
from pipeline import descriptions, exports, generation, improvement
from rccs import carried, edited, edits, review
from rccs.clusters import RootCauseClusters, fingerprint, labels_text, load_clusters
from rccs.edited import reviewed
from rccs.edits import Maker, merge_rccs, move_images, redo_edit, undo_edit
from rccs.journal import Edit, touches
from rccs.notes import RccNote, merged_note
from rccs.review import Kept, Review, load_review, set_note
from rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set
from reporting import history
from reporting.export import check_target
from reporting.history import folder_of, restore_run
from selection import SelectionSettings
from support.errors import SAFEError
from support.output_folder import save_files, save_text, writing
from support.run_folder import (
    CLUSTERS_FILE,
    EDITS_FILE,
    FORMS_FILE,
    KEPT_LABELS_FILE,
    LABELS_FILE,
    MARK_FILE,
    MODEL_FILE,
    MODELS_FOLDER,
    NOTES_FILE,
    RETRAINING_FILE,
    RUNS_FOLDER,
    UNSAFE_SET_FILE,
)
from tests.helpers.small_models import FakeModel, clusters_of, retraining_for
from tests.helpers.troubles import Disk, Killed, Trouble
from training.labels import label_images, label_rcc, load_kept_labels, save_labels
from training.result import retraining_of, save_retraining

N_IMAGES = 6
# RCC of each failing image. Some groups of images come again in other clusterings, under the same or another number.
CLUSTERINGS = ((0, 0, 1, 1, 2, 2), (0, 0, 0, 0, 1, 1), (1, 1, 0, 0, 0, 2), (0, 0, 1, 1, -1, -1), (0, 0, 1, 1))
DATA_SETS = ("road", "eyes")
CLASSES = ("blue", "red")
KEPT_RUNS = 2
GRAVITY = ("safe", "", "unclear", "unsafe")
FIELDS = ("name", "note", "verdict")
OWN_NAMES = ("mine.txt", MODEL_FILE, FORMS_FILE, UNSAFE_SET_FILE, "map.npz", "gifs/mine.gif", f"{RUNS_FOLDER}/mine.txt")
EXPORTS = ("images", "images.zip", "own", "own.zip")
MEANWHILE = ("note", "merge", "move", "undo", "label")


# --- What must be there -----------------------------------------------------------------------------------------


class Given(NamedTuple):
    """A label that an image was given, by its content and place; an empty one was taken away."""

    root: str
    image: str
    content: bytes
    label: str
    by_hand: bool = False  # in the table itself

    def is_of(self, root: str, image: str, content: bytes) -> bool:
        here, there = os.path.join(self.root, self.image), os.path.join(root, image)  # noqa: PTH118
        return self.content == content and (self.image == image or here == there)


class Table(NamedTuple):
    """An unsafe set: the run whose it is, the improvement folder, and the labels by image; None if they are damaged."""

    run: str
    root: str
    labels: dict[str, str] | None


@dataclass(eq=False)
class Run:
    """A clustering, with what the engineer has said and done."""

    clusters: RootCauseClusters
    notes: dict[int, RccNote]
    edits: tuple[Edit, ...]
    merged: dict[int, tuple[RccNote, bool]] = field(
        default_factory=dict
    )  # source's note then, and whether it was asked
    table: Table | None = None
    model: str | None = None
    forms: str | None = None
    touched: bool = False  # whether anything was said of it; to have taken it back is to have said something as well

    def __post_init__(self):
        self.touched |= bool(self.notes or self.edits)

    @property
    def name(self) -> str:
        return fingerprint(self.clusters)

    @property
    def worked_on(self) -> bool:
        labelled = self.table is not None and (self.table.labels is None or any(self.table.labels.values()))
        return bool(self.notes or self.edits) or labelled or self.model is not None

    def groups(self) -> dict[tuple[bool, frozenset[str]], int]:
        now = reviewed(self.clusters, self.edits)
        return {(rcc == NOISE, frozenset(now.members(rcc))): rcc for rcc in now.groups}


@dataclass
class Model:
    """What must be there."""

    run: Run | None = None
    earlier: dict[str, Run] = field(default_factory=dict)
    table: Table | None = None
    given: tuple[Given, ...] = ()
    retrained: tuple[str, str] | None = None  # the model's digest, the run
    models: dict[str, str] = field(default_factory=dict)  # the run by the model's digest
    forms: str | None = None
    own: dict[str, bytes] = field(default_factory=dict)  # what is the engineer's own, by its path below the folder
    exports: frozenset[str] = frozenset()

    def labels_of(self, root: str, image: str, content: bytes) -> list[Given]:
        """The labels that an image was given, the last one last; also by way of a third place."""
        places = [(root, image)]
        found: set[Given] = set()
        for place in places:
            more = {given for given in self.given if given not in found and given.is_of(*place, content)}
            found |= more
            places += [given[:2] for given in more]
        return [given for given in self.given if given in found]

    def present(self) -> Run:
        """The present run with all that belongs to it."""
        table = self.table if self.table and self.table.run == self.run.name else None
        model = self.retrained[0] if self.retrained and self.retrained[1] == self.run.name else None
        return dataclasses.replace(self.run, table=table, model=model, forms=self.forms)


@dataclass
class Window:
    """A window of the page: whose it is, and what it last saw."""

    by: str
    review: Review | None = None
    run: str = ""

    def note(self, rcc: int) -> RccNote:
        return self.review.notes.get(rcc, RccNote(rcc))

    def maker(self) -> Maker:
        return Maker(self.by, self.run, len(self.review.edits))


def found_in(value: str, verdict: bool, note: RccNote) -> bool:
    """Whether a note says something, in its place or in words."""
    if verdict:
        return GRAVITY.index(note.verdict) >= GRAVITY.index(value)
    return not value or value in (note.name, note.note) or value in note.note


def says_all(note: RccNote, of: RccNote) -> bool:
    return all(found_in(getattr(of, name), name == "verdict", note) for name in FIELDS)


def spoken(notes: dict[int, RccNote]) -> dict[int, RccNote]:
    return {rcc: note for rcc, note in notes.items() if any(note[1:])}


# --- What may happen --------------------------------------------------------------------------------------------

TROUBLES = st.one_of(
    *[st.none()] * 4,
    st.builds(Trouble, st.just("killed"), st.integers(0, 30)),
    st.builds(Trouble, st.just("full"), st.integers(0, 15)),
)
WINDOWS = st.integers(0, 1)
RCCS = st.integers(0, 3)
FOLDERS = st.sampled_from(("a", "a/sub", "copies", "moved"))


class OutputFolder(RuleBasedStateMachine):
    """One output folder, two windows, two data sets and a few improvement folders."""

    def __init__(self, base: Path, disk: Disk, fakes: "Fakes"):
        super().__init__()
        self.base = Path(tempfile.mkdtemp(dir=base))
        self.out = self.base / "out"
        self.disk = disk
        self.fakes = fakes
        self.m = Model()
        self.windows = (Window("ann"), Window("bob"))
        self.number = 0
        self.clock = 1_700_000_000
        self.read: dict[str, tuple] = {}
        for folder, names in (("a", ("x.png", "y.png", "sub/z.png")), ("copies", ("y.png", "other/x.png"))):
            for name in names:
                path = self.base / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"image " + path.name.encode())
        (self.base / "copies" / "y.png").write_bytes(b"another image of that name")
        shutil.copytree(self.base / "a", self.base / "moved")
        self.first = {path: path.read_bytes() for path in self.base.rglob("*.png")}
        (self.base / "own").mkdir()
        (self.base / "own" / "labels.csv").write_text("image,file\n")
        with zipfile.ZipFile(self.base / "own.zip", "w") as archive:
            archive.writestr("labels.csv", "image,file\n")
        self.own_zip = (self.base / "own.zip").read_bytes()

    def teardown(self) -> None:
        shutil.rmtree(self.base)

    # What happens, and what is to be there then

    def step(
        self, trouble: Trouble | None, do: Callable, then: Callable[[Model, object], None], leaves: bool = False
    ) -> tuple[str, object]:
        """Do something, possibly in trouble; `then` changes the model as it is to be if it was done, and checks that.

        `leaves` says that the present run is left: it may have been kept already, whatever else was done.
        """
        leaving = history._current_name(self.out) if leaves and self.m.run else None
        answer, outcome = None, "done"
        with self.disk.trouble(trouble):
            try:
                answer = do()
            except SAFEError as error:
                outcome, answer = "refused", error
            except Killed:
                outcome = "killed"
        if outcome == "killed" and self.m.run is not None:  # the next process can read what it finds, and mends that
            assert load_review(self.out).original.paths
            descriptions.mend(self.out)
        before, self.leaving = self.m, leaving  # what has happened meanwhile is in the model
        possible = []
        if outcome != "refused":
            possible.append(lambda m: then(m, answer))
        if outcome != "done":
            possible.append(lambda m: None)
            if leaving is not None:
                possible.append(lambda m: self._left(m, leaving))
        faults = []
        for change in possible:
            model = copy.copy(before)
            model.earlier, model.models = dict(before.earlier), dict(before.models)
            try:
                change(model)
                self.check(model, may_forget=leaves)
            except (AssertionError, OSError, ValueError, LookupError) as fault:  # also what cannot be read
                faults.append(fault)
            else:
                self.m = model
                return outcome, answer
        raise AssertionError("\n\n".join([f"It was {outcome}.", *(f"- {fault!r}" for fault in faults)])) from faults[0]

    def _left(self, m: Model, name: str | None) -> None:
        """The present run is among the earlier ones, and what was typed into its table is kept with the images."""
        self._check_typed(m)
        m.earlier[name] = m.present()

    def check(self, m: Model, may_forget: bool = False) -> None:
        """Whether all that must be in the folder is there."""
        if m.run is not None:
            descriptions.mend(self.out)
            now = load_review(self.out)
            assert fingerprint(now.original) == m.run.name, "another run is there"
            assert now.original.image_root == m.run.clusters.image_root
            assert now.edits == m.run.edits, (now.edits, m.run.edits)
            assert now.notes == m.run.notes, (now.notes, m.run.notes)
            assert (self.out / LABELS_FILE).read_text() == labels_text(reviewed(m.run.clusters, m.run.edits))
        else:
            with pytest.raises(SAFEError):
                load_clusters(self.out)
        self._check_earlier(m, may_forget)
        self._check_labels(m)
        self._check_models(m)
        if FORMS_FILE not in m.own:
            assert _text(self.out / FORMS_FILE) == m.forms
        for name, content in m.own.items():
            assert (self.out / name).read_bytes() == content, f"{name} was the engineer's own"
        for name in m.exports:
            check_target(self.base / name)
            assert (self.base / name).exists(), f"the export {name} is gone"

    def _check_earlier(self, m: Model, may_forget: bool) -> None:
        there = history._archived(self.out / RUNS_FOLDER)
        for name in sorted(m.earlier.keys() - set(there)):
            assert may_forget, f"the run {name} is gone"
            assert not m.earlier[name].worked_on, f"the run {name} is gone"
            del m.earlier[name]
        assert set(there) == m.earlier.keys(), f"a run that nobody left: {there}"
        for name, run in m.earlier.items():
            folder = self.out / RUNS_FOLDER / name
            review = self._review_in(folder)
            assert (fingerprint(review.original), review.edits, review.notes) == (run.name, run.edits, run.notes), name
            assert _text(folder / FORMS_FILE) == run.forms
            digest = _digest_in(folder / RETRAINING_FILE)
            assert digest == run.model
            table = folder / UNSAFE_SET_FILE
            assert table.exists() == (run.table is not None), (name, run.table)
            if run.table is not None and run.table.labels is not None:
                assert _labels_in(table) == run.table.labels

    def _review_in(self, folder: Path) -> Review:
        names = (CLUSTERS_FILE, NOTES_FILE, EDITS_FILE)
        stats = [(folder / name).stat() if (folder / name).exists() else None for name in names]
        stamp = tuple(status and (status.st_ino, status.st_mtime_ns, status.st_size) for status in stats)
        if self.read.get(folder.name, ((), None))[0] != stamp:
            self.read[folder.name] = stamp, load_review(folder)
        return self.read[folder.name][1]

    def _check_labels(self, m: Model) -> None:
        if m.table is None:
            assert UNSAFE_SET_FILE in m.own or not (self.out / UNSAFE_SET_FILE).exists()
        elif m.table.labels is not None:
            unsafe = load_unsafe_set(self.out)
            assert (unsafe.run, str(unsafe.improvement_root)) == m.table[:2], "the set of another run"
            assert {image.image: image.label for image in unsafe.images} == m.table.labels
        kept = load_kept_labels(self.out)
        for given in {m.labels_of(*given[:3])[-1] for given in m.given}:
            if not given.label:
                continue
            key = content_key(given.content).hex()
            rows = [row.label for row in kept if row.is_of(given.image, given.root, key)]
            shown = m.table and m.table.labels and m.table.root == given.root and m.table.labels.get(given.image)
            assert rows[-1:] == [given.label] or shown == given.label, f"the label {given} is lost: {rows}, {shown}"

    def _check_typed(self, m: Model) -> None:
        """Whether the labels typed into the table are kept elsewhere too: where another may now take its place.

        Without this, a selection that was killed before it began would pass for one that chose the same images again.
        """
        if not (m.table and m.table.labels):
            return
        kept = {(row.folder, row.image, row.label) for row in load_kept_labels(self.out)}
        typed = {given[:2] + given[3:4] for given in m.given if given.by_hand and given.label}
        now = {(m.table.root, image, label) for image, label in m.table.labels.items()}
        assert typed & now <= kept, f"typed, and not kept: {typed & now - kept}"

    def _check_models(self, m: Model) -> None:
        for digest, run in m.models.items():
            kept = self.out / MODELS_FOLDER / f"{digest[:16]}.keras"
            assert hashlib.sha256(kept.read_bytes()).hexdigest() == digest, "a model is lost"
            record = json.loads(kept.with_suffix(".json").read_text())
            assert (record["digest"], record["run"]) == (digest, run)
        try:
            shown = retraining_of(self.out, load_review(self.out) if m.run else None)
        except SAFEError:
            shown = None
        if m.run is not None and shown is not None:
            assert shown.run == m.run.name, "figures of another run are shown"
            assert hashlib.sha256((self.out / MODEL_FILE).read_bytes()).hexdigest() == shown.digest
        expected = m.retrained[0] if m.retrained and m.run and m.retrained[1] == m.run.name else None
        assert (shown.digest if shown else None) == expected

    # Runs

    @initialize(data=st.sampled_from(DATA_SETS), how=st.sampled_from(CLUSTERINGS))
    def begin(self, data, how):
        """There is an earlier run already, which was worked on, and an unsafe set."""
        for labels in (CLUSTERINGS[0], how):
            self.generate(data, labels, None, [], 60)
            self.select("a", 1, False, None)
            for window in range(2):
                self.look(window)
            if not self.m.earlier:
                self.note(0, 0, "verdict", None)
                self.label(0, "red", False, None)
                self.retrain(None)

    @rule(
        data=st.sampled_from(DATA_SETS),
        how=st.sampled_from(CLUSTERINGS),
        trouble=TROUBLES,
        meanwhile=st.lists(st.tuples(st.sampled_from(MEANWHILE), WINDOWS, RCCS, RCCS), max_size=2),
        later=st.sampled_from((60, 60, 0, -3600)),
    )
    def generate(self, data, how, trouble, meanwhile, later):
        """The clock, which names the runs, may stand still or be set back."""
        root = self.fakes.images / data
        clusters = clusters_of(root, {f"{data}_{i}.png": rcc for i, rcc in enumerate(how)})
        self.fakes.clusters = clusters
        self.fakes.while_drawing = [functools.partial(self._meanwhile, *what) for what in meanwhile]
        generate = functools.partial(generation.generate_clusters, root, self.out)
        self.step(trouble, generate, lambda m, _: self._generated(m, clusters), leaves=True)
        self.clock += later
        if self.m.run is not None and self.m.run.clusters is clusters:
            os.utime(self.out / CLUSTERS_FILE, (self.clock, self.clock))

    def _meanwhile(self, kind: str, window: int, a: int, b: int) -> None:
        what = {
            "note": lambda: self.note(window, a, FIELDS[b % 3], None),
            "merge": lambda: self.merge(window, a, b, None),
            "move": lambda: self.move(window, a, b, None),
            "undo": lambda: self.turn(window, "undo", 0, None),
            "label": lambda: self.label(a, CLASSES[b % 2], False, None),
        }
        with self.disk.trouble(None):
            what[kind]()

    def _generated(self, m: Model, clusters: RootCauseClusters) -> None:
        left, now = m.run, load_review(self.out)
        run = Run(clusters, now.notes, now.edits)
        assert fingerprint(now.original) == run.name
        assert now.original.image_root == clusters.image_root
        # What was said of the run that is left, when it was left the last time, may come back as well.
        known = [one for one in (left, *m.earlier.values()) if one is not None and one.touched]
        if left is not None and (left.name, left.clusters.image_root) != (run.name, clusters.image_root):
            self._left(m, self.leaving)
        if left is not None and left.clusters.image_root != clusters.image_root:
            m.forms = None
        same = [one for one in known if one.name == run.name]
        if same and same[0] is left:
            same = [left]
        assert run.edits in [one.edits for one in same or [Run(clusters, {}, ())]], "edits are lost"
        run.merged = next((one.merged for one in same if one.edits == run.edits), {})
        groups = run.groups()
        for group, rcc in groups.items():
            told = [one.notes.get(one.groups()[group], RccNote(rcc))._replace(rcc=rcc) for one in known
                    if group in one.groups()]  # fmt: skip
            if left in known and group in left.groups():
                told = told[:1]
            assert now.notes.get(rcc, RccNote(rcc)) in (told or [RccNote(rcc)]), f"note on RCC {rcc}: {told}"
        for one in same[:1] if same == [left] else ():
            assert {
                rcc: note for rcc, note in one.notes.items() if rcc not in groups.values()
            }.items() <= now.notes.items()
        m.run = run

    @precondition(lambda self: self.m.earlier)
    @rule(number=st.integers(0, 5), trouble=TROUBLES)
    def open_earlier_run(self, number, trouble):
        names = sorted(self.m.earlier)
        name = names[number % len(names)]
        restore = functools.partial(restore_run, self.out, name)
        self.step(trouble, restore, lambda m, _: self._restored(m, name), leaves=True)

    def _restored(self, m: Model, name: str) -> None:
        run = m.earlier[name]
        if name == self.leaving:
            return
        left, others = m.present(), [one for one in m.earlier.values() if one is not run]
        self._left(m, self.leaving)
        m.run, m.table, m.forms = dataclasses.replace(run), run.table, run.forms
        m.run.notes = self._with_newer_notes(run, left, others)
        m.retrained = (run.model, run.name) if run.model else None
        if m.table is not None and m.table.labels is not None:
            m.table = m.table._replace(labels=self._labels_of(m, m.table.root, m.table.labels))

    def _with_newer_notes(self, run: Run, left: Run, others: list[Run]) -> dict[int, RccNote]:
        """The notes of a run that is opened again: its own, and what was said of the same images since."""
        now = load_review(self.out).notes
        assert run.notes.items() <= now.items(), "notes of the run itself are lost"
        for group, rcc in run.groups().items():
            if rcc in run.notes or run.clusters.image_root != left.clusters.image_root:
                continue
            if group in left.groups():
                expected = [left.notes.get(left.groups()[group])]
            else:
                same = [one for one in others if one.clusters.image_root == run.clusters.image_root]
                expected = [None, *(one.notes.get(one.groups()[group]) for one in same if group in one.groups())]
            found = now.get(rcc)
            assert found in [note and note._replace(rcc=rcc) for note in expected], f"note on RCC {rcc}: {found}"
        assert now.keys() - run.notes.keys() <= set(run.groups().values())
        return now

    def _labels_of(self, m: Model, root: str, images: Iterable[str]) -> dict[str, str]:
        """The labels that images have been given; in this place they are given them now."""
        contents = {image: Path(root, image).read_bytes() for image in images}
        labels = {}
        for image, content in contents.items():
            labels[image] = next((given.label for given in reversed(m.labels_of(root, image, content))), "")
        m.given += tuple(Given(root, image, contents[image], label) for image, label in labels.items() if label)
        return labels

    # What the engineer says

    @rule(window=WINDOWS)
    def look(self, window):
        shown = self.windows[window]
        with contextlib.suppress(SAFEError):
            shown.review = load_review(self.out)
            shown.run = fingerprint(shown.review.original)

    def _rcc(self, window: Window, number: int) -> int:
        groups = window.review.clusters.groups
        return groups[number % len(groups)]

    def _two_rccs(self, window: Window, a: int, b: int) -> tuple[int, int]:
        first = self._rcc(window, a)
        others = [rcc for rcc in window.review.clusters.groups if rcc != first] or [first]
        return first, others[b % len(others)]

    @precondition(lambda self: self.m.run)
    @rule(window=WINDOWS, number=RCCS, what=st.sampled_from((*FIELDS, "verdict")), trouble=TROUBLES)
    def note(self, window, number, what, trouble):
        window = self.windows[window]
        rcc = self._rcc(window, number)
        seen = window.note(rcc)
        mine = seen._replace(**{what: self._something(what)})
        place = self.out if window.run == self.m.run.name else folder_of(self.out, window.run) or self.out

        def noted(m: Model, answer: tuple[review.Kept, bool] | None) -> None:
            run = m.run if place == self.out else m.earlier[place.name]
            theirs = run.notes.get(rcc, RccNote(rcc))
            was, new, now = (getattr(one, what) for one in (seen, mine, theirs))
            conflict = new != was and now not in (was, new)
            after = theirs if conflict or new == was else theirs._replace(**{what: new})
            if answer:
                assert answer[0].conflicts == ((what,) if conflict else ())
                assert answer[1] == (place != self.out)
            run = dataclasses.replace(run, notes=spoken({**run.notes, rcc: after}))
            if place == self.out:
                m.run = run
            else:
                m.earlier[place.name] = run

        outcome, answer = self.step(trouble, lambda: _note_on_run(self.out, mine, seen, window.run), noted)
        if outcome == "done":
            now = {**window.review.notes, rcc: answer[0].notes.get(rcc, RccNote(rcc))}
            window.review = window.review._replace(notes=now)

    def _something(self, what: str) -> str:
        self.number += 1
        return ("safe", "unsafe", "unclear", "")[self.number % 4] if what == "verdict" else f"n{self.number}"

    @precondition(lambda self: self.m.run)
    @rule(a=RCCS, b=RCCS)
    def two_note_something_at_once(self, a, b):
        """The second comes when the first has read what is there and is about to write."""
        ann, bob = self.windows
        if not ann.run == bob.run == self.m.run.name:
            return
        first, second = self._rcc(ann, a), self._rcc(bob, b)
        name, verdict = self._something("name"), self._something("verdict")

        def other() -> None:
            seen = bob.note(second)
            set_note(self.out, seen._replace(verdict=verdict), seen=seen, run=bob.run)

        def both() -> None:
            seen = ann.note(first)
            with ThreadPoolExecutor(1) as pool:
                started = []
                self.fakes.before_writing = lambda: (started.append(pool.submit(other)), wait(started, 0.01))
                set_note(self.out, seen._replace(name=name), seen=seen, run=ann.run)
                self.fakes.before_writing = None
                for future in started:
                    future.result()

        def noted(m: Model, _) -> None:
            notes = dict(m.run.notes)
            if notes.get(first, RccNote(first)).name != ann.note(first).name:
                return  # somebody else's name is kept: nothing is written, and nobody comes in between
            notes[first] = notes.get(first, RccNote(first))._replace(name=name)
            if notes.get(second, RccNote(second)).verdict == bob.note(second).verdict:
                notes[second] = notes.get(second, RccNote(second))._replace(verdict=verdict)
            m.run = dataclasses.replace(m.run, notes=spoken(notes))

        rccs = reviewed(self.m.run.clusters, self.m.run.edits).groups
        if first in rccs and second in rccs:
            self.step(None, both, noted)
            self.look(0)
            self.look(1)

    # What the engineer changes

    @precondition(lambda self: self.m.run)
    @rule(window=WINDOWS, a=RCCS, b=RCCS, trouble=TROUBLES, then=st.sampled_from(("", "", "undo", "redo")))
    def merge(self, window, a, b, trouble, then=""):
        """Without a question, as where there is nothing to decide; perhaps only to see what it looks like."""
        shown = self.windows[window]
        rcc, into = self._two_rccs(shown, a, b)
        merge = functools.partial(merge_rccs, self.out, rcc, into, maker=shown.maker())
        self._edit(shown, trouble, merge, lambda m, before, _: self._merged(m, before, rcc, into, None))
        if then:
            self.turn(window, "undo", 0, None)
        if then == "redo":
            self._say_something(window, (rcc, into)[b % 2])
            self.turn(window, "redo", 0, None)

    def _say_something(self, window: int, rcc: int) -> None:
        self.look(window)
        groups = self.windows[window].review.clusters.groups
        if rcc in groups:
            self.note(window, groups.index(rcc), FIELDS[self.number % 3], None)

    @precondition(lambda self: self.m.run)
    @rule(
        window=WINDOWS,
        a=RCCS,
        b=RCCS,
        what=st.sampled_from(("", *FIELDS)),
        meanwhile=st.sampled_from((None, 0, 1)),
        trouble=TROUBLES,
    )
    def merge_as_answered(self, window, a, b, what, meanwhile, trouble):
        """The engineer is asked what to say of both; meanwhile somebody else may say something of one of them."""
        shown, notes = self.windows[window], load_review(self.out).notes
        rcc, into = self._two_rccs(shown, a, b)
        source, target = notes.get(rcc, RccNote(rcc)), notes.get(into, RccNote(into))
        asked = merged_note(source, target)
        said = asked._replace(**{what: self._something(what)}) if what else asked
        if meanwhile is not None:
            self._say_something(1 - window, (rcc, into)[meanwhile])
        merge = functools.partial(merge_rccs, self.out, rcc, into, note=said, maker=shown.maker(), asked=asked)
        asked_of = source, target
        self._edit(shown, trouble, merge, lambda m, before, _: self._merged(m, before, rcc, into, said, asked_of))

    def _merged(
        self, m: Model, before: Run, rcc: int, into: int, said: RccNote | None, asked_of: tuple[RccNote, ...] = ()
    ) -> None:
        source, target = (before.notes.get(one, RccNote(one)) for one in (rcc, into))
        after = m.run.notes.get(into, RccNote(into))
        if said is None:
            assert says_all(after, source), f"{source} is lost in {after}"
            assert says_all(after, target), f"{target} is lost in {after}"
        else:
            assert after == said
            for now, then in zip((source, target), asked_of, strict=True):
                for name in FIELDS:
                    if getattr(now, name) != getattr(then, name):
                        assert found_in(getattr(now, name), name == "verdict", after), f"{now} is lost in {after}"
        m.run.merged = {**before.merged, len(before.edits): (source, said is not None)}
        assert _others(m.run.notes, into) == _others(before.notes, into)

    @precondition(lambda self: self.m.run)
    @rule(window=WINDOWS, image=st.integers(0, N_IMAGES - 1), to=RCCS, trouble=TROUBLES)
    def move(self, window, image, to, trouble):
        window = self.windows[window]
        clusters = window.review.clusters
        path, label = list(zip(clusters.paths, clusters.labels.tolist(), strict=True))[image % len(clusters.paths)]
        _, to = self._two_rccs(window, clusters.groups.index(label), to)
        move = functools.partial(move_images, self.out, [path], to, maker=window.maker())

        def moved(m: Model, before: Run, after: Review) -> None:
            assert m.run.notes == before.notes

        self._edit(window, trouble, move, moved)

    @precondition(lambda self: self.m.run and self.m.run.edits)
    @rule(window=WINDOWS, what=st.sampled_from(("undo", "undo", "redo", "take back")), number=RCCS, trouble=TROUBLES)
    def turn(self, window, what, number, trouble):
        """Undo and redo, and take an edit back out of the list, also one of somebody else."""
        window = self.windows[window]
        edit = {
            "undo": lambda: undo_edit(self.out, maker=window.maker()),
            "redo": lambda: redo_edit(self.out, maker=window.maker()),
            "take back": lambda: undo_edit(self.out, number=number, maker=window.maker()),
        }
        chosen = number if what == "take back" else None
        self._edit(window, trouble, edit[what], lambda *told: self._turned(*told, chosen=chosen))

    def _turned(self, m: Model, before: Run, after: Review, chosen: int | None = None) -> None:
        turn = m.run.edits[-1]
        about = m.run.edits[turn.of]
        if chosen is None and turn.kind == "undo":
            assert about.by == turn.by, "somebody else's edit was taken back"
        if chosen is None and turn.kind == "redo":
            undone = next(edit for edit in reversed(before.edits) if (edit.kind, edit.of) == ("undo", turn.of))
            assert undone.by == turn.by, "what somebody else took back was done again"
        assert chosen in (None, turn.of)
        if about.kind == "move":
            assert m.run.notes == before.notes
            return
        into = about.target
        was, now = (run.notes.get(into, RccNote(into)) for run in (before, m.run))
        assert _others(m.run.notes, into) == _others(before.notes, into)
        if turn.kind == "undo":
            told = about.notes[1]
            for name in FIELDS:
                if getattr(was, name) != getattr(told, name):
                    assert getattr(now, name) == getattr(was, name), "what was said since the merge is lost"
        else:
            then, asked = before.merged[turn.of]
            source = before.notes.get(about.source[0], RccNote(about.source[0]))
            if not asked or source != then:
                assert says_all(now, source), f"{source} is lost in {now}"
            for name in FIELDS:
                if getattr(was, name) != getattr(about.notes[0], name):
                    assert found_in(getattr(was, name), name == "verdict", now), f"{was} is lost in {now}"

    def _edit(self, window: Window, trouble: Trouble | None, do: Callable, then: Callable) -> None:
        maker = window.maker()

        def edited(m: Model, _) -> None:
            before, now = m.run, load_review(self.out)
            assert now.edits[:-1] == before.edits, "edits are lost"
            assert window.run == before.name, "it was made on another run"
            assert len(now.edits) == len(before.edits) + 1, "the edit is lost"
            new = now.edits[-1]
            assert new.by == maker.by
            if new.kind in ("merge", "move"):
                for entry in before.edits[maker.seen :]:
                    other = before.edits[entry.of] if entry.of is not None else entry
                    assert entry.by == new.by or not touches(new, other), "made on something that it has not seen"
            m.run = dataclasses.replace(before, notes=now.notes, edits=now.edits)
            then(m, before, now)

        self.step(trouble, do, edited)
        window.review = load_review(self.out)
        window.run = fingerprint(window.review.original)

    @precondition(lambda self: self.m.run)
    @rule(whole=st.booleans(), trouble=TROUBLES)
    def damage_the_labels_and_look(self, whole, trouble):
        path = self.out / LABELS_FILE
        if whole:
            path.unlink(missing_ok=True)
        else:
            path.write_text("0\tsomething else\n")
        self.step(trouble, lambda: descriptions.mend(self.out), lambda m, _: None)

    # The unsafe set and its labels

    @precondition(lambda self: self.m.run)
    @rule(folder=FOLDERS, size=st.integers(1, 3), leave_out=st.booleans(), trouble=TROUBLES)
    def select(self, folder, size, leave_out, trouble):
        select = functools.partial(
            improvement.select_images,
            self.base / folder,
            self.out,
            SelectionSettings(size=size),
            leave_out_safe=leave_out,
        )

        def selected(m: Model, _) -> None:
            unsafe = load_unsafe_set(self.out)
            root = str(self.base / folder)
            assert str(unsafe.improvement_root) == root
            self._check_typed(m)
            m.table = Table(m.run.name, root, self._labels_of(m, root, [one.image for one in unsafe.images]))

        self.step(trouble, select, selected)

    @precondition(lambda self: self.m.table and self.m.table.labels)
    @rule(number=st.integers(0, 3), label=st.sampled_from((*CLASSES, "")), whole=st.booleans(), trouble=TROUBLES)
    def label(self, number, label, whole, trouble):
        """As the page does: one image, or all of its RCC; also a set of a run that was left, in an old window."""
        if not (self.m.table and self.m.table.labels):
            return
        unsafe = load_unsafe_set(self.out)
        image = unsafe.images[number % len(unsafe.images)]
        if whole:
            labelled = label_rcc(unsafe, image.rcc, label, CLASSES)
        else:
            labelled = label_images(unsafe, [image.image], label, CLASSES)
        given = {now.image: label for now, was in zip(labelled.images, unsafe.images, strict=True) if now != was}
        self.step(trouble, lambda: save_labels(labelled, self.out), lambda m, _: self._given(m, given))

    def _given(self, m: Model, labels: dict[str, str], by_hand: bool = False) -> None:
        root = m.table.root
        new = (Given(root, name, Path(root, name).read_bytes(), label, by_hand) for name, label in labels.items())
        m.given = (*m.given, *new)
        m.table = m.table._replace(labels={**m.table.labels, **labels})

    @precondition(lambda self: self.m.table and self.m.table.labels)
    @rule(number=st.integers(0, 3), label=st.sampled_from((*CLASSES, "")))
    def label_in_a_spreadsheet(self, number, label):
        path = self.out / UNSAFE_SET_FILE
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        row = rows[number % len(rows)]
        if row[-1] == label:
            return
        row[-1] = label
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        model = copy.copy(self.m)
        self._given(model, {row[0]: label}, by_hand=True)
        self.m = model

    @precondition(lambda self: self.m.table and self.m.table.labels)
    @rule()
    def break_the_table(self):
        """In a spreadsheet: what was typed there alone is gone by the engineer's own hand."""
        (self.out / UNSAFE_SET_FILE).write_text("images;labels\n")
        kept = {(row.folder, row.image, row.label) for row in load_kept_labels(self.out)}
        self.m.given = tuple(g for g in self.m.given if not g.by_hand or (g.root, g.image, g.label) in kept)
        self.m.table = self.m.table._replace(labels=None)

    @rule(folder=st.sampled_from(("a", "moved", "copies")), number=st.integers(0, 2), back=st.booleans())
    def replace_an_image(self, folder, number, back):
        """By another one, or by the one that was there first."""
        files = sorted(path for path in (self.base / folder).rglob("*") if path.is_file())
        path = files[number % len(files)]
        if any(g.by_hand and Path(g.root, g.image) == path for g in self.m.given):
            return  # whether the label in the table was typed before or after this, nobody can know
        path.write_bytes(self.first[path] if back else f"image {self._something('name')}".encode())

    # Retraining, forms, exports, and what is the engineer's own

    @precondition(lambda self: self.m.run)
    @rule(trouble=TROUBLES)
    def retrain(self, trouble):
        weights = f"weights {self._something('name')}".encode()
        digest, run = hashlib.sha256(weights).hexdigest(), self.m.run.name

        def retrained(m: Model, _) -> None:
            m.models[digest] = run
            m.retrained = (digest, run)

        self.step(trouble, lambda: save_retraining(retraining_for(run), FakeModel(weights), self.out), retrained)

    @precondition(lambda self: self.m.run)
    @rule(trouble=TROUBLES)
    def fill_in_the_forms(self, trouble):
        text = json.dumps({"clusters": {"folder": self._something("name")}})

        def filled_in(m: Model, _) -> None:
            assert _text(self.out / FORMS_FILE) == text
            m.forms = text

        self.step(trouble, lambda: save_text(self.out, FORMS_FILE, text), filled_in)

    @precondition(lambda self: self.m.run)
    @rule(name=st.sampled_from(EXPORTS), trouble=TROUBLES)
    def export(self, name, trouble):
        def exported(m: Model, _) -> None:
            assert not name.startswith("own"), "an export took the place of the engineer's own"
            m.exports |= {name}

        self.step(trouble, lambda: exports.export_results(self.out, self.base / name), exported)
        assert (self.base / "own" / "labels.csv").read_text() == "image,file\n"
        assert (self.base / "own.zip").read_bytes() == self.own_zip

    @precondition(lambda self: self.m.run)
    @rule(name=st.sampled_from(OWN_NAMES))
    def bring_something_or_take_it_away(self, name):
        path = self.out / name
        if name in self.m.own:
            path.unlink()
            self.m.own = {other: content for other, content in self.m.own.items() if other != name}
        elif not path.exists() and name not in json.loads((self.out / MARK_FILE).read_text())["files"]:
            path.parent.mkdir(exist_ok=True)
            content = self._something("name").encode()
            path.write_bytes(content)
            self.m.own = {**self.m.own, name: content}


# --- The test ---------------------------------------------------------------------------------------------------


class Fakes:
    """Stand for what takes long: features, clustering, drawing, selecting, reports."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.images = folder
        self.clusters: RootCauseClusters | None = None
        self.while_drawing: list[Callable] = []
        self.before_writing: Callable | None = None
        for data in DATA_SETS:
            (folder / data).mkdir(parents=True)
            for i in range(N_IMAGES):
                Image.new("L", (2, 2), 40 * i).save(folder / data / f"{data}_{i}.png")
        monkeypatch.setattr(generation, "choose_extractor", lambda *_, **__: None)
        monkeypatch.setattr(generation, "extract_features", lambda *_, **__: None)
        monkeypatch.setattr(generation, "find_root_cause_clusters", lambda *_, **__: self.clusters)
        for drawing in (generation, descriptions):
            monkeypatch.setattr(drawing, "write_gifs", self._write_gifs)
        monkeypatch.setattr(descriptions, "gif_shows", lambda *_: True)
        monkeypatch.setattr(improvement, "select_unsafe_set", _select)
        monkeypatch.setattr(exports, "report_html", lambda *_, **__: "<html></html>")
        monkeypatch.setattr("reporting.export.writes_parquet", lambda: False)
        monkeypatch.setattr(
            "reporting.export.by_closeness", lambda clusters, rcc: [(path, 0.0) for path in clusters.members(rcc)]
        )
        monkeypatch.setattr(edited, "rcc_reach", lambda *_: [0.0])
        self._loaded: dict[bytes, RootCauseClusters] = {}
        for module in (history, review, generation):
            monkeypatch.setattr(module, "load_clusters", self._load_clusters)
        for writer in (review, edits, carried):
            monkeypatch.setattr(writer, "save_files", self._watched(save_files))

    def _load_clusters(self, folder: Path) -> RootCauseClusters:
        """Each file is read once: nothing else takes as long here."""
        try:
            data = (folder / CLUSTERS_FILE).read_bytes()
        except OSError:
            data = b""
        if data not in self._loaded:
            self._loaded[data] = load_clusters(folder)
        return self._loaded[data]

    def _write_gifs(self, *_, **__) -> None:
        happening, self.while_drawing = self.while_drawing, []
        for what in happening:
            what()

    def _watched(self, save_files: Callable) -> Callable:
        def call(*arguments, **named) -> None:
            before, self.before_writing = self.before_writing, None
            if before:
                before()
            save_files(*arguments, **named)

        return call


def _note_on_run(folder: Path, note: RccNote, seen: RccNote, run: str) -> tuple[Kept, bool]:
    """As the page keeps a note: with the run that it is about, which may have been replaced meanwhile."""
    with writing(folder):
        place = folder_of(folder, run) or folder
        return set_note(place, note, seen=seen, run=run), place != folder


def _select(improvement, clusters, settings: SelectionSettings, **_) -> UnsafeSet:
    """Another size chooses other images."""
    size = int(settings.size)
    rccs = [rcc for rcc in clusters.groups if rcc != NOISE and rcc not in settings.leave_out]
    if not rccs:
        raise SAFEError("Expected at least one root cause cluster to select for.")
    names = sorted(path.relative_to(improvement).as_posix() for path in Path(improvement).rglob("*.png"))
    names = [name for i, name in enumerate(names) if (i + size) % 3] or names
    images = tuple(UnsafeImage(name, rccs[i % len(rccs)], 0.5, True) for i, name in enumerate(names))
    belongs = fingerprint(clusters)
    return UnsafeSet(Path(improvement), images, size, "", len(images), (1,) * clusters.n_rccs, (), belongs)


def _others(notes: dict[int, RccNote], rcc: int) -> dict[int, RccNote]:
    return {other: note for other, note in notes.items() if other != rcc}


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _digest_in(path: Path) -> str | None:
    return json.loads(path.read_text())["digest"] if path.exists() else None


def _labels_in(table: Path) -> dict[str, str]:
    with table.open(newline="") as file:
        return {row["image"]: row["label"] for row in csv.DictReader(file)}


@pytest.fixture
def output_folder(tmp_path, monkeypatch) -> Callable[[], OutputFolder]:
    monkeypatch.setattr(history, "KEPT_RUNS", KEPT_RUNS)
    fakes = Fakes(tmp_path / "images", monkeypatch)
    disk = Disk(monkeypatch)
    return lambda: OutputFolder(tmp_path, disk, fakes)


def test_what_was_typed_is_gone_with_its_table_if_a_selection_was_killed_before_it_began(output_folder):
    state = output_folder()
    state.begin("road", CLUSTERINGS[1])
    state.label_in_a_spreadsheet(number=0, label="blue")
    state.select("a", 1, False, Trouble("killed", 0))
    state.break_the_table()
    state.look(0)
    state.fill_in_the_forms(None)


@pytest.mark.parametrize("number", [0, 1])  # of the image: one has another label already, one has none
def test_what_was_typed_comes_back_with_an_earlier_run_though_the_table_was_broken_since(output_folder, number):
    state = output_folder()
    state.begin("road", CLUSTERINGS[1])
    state.label_in_a_spreadsheet(number=number, label="blue")
    state.generate("road", CLUSTERINGS[2], None, [], 60)
    state.break_the_table()
    state.open_earlier_run(1, None)
    assert load_unsafe_set(state.out).images[number].label == "blue"


def test_labels_that_cannot_be_read_are_told_before_the_long_work(output_folder, monkeypatch):
    state = output_folder()
    state.begin("road", CLUSTERINGS[1])
    (state.out / KEPT_LABELS_FILE).write_text("images\na.png\n")
    monkeypatch.setattr(generation, "extract_features", lambda *_, **__: pytest.fail("the long work began"))
    with pytest.raises(SAFEError, match=r"image_labels\.csv must be the complete table of labels written by SAFE"):
        generation.generate_clusters(state.fakes.images / "eyes", state.out)


def test_an_earlier_run_with_a_table_that_cannot_be_read_is_kept_as_one_with_labels(output_folder):
    state = output_folder()
    state.begin("road", CLUSTERINGS[1])
    state.select("a", 1, False, None)
    state.break_the_table()
    for data, how in (("eyes", 0), ("road", 2), ("eyes", 1), ("road", 3)):
        state.generate(data, CLUSTERINGS[how], None, [], 60)
    assert any(run.table and run.table.labels is None for run in state.m.earlier.values())


def test_what_was_taken_back_of_a_run_does_not_come_back_from_an_earlier_one(output_folder):
    state = output_folder()
    state.begin("road", CLUSTERINGS[2])
    state.note(0, 1, "verdict", None)
    assert (state.m.run.notes, state.m.run.touched) == ({}, True)
    state.generate("road", CLUSTERINGS[0], None, [], 60)


@pytest.mark.parametrize("n", [6, pytest.param(200, marks=pytest.mark.slow)])
def test_nothing_that_the_engineer_did_is_lost_or_shown_as_something_elses(n, output_folder):
    run_state_machine_as_test(
        output_folder,
        settings=settings(
            max_examples=n,
            stateful_step_count=30,
            deadline=None,
            database=None,
            derandomize=n == 30,
            report_multiple_bugs=False,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
