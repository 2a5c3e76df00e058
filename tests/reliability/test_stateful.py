"""Whatever engineers do in one output folder, in any order, with kills and full disks: nothing of theirs is lost.

Hypothesis makes up the sequences. Beside the folder a simple model says what must be there, and after each step both
are compared. What a step that was killed has done is either nothing or all of it.
"""

import contextlib
import copy
import csv
import dataclasses
import datetime
import functools
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from PIL import Image

from safe_dnn.api import generation
from safe_dnn.api.generation import restore_run
from safe_dnn.options import SelectionSettings
from safe_dnn.rccs.clusters import (
    CLUSTERS_FILE,
    LABELS_FILE,
    RootCauseClusters,
    fingerprint,
    labels_text,
    load_clusters,
)
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review import journal, review
from safe_dnn.rccs.review.journal import SAYING, Edit, Maker, Note, newest, reviewed, standing
from safe_dnn.rccs.review.review import (
    CHANGED,
    Review,
    all_edits,
    load_review,
    merge_rccs,
    move_images,
    redo_edit,
    set_note,
    undo_edit,
)
from safe_dnn.rccs.unsafe_set import (
    FILENAMES_FILE,
    UNSAFE_SET_FILE,
    UnsafeImage,
    UnsafeSet,
    known_labels,
    load_unsafe_set,
    unsafe_table,
)
from safe_dnn.report import exports
from safe_dnn.store import database
from safe_dnn.store.database import RUNS_FOLDER
from safe_dnn.store.output_folder import foreign_files, writing
from safe_dnn.store.runs import CLUSTERS, RETRAINING, SELECTION, present_runs, run_file, runs_of
from safe_dnn.store.runs import Run as StoredRun
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import content_key
from safe_dnn.training.labels import (
    label_images,
    save_labels,
    take_typed_labels,
    typed_labels,
)
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE, save_retraining
from tests.helpers.places import check_entries
from tests.helpers.small_models import FakeModel, clusters_of, retraining_for
from tests.helpers.troubles import Disk, Killed, Trouble

N_IMAGES = 6
# RCC of each failing image. Some groups of images come again in other clusterings, under the same or another number.
CLUSTERINGS = ((0, 0, 1, 1, 2, 2), (0, 0, 0, 0, 1, 1), (1, 1, 0, 0, 0, 2), (0, 0, 1, 1, -1, -1), (0, 0, 1, 1))
DATA_SETS = ("road", "eyes")
CLASSES = ("blue", "red")
GRAVITY = ("safe", "", "unclear", "unsafe")
FIELDS = ("name", "note", "verdict", "hazard")  # the last one as an example of the register
OWN_NAMES = (
    "mine.txt", MODEL_FILE, RETRAINING_FILE, UNSAFE_SET_FILE, FILENAMES_FILE, "map.npz", "gifs/mine.gif",
    f"{RUNS_FOLDER}/mine.txt", f"{RUNS_FOLDER}/mine/run.json", f"{RUNS_FOLDER}/007/run.json",
)  # fmt: skip
MEANWHILE = ("note", "merge", "move", "undo", "label")


# --- What must be there -----------------------------------------------------------------------------------------


class Table(NamedTuple):
    """An unsafe set: the improvement folder, the images in it, and what they were when they were selected."""

    root: str
    images: tuple[str, ...]
    contents: tuple[bytes, ...]


@dataclass(eq=False)
class Run:
    """A clustering, with what belongs to it alone."""

    clusters: RootCauseClusters
    table: Table | None = None
    model: str | None = None

    @property
    def name(self) -> str:
        return fingerprint(self.clusters)


Group = tuple[str, bool, frozenset[str]]
"""The images of an RCC: their folder, whether they are those in no cluster, and their paths."""


class State(NamedTuple):
    """A run with all that was said and done of it: what a review is to be."""

    name: str
    clusters: RootCauseClusters  # with the edits
    edits: tuple[Edit, ...]
    notes: dict[int, Note]
    groups: dict[int, Group]

    def note(self, rcc: int) -> Note:
        return self.notes.get(rcc, Note(rcc))


