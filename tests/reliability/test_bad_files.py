"""Numbers and files of any kind: refused in a sentence or used as they are, never a traceback, never a pickle."""

import csv
import dataclasses
import io
import json
import os
import pickle
import shutil
import signal
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

import FE
from clustering import find_root_cause_clusters
from dbscan.outcome import NOISE
from dbscan.relevance import average_neighbours
from dbscan.tuning import tune
from dnn.failures import Failure, Failures, load_failures, save_failures
from dnn.model import load_dnn
from dnn.targets import read_targets
from pipeline.run_record import parameter_notes
from rccs.clusters import load_clusters, save_clusters
from rccs.edits import merge_rccs
from rccs.image_map import load_map, save_map, stored_map
from rccs.notes import RccNote
from rccs.parameters import PARAMETERS_FILE, read_parameters
from rccs.profiles import load_profiles
from rccs.review import load_review, set_note
from rccs.spot_notes import SpotNote, load_spot_notes, set_spot_note
from rccs.unsafe_set import QUOTAS, UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from reporting.history import archive_run, list_runs, run_folder
from selection import quotas, unsafe_set_size
from support.errors import SAFEError
from support.images import find_images
from support.run_folder import (
    ACCURACY_FILE,
    CHECKPOINT_FILE,
    CLUSTERS_FILE,
    EDITS_FILE,
    FAILURES_FILE,
    MAP_FILE,
    NOTES_FILE,
    PROFILES_FILE,
    RETRAINING_FILE,
    RUN_FILE,
    RUNS_FOLDER,
    SELECTION_FILE,
    SPOT_NOTES_FILE,
    UNSAFE_SET_FILE,
)
from support.tables import cell, from_cell
from tests.helpers.fake_network import FakeNetwork
from tests.helpers.scenes import draw_scene
from tests.helpers.small_models import colour_model, draw_set, saved
from training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.comparison import Share
from training.finetuning import Epoch
from training.labels import read_labels
from training.result import Retraining, load_retraining
from training.settings import Settings

