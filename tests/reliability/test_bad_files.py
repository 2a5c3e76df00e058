"""Numbers and files of any kind: refused in a sentence or used as they are, never a traceback, never a pickle."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import pickle
import re
import shutil
import signal
import sqlite3
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from safe_dnn import SAFE_Tool
from safe_dnn.dnn.failures import keep_failures, load_failures
from safe_dnn.dnn.model import load_dnn
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.page.settings import Results
from safe_dnn.rccs.answers import CONFIDENCE, Answers
from safe_dnn.rccs.clusters import CLUSTERS_FILE, RUN_FILE, fingerprint, load_clusters
from safe_dnn.rccs.image_map import MAP_FILE, load_map
from safe_dnn.rccs.parameters import PARAMETERS_FILE, read_parameters
from safe_dnn.rccs.profiles import PROFILES_FILE, load_profiles
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import all_edits, load_review, load_spot_notes, set_note
from safe_dnn.rccs.unsafe_set import SELECTION_FILE, UNSAFE_SET_FILE, load_unsafe_set
from safe_dnn.reasons.comparison import COMPARISON_FILE, Comparison, Reasons, load_reasons, save_reasons
from safe_dnn.reasons.run_record import notes_of
from safe_dnn.report.exports import mend
from safe_dnn.store.database import DATABASE_FILE, RUNS_FOLDER
from safe_dnn.store.runs import present_runs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED, read_arrays
from safe_dnn.support.run_folder import ACCURACY_FILE, PREDICTIONS_FILE
from safe_dnn.support.tables import cell, from_cell
from safe_dnn.training.before_after import Share
from safe_dnn.training.checkpoint import CHECKPOINT_FILE, Checkpoint, load_checkpoint, save_checkpoint
from safe_dnn.training.labels import label_images, labels_in, save_labels, typed_labels
from safe_dnn.training.result import RETRAINING_FILE, load_retraining, save_retraining
from tests.conftest import by_scene
from tests.helpers.powers import bound_by_permissions
from tests.helpers.small_models import SIDE, FakeModel, colour_model, draw_set, retraining_for, saved
from tests.helpers.worked_on import compute, review, select

# The machine may be busy; the fixtures are read only.
EXAMPLES = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


# --- Files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory, clustered_once) -> Path:
    """A folder with every file that SAFE reads again; it is copied for each test."""
    tmp_path = tmp_path_factory.mktemp("written")
    folder = tmp_path / "out"
    images = shutil.copytree(clustered_once.image_root, tmp_path / "failing")
    compute(by_scene(clustered_once, images), folder)
    review(folder)
    shown, rows = load_review(folder).original, np.arange(26)
    comparison = Comparison(rows, rows, rows, ("a note",), None)
    save_reasons(Reasons((), (), comparison, 0.5), shown, folder, present_runs(folder)["clusters"])
    select(folder, tmp_path / "improvement", *[""] * 4)
    folder.joinpath(PROFILES_FILE).write_text(
        "rcc,parameter,kind,known,low,high,mean,usual_low,usual_high,value,share,overall_share,reduction,information\n"
        "0,light,number,5,0.1,0.2,0.15,0.1,0.2,,1,0.5,0.9,1\n"
    )
    share = Share("0", 3, 0, 2)
    result = dataclasses.replace(retraining_for(fingerprint(shown)), per_rcc=(share,), per_class=(share,))
    save_retraining(result, FakeModel(b"weights"), folder)
    folder.joinpath(PARAMETERS_FILE).write_text("image,light\nnight_00.png,1\nnight_01.png,2\n")
    folder.joinpath(LABELS_TABLE).write_text("image,label\n0.png,red\n")
    state = np.random.default_rng(0).bit_generator.state
    save_checkpoint(folder / CHECKPOINT_FILE, "key", Checkpoint([[0.0] * 5] * 2, 1, state, [np.ones(3)], []))
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "=1.png").write_bytes(b"any")
    answers = Answers(np.array(["red"]), np.array(["blue"]), np.array([0.5], np.float32), CONFIDENCE)
    given = AnsweredImages(
        Path("m.keras"), tmp_path, ("red/=1.png",), answers, np.zeros(1, bool), known_classes=("blue", "red")
    )
    keep_failures(given, folder)
    return folder


@pytest.fixture
def out(written, tmp_path) -> Path:
    return writable_copy(written, tmp_path / "out")


def writable_copy(folder: Path, to: Path) -> Path:
    """Files of runs are read-only, which keeps nobody from damaging them."""
    shutil.copytree(folder, to)
    for path in to.glob(f"{RUNS_FOLDER}/*/*"):
        path.chmod(0o644)
    return to


def in_run(name: str) -> str:
    """A pattern for a file of the only run that has it."""
    return f"{RUNS_FOLDER}/*/{name}"


def file_of(folder: Path, pattern: str) -> Path:
    (file,) = folder.glob(pattern)
    return file


LABELS_TABLE = "labels.csv"
CLUSTERS, COMPARISON, MAP, RUN = (in_run(name) for name in (CLUSTERS_FILE, COMPARISON_FILE, MAP_FILE, RUN_FILE))
SELECTION, RETRAINING = in_run(SELECTION_FILE), in_run(RETRAINING_FILE)
READERS: dict[str, Callable[[Path], object]] = {
    CLUSTERS: load_clusters, COMPARISON: lambda folder: load_reasons(folder, load_clusters(folder)),
    DATABASE_FILE: lambda folder: [load_spot_notes(folder), all_edits(folder, load_review(folder))],
    SELECTION: load_unsafe_set, UNSAFE_SET_FILE: typed_labels, PROFILES_FILE: load_profiles,
    RETRAINING: load_retraining,
    PARAMETERS_FILE: lambda folder: read_parameters(folder / PARAMETERS_FILE, folder, ["night_00.png", "night_01.png"]),
    MAP: lambda folder: load_map(folder, load_clusters(folder)),
    LABELS_TABLE: lambda folder: labels_in(folder / LABELS_TABLE, load_unsafe_set(folder)),
    CHECKPOINT_FILE: lambda folder: load_checkpoint(folder / CHECKPOINT_FILE, "key"), PREDICTIONS_FILE: load_failures,
    ACCURACY_FILE: load_failures, RUN: lambda folder: notes_of(folder),
}  # fmt: skip


def read(folder: Path, name: str) -> object:
    """What a reader makes of a file: its record, or the sentence in which it is refused."""
    try:
        return READERS[name](folder)
    except SAFEError as error:
        assert len(str(error)) > 20  # noqa: PT017
        return None


@pytest.mark.parametrize("name", READERS)
def test_every_reader_reads_what_was_written(out, name):
    assert read(out, name) is not None


@pytest.mark.parametrize("name", READERS)
def test_a_file_cut_off_anywhere_or_with_bytes_changed_is_refused_in_a_sentence_or_read(out, name):
    path = file_of(out, name)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:place])
        read(out, name)
        changed = bytearray(whole)
        for at in rng.integers(len(whole), size=3):
            changed[at] = rng.integers(256)
        changed[place : place + int(rng.integers(1, 20))] = rng.bytes(int(rng.integers(0, 20)))
        path.write_bytes(changed)
        read(out, name)


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_and_a_device_in_the_place_of_a_file_do_not_hold_its_reader(out, name, alarm):
    path = file_of(out, name)
    path.unlink()
    os.mkfifo(path)
    read(out, name)
    path.unlink()
    path.symlink_to("/dev/zero")
    read(out, name)
    path.unlink()
    path.mkdir()
    read(out, name)


class Late(BaseException):
    """No reader catches it."""


@pytest.fixture
def alarm():
    """The test fails where it takes longer than ten seconds."""

    def late(*_):
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# --- The database, as the commands and the page meet it ---------------------------------------------------------


def newer(out: Path) -> None:
    with contextlib.closing(sqlite3.connect(out / DATABASE_FILE, isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 99")


def cut_off(out: Path) -> None:
    data = (out / DATABASE_FILE).read_bytes()
    (out / DATABASE_FILE).write_bytes(data[: len(data) // 3])


def garbled(out: Path) -> None:
    with contextlib.closing(sqlite3.connect(out / DATABASE_FILE, isolation_level=None)) as db:
        db.execute("UPDATE entry SET value = '{\"after' WHERE kind = 'rcc'")


USES: dict[str, Callable[[Path], object]] = {
    "report": lambda out: SAFE_Tool.main(["report", "--out", str(out)]),
    "export": lambda out: SAFE_Tool.main(["export", "--out", str(out)]),
    "cluster": lambda out: SAFE_Tool.main(["cluster", str(out.parent), "--out", str(out)]),
    "look": lambda out: Results(out).state(), "note": lambda out: set_note(out, Note(1, "snow")),
    "label": lambda out: save_labels(label_images(load_unsafe_set(out), ["0.png"], "red", ["red"]), out), "mend": mend,
}  # fmt: skip


DAMAGES: tuple[tuple[Callable[[Path], None], str], ...] = (
    (newer, r"Received that of another version, format 99\. Nothing was changed"),
    (cut_off, r"If the file is damaged, put back a copy, or use another output folder"),
    (garbled, r"entry \d cannot be read\. Nothing was changed"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "why", "use"),
    # Those that are left out do not read what was garbled.
    [
        (*one, use)
        for one in DAMAGES
        for use in USES
        if one[0] is not garbled or use in ("report", "export", "look", "note")
    ],
)
def test_a_database_that_cannot_be_read_is_a_sentence_and_stays(out, capsys, damage, why, use):
    damage(out)
    before = (out / DATABASE_FILE).read_bytes()
    refused(USES[use], out, capsys, why)
    assert (out / DATABASE_FILE).read_bytes() == before


def test_a_folder_that_is_read_only_is_looked_at_and_not_changed(out, capsys):
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for path in (out, *out.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with bound_by_permissions():
            assert USES["look"](out).clusters.paths
            for use in ("note", "label", "cluster"):
                refused(USES[use], out, capsys, r"write a readonly database|unable to open|SAFE can write to")
    finally:
        for path in (out, *out.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == files


def refused(use: Callable[[Path], object], out: Path, capsys: pytest.CaptureFixture[str], why: str) -> None:
    """A command ends with its status and one line; the page shows a sentence."""
    capsys.readouterr()
    try:
        status = use(out)
    except SAFEError as error:
        told = str(error)
    else:
        assert status == 2
        told = capsys.readouterr().err
        assert told.startswith("safe: ")
        assert told.count("\n") == 1
    assert re.search(why, told), told


# --- Tables -----------------------------------------------------------------------------------------------------


@EXAMPLES
@given(some.text(some.characters(codec="utf-8"), max_size=8), some.sampled_from(["", "=", "'=", "''+", "-", "@", "'"]))
def test_no_text_in_a_table_is_a_formula_and_all_of_it_comes_back(text, start):
    written = cell(start + text)
    assert from_cell(written) == start + text
    assert written[:1] not in ("=", "@", "\t", "\r")
    assert written[:1] not in ("+", "-") or set(written) <= set("0123456789.eE+- ")


@pytest.mark.parametrize("name", READERS)
def test_another_files_content_a_pickle_and_nonsense_are_refused_in_a_sentence(out, name):
    path = file_of(out, name)
    others = [file_of(out, other).read_bytes() for other in READERS if other != name]
    nonsense = [b"", b"\0" * 100, *b'[] {} null 1 "x"'.split(), b"[" * 100_000, b'{"edits":' * 20_000, b"\xff\xfe" * 50]
    nonsense += [b"rcc\n" + b"9" * 10_000, b'{"clusters": ' + b"9" * 10_000 + b"}", b'image,x\n"' + b"a" * 200_000]
    for content in [*others, *nonsense, pickle.dumps(Danger())]:
        path.write_bytes(content)
        read(out, name)
    assert Danger.loaded == 0


class Danger:
    """An object that tells when it is read."""

    loaded = 0

    def __reduce__(self):
        return _told, ()


def _told() -> None:
    Danger.loaded += 1


@pytest.mark.parametrize("name", [UNSAFE_SET_FILE, PROFILES_FILE, PARAMETERS_FILE])
@EXAMPLES
@given(data=some.data())
def test_a_table_with_any_text_in_any_cell_is_refused_in_a_sentence_or_read(out, name, data):
    with file_of(out, name).open(newline="") as file:
        rows = list(csv.reader(file))
    row = data.draw(some.sampled_from(rows))
    text = some.text(some.characters(codec="utf-8"), max_size=12)
    row[data.draw(some.integers(0, len(row) - 1))] = data.draw(
        some.one_of(text, some.sampled_from(["nan", "inf", "-1", "1e999", "9" * 30, "../../etc/passwd", "=1+1", "\0"]))
    )
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(out, Path(folder, "out"))
        with file_of(copy, name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        read(copy, name)


def test_objects_bombs_and_shapes_beyond_all_memory_are_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**7)})
    np.savez(tmp_path / "object.npz", labels=np.array([Danger()], object), allow_pickle=True)
    np.savez_compressed(tmp_path / "bomb.npz", xy=np.zeros(10**7))
    with zipfile.ZipFile(tmp_path / "shape.npz", "w") as archive:
        archive.writestr("xy.npy", header.getvalue())
    for path in tmp_path.iterdir():
        with pytest.raises(DAMAGED):
            read_arrays(path)
    assert Danger.loaded == 0


def test_a_model_file_that_is_none_or_holds_code_is_refused(tmp_path):
    draw_set(tmp_path / "x", 1)
    code = {"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda", "config": {"function": "…"}}]}}
    foreign = {"class_name": "Popen", "module": "subprocess", "config": {"args": ["touch", "/tmp/x"]}}
    for content in ("", "[" * 100_000, "null", "[]", json.dumps(code), json.dumps(foreign), '{"class_name": {}}'):
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            archive.writestr("config.json", content)
        with pytest.raises(SAFEError):
            load_dnn(tmp_path / "m.keras")
    for data in (b"", b"x" * 1000, pickle.dumps(Danger()), b"PK\3\4" + b"\0" * 100, b"\x89HDF\r\n\x1a\n" + b"\0" * 100):
        for name in ("m.keras", "m.h5"):
            (tmp_path / name).write_bytes(data)
            with pytest.raises(SAFEError):
                load_dnn(tmp_path / name)
    assert Danger.loaded == 0


def rewritten(model: Path, to: Path, change: Callable[[dict[str, bytes]], None], *more: tuple) -> Path:
    """A model file with its members changed, and more added."""
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (*members.items(), *more):
            archive.writestr(name, data)
    return to


def weights_with(change: Callable[[h5py.File], None]) -> Callable[[dict[str, bytes]], None]:
    """Change the weights that a model file holds."""

    def changed(members: dict[str, bytes]) -> None:
        data = io.BytesIO(members["model.weights.h5"])
        with h5py.File(data, "a") as weights:
            change(weights)
        members["model.weights.h5"] = data.getvalue()

    return changed


def hostile_weights(secret: Path) -> dict[str, Callable[[h5py.Group, str, tuple], None]]:
    """What puts something else in the place of weights: their group, their name in it, and their shape."""

    def virtual(group: h5py.Group, name: str, shape: tuple) -> None:
        layout = h5py.VirtualLayout(shape, "f4")
        layout[:] = h5py.VirtualSource(secret, "x", shape)
        group.create_virtual_dataset(name, layout)

    outside = [(os.fspath(secret), 0, 2**20)]
    return {
        "external link": lambda group, name, shape: group.__setitem__(name, h5py.ExternalLink(secret, "x")),
        "soft link": lambda group, name, shape: group.__setitem__(name, h5py.SoftLink("/x")),
        "external data": lambda group, name, shape: group.create_dataset(name, shape, "f4", external=outside),
        "virtual data": virtual,
        "vast data": lambda group, name, shape: group.create_dataset(name, (2**34,), "f4", chunks=(2**20,)),
    }  # fmt: skip


def in_place_of_weights(change: Callable[[h5py.Group, str, tuple], None]) -> Callable[[h5py.File], None]:
    """Change the first matrix in a file, and keep it as `x`."""

    def changed(file: h5py.File) -> None:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if getattr(item, "ndim", 0) == 2 else None)
        group, shape = file[names[0]].parent, file[names[0]].shape
        file.move(names[0], "x")
        change(group, names[0].rpartition("/")[2], shape)

    return changed


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return saved(colour_model(), tmp_path_factory.mktemp("model") / "m.keras")


@pytest.mark.parametrize("kind", hostile_weights(Path("secret")))
def test_weights_that_lie_elsewhere_or_are_vast_are_refused(model, tmp_path, kind):
    with h5py.File(tmp_path / "secret", "w") as secret:
        secret["x"] = np.zeros((SIDE * SIDE * 3, 3), "f4")
    change = in_place_of_weights(hostile_weights(tmp_path / "secret")[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras thinks .h5 outdated; engineers have such files
        legacy = saved(colour_model(), tmp_path / "m.h5")
    with h5py.File(legacy, "a") as file:
        change(file)
    for hostile in (rewritten(model, tmp_path / "m.keras", weights_with(change)), legacy):
        with pytest.raises(SAFEError, match=r"cannot be read \(.*(Not allowed|could not be loaded)"):
            load_dnn(hostile)


def test_a_model_archive_with_a_bomb_or_odd_members_is_refused_and_one_packed_again_is_not(model, tmp_path):
    def nothing(members: dict[str, bytes]) -> None:
        pass

    link = zipfile.ZipInfo("assets")
    link.external_attr = 0o120777 << 16
    names = ("../../x", "/etc/x", "..\\x", "C:/x", "config.json", link)
    for one in (*((name, b"{}") for name in names), ("bomb", bytes(2**28))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of a name that is there twice
            file = rewritten(model, tmp_path / "m.keras", nothing, one)
        with pytest.raises(SAFEError, match="no model has"):
            load_dnn(file)
    assert load_dnn(rewritten(model, tmp_path / "again.keras", nothing)).n_classes == 3


@pytest.mark.parametrize(
    "part",
    [
        {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "function"},
        {"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization"},
        {"module": "keras.src.saving.saving_api", "class_name": "function", "config": "load_model"},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "keras.layers", "class_name": "TextVectorization", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"},
    ],
    ids=lambda part: f"{part['module']}.{part['class_name']}",
)  # fmt: skip
def test_a_model_that_calls_or_reads_is_refused(model, tmp_path, part):
    def change(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        config["config"]["layers"][-1]["config"]["activation"] = part
        members["config.json"] = json.dumps(config).encode()

    with pytest.raises(SAFEError, match=r"custom objects|contains code that runs, or reads|cannot be read"):
        load_dnn(rewritten(model, tmp_path / "m.keras", change))