@dataclass
class Model:
    """What must be there."""

    run: Run | None = None
    earlier: dict[str, Run] = field(default_factory=dict)
    said: dict[Group, tuple[str, str, str]] = field(default_factory=dict)  # the latest, in whatever run it was said
    done: dict[str, tuple[Edit, ...]] = field(default_factory=dict)  # by run
    entries: tuple[tuple, ...] = ()  # of the database
    typed: dict[str, str] | None = field(default_factory=dict)  # into its table alone; None if the table is damaged
    edited: bool = False  # the table, in another program
    given: dict[bytes, str] = field(default_factory=dict)  # the label by the content of the image
    models: dict[str, str] = field(default_factory=dict)  # the run by the model's digest
    own: dict[str, bytes] = field(default_factory=dict)  # what is the engineer's own, by its path below the folder

    @property
    def labels(self) -> dict[str, str]:
        """Of the images of the present unsafe set."""
        table = self.run.table if self.run else None
        pairs = zip(table.images, table.contents, strict=True) if table else ()
        return {image: self.given.get(content, "") for image, content in pairs}

    def state(self, run: Run) -> State:
        edits, root = self.done.get(run.name, ()), str(run.clusters.image_root)
        now = reviewed(run.clusters, edits)
        groups = {rcc: (root, rcc == NOISE, frozenset(now.members(rcc))) for rcc in now.groups}
        notes = {rcc: Note(rcc, *self.said[group]) for rcc, group in groups.items() if group in self.said}
        return State(run.name, now, edits, spoken(notes), groups)

    def say(self, group: Group, note: Note) -> None:
        self.said = {**self.said, group: note[1:]}


@dataclass
class Window:
    """A window of the page: whose it is, and what it last saw."""

    by: str
    review: Review | None = None
    run: str = ""
    seen: int = 0
    unheard: dict[int, list[Note]] = field(default_factory=dict)
    """Of an RCC, what it sent without an answer and what was there before: one of these is kept."""

    def note(self, rcc: int) -> Note:
        return self.review.notes.get(rcc, Note(rcc))

    def maker(self) -> Maker:
        return Maker(self.by, self.run, self.seen)


def found_in(value: str, verdict: bool, note: Note) -> bool:
    """Whether a note says something, in its place or in words."""
    if verdict:
        return GRAVITY.index(note.verdict) >= GRAVITY.index(value)
    return not value or value in (note.name, note.hazard) or value in note.note


def says_all(note: Note, of: Note) -> bool:
    return all(found_in(getattr(of, name), name == "verdict", note) for name in FIELDS)