# The machine may be busy; the fixtures are read only.
EXAMPLES = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
ANY = some.one_of(
    some.none(), some.booleans(), some.integers(), some.floats(), some.text(max_size=20), some.just("1e999"),
    some.just("９"), some.just("1_0"), some.lists(some.integers(), max_size=2), some.binary(max_size=4),
)  # fmt: skip
JSON_VALUES = some.recursive(
    some.one_of(some.none(), some.booleans(), some.integers(), some.floats(), some.text(max_size=8)),
    lambda inner: some.one_of(
        some.lists(inner, max_size=3), some.dictionaries(some.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


# --- Numbers ----------------------------------------------------------------------------------------------------


@EXAMPLES
@given(ANY, ANY, ANY)
def test_the_size_of_the_unsafe_set_is_a_whole_number_or_a_sentence(accuracy, test_size, factor):
    try:
        n, formula = unsafe_set_size(accuracy, 10, test_size=test_size, factor=factor)
    except SAFEError as error:
        assert str(error)  # noqa: PT017
    else:
        assert isinstance(n, int)
        assert n >= 1
        assert formula.startswith("N = ")


@EXAMPLES
@given(
    some.integers(0, 300), some.lists(some.tuples(some.integers(1, 50), some.integers(0, 60)), min_size=1, max_size=12)
)
def test_quotas_give_all_that_is_wanted_or_there(n, rccs):
    sizes, available = np.array(rccs).T
    for by in QUOTAS:
        taken = quotas(n, sizes, available, by=by)
        assert taken.sum() == min(n, available.sum())
        assert (taken <= available).all()
        # Every RCC that has candidates gets one before any gets two for its size
        assert n < len(rccs) or (taken[available > 0] > 0).all()
    # Equal ones differ by one at most
    taken = quotas(n, sizes, available, by="equal")
    still_open = taken[taken < available]
    assert not len(still_open) or still_open.max() - still_open.min() <= 1
    assert not len(still_open) or (taken <= still_open.min() + 1).all()


@settings(EXAMPLES, max_examples=40)
@given(some.data())
def test_tuning_makes_clusters_of_any_finite_points(data):
    n = data.draw(some.integers(1, 24))
    width = data.draw(some.integers(1, 3))
    number = some.one_of(some.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e12, -1e12]), some.floats(-1e3, 1e3, width=32))
    points = np.array(data.draw(some.lists(some.lists(number, min_size=width, max_size=width), min_size=n, max_size=n)))
    points = points.astype(np.float32)
    found = tune(average_neighbours(points), original=points)
    assert found.labels.shape == found.is_core.shape == (n,)
    assert found.labels.min() >= NOISE
    sizes = np.bincount(found.labels[found.labels != NOISE])
    assert (np.diff(sizes) <= 0).all()  # the largest first, none empty
    assert not len(sizes) or sizes.min() > 0
    assert not found.is_core[found.labels == NOISE].any()
    assert all(rcc in found.labels[found.is_core] for rcc in range(len(sizes)))


# --- Files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def no_umap():
    """Maps are drawn by PCA, which takes no compiling."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "umap", None)
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory, no_umap) -> Path:
    """A folder with every file that SAFE reads again; it is copied for each test."""
    tmp_path = tmp_path_factory.mktemp("written")
    folder = tmp_path / "out"
    folder.mkdir()
    for scene, n in (("night", 10), ("snow", 8), ("wood", 6)):
        for i in range(n):
            image = draw_scene(scene, np.random.default_rng(i))
            (tmp_path / "failing").mkdir(exist_ok=True)
            image.save(tmp_path / "failing" / f"{scene}_{i:02d}.png")
    network = FakeNetwork()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAFE_CACHE", str(tmp_path / "cache"))
        patch.setattr(FE, "load_network", lambda extractor: network)
        clusters = find_root_cause_clusters(FE.extract_features(tmp_path / "failing", network.extractor))
    labels = np.array([("night", "snow", "wood").index(path.split("_")[0]) for path in clusters.paths])
    reach = np.full(3, 0.2, np.float32)
    clusters = dataclasses.replace(clusters, labels=labels, is_core=np.ones(24, bool), reach=reach)
    save_clusters(clusters, folder)
    set_note(folder, RccNote(0, "night", "dark", "unsafe"))
    set_spot_note(folder, SpotNote('[["light", "<", 0.2]]', "/data/test", "night", "dark", "unsafe"))
    merge_rccs(folder, 2, 1)
    images = tuple(UnsafeImage(f"night_{i:02d}.png", i % 2, i / 10, True, "") for i in range(4))
    shown = load_review(folder).original
    save_unsafe_set(UnsafeSet(tmp_path, images, 4, "N = 4", 9, (3, 3, 3), (), "0" * 16), folder)
    stored_map(folder, shown)
    folder.joinpath(PROFILES_FILE).write_text(
        "rcc,parameter,kind,known,low,high,mean,usual_low,usual_high,value,share,overall_share,reduction,information\n"
        "0,light,number,5,0.1,0.2,0.15,0.1,0.2,,1,0.5,0.9,1\n"
    )
    share, epoch = Share("0", 3, 0, 2), Epoch(0, 0.5, 0.5, 0.5, 1.0)
    result = Retraining(tmp_path / "m.keras", tmp_path, "classification", 0.5, 0.75, 4, 8, 4, (), (), (share,),
                        (share,), (epoch, epoch), 1, Settings(0.01), None, ("Input.",), "", 3.0, 0.1, ())  # fmt: skip
    record = dataclasses.asdict(result) | {"model": "m", "test_root": "t", "settings": result.settings._asdict()}
    record |= {name: [row._asdict() for row in getattr(result, name)] for name in ("per_rcc", "per_class", "history")}
    folder.joinpath(RETRAINING_FILE).write_text(json.dumps(record))
    folder.joinpath(PARAMETERS_FILE).write_text("image,light\nnight_00.png,1\nnight_01.png,2\n")
    folder.joinpath(LABELS_TABLE).write_text("image,label\nnight_00.png,red\n")
    state = np.random.default_rng(0).bit_generator.state
    save_checkpoint(folder / CHECKPOINT_FILE, "key", Checkpoint(np.zeros((2, 5)), 1, 0.5, state, [np.ones(3)], []))
    failing = (Failure("failures/red/=1.png", "red/=1.png", "red", "blue", 0.5),)
    (tmp_path / "test" / "red").mkdir(parents=True)
    (tmp_path / "test" / "red" / "=1.png").write_bytes(b"any")
    names = ("blue", "red")
    save_failures(
        Failures(tmp_path / "test", Path("m.keras"), "classification", names, failing, 4, None, (), ()), folder
    )
    (folder / RUN_FILE).write_text(json.dumps({"parameters": {"source": "p.csv", "notes": ["a note"]}}))
    return folder


@pytest.fixture
def out(written, tmp_path) -> Path:
    return shutil.copytree(written, tmp_path / "out")


LABELS_TABLE = "labels.csv"
READERS: dict[str, Callable[[Path], object]] = {
    CLUSTERS_FILE: load_clusters,
    EDITS_FILE: load_review,
    NOTES_FILE: load_review,
    SPOT_NOTES_FILE: load_spot_notes,
    UNSAFE_SET_FILE: load_unsafe_set,
    SELECTION_FILE: load_unsafe_set,
    PROFILES_FILE: load_profiles,
    RETRAINING_FILE: load_retraining,
    PARAMETERS_FILE: lambda folder: read_parameters(folder / PARAMETERS_FILE, folder, ["night_00.png", "night_01.png"]),
    MAP_FILE: lambda folder: load_map(folder, load_clusters(folder)),
    LABELS_TABLE: lambda folder: read_labels(folder / LABELS_TABLE),
    CHECKPOINT_FILE: lambda folder: load_checkpoint(folder / CHECKPOINT_FILE, "key"),
    FAILURES_FILE: load_failures,
    ACCURACY_FILE: load_failures,
    RUN_FILE: lambda folder: parameter_notes(folder),
}


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
    whole = (out / name).read_bytes()
    rng = np.random.default_rng(0)
    for place in np.linspace(0, len(whole) - 1, 40).astype(int):
        (out / name).write_bytes(whole[:place])
        read(out, name)
        changed = bytearray(whole)
        for at in rng.integers(len(whole), size=3):
            changed[at] = rng.integers(256)
        changed[place : place + int(rng.integers(1, 20))] = rng.bytes(int(rng.integers(0, 20)))
        (out / name).write_bytes(changed)
        read(out, name)


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_and_a_device_in_the_place_of_a_file_do_not_hold_its_reader(out, name, alarm):
    (out / name).unlink()
    os.mkfifo(out / name)
    read(out, name)
    (out / name).unlink()
    (out / name).symlink_to("/dev/zero")
    read(out, name)
    (out / name).unlink()
    (out / name).mkdir()
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


def test_a_list_or_table_that_is_a_pipe_or_device_is_refused(tmp_path, alarm):
    for name, make in (("pipe.txt", os.mkfifo), ("endless.txt", lambda path: path.symlink_to("/dev/zero"))):
        make(tmp_path / name)
        for reader in (find_images, read_labels, read_targets, lambda path: read_parameters(path, tmp_path, ["a.png"])):
            with pytest.raises(SAFEError, match="not a regular file"):
                reader(tmp_path / name)


def test_a_damaged_earlier_run_is_listed_as_damaged_whatever_is_in_its_files(out):
    archive_run(out)
    (name,) = [path.name for path in (out / RUNS_FOLDER).iterdir()]
    earlier = out / RUNS_FOLDER / name
    save_clusters(dataclasses.replace(load_clusters(out), eps=9.0, labels=load_clusters(out).labels[::-1].copy()), out)
    assert [run.damaged for run in list_runs(out)] == ["", ""]
    for file in (CLUSTERS_FILE, EDITS_FILE, NOTES_FILE):
        whole = (earlier / file).read_bytes()
        for content in (b"", whole[: len(whole) // 2], b"rcc\n\0", pickle.dumps(Danger())):
            (earlier / file).write_bytes(content)
            assert {run.name for run in list_runs(out)} >= {name}
        (earlier / file).write_bytes(whole)
    for odd in ("../..", "20240501-120000/..", ".", "", "20240501-1200000", "20249999-999999"):
        with pytest.raises(SAFEError, match="Expected a run of"):
            run_folder(out, odd)
    assert Danger.loaded == 0


@EXAMPLES
@given(some.text(some.characters(codec="utf-8"), max_size=8), some.sampled_from(["", "=", "'=", "''+", "-", "@", "'"]))
def test_no_text_in_a_table_is_a_formula_and_all_of_it_comes_back(text, start):
    written = cell(start + text)
    assert from_cell(written) == start + text
    assert written[:1] not in ("=", "@", "\t", "\r")
    assert written[:1] not in ("+", "-") or set(written) <= set("0123456789.eE+- ")


@pytest.mark.parametrize("name", READERS)
def test_another_files_content_a_pickle_and_nonsense_are_refused_in_a_sentence(out, name):
    others = [(out / other).read_bytes() for other in READERS if other != name]
    nonsense = [
        b"",
        b"\0" * 100,
        b"[]",
        b"{}",
        b"null",
        b"1",
        b'"x"',
        b"[" * 100_000,
        b'{"edits":' * 20_000,
        b"\xff\xfe" * 50,
    ]
    nonsense += [b"rcc\n" + b"9" * 10_000, b'{"clusters": ' + b"9" * 10_000 + b"}", b'image,x\n"' + b"a" * 200_000]
    for content in [*others, *nonsense, pickle.dumps(Danger())]:
        (out / name).write_bytes(content)
        read(out, name)
    assert Danger.loaded == 0


class Danger:
    """An object that tells when it is read."""

    loaded = 0

    def __reduce__(self):
        return _told, ()


def _told() -> None:
    Danger.loaded += 1


@pytest.mark.parametrize("name", [EDITS_FILE, SELECTION_FILE, RETRAINING_FILE])
@EXAMPLES
@given(data=some.data())
def test_json_with_any_value_in_any_place_is_refused_in_a_sentence_or_read(out, name, data):
    record = json.loads((out / name).read_text())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "out")
        shutil.copytree(out, copy)
        holder, key = record, data.draw(some.sampled_from(sorted(record)))
        while isinstance(holder[key], (dict, list)) and holder[key] and data.draw(some.booleans()):
            holder = holder[key]
            key = data.draw(some.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        holder[key] = data.draw(JSON_VALUES)
        (copy / name).write_text(json.dumps(record), encoding="utf-8")
        read(copy, name)


@pytest.mark.parametrize("name", [NOTES_FILE, SPOT_NOTES_FILE, UNSAFE_SET_FILE, PROFILES_FILE, PARAMETERS_FILE])
@EXAMPLES
@given(data=some.data())
def test_a_table_with_any_text_in_any_cell_is_refused_in_a_sentence_or_read(out, name, data):
    with (out / name).open(newline="") as file:
        rows = list(csv.reader(file))
    row = data.draw(some.sampled_from(rows))
    text = some.text(some.characters(codec="utf-8"), max_size=12)
    row[data.draw(some.integers(0, len(row) - 1))] = data.draw(
        some.one_of(text, some.sampled_from(["nan", "inf", "-1", "1e999", "9" * 30, "../../etc/passwd", "=1+1", "\0"]))
    )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "out")
        shutil.copytree(out, copy)
        with (copy / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        read(copy, name)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def hostile_arrays(good: np.ndarray) -> Iterator[np.ndarray]:
    yield good[:-1] if good.ndim else good.astype(float) + 0.5
    yield np.zeros((0,), good.dtype)
    yield good.reshape(1, *good.shape)
    yield np.full(good.shape, "x")
    yield np.full(good.shape, 1j)
    yield np.full(good.shape, np.nan)
    yield np.full(good.shape, -7, np.int64)
    yield np.full(good.shape, 2**62, np.int64)
    yield np.zeros(good.shape, [("a", "i4")])
    yield np.full(good.shape, b"x")


def test_clusters_with_any_array_replaced_are_refused_or_read(out):
    arrays = arrays_of(out / CLUSTERS_FILE)
    for name, good in arrays.items():
        for bad in hostile_arrays(good):
            np.savez(out / CLUSTERS_FILE, **{**arrays, name: bad})
            found = read(out, CLUSTERS_FILE)
            if name in ("labels", "is_core", "points", "reach", "projection_mean"):
                assert found is None, (name, bad.dtype, bad.shape)
    np.savez(out / CLUSTERS_FILE, **{name: array for name, array in arrays.items() if name != "reach"})
    with pytest.raises(SAFEError, match="complete"):
        load_clusters(out)


def test_objects_bombs_and_shapes_beyond_all_memory_are_refused(out):
    arrays = arrays_of(out / CLUSTERS_FILE)
    for name in (CLUSTERS_FILE, MAP_FILE):
        np.savez(out / name, **{**arrays, "labels": np.array([Danger()], object)}, allow_pickle=True)
        assert name == MAP_FILE or read(out, name) is None
        np.savez_compressed(out / name, **{**arrays, "xy": np.zeros(10**7)})
        assert name == MAP_FILE or read(out, name) is None
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**7)})
        with zipfile.ZipFile(out / name, "w") as archive:
            for part in (*arrays, "xy", "stamp"):
                archive.writestr(f"{part}.npy", header.getvalue())
        assert name == MAP_FILE or read(out, name) is None
    assert Danger.loaded == 0
    with pytest.raises(SAFEError, match=r"clusters\.npz"):
        load_review(out)


def test_files_of_another_run_are_not_taken_for_this_ones(out, tmp_path):
    clusters = load_clusters(out)
    other = tmp_path / "other"
    other.mkdir()
    images = tuple(UnsafeImage(f"snow_{i:02d}.png", 0, 0.5, True, "") for i in range(3))
    save_unsafe_set(UnsafeSet(tmp_path, images, 3, "N = 3", 9, (3, 3, 3), (), "1" * 16), other)
    mine = (out / UNSAFE_SET_FILE).read_bytes()
    shutil.copy(other / UNSAFE_SET_FILE, out)
    with pytest.raises(SAFEError, match="have different images"):
        load_unsafe_set(out)
    (out / UNSAFE_SET_FILE).write_bytes(mine)
    changed = dataclasses.replace(clusters, paths=tuple(f"x{path}" for path in clusters.paths))
    save_clusters(changed, out)
    review = load_review(out)
    assert (review.notes, review.edits) == ({}, ())
    assert load_map(out, changed) is None
    save_map(out, changed, stored_map(tmp_path / "elsewhere", changed))


@pytest.mark.parametrize("version", [0, 2, 99, -1])
def test_another_version_is_refused(out, version):
    arrays = arrays_of(out / CLUSTERS_FILE)
    np.savez(out / CLUSTERS_FILE, **{**arrays, "format_version": np.array(version)})
    with pytest.raises(SAFEError, match="must have format version"):
        load_clusters(out)


def test_a_model_file_that_is_none_or_holds_code_is_refused_before_keras_sees_it(tmp_path):
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


def hostile_weights(secret: Path) -> dict[str, Callable[[h5py.File], None]]:
    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(secret, "x", (4,))
        file.create_virtual_dataset("v", layout)

    return {
        "external link": lambda file: file.__setitem__("x", h5py.ExternalLink(secret, "/")),
        "soft link": lambda file: file.__setitem__("x", h5py.SoftLink("/layers")),
        "external data": lambda file: file.create_dataset("x", (4,), "f4", external=[(os.fspath(secret), 0, 16)]),
        "virtual data": virtual,
        "vast data": lambda file: file.create_dataset("x", (2**34,), "f4", chunks=(2**20,)),
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return saved(colour_model(), tmp_path_factory.mktemp("model") / "m.keras")


@pytest.mark.parametrize("kind", hostile_weights(Path("secret")))
def test_weights_that_lie_elsewhere_or_are_vast_are_refused_before_keras_sees_them(model, tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_bytes(b"0123456789abcdef")
    change = hostile_weights(secret)[kind]
    with pytest.raises(SAFEError, match=r"elsewhere|far larger"):
        load_dnn(rewritten(model, tmp_path / "m.keras", weights_with(change)))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = "{}"
        change(file)
    with pytest.raises(SAFEError, match=r"elsewhere|far larger"):
        load_dnn(tmp_path / "m.h5")


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
        with pytest.raises(SAFEError, match=r"no model has|unpacks to"):
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
)
def test_a_model_that_calls_or_reads_is_refused_before_keras_sees_it(model, tmp_path, part):
    def change(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        config["config"]["layers"][-1]["config"]["activation"] = part
        members["config.json"] = json.dumps(config).encode()

    with pytest.raises(SAFEError, match=r"custom objects|contains code that runs, or reads"):
        load_dnn(rewritten(model, tmp_path / "m.keras", change))
