"""`cluster` and `select` are killed at any point: what lies there afterwards is whole, and the same command goes on."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from safe_dnn.rccs.clusters import LABELS_FILE, fingerprint
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import load_review, set_note
from safe_dnn.rccs.unsafe_set import UnsafeSet, load_unsafe_set
from safe_dnn.report.exports import SHOWN, mend
from safe_dnn.store.runs import SELECTION, present_runs
from tests.helpers.killing import Zygote
from tests.helpers.places import OWN, check_entries
from tests.helpers.scenes import draw_scenes

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

    def sides_of(self, step: str) -> tuple[Path, Path]:
        """The output folder before a command and after it."""
        return (self.old, self.new) if step == "cluster" else (self.new, self.selected)

    def run(self, step: str, out: Path, cache: Path, **more) -> dict:
        given = [self.images] if step == "cluster" else [self.improvement, "--size", 7]
        return self.zygote.run([step, *given, "--out", out], cache, **more)


def draw(folder: Path, counts: dict[str, int], seed: int) -> Path:
    rows = [f"{scene}_{i:02d}.png,{len(scene) + i / 100}" for scene, count in counts.items() for i in range(count)]
    (draw_scenes(folder, counts, seed, 32) / "parameters.csv").write_text("\n".join(["image,light", *rows]))
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
        for command in (["cluster", before], ["select", improvement, "--size", 5]):
            assert zygote.run([*command, "--out", case.old], folder / "c")["status"] == 0, zygote.log
        set_note(case.old, Note(0, "the first of the old"))
        shutil.copytree(case.old, case.new)
        done = case.run("cluster", case.new, folder / "new cache")
        assert done["status"] == 0, zygote.log
        case.operations["cluster"] = done["operations"]
        shutil.copytree(case.new, case.selected)
        case.operations["select"] = case.run("select", case.selected, folder / "another cache")["operations"]
        yield case


@pytest.fixture
def out(case) -> Iterator[Path]:
    """Where to copy an output folder to: beside the images, as before."""
    out = case.folder / "out"
    yield out
    for folder in (out, *out.glob("*/")):
        folder.chmod(0o755)
    shutil.rmtree(out)


def files_of(folder: Path) -> dict[str, bytes]:
    """The files that show the present state."""
    files = [folder / name for name in SHOWN if (folder / name).is_file()]
    gifs = [path for path in (folder / "gifs").iterdir() if path.name[0] != "."]
    return {path.name: path.read_bytes() for path in (*files, *gifs)}


def state_of(folder: Path) -> tuple[str, list[str], UnsafeSet | None]:
    """The clusters, what was said of them, and the unsafe set."""
    review = load_review(folder)
    unsafe = load_unsafe_set(folder) if SELECTION in present_runs(folder) else None
    return fingerprint(review.original), [note.name for note in review.notes.values()], unsafe


def check_whole(out: Path, old: Path, new: Path) -> None:
    """All is as before or as after; when SAFE next opens the folder, its files show that."""
    check_entries(out)
    mend(out)
    there = old if state_of(out) == state_of(old) else new
    assert state_of(out) == state_of(there)
    assert files_of(out) == files_of(there)


def one_kill(case: Case, step: str, out: Path, cache: Path, **kill) -> bool:
    """Kill a command, look at what it left, and run it again; whether it was killed at all."""
    for folder in (out, cache):
        shutil.rmtree(folder, ignore_errors=True)
    old, new = case.sides_of(step)
    shutil.copytree(old, out)
    first = case.run(step, out, cache, **kill)
    check_whole(out, old, new)
    second = case.run(step, out, cache)
    assert second["status"] == 0, case.zygote.log
    n_images = len(list((case.images if step == "cluster" else case.improvement).glob("*.png")))
    batches = -(-n_images // BATCH)
    # At most one batch was computed and not kept.
    assert batches <= first["batches"] + second["batches"] <= batches + 1
    assert state_of(out) == state_of(new)
    assert files_of(out) == files_of(new)
    return first["killed"]


@pytest.mark.parametrize("step", [pytest.param("cluster", marks=pytest.mark.slow), "select"])
@pytest.mark.parametrize("some", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["some", "all"])
def test_killed_before_any_operation_on_files_the_old_or_the_new_is_there_and_a_rerun_completes(
    case, out, tmp_path, step, some
):
    last = case.operations[step]
    assert last > 10
    for point in (last // 3, last - 3) if some else range(last):
        assert one_kill(case, step, out, tmp_path / "cache", kill_at=point), point


@pytest.mark.slow
def test_killed_at_random_moments_the_old_or_the_new_is_and_a_rerun_completes(case, out, tmp_path):
    rng = np.random.default_rng(60)
    killed, n = 0, 24
    for i in range(n):
        step = ("cluster", "select")[i % 2]
        killed += one_kill(case, step, out, tmp_path / "cache", after=float(rng.uniform(0.02, 1.0)), delay=0.05)
    print(f"{killed} of {n} killed")
    assert killed > n / 4


@pytest.mark.parametrize("step", ["cluster", "select"])
@pytest.mark.parametrize("largest", [40_000, pytest.param(400_000, marks=pytest.mark.slow)])
def test_a_full_disk_is_an_error_in_a_sentence_and_leaves_the_old_or_the_new(case, out, step, largest):
    old, new = case.sides_of(step)
    shutil.copytree(old, out)
    # The features are there: the cache is a database, and could not be opened on such a disk.
    found = case.run(step, out, case.folder / "new cache", largest=largest)
    check_whole(out, old, new)
    if found["status"]:
        assert found["status"] == 2, case.zygote.log
        told = case.zygote.log.partition("Exception ignored in")[0]  # NumPy 2.0 leaves its archive open
        assert told.splitlines()[-1].startswith("safe: ")
        assert "Traceback" not in told
        assert "this is a defect" not in told
        assert ("The results are kept" in told) == (state_of(out) == state_of(new))
    assert {path.name for path in out.rglob(".*")} <= OWN


def test_a_disk_too_full_for_the_features_is_an_error_in_a_sentence_and_a_rerun_completes(case, tmp_path):
    out, cache = tmp_path / "out", tmp_path / "cache"
    for largest in (2000, 200_000):
        found = case.run("cluster", out, cache, largest=largest)
        assert found["status"] == 2, (largest, case.zygote.log)
        assert "safe: The feature cache" in case.zygote.log
        assert "Traceback" not in case.zygote.log
        assert "this is a defect" not in case.zygote.log
    assert case.run("cluster", out, cache)["status"] == 0, case.zygote.log
    assert (out / LABELS_FILE).read_bytes() == (case.new / LABELS_FILE).read_bytes()