def spoken(notes: dict[int, Note]) -> dict[int, Note]:
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
        self.read: dict[str, tuple] = {}
        for folder, names in (("a", ("x.png", "y.png", "sub/z.png")), ("copies", ("y.png", "other/x.png"))):
            for name in names:
                path = self.base / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"image " + path.name.encode())
        (self.base / "copies" / "y.png").write_bytes(b"another image of that name")
        shutil.copytree(self.base / "a", self.base / "moved")
        self.first = {path: path.read_bytes() for path in self.base.rglob("*.png")}

    def teardown(self) -> None:
        shutil.rmtree(self.base)

    # What happens, and what is to be there then

    def step(self, trouble: Trouble | None, do: Callable, then: Callable[[Model, object], None]) -> tuple[str, object]:
        """Do something, possibly in trouble; `then` changes the model as it is to be if it was done, and checks it."""
        answer, outcome = None, "done"
        with self.disk.trouble(trouble):
            try:
                answer = do()
            except SAFEError as error:
                outcome, answer = "refused", error
            except Killed:
                outcome = "killed"
        self.fakes.while_drawing = []
        before = self.m  # what has happened meanwhile is in it
        possible: list[Callable[[Model], None]] = []
        kept = outcome == "refused" and "The results are kept" in str(answer)
        if outcome != "refused" or kept:
            possible.append(lambda m: then(m, answer))
        if outcome != "done":
            if before.edited and before.typed is not None:
                possible += [self._taken, lambda m: self._taken(m, written=False)]
            # Files of something earlier may be what cannot be written, before anything else has begun.
            possible += [] if kept and self._added(copy.copy(before)) else [lambda m: None]
        faults = []
        for change in possible:
            model = copy.copy(before)
            model.earlier, model.models = dict(before.earlier), dict(before.models)
            model.run = dataclasses.replace(before.run) if before.run else None
            try:
                change(model)
                self.check(model)
            except (AssertionError, OSError, ValueError, LookupError) as fault:  # also what cannot be read
                faults.append(fault)
            else:
                self.m = model
                return outcome, answer
        told = f"It was {outcome}: {answer}."
        raise AssertionError("\n\n".join([told, *(f"- {fault!r}" for fault in faults)])) from faults[0]

    def check(self, m: Model) -> None:
        """Whether all that must be in the folder is there."""
        with database.reading(self.out):  # so that SQLite does not write its log back after each of a hundred reads
            self._check(m)

    def _check(self, m: Model) -> None:
        exports.mend(self.out)
        assert not exports.mend(self.out), "what is mended is outdated again"
        if m.run is not None:
            now, state = load_review(self.out), m.state(m.run)
            assert fingerprint(now.original) == m.run.name, "another run is there"
            assert now.original.image_root == m.run.clusters.image_root
            assert now.edits == state.edits, (now.edits, state.edits)
            assert now.notes == state.notes, (now.notes, state.notes)
            self._check_file(m, LABELS_FILE, labels_text(state.clusters))
        else:
            with pytest.raises(SAFEError):
                load_clusters(self.out)
        check_entries(self.out)
        assert self._entries() == m.entries, "something was said that nobody said"
        self._check_runs(m)
        self._check_labels(m)
        self._check_models(m)
        for name, content in m.own.items():
            assert (self.out / name).read_bytes() == content, f"{name} was the engineer's own"

    def _check_file(self, m: Model, name: str, expected: str | None) -> None:
        """A file that shows the present state."""
        if name not in m.own:
            path = self.out / name
            assert (path.read_bytes().decode() if path.exists() else None) == expected, f"{name} is out of date"

    def _check_runs(self, m: Model) -> None:
        runs = self._listed()
        assert runs.keys() == m.earlier.keys() | ({m.run.name} if m.run else set())
        for name, run in m.earlier.items():
            review, state = self._review_of(runs[name]), m.state(run)
            assert (fingerprint(review.original), review.edits, review.notes) == (name, state.edits, state.notes), name
            resting = present_runs(self.out, runs[name])
            assert self._digest_in(resting.get(RETRAINING)) == run.model
            assert (SELECTION in resting) == (run.table is not None), (name, run.table)
            if run.table:
                unsafe = load_unsafe_set(self.out, resting[SELECTION])
                assert _table_of(unsafe)[:2] == run.table[:2]

    def _listed(self) -> dict[str, StoredRun]:
        return {run.clusters.partition(" ")[0]: run for run in runs_of(self.out, CLUSTERS)}

    def _review_of(self, run: StoredRun) -> Review:
        stamp = (run.number, len(self._entries()))
        if self.read.get(run.clusters, ((), None))[0] != stamp:
            self.read[run.clusters] = stamp, load_review(self.out, original=load_clusters(self.out, run))
        return self.read[run.clusters][1]

    def _digest_in(self, run: StoredRun | None) -> str | None:
        return run.files[MODEL_FILE] if run else None

    def _entries(self) -> tuple[tuple, ...]:
        with database.reading(self.out) as db:
            return tuple(db.execute("SELECT * FROM entry ORDER BY number"))

    def _added(self, m: Model, *kinds: str) -> list[tuple]:
        """The entries that a step has added; those before are as they were."""
        entries = self._entries()
        assert entries[: len(m.entries)] == m.entries, "what was said before is lost"
        added, m.entries = entries[len(m.entries) :], entries
        assert not kinds or {kind for _, _, _, _, kind, *_ in added} <= {*kinds}, f"it was not {kinds} alone: {added}"
        return [*added]

    def _check_labels(self, m: Model) -> None:
        table = m.run.table if m.run else None
        if table is None:
            with pytest.raises(SAFEError, match="Expected an unsafe set"):
                load_unsafe_set(self.out)
            self._check_file(m, UNSAFE_SET_FILE, None)
            self._check_file(m, FILENAMES_FILE, None)
        else:
            unsafe = load_unsafe_set(self.out)
            assert (unsafe.run, _table_of(unsafe)[:2]) == (m.run.name, table[:2]), "the set of another run"
            assert {image.image: image.label for image in unsafe.images} == m.labels
            self._check_file(m, FILENAMES_FILE, "".join(f"{image}\n" for image in table.images))
            if not m.edited:
                self._check_file(m, UNSAFE_SET_FILE, unsafe_table(unsafe))
            if m.typed is None:
                with pytest.raises(SAFEError):
                    typed_labels(self.out)
            else:
                assert typed_labels(self.out) == m.typed, "what was typed is lost, or was not typed"
        kept = known_labels(self.out)
        for content, label in m.given.items():
            assert kept.get(content_key(content).hex()) == label, f"the label {label} is lost"

    def _check_models(self, m: Model) -> None:
        retrained = runs_of(self.out, RETRAINING)
        found = {self._digest_in(run): run.clusters.partition(" ")[0] for run in retrained}
        assert found == m.models
        for run in retrained:
            kept = run_file(run, MODEL_FILE)
            assert hashlib.sha256(kept.read_bytes()).hexdigest() == self._digest_in(run), "a model is lost"
        expected = m.run.model if m.run else None
        assert self._digest_in(present_runs(self.out).get(RETRAINING)) == expected, "figures of another run are shown"
        texts = {self._digest_in(run): (run.folder / RETRAINING_FILE).read_text() for run in retrained}
        self._check_file(m, RETRAINING_FILE, texts.get(expected))
        if MODEL_FILE not in m.own:
            path = self.out / MODEL_FILE
            there = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
            assert there == expected, "another model is there"

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
        """The clock may stand still or be set back."""
        if meanwhile:
            self.take_over(None)  # otherwise, what happens meanwhile happens after this
        root = self.fakes.images / data
        clusters = clusters_of(root, {f"{data}_{i}.png": rcc for i, rcc in enumerate(how)})
        self.fakes.clusters = clusters
        self.fakes.while_drawing = [functools.partial(self._meanwhile, *what) for what in meanwhile]
        self.fakes.clock += datetime.timedelta(seconds=later)
        generate = functools.partial(generation.generate_clusters, root, self.out)
        self.step(trouble, generate, lambda m, _: self._generated(m, clusters))

    def _meanwhile(self, kind: str, window: int, a: int, b: int) -> None:
        what = {
            "note": lambda: self.note(window, a, FIELDS[b % len(FIELDS)], None),
            "merge": lambda: self.merge(window, a, b, None), "move": lambda: self.move(window, a, b, None),
            "undo": lambda: self.turn(window, "undo", None),
            "label": lambda: self.label(a, CLASSES[b % 2], False, None),
        }  # fmt: skip
        with self.disk.trouble(None):
            what[kind]()

    def _generated(self, m: Model, clusters: RootCauseClusters) -> None:
        assert "clusters" in {kind for _, _, _, _, kind, *_ in self._added(m, "clusters", "label")}
        self._taken(m)
        name = fingerprint(clusters)
        run = m.run if m.run and m.run.name == name else m.earlier.get(name) or Run(clusters)
        assert load_review(self.out).original.image_root == clusters.image_root
        self._opened(m, run)

    def _opened(self, m: Model, run: Run) -> None:
        """A run is the present one: images of its unsafe set have the labels that they were given since."""
        if m.run is not None:
            m.earlier[m.run.name] = m.run
        m.earlier.pop(run.name, None)
        m.run = run

    @precondition(lambda self: self.m.earlier)
    @rule(number=st.integers(0, 5), trouble=TROUBLES)
    def open_earlier_run(self, number, trouble):
        names = sorted(self.m.earlier)
        name = names[number % len(names)]

        def restore() -> None:
            """As the page does."""
            restore_run(self.out, self._listed()[name].number)
            exports.show_present(self.out)

        def restored(m: Model, _) -> None:
            assert "open" in {kind for _, _, _, _, kind, *_ in self._added(m, "open", "label")}
            self._taken(m)
            self._opened(m, m.earlier[name])

        self.step(trouble, restore, restored)

    # What the engineer says

    @rule(window=WINDOWS)
    def look(self, window):
        shown = self.windows[window]
        with contextlib.suppress(SAFEError):
            shown.review, shown.seen, shown.unheard = load_review(self.out), newest(self.out), {}
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

        def noted(m: Model, answer: Note | None) -> None:
            state = m.state(m.run if window.run == m.run.name else m.earlier[window.run])
            before = state.note(rcc)
            assert before in [seen, *window.unheard.get(rcc, [])], "made on something that it has not seen"
            assert answer in (None, mine)
            added = self._added(m, "rcc")
            assert len(added) == (mine != before)
            if added:
                m.say(state.groups[rcc], mine)

        keep = functools.partial(_note_on_run, self.out, mine, window.maker())
        outcome, answer = self.step(trouble, keep, noted)
        if outcome == "killed":  # what was typed stays in the fields
            window.unheard.setdefault(rcc, [seen]).append(mine)
        elif outcome == "done":
            window.unheard.pop(rcc, None)
        if outcome != "refused":
            window.review = window.review._replace(notes={**window.review.notes, rcc: answer or mine})

    def _something(self, what: str) -> str:
        self.number += 1
        return ("safe", "unsafe", "unclear", "")[self.number % 4] if what == "verdict" else f"n{self.number}"

    # What the engineer changes

    @precondition(lambda self: self.m.run)
    @rule(window=WINDOWS, a=RCCS, b=RCCS, trouble=TROUBLES, then=st.sampled_from(("", "", "undo", "redo")))
    def merge(self, window, a, b, trouble, then=""):
        """Without a question, as where there is nothing to decide; perhaps only to see what it looks like."""
        shown = self.windows[window]
        rcc, into = self._two_rccs(shown, a, b)
        merge = functools.partial(merge_rccs, self.out, rcc, into, maker=shown.maker())
        self._edit(shown, trouble, merge, self._merged)
        if then:
            self.turn(window, "undo", None)
        if then == "redo":
            if b % 2:
                self._say_something(1 - window, (rcc, into)[a % 2])
            self.turn(window, "redo", None)

    def _say_something(self, window: int, rcc: int) -> None:
        self.look(window)
        groups = self.windows[window].review.clusters.groups
        if rcc in groups:
            self.note(window, groups.index(rcc), FIELDS[self.number % len(FIELDS)], None)

    def _merged(self, m: Model, before: State, now: State, edit: Edit) -> None:
        source, target = (before.note(one) for one in (edit.source[0], edit.target))
        after = now.note(edit.target)
        assert says_all(after, source), f"{source} is lost in {after}"
        assert says_all(after, target), f"{target} is lost in {after}"

    @precondition(lambda self: self.m.run)
    @rule(window=WINDOWS, image=st.integers(0, N_IMAGES - 1), to=RCCS, trouble=TROUBLES)
    def move(self, window, image, to, trouble):
        window = self.windows[window]
        clusters = window.review.clusters
        path, label = list(zip(clusters.paths, clusters.labels.tolist(), strict=True))[image % len(clusters.paths)]
        _, to = self._two_rccs(window, clusters.groups.index(label), to)
        move = functools.partial(move_images, self.out, [path], to, maker=window.maker())

        self._edit(window, trouble, move, lambda *_: None)

    @precondition(lambda self: self.m.run)
    @rule(window=WINDOWS, what=st.sampled_from(("undo", "redo")), trouble=TROUBLES)
    def turn(self, window, what, trouble):
        """Undo and redo what was done or said last."""
        window = self.windows[window]
        edit = {
            "undo": lambda: undo_edit(self.out, maker=window.maker()),
            "redo": lambda: redo_edit(self.out, maker=window.maker()),
        }
        self._edit(window, trouble, edit[what], self._turned)

    def _turned(self, m: Model, before: State, now: State, turn: Edit) -> None:
        about = next(edit for edit in self.known if edit.number == turn.of)
        assert turn.of == standing(self.known)[turn.kind == "redo"][-1].number, "it was not the last one"
        if about.kind == "rcc":
            then, there = about.notes if turn.kind == "redo" else about.notes[::-1]
            rcc = then.rcc
            for name in FIELDS:
                was, then_, there_ = (getattr(note, name) for note in (before.note(rcc), then, there))
                expected = there_ if was == then_ else was
                assert getattr(now.note(rcc), name) == expected, "something else was taken back"

    def _edit(self, window: Window, trouble: Trouble | None, do: Callable, then: Callable) -> None:
        maker = window.maker()
        self.known = all_edits(self.out, load_review(self.out))

        def edited(m: Model, _) -> None:
            before, review = m.state(m.run), load_review(self.out)
            assert window.run == before.name, "it was made on another run"
            added = self._added(m)
            assert added, "the edit is lost"
            new = all_edits(self.out, review)[-1]
            about = next((edit for edit in self.known if edit.number == new.of), new)
            assert new.by == maker.by
            assert review.edits == (before.edits if about.kind in SAYING else (*before.edits, new)), "edits are lost"
            unseen = [edit for edit in self.known if edit.number > maker.last_entry and edit.by != new.by]
            assert not unseen, "made on something that it has not seen"
            m.done = {**m.done, before.name: review.edits}
            now = m.state(m.run)._replace(notes=review.notes)
            if about is new or about.kind in SAYING:
                self._check_notes(m, before, now, about)
            else:
                assert len(added) == 1, "by an undo of images something was said"
            then(m, before, now, new)

        self.step(trouble, do, edited)
        window.review, window.seen = load_review(self.out), newest(self.out)
        window.run = fingerprint(window.review.original)

    def _check_notes(self, m: Model, before: State, now: State, about: Edit) -> None:
        """A note goes along to the images that its RCC has now; otherwise the latest on the same images counts.

        What an RCC is to be called that was merged is checked elsewhere.
        """
        if about.kind in SAYING:
            rcc = about.notes[1].about
            m.say(now.groups[rcc], now.note(rcc))
        else:
            for rcc in {*about.source, about.target} & before.groups.keys() & now.groups.keys():
                note = now.note(rcc)
                merged = about.kind == "merge" and rcc == about.target
                if before.groups[rcc] in m.said and not merged:
                    assert note == before.note(rcc), "the note has not gone along"
                elif not merged:
                    continue
                if note[1:] != m.said.get(now.groups[rcc], Note(0)[1:]):
                    m.say(now.groups[rcc], note)

    @precondition(lambda self: self.m.run)
    @rule(whole=st.booleans(), trouble=TROUBLES)
    def damage_the_labels_and_look(self, whole, trouble):
        path = self.out / LABELS_FILE
        if whole:
            path.unlink(missing_ok=True)
        else:
            path.write_text("0\tsomething else\n")
        self.step(trouble, lambda: exports.mend(self.out), lambda m, _: None)

    # The unsafe set and its labels

    @precondition(lambda self: self.m.run)
    @rule(folder=FOLDERS, size=st.integers(1, 3), leave_out=st.booleans(), trouble=TROUBLES)
    def select(self, folder, size, leave_out, trouble):
        given = self.base / folder, self.out, SelectionSettings(size=size, leave_out_safe=leave_out)
        select = functools.partial(generation.select_images, *given)

        def selected(m: Model, _) -> None:
            assert "selection" in {kind for _, _, _, _, kind, *_ in self._added(m, "selection", "label")}
            self._taken(m)
            unsafe = load_unsafe_set(self.out)
            assert unsafe.improvement_root == self.base / folder
            m.run.table = _table_of(unsafe)

        self.step(trouble, select, selected)

    @precondition(lambda self: self.m.labels)
    @rule(number=st.integers(0, 3), label=st.sampled_from((*CLASSES, "")), whole=st.booleans(), trouble=TROUBLES)
    def label(self, number, label, whole, trouble):
        """As the page does: one image, or all of its RCC."""
        if not self.m.labels:
            return
        unsafe = load_unsafe_set(self.out)
        image = unsafe.images[number % len(unsafe.images)]
        chosen = [one.image for one in unsafe.images if one == image or (whole and one.rcc == image.rcc)]
        labelled = label_images(unsafe, chosen, label, CLASSES)
        given = {name: label for name in chosen if self.m.labels[name] != label}
        table = self.m.run.table
        selected = dict(zip(table.images, table.contents, strict=True))
        replaced = [name for name in given if Path(table.root, name).read_bytes() != selected[name]]
        if self.m.edited:  # a process killed between database and table leaves open which label is the older one
            trouble = None

        def saved(m: Model, _) -> None:
            assert not replaced, "another image than the selected one was labelled"
            if m.typed is not None:
                self._given(m, m.typed)
                m.typed, m.edited = {}, False
            self._given(m, given)
            self._added(m, "label")

        self.step(trouble, lambda: save_labels(labelled, self.out), saved)

    def _given(self, m: Model, labels: dict[str, str]) -> None:
        table = m.run.table if labels else None
        selected = dict(zip(table.images, table.contents, strict=True)) if table else {}
        m.given = {**m.given, **{selected[name]: label for name, label in labels.items()}}

    @precondition(lambda self: self.m.labels and self.m.typed is not None)
    @rule(number=st.integers(0, 3), label=st.sampled_from((*CLASSES, "")))
    def label_in_a_spreadsheet(self, number, label):
        path = self.out / UNSAFE_SET_FILE
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        row = rows[number % len(rows)]
        row[header.index("label")] = label
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        model = copy.copy(self.m)
        typed = {**model.typed, row[0]: label}
        model.typed = {image: label for image, label in typed.items() if label != model.labels[image]}
        model.edited = True
        self.m = model
        self.check(self.m)

    @precondition(lambda self: self.m.labels)
    @rule()
    def break_the_table(self):
        """In a spreadsheet: what was typed there alone is gone by the engineer's own hand."""
        (self.out / UNSAFE_SET_FILE).write_text("images;labels\n")
        self.m = dataclasses.replace(self.m, typed=None, edited=True)
        self.check(self.m)

    @precondition(lambda self: self.m.edited)
    @rule(trouble=TROUBLES)
    def delete_the_table(self, trouble):
        """What was typed is gone by the engineer's own hand; SAFE writes it again when it looks."""
        (self.out / UNSAFE_SET_FILE).unlink()
        self.m = dataclasses.replace(self.m, typed={}, edited=False)
        self.step(trouble, lambda: exports.mend(self.out), lambda m, _: None)

    @precondition(lambda self: self.m.edited)
    @rule(trouble=TROUBLES)
    def take_over(self, trouble):
        self.step(trouble, lambda: take_typed_labels(self.out), lambda m, _: self._taken(m))

    def _taken(self, m: Model, written: bool = True) -> None:
        """What was typed into the table is kept in the database; the table may not have been written again."""
        assert m.typed is not None, "a damaged table was replaced"
        self._given(m, m.typed)
        m.typed, m.edited = {}, m.edited and not written
        self._added(m)

    @rule(folder=st.sampled_from(("a", "moved", "copies")), number=st.integers(0, 2), back=st.booleans())
    def replace_an_image(self, folder, number, back):
        """By another one, or by the one that was there first."""
        files = sorted(path for path in (self.base / folder).rglob("*") if path.is_file())
        path = files[number % len(files)]
        if self.m.typed and any(Path(self.m.run.table.root, image) == path for image in self.m.typed):
            return  # whether the label in the table was typed before or after this, nobody can know
        path.write_bytes(self.first[path] if back else f"image {self._something('name')}".encode())

    # Retraining, and what is the engineer's own

    @precondition(lambda self: self.m.run)
    @rule(trouble=TROUBLES)
    def retrain(self, trouble):
        weights = f"weights {self._something('name')}".encode()
        digest, run = hashlib.sha256(weights).hexdigest(), self.m.run.name

        def retrained(m: Model, _) -> None:
            assert len(self._added(m, "retraining")) == 1
            m.models[digest] = run
            m.run.model = digest

        self.step(trouble, lambda: save_retraining(retraining_for(run), FakeModel(weights), self.out), retrained)

    @precondition(lambda self: self.m.run)
    @rule(name=st.sampled_from(OWN_NAMES))
    def bring_something_or_take_it_away(self, name):
        path = self.out / name
        if name in self.m.own:
            path.unlink()
            self.m.own = {other: content for other, content in self.m.own.items() if other != name}
        elif not path.exists():
            path.parent.mkdir(exist_ok=True)
            content = self._something("name").encode()
            path.write_bytes(content)
            if path.parent == self.out and not foreign_files(self.out, [name]):  # SAFE wrote one of this name before
                path.unlink()
                return
            self.m.own = {**self.m.own, name: content}


