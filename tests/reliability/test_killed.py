"""`cluster` and `select` are killed at any point: what lies there afterwards is whole, and the same command goes on."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from features.attributes import ATTRIBUTES, IDENTITY
from features.cache import FeatureCache
from rccs.clusters import fingerprint, load_clusters
from rccs.gifs import gif_path, gif_shows, write_gifs
from rccs.notes import RccNote
from rccs.profiles import load_profiles
from rccs.review import load_review, set_note
from rccs.unsafe_set import load_unsafe_set
from support.errors import SAFEError
from support.files import LEFT_OVER_SECONDS
from support.run_folder import (
    CLUSTERS_FILE,
    FILENAMES_FILE,
    LABELS_FILE,
    LOCK_FILE,
    MARK_FILE,
    PROFILES_FILE,
    RUN_FILE,
    SELECTION_FILE,
    UNSAFE_SET_FILE,
    WORK_FILE,
)
from tests.helpers.killing import Zygote
from tests.helpers.scenes import draw_scene

FILES = (LABELS_FILE, CLUSTERS_FILE, RUN_FILE, FILENAMES_FILE, UNSAFE_SET_FILE, SELECTION_FILE)
BATCH = 8  # as tests/helpers/zygote.py has it


class Case(NamedTuple):
    """An output folder before a command (`old`) and after it, undisturbed (`new`)."""

    folder: Path
    images: Path
    improvement: Path
    old: Path
    new: Path
    selected: Path
    operations: dict[str, int]
    zygote: Zygote

    def run(self, arguments: list, cache: Path, **more) -> dict:
        return self.zygote.run(arguments, cache, **more)

    @property
    def log(self) -> str:
        return self.zygote.log


def draw(folder: Path, counts: dict[str, int], seed: int) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    rows = ["image,light"]
    for scene, count in counts.items():
        for i in range(count):
            draw_scene(scene, rng, 32).save(folder / f"{scene}_{i:02d}.png")
            rows.append(f"{scene}_{i:02d}.png,{len(scene) + i / 100}")
    (folder / "parameters.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("killed")
    before = draw(folder / "before", {"night": 9, "snow": 9}, seed=0)
    images = draw(folder / "images", {"night": 12, "snow": 10, "wood": 8, "sea": 7}, seed=1)
    improvement = draw(folder / "improvement", {"night": 8, "wood": 9, "sea": 8}, seed=2)
    with Zygote(folder) as zygote:
        case = Case(folder, images, improvement, *(folder / n for n in ("old", "new", "selected")), {}, zygote)
        # The old output folder has clusters, an unsafe set and notes.
        assert case.run(["cluster", before, "--out", case.old], folder / "c")["status"] == 0, case.log
        assert case.run(["select", improvement, "--out", case.old, "--size", 5], folder / "c")["status"] == 0, case.log
        set_note(case.old, RccNote(0, "the first of the old"))
        shutil.copytree(case.old, case.new)
        done = case.run(["cluster", images, "--out", case.new], folder / "new cache")
        assert done["status"] == 0, case.log
        case.operations["cluster"] = done["operations"]
        shutil.copytree(case.new, case.selected)
        done = case.run(["select", improvement, "--out", case.selected, "--size", 7], folder / "another cache")
        case.operations["select"] = done["operations"]
        yield case


def files_of(folder: Path, *names: str) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def check_whole(case: Case, out: Path, old: Path, new: Path) -> None:
    """Every file is the old one or the new one; what the page would show belongs together."""
    for name in FILES:
        assert files_of(out, name) in (files_of(old, name), files_of(new, name)), name
    review = load_review(out)
    assert fingerprint(review.original) in {fingerprint(load_clusters(folder)) for folder in (old, new)}
    is_old = fingerprint(review.original) == fingerprint(load_clusters(old))
    assert [note.name for note in review.notes.values()] in ([["the first of the old"], []] if is_old else [[]])
    for rcc in review.clusters.groups:
        if gif_shows(review.clusters, out, rcc):
            kept = gif_path(old if is_old else new, rcc, review.clusters.n_rccs)
            assert gif_path(out, rcc, review.clusters.n_rccs).read_bytes() == kept.read_bytes()
    profiles = load_profiles(out)
    assert profiles in ((), load_profiles(old if is_old else new))
    try:
        unsafe = load_unsafe_set(out)
    except SAFEError as error:  # killed between two renames: it says what to do
        if "Select it again" not in str(error):
            raise
    else:
        assert unsafe in (load_unsafe_set(old), load_unsafe_set(new))


def one_kill(case: Case, step: str, tmp: Path, **kill) -> bool:
    """Kill a command, look at what it left, and run it again; whether it was killed at all."""
    out, cache = tmp / "out", tmp / "cache"
    for folder in (out, cache):
        shutil.rmtree(folder, ignore_errors=True)
    old, new = (case.old, case.new) if step == "cluster" else (case.new, case.selected)
    shutil.copytree(old, out)
    arguments = {"cluster": ["cluster", case.images, "--out", out],
                 "select": ["select", case.improvement, "--out", out, "--size", 7]}[step]  # fmt: skip
    first = case.run(arguments, cache, **kill)
    check_whole(case, out, old, new)
    second = case.run(arguments, cache)
    assert second["status"] == 0, case.log
    n_images = len(list((case.images if step == "cluster" else case.improvement).glob("*.png")))
    batches = -(-n_images // BATCH)
    # At most one batch was computed and not kept.
    assert batches <= first["batches"] + second["batches"] <= batches + 1
    assert files_of(out, *FILES, PROFILES_FILE) == files_of(new, *FILES, PROFILES_FILE)
    gifs = {path.name: path.read_bytes() for path in (new / "gifs").iterdir()}
    assert {path.name: path.read_bytes() for path in (out / "gifs").iterdir() if path.name[0] != "."} == gifs
    return first["killed"]


@pytest.mark.parametrize("step", [pytest.param("cluster", marks=pytest.mark.slow), "select"])
@pytest.mark.parametrize("some", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["some", "all"])
def test_killed_before_any_operation_on_files_the_old_or_the_new_is_there_and_a_rerun_completes(
    case, tmp_path, step, some
):
    last = case.operations[step]
    assert last > 10
    for point in (last // 3, last - 3) if some else range(last):
        assert one_kill(case, step, tmp_path, kill_at=point), point


@pytest.mark.parametrize("n", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_old_or_the_new_is_there_and_a_rerun_completes(case, tmp_path, n):
    rng = np.random.default_rng(n)
    killed = 0
    for i in range(n):
        step = ("cluster", "select")[i % 2]
        killed += one_kill(case, step, tmp_path, after=float(rng.uniform(0.02, 1.0)), delay=0.05)
    print(f"{killed} of {n} killed")
    assert killed > n / 4


@pytest.mark.parametrize("step", ["cluster", "select"])
@pytest.mark.parametrize("largest", [2000, 40_000, 400_000])
def test_a_full_disk_is_an_error_in_a_sentence_and_leaves_the_old_files(case, tmp_path, step, largest):
    out = tmp_path / "out"
    old = case.old if step == "cluster" else case.new
    shutil.copytree(old, out)
    source = case.images if step == "cluster" else case.improvement
    more = [] if step == "cluster" else ["--size", 7]
    # The features are there: the cache is a database, and could not be opened on such a disk.
    cache = tmp_path / "cache"
    cache.mkdir()
    found = case.run([step, source, "--out", out, *more], case.folder / "new cache", largest=largest)
    check_whole(case, out, old, case.new if step == "cluster" else case.selected)
    if found["status"]:
        assert found["status"] == 2, case.log
        told = case.log.partition("Exception ignored in")[0]  # NumPy 2.0 leaves its archive open
        assert told.splitlines()[-1].startswith("safe: ")
        assert "Traceback" not in told
        assert "this is a defect" not in told
    assert {path.name for path in out.rglob(".*")} <= {LOCK_FILE, WORK_FILE, MARK_FILE}


def test_a_disk_too_full_for_the_features_is_an_error_in_a_sentence_and_a_rerun_completes(case, tmp_path):
    out, cache = tmp_path / "out", tmp_path / "cache"
    for largest in (2000, 30_000, 200_000):
        found = case.run(["cluster", case.images, "--out", out], cache, largest=largest)
        assert found["status"] == 2, (largest, case.log)
        assert "safe: The feature cache" in case.log
        assert "Traceback" not in case.log
        assert "this is a defect" not in case.log
    assert case.run(["cluster", case.images, "--out", out], cache)["status"] == 0, case.log
    assert (out / LABELS_FILE).read_bytes() == (case.new / LABELS_FILE).read_bytes()


@pytest.mark.parametrize("step", ["cluster", "select"])
def test_an_output_folder_that_is_read_only_is_refused_before_the_work(case, tmp_path, step):
    out = tmp_path / "out"
    shutil.copytree(case.new, out)
    for folder in (out, out / "gifs"):
        folder.chmod(0o555)
    source = case.images if step == "cluster" else case.improvement
    found = case.run([step, source, "--out", out, *([] if step == "cluster" else ["--size", 7])], tmp_path, bound=True)
    assert (found["status"], found["batches"]) == (2, 0), case.log
    assert case.log.startswith("safe: The output folder must be a folder that SAFE can write to."), case.log
    check_whole(case, out, case.new, case.new)


def test_the_cache_opens_after_a_kill_in_the_middle_of_a_batch(case, tmp_path):
    """A batch that was not kept whole is not there at all."""
    out, cache = tmp_path / "out", tmp_path / "cache"
    found = case.run(["cluster", case.images, "--out", out], cache, after=0.3, delay=0.1)
    assert found["killed"]
    files = {file.stem for file in cache.glob("*.sqlite")}
    assert len(files) == 2
    assert IDENTITY in files
    for identity in files:
        opened = FeatureCache(identity, len(ATTRIBUTES) if identity == IDENTITY else 4224)
        rows = opened._connection.execute("SELECT count(*) FROM features").fetchone()[0]
        opened.close()
        assert rows % BATCH == 0


def test_what_a_killed_process_left_is_removed_later(clusters, tmp_path):
    write_gifs(clusters, tmp_path)
    left, fresh = (tmp_path / "gifs" / f".RCC_00-{name}.gif" for name in ("abcdefgh", "ijklmnop"))
    for path in (left, fresh):
        path.write_bytes(b"GIF")
    os.utime(left, (0, left.stat().st_mtime - LEFT_OVER_SECONDS - 60))
    (tmp_path / "gifs" / "RCC_00.gif").unlink()
    write_gifs(clusters, tmp_path)
    assert not left.exists()
    assert fresh.exists()