# --- The test ---------------------------------------------------------------------------------------------------


class Fakes:
    """Stand for what takes long: features, clustering, drawing, selecting, reports."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.images = folder
        self.clusters: RootCauseClusters | None = None
        self.while_drawing: list[Callable] = []
        self.clock = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)
        for data in DATA_SETS:
            (folder / data).mkdir(parents=True)
            for i in range(N_IMAGES):
                Image.new("L", (2, 2), 40 * i).save(folder / data / f"{data}_{i}.png")
        monkeypatch.setattr(generation, "choose_extractor", lambda *_, **__: None)
        monkeypatch.setattr(generation, "extract_features", lambda *_, **__: None)
        monkeypatch.setattr(generation, "find_root_cause_clusters", lambda *_, **__: self.clusters)
        for drawing in (generation, exports):
            monkeypatch.setattr(drawing, "write_gifs", self._write_gifs)
        monkeypatch.setattr(exports, "gif_shows", lambda *_: True)
        monkeypatch.setattr(generation, "select_unsafe_set", _select)
        monkeypatch.setattr(journal, "rcc_reach", lambda *_: [0.0])
        self._loaded: dict[bytes, RootCauseClusters] = {}
        for module in (review, generation):
            monkeypatch.setattr(module, "load_clusters", self._load_clusters)
        monkeypatch.setattr(database, "_now", lambda: self.clock.isoformat(timespec="seconds"))

    def _load_clusters(self, folder: Path, run: StoredRun | None = None) -> RootCauseClusters:
        """Each file is read once: nothing else takes as long here."""
        run = run or present_runs(folder).get(CLUSTERS)
        data = (run.folder / CLUSTERS_FILE).read_bytes() if run else b""
        if data not in self._loaded:
            self._loaded[data] = load_clusters(folder, run)
        return self._loaded[data]

    def _write_gifs(self, *_, **__) -> None:
        happening, self.while_drawing = self.while_drawing, []
        for what in happening:
            what()


def _note_on_run(folder: Path, note: Note, maker: Maker) -> Note:
    """As the page keeps a note: on the run that it is about, which may have been replaced meanwhile."""
    with writing(folder):
        original = load_clusters(folder)
        if fingerprint(original) != maker.run:
            raise SAFEError(CHANGED)
        return set_note(folder, note, maker=maker, original=original)


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


def _table_of(unsafe: UnsafeSet) -> Table:
    return Table(str(unsafe.improvement_root), unsafe.paths, tuple(file.read_bytes() for file in unsafe.files))


@pytest.fixture
def output_folder(tmp_path, monkeypatch) -> Callable[[], OutputFolder]:
    fakes = Fakes(tmp_path / "images", monkeypatch)
    disk = Disk(monkeypatch)
    return lambda: OutputFolder(tmp_path, disk, fakes)


@pytest.mark.parametrize("n", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_nothing_that_the_engineer_did_is_lost_or_shown_as_something_elses(n, output_folder, pytestconfig):
    # The same sequences each time, so that whoever sees a failure can see it again; --hypothesis-seed=N tries others.
    seed = pytestconfig.getoption("--hypothesis-seed")
    chosen = settings(
        max_examples=n, stateful_step_count=30, deadline=None, database=None, derandomize=seed is None,
        report_multiple_bugs=False, print_blob=True, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(output_folder, settings=chosen)
