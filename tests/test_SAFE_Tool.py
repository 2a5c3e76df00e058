import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import SAFE_Tool
from dbscan.resamples import FEWEST_IMAGES
from features.extractor import Extractor
from pipeline import generation
from rccs.unsafe_set import load_unsafe_set
from support.errors import SAFEError
from support.progress import Pace
from support.run_folder import CLUSTERS_FILE, FILENAMES_FILE, LABELS_FILE, PROFILES_FILE, RUN_FILE, UNSAFE_SET_FILE
from support.text import count
from tests.helpers.places import names_in
from tests.helpers.small_models import colour_model, draw_set, saved
from tests.helpers.steadied import steadied, without_steady_groups
from tests.support.test_entries import bad_paths

TOOL = Path(SAFE_Tool.__file__)
FAKED = Path(__file__).parent / "helpers" / "faked_tool.py"


def safe(*arguments: str | Path) -> int:
    """Run the command line in this process; its exit code."""
    return SAFE_Tool.main([str(argument) for argument in arguments])


def in_a_process(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess:
    """Run the command line as an engineer does."""
    return subprocess.run(
        [sys.executable, TOOL, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        encoding="utf-8",
    )


def said(text: str) -> list[str]:
    """The lines of stderr that are no progress."""
    return [line for line in text.splitlines() if line.startswith("safe: ")]


@pytest.fixture
def failing(draw_folder, tmp_path) -> Path:
    return draw_folder(tmp_path / "failing", {"night": 12, "snow": 10, "wood": 8})


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def clustered(fake_network, failing, out, capsys) -> Path:
    """An output folder that holds root cause clusters."""
    assert safe("cluster", failing, "--out", out) == 0
    capsys.readouterr()
    return out


# --- As a process -----------------------------------------------------------------------------------------------


def test_help_answers_at_once_and_imports_nothing_heavy():
    began = time.monotonic()
    code = (
        "import sys, runpy\n"
        f"sys.path.insert(0, {str(TOOL.parent)!r}); sys.argv = ['SAFE_Tool.py', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(TOOL)!r}, run_name='__main__')\n"
        "finally:\n"
        "    heavy = {'sklearn', 'tensorflow', 'keras', 'gradio', 'numpy', 'PIL', 'onnx'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0
    for command in ("ui", "cluster", "select"):
        assert re.search(rf"^ +{command} ", run.stdout, re.MULTILINE)
    assert run.stdout.endswith("heavy: []\n")
    assert run.stderr == ""
    assert time.monotonic() - began < 10


def test_an_error_of_the_engineer_is_one_plain_line_and_exit_code_2(tmp_path):
    run = in_a_process("cluster", tmp_path / "gone", "--extractor", "vgg16-conv", "--out", tmp_path / "out")
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == f"safe: Expected an image folder. Received: {tmp_path}/gone (No such file or directory).\n"


def test_selecting_before_clustering_is_one_plain_line_and_exit_code_2(failing, out):
    run = in_a_process("select", failing, "--test-accuracy", "0.9", "--out", out)
    assert run.returncode == 2
    assert run.stderr == f"safe: Expected root cause clusters. Received none in {out}. Generate them first.\n"
    assert not out.exists()


def test_a_rerun_comes_from_the_cache_without_tensorflow(fake_network, failing, out, tmp_path):
    assert safe("cluster", failing, "--out", tmp_path / "first") == 0
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(TOOL.parent)!r})\n"
        "from pathlib import Path\n"
        "import SAFE_Tool\n"
        "from features import weights\n"
        "from features.extractor import Extractor\n"
        "weights._processor_flags = set\n"
        "weights._conv_extractor = lambda: Extractor("
        f"'vgg16-conv', {fake_network.extractor.identity!r}, Path('none'))\n"
        f"code = SAFE_Tool.main(['cluster', {str(failing)!r}, '--extractor', 'vgg16-conv', '--out', {str(out)!r}])\n"
        "print(code, sorted({'tensorflow', 'keras', 'gradio'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stdout.endswith("0 []\n"), run.stderr
    assert (out / LABELS_FILE).read_bytes() == (tmp_path / "first" / LABELS_FILE).read_bytes()


def test_an_output_folder_of_any_name_can_be_printed_anywhere(fake_network, failing, tmp_path):
    assert safe("cluster", failing, "--out", tmp_path / "out") == 0
    folder = tmp_path / os.fsdecode(b"r\xe9sultats \xe2\x88\x91")
    shutil.copytree(tmp_path / "out", folder)
    run = in_a_process(
        "select", failing, "--test-accuracy", "0.5", "--out", folder, PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )
    assert run.returncode == 0, run.stderr
    assert "N = ?factor 0.3" in run.stdout
    assert (folder / FILENAMES_FILE).exists()


# --- cluster ----------------------------------------------------------------------------------------------------


def test_a_folder_of_failing_images_becomes_clusters_and_their_files(fake_network, failing, out, capsys):
    assert safe("cluster", failing, "--out", out) == 0
    printed = capsys.readouterr()
    assert names_in(out) == [CLUSTERS_FILE, "gifs", LABELS_FILE, PROFILES_FILE, RUN_FILE]
    lines = [line.split("\t") for line in (out / LABELS_FILE).read_text().splitlines()]
    assert [path for _, path in lines] == names_in(failing)
    by_scene = {
        scene: {label for label, path in lines if path.startswith(scene)} for scene in ("night", "snow", "wood")
    }
    assert all(labels - {"-1"} for labels in by_scene.values())
    assert not by_scene["night"] & by_scene["snow"] - {"-1"}
    assert re.match(r"\d root cause clusters explain \d+% of 30 failures", printed.out)
    assert "RCC 0 (" in printed.out
    assert str(out) in printed.out.splitlines()[-1]
    (notice,) = said(printed.err)
    assert notice.startswith("safe: Using vgg16-conv instead") or fake_network.extractor.notice == notice
    assert "Extracting features: 30 / 30" in printed.err


def test_loose_rccs_are_counted_and_marked(fake_network, failing, out, capsys, monkeypatch):
    find = generation.find_root_cause_clusters

    def found(*arguments, **named):
        clusters = find(*arguments, **named)
        scenes = ["night", "snow", "wood"]
        labels = np.array([scenes.index(path.split("_")[0]) for path in clusters.paths])
        reach = np.ones(3, np.float32)
        return steadied(dataclasses.replace(clusters, labels=labels, is_core=labels >= 0, reach=reach))

    monkeypatch.setattr(generation, "find_root_cause_clusters", found)
    assert safe("cluster", failing, "--out", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 root cause clusters explain 100% of 30 failures · 1 of 3 is loose"
    assert lines[2].startswith("  RCC 1 (10 images, 33.3%): loose, together 52%")
    assert "loose" not in lines[1] + lines[3]
    assert lines[4].endswith(" · consensus of 100 random parts")
    assert json.loads((out / RUN_FILE).read_text())["steadiness"]["loose"] == [1]


def test_a_run_without_steady_groups_says_so_and_nothing_can_be_selected_for_it(
    fake_network, failing, out, capsys, monkeypatch
):
    find = generation.find_root_cause_clusters
    monkeypatch.setattr(generation, "find_root_cause_clusters", lambda *a, **k: without_steady_groups(find(*a, **k)))
    assert safe("cluster", failing, "--out", out) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "No root cause clusters in 30 failures: no steady groups"
    assert second.startswith("No steady groups: in 100 random parts of the images, no group of images was found again")
    assert safe("report", "--out", out) == 0
    assert safe("select", failing, "--test-accuracy", "0.9", "--out", out) == 2
    (line,) = said(capsys.readouterr().err)
    assert line == (
        "safe: Expected at least one root cause cluster to select for. Received none: all failing images are in no "
        "cluster. Generate clusters from more failing images."
    )


def test_too_few_images_to_measure_steadiness_are_told(fake_network, draw_folder, out, tmp_path, capsys):
    folder = draw_folder(tmp_path / "few", {"night": 6, "snow": 6, "wood": 6})
    assert safe("cluster", folder, "--out", out) == 0
    printed = capsys.readouterr().out
    assert f"\nHow steady RCCs are was not measured: there are fewer than {FEWEST_IMAGES} images.\n" in printed
    assert "consensus" not in printed


def test_smaller_frames_of_a_gif_are_told_and_recorded(fake_network, failing, out, capsys, monkeypatch):
    monkeypatch.setattr("rccs.gifs.LARGEST_GIF", 400_000)
    assert safe("cluster", failing, "--out", out) == 0
    told = [line.removeprefix("safe: ") for line in said(capsys.readouterr().err) if "GIF" in line]
    assert re.match(r"The GIF of RCC 0 has \d+ frames, drawn \d+ pixels wide instead of 288", told[0])
    assert json.loads((out / RUN_FILE).read_text())["gifs"]["notes"] == told


def test_the_choice_of_the_substitute_is_recorded_in_the_run(clustered):
    record = json.loads((clustered / RUN_FILE).read_text())
    assert record["extractor"]["name"] == "vgg16-conv"
    assert record["extractor"]["notice"].startswith("Using vgg16-conv instead of vgg16, without the paper's")
    assert record["counts"]["images"] == 30


def test_the_same_folder_gives_the_same_bytes(fake_network, failing, tmp_path, monkeypatch):
    written = []
    for name in ("one", "two"):
        monkeypatch.setenv("SAFE_CACHE", str(tmp_path / f"cache-{name}"))
        assert safe("cluster", failing, "--out", tmp_path / name) == 0
        files = [LABELS_FILE, *(f"gifs/{gif}" for gif in names_in(tmp_path / name / "gifs"))]
        written.append([(file, (tmp_path / name / file).read_bytes()) for file in files])
    assert written[0] == written[1]
    assert fake_network.loads == 2


def test_skipped_images_are_named_with_their_reason(fake_network, failing, out, capsys):
    (failing / "night_03.png").write_bytes(b"")
    (failing / 'größe, "x".png').write_text("no image")
    os.mkfifo(failing / "pipe.png")
    assert safe("cluster", failing, "--out", out) == 0
    printed = capsys.readouterr()
    skipped = [line for line in said(printed.err) if "skipped" in line]
    assert skipped == [
        "safe: skipped 'größe, \"x\".png': not an image, or not in a format that SAFE reads",
        "safe: skipped 'night_03.png': the file is empty",
        "safe: skipped 'pipe.png': not a regular file",
    ]
    assert "3 skipped" in printed.out
    assert len(json.loads((out / RUN_FILE).read_text())["skipped"]) == 3


@pytest.mark.parametrize("n", [1, 2, 3])
def test_very_few_images_are_no_error(fake_network, draw_folder, out, tmp_path, capsys, n):
    folder = draw_folder(tmp_path / "few", {"snow": n})
    assert safe("cluster", folder, "--out", out) == 0
    assert len((out / LABELS_FILE).read_text().splitlines()) == n
    assert f" {count(n, 'failure')}" in capsys.readouterr().out.splitlines()[0]
    code = safe("select", folder, "--size", 1, "--out", out)
    lines = said(capsys.readouterr().err)
    has_rcc = "0\t" in (out / LABELS_FILE).read_text()
    assert code == (0 if has_rcc else 2)
    assert has_rcc or "at least one root cause cluster" in lines[0]


def test_identical_images_become_one_cluster_with_a_frame_each(fake_network, out, tmp_path):
    folder = tmp_path / "same"
    folder.mkdir()
    for i in range(9):
        Image.new("RGB", (20, 20), "navy").save(folder / f"{i}.png")
    assert safe("cluster", folder, "--out", out) == 0
    assert (out / LABELS_FILE).read_text() == "".join(f"0\t{i}.png\n" for i in range(9))
    with Image.open(out / "gifs" / "RCC_00.gif") as gif:
        assert gif.n_frames == 9
    assert safe("select", folder, "--size", 4, "--out", out) == 0
    assert (out / FILENAMES_FILE).read_text() == "0.png\n1.png\n2.png\n3.png\n"
    assert ",true," in (out / UNSAFE_SET_FILE).read_text()


def test_the_selection_is_made_in_the_precision_of_the_clusters(fake_network, failing, out, capsys):
    assert safe("cluster", failing, "--precision", "bfloat16", "--out", out) == 0
    assert (
        "How these were found: vgg16-conv in bfloat16 · PCA, then neighbour averaging · DBSCAN with eps "
        in capsys.readouterr().out
    )
    assert json.loads((out / RUN_FILE).read_text())["extractor"]["identity"] == "vgg16-conv-fake-tiles-bfloat16"
    assert safe("select", failing, "--size", 4, "--out", out) == 0
    assert sorted(path.name for path in Path(os.environ["SAFE_CACHE"]).glob("*.sqlite")) == [
        "attributes-1.sqlite",
        "vgg16-conv-fake-tiles-bfloat16.sqlite",
    ]
    assert fake_network.images_seen == len(names_in(failing))


def test_a_place_for_the_workers_without_a_cluster_is_an_error(failing, out, capsys):
    assert safe("cluster", failing, "--dask-images", "/mnt/images", "--out", out) == 2
    assert said(capsys.readouterr().err) == ["safe: --dask-images requires --dask. Received without it: /mnt/images"]


@pytest.mark.parametrize("command", [("cluster",), ("select", "--size", "4")])
def test_a_cluster_that_does_not_answer_is_one_plain_line(clustered, failing, monkeypatch, capsys, command):
    pytest.importorskip("distributed")
    monkeypatch.setattr("features.on_cluster.CONNECT_SECONDS", 0.2)
    assert safe(command[0], failing, *command[1:], "--dask", "tcp://127.0.0.1:9", "--out", clustered) == 2
    assert said(capsys.readouterr().err)[0].startswith("safe: Expected the address of Dask's scheduler. Received: tcp:")


def test_names_of_any_kind_come_through_to_every_file(fake_network, failing, out):
    odd = ["two words.png", 'a,"b"; c.png', "größe-図.png", "<img src=x>.png", os.fsdecode(b"caf\xe9.png"), "-1.png"]
    for old, new in zip(sorted(failing.iterdir()), odd, strict=False):
        old.rename(failing / new)
    assert safe("cluster", failing, "--out", out) == 0
    assert safe("select", failing, "--size", 30, "--out", out) == 0
    labels = (out / LABELS_FILE).read_bytes().split(b"\n")[:-1]
    assert {os.fsdecode(line.split(b"\t")[1]) for line in labels} == set(names_in(failing))
    selected = (out / FILENAMES_FILE).read_bytes().split(b"\n")[:-1]
    assert {os.fsdecode(line) for line in selected} == set(names_in(failing))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.write_text("no image"), "Received the file"),
        (lambda path: path.mkdir(), "Received no images"),
        (lambda path: (path.mkdir(), (path / "a.png").touch()), "all of them unreadable"),
    ],
)
def test_a_bad_image_folder_is_an_error_that_leaves_the_last_run_as_it_was(clustered, tmp_path, capsys, make, message):
    before = {path: path.read_bytes() for path in clustered.rglob("*") if path.is_file()}
    make(tmp_path / "bad")
    assert safe("cluster", tmp_path / "bad", "--out", clustered) == 2
    (line,) = said(capsys.readouterr().err)
    assert message in line
    assert {path: path.read_bytes() for path in clustered.rglob("*") if path.is_file()} == before


def test_an_output_folder_that_cannot_be_written_is_an_error_before_any_work(fake_network, failing, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert safe("cluster", failing, "--out", tmp_path / "file" / "out") == 2
    (line,) = said(capsys.readouterr().err)
    assert "folder that SAFE can write to" in line
    assert fake_network.images_seen == 0


def test_a_run_that_is_interrupted_says_that_it_can_go_on(fake_network, failing, out, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(generation, "find_root_cause_clusters", interrupted)
    assert safe("cluster", failing, "--out", out) == 130
    (line,) = said(capsys.readouterr().err)
    assert "run the same command again to continue from there" in line
    assert not (out / LABELS_FILE).exists()


def test_a_defect_is_one_line_and_its_traceback_is_in_the_log(fake_network, failing, out, monkeypatch, capsys):
    def defect(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(generation, "find_root_cause_clusters", defect)
    assert safe("cluster", failing, "--out", out) == 1
    (line,) = said(capsys.readouterr().err)
    log = Path(os.environ["SAFE_CACHE"]) / "defects.log"
    assert line == f"safe: this is a defect in SAFE (ZeroDivisionError); details are in {log}. Please report it."
    assert "raise ZeroDivisionError" in log.read_text()


MODEL, TRAIN = ("retrain", "m.keras"), ("--train", "t", "--test", "t")
PATHS = {
    "cluster": ("cluster", "PATH"),
    "cluster --out": ("cluster", "images", "--out", "PATH"),
    "cluster --weights": ("cluster", "images", "--weights", "PATH"),
    "cluster --parameters": ("cluster", "images", "--parameters", "PATH"),
    "select": ("select", "PATH", "--size", "3"),
    "select --weights": ("select", "images", "--size", "3", "--weights", "PATH"),
    "select --model": ("select", "images", "--model", "PATH", "--test", "t"),
    "select --test": ("select", "images", "--model", "m.keras", "--test", "PATH"),
    "failures MODEL": ("failures", "PATH", "t"),
    "failures TEST": ("failures", "m.keras", "PATH"),
    "failures --train": ("failures", "m.keras", "t", "--train", "PATH"),
    "failures --targets": ("failures", "m.keras", "t", "--targets", "PATH", "--threshold", "1"),
    "failures --coco": ("failures", "--coco", "truth.json", "results.json", "PATH"),
    "crops": ("crops", "info.json", "results.json", "PATH"),
    "failures --predictions": ("failures", "t", "--predictions", "PATH"),
    "failures --predictions TEST": ("failures", "PATH", "--predictions", "p.csv"),
    "compare --before": ("compare", "--before", "PATH", "--after", "a.csv", "--test", "t"),
    "compare --test": ("compare", "--before", "b.csv", "--after", "a.csv", "--test", "PATH"),
    "compare --out": ("compare", "--before", "b.csv", "--after", "a.csv", "--test", "t", "--out", "PATH"),
    "retrain MODEL": ("retrain", "PATH", *TRAIN),
    "retrain --train": (*MODEL, "--train", "PATH", "--test", "t"),
    "retrain --test": (*MODEL, "--train", "t", "--test", "PATH"),
    "retrain --labels": (*MODEL, *TRAIN, "--labels", "PATH"),
    "retrain --improvement": (*MODEL, *TRAIN, "--improvement", "PATH"),
    "retrain --targets": (*MODEL, *TRAIN, "--targets", "PATH", "--threshold", "1"),
    "report --out": ("report", "--out", "PATH"),
    "export --out": ("export", "--out", "PATH"),
    "export --to": ("export", "--to", "PATH"),
    "export --labelled": ("export", "--labelled", "PATH"),
    "export --improvement": ("export", "--labelled", "l", "--improvement", "PATH"),
    "ui --out": ("ui", "--port", "1", "--out", "PATH"),
    "ui --root": ("ui", "--port", "1", "--root", "PATH"),
    "ui --example": ("ui", "--port", "1", "--example", "PATH"),
}


@pytest.mark.parametrize("arguments", PATHS.values(), ids=PATHS)
def test_no_way_to_mistype_a_path_ends_in_a_traceback(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    before = names_in(tmp_path)
    for kind, path in bad_paths(tmp_path).items():
        assert safe(*(path if argument == "PATH" else argument for argument in arguments)) == 2, kind
        (line,) = capsys.readouterr().err.splitlines()
        expected = "an? [A-Za-z]|parameters as|predictions as|the folder of"
        assert re.match(rf"safe: Expected ({expected}).*\. Received: ", line), line
        assert "\0" not in line
    assert set(names_in(tmp_path)) - set(before) == {"loop", "circle"}


@pytest.mark.parametrize("options", [("--factor", "1e308"), ("--factor", "1e9"), ("--test-size", "1e308")])
def test_numbers_beyond_all_measure_are_one_plain_line(clustered, failing, capsys, options):
    given = ["--test-accuracy", "0.9", "--test-size", "1000", *options]
    assert safe("select", failing, *given, "--out", clustered) == 2
    assert "at most 1,000,000,000 images" in said(capsys.readouterr().err)[0]
    for size in ("1e308", "1e999", "1" * 400):
        assert safe("select", failing, "--size", size, "--out", clustered) == 2
        assert said(capsys.readouterr().err)[0].startswith("safe: size must be ")


@pytest.mark.parametrize(
    "closed", ["0<&- 1>&- 2>&-", *(pytest.param(one, marks=pytest.mark.slow) for one in ("1>&-", "2>&-", "1>&- 2>&-"))]
)
def test_a_stream_that_the_shell_has_closed_changes_nothing_else(draw_folder, tmp_path, closed):
    folder = draw_folder(tmp_path / "images", {"night": 6})
    command = f'exec "$0" "$@" {closed}'

    def run(*arguments: str | Path) -> subprocess.CompletedProcess:
        shell = ["sh", "-c", command, sys.executable, FAKED]
        return subprocess.run([*shell, *arguments], capture_output=True, check=False)

    assert run("cluster", folder, "--out", tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / LABELS_FILE).read_text().count("\n") == 6
    bad = run("cluster", tmp_path / "gone", "--out", tmp_path / "out")
    assert bad.returncode == 2
    assert b"Traceback" not in bad.stderr + bad.stdout


def test_a_terminal_that_reads_no_progress_loses_nothing(tmp_path, draw_folder):
    folder = draw_folder(tmp_path / "images", {"night": 6})
    command = [sys.executable, FAKED, "cluster", folder, "--out", tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        run.stderr.close()
    assert (tmp_path / "out" / LABELS_FILE).is_file()


def test_without_a_home_folder_there_is_a_sentence(failing, out, monkeypatch, capsys):
    for variable in ("HOME", "SAFE_CACHE", "KERAS_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    monkeypatch.setattr("features.weights._conv_extractor", lambda: Extractor("vgg16-conv", "a-b", Path("none")))
    assert safe("cluster", failing, "--out", out) == 2
    (line,) = said(capsys.readouterr().err)
    assert "SAFE_CACHE" in line
    assert safe("cluster", failing, "--extractor", "vgg16-fc2", "--out", out) == 2
    (line,) = said(capsys.readouterr().err)
    assert "KERAS_HOME" in line


def test_missing_weights_are_an_error_that_names_them(failing, out, tmp_path, capsys):
    assert safe("cluster", failing, "--weights", tmp_path / "gone.h5", "--out", out) == 2
    (line,) = said(capsys.readouterr().err)
    assert "gone.h5, which does not exist" in line


# --- select -----------------------------------------------------------------------------------------------------


def test_an_improvement_folder_becomes_the_unsafe_set(clustered, draw_folder, tmp_path, capsys):
    improvement = draw_folder(tmp_path / "improvement", {"night": 9, "snow": 9, "wood": 9}, seed=4)
    assert safe("select", improvement, "--test-accuracy", "0.5", "--out", clustered) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "9 of 27 improvement images selected to label (the unsafe set)"
    assert printed[1].startswith("N = ⌈factor 0.3 · test-set size 60 · accuracy 0.5⌉ = 9")
    names = (clustered / FILENAMES_FILE).read_text().splitlines()
    assert len(set(names)) == 9
    assert set(names) <= set(names_in(improvement))


def test_size_test_size_and_factor_are_taken_from_the_command_line(clustered, failing, capsys):
    for options, expected in [
        (["--size", "7"], 7),
        (["--test-accuracy", "0.5", "--test-size", "20"], 3),
        (["--test-accuracy", "0.5", "--test-size", "20", "--factor", "1"], 10),
    ]:
        assert safe("select", failing, *options, "--out", clustered) == 0
        assert len((clustered / FILENAMES_FILE).read_text().splitlines()) == expected


def test_rccs_get_images_by_their_size_or_as_many_each(clustered, failing):
    for options, expected in [([], [8, 7, 5]), (["--quota", "equal"], [7, 7, 6])]:
        assert safe("select", failing, "--size", 20, *options, "--out", clustered) == 0
        assert np.bincount([image.rcc for image in load_unsafe_set(clustered).images]).tolist() == expected


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A model that tells colours apart, and its test set, of which it gets 15 of 35 right."""
    folder = tmp_path_factory.mktemp("colours")
    test = draw_set(folder / "test", 5, {"red": ("blue", 15), "green": ("red", 5)})
    return saved(colour_model(), folder / "colours.keras"), test


def test_with_the_model_images_that_it_is_likely_to_get_wrong_are_preferred(
    clustered, draw_folder, colours, tmp_path, capsys
):
    model, test = colours
    improvement = draw_folder(tmp_path / "improvement", {"night": 9, "snow": 9, "wood": 9}, seed=4)
    assert safe("select", improvement, "--model", model, "--test", test, "--out", clustered) == 0
    printed = capsys.readouterr().out.splitlines()
    # ⌈0.3 · 35 · 15/35⌉
    assert printed[0] == "5 of 27 improvement images selected to label (the unsafe set)"
    assert "test-set size 35 · accuracy 0.428571⌉ = 5" in printed[1]
    assert "colours.keras is most likely to get wrong" in printed[2]
    assert load_unsafe_set(clustered).model == str(model)
    assert safe("select", improvement, "--size", 9, "--out", clustered) == 0
    assert "likely" not in capsys.readouterr().out


def test_an_accuracy_that_is_given_goes_before_that_of_the_model(clustered, failing, colours, capsys):
    model, test = colours
    options = ["--model", model, "--test", test, "--test-accuracy", "0.5", "--test-size", 20]
    assert safe("select", failing, *options, "--out", clustered) == 0
    assert "test-set size 20 · accuracy 0.5⌉ = 3" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "named"), [("--model", "only the model"), ("--test", "only the test folder")])
def test_a_model_without_its_test_set_is_an_error_and_the_other_way_round(clustered, failing, option, named, capsys):
    assert safe("select", failing, option, "x", "--size", 5, "--out", clustered) == 2
    (line,) = said(capsys.readouterr().err)
    assert line.startswith("safe: Expected a model and its test folder")
    assert named in line


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        ("93", "safe: test_accuracy must be between 0 and 1. Received: 93; a percentage?"),
        ("-1", "safe: test_accuracy must be between 0 and 1. Received: -1"),
        ("abc", "safe: test_accuracy must be a number. Received: 'abc'"),
    ],
)
def test_a_bad_accuracy_is_an_error_that_keeps_the_last_set(clustered, failing, capsys, accuracy, message):
    assert safe("select", failing, "--size", 5, "--out", clustered) == 0
    before = (clustered / FILENAMES_FILE).read_bytes()
    capsys.readouterr()
    assert safe("select", failing, "--test-accuracy", accuracy, "--out", clustered) == 2
    assert said(capsys.readouterr().err) == [message]
    assert (clustered / FILENAMES_FILE).read_bytes() == before


def test_neither_accuracy_nor_size_is_an_error(clustered, failing, capsys):
    assert safe("select", failing, "--out", clustered) == 2
    assert said(capsys.readouterr().err) == [
        "safe: Expected the test accuracy, or the size of the unsafe set. Received neither."
    ]


# np.load leaves a file open that turns out to be no archive
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_truncated_clusters_are_an_error_that_says_to_generate_them_again(clustered, failing, capsys, share):
    path = clustered / CLUSTERS_FILE
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert safe("select", failing, "--size", 3, "--out", clustered) == 2
    (line,) = said(capsys.readouterr().err)
    assert "must be a complete file written by SAFE" in line
    assert "Generate the clusters again" in line


# np.load leaves a file open that turns out to be no archive
def test_clusters_with_changed_bytes_never_end_in_a_traceback(clustered, failing, capsys):
    path = clustered / CLUSTERS_FILE
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    codes = []
    for at in [*rng.integers(0, len(data), 20), *range(len(data) - 60, len(data), 5), *range(0, 60, 5)]:
        changed = bytearray(data)
        changed[at] ^= 0xFF
        path.write_bytes(changed)
        codes.append(safe("select", failing, "--size", 3, "--out", clustered))
    assert set(codes) <= {0, 2}
    assert codes.count(2) > 10


def test_selecting_after_the_weights_are_gone_names_what_is_missing(
    clustered, failing, draw_folder, tmp_path, capsys, monkeypatch
):
    def gone():
        raise SAFEError("The weights are gone.")

    monkeypatch.setattr("features.weights._conv_extractor", gone)
    assert safe("select", failing, "--size", 3, "--out", clustered) == 0  # known images
    improvement = draw_folder(tmp_path / "improvement", {"sea": 3}, seed=9)
    assert safe("select", improvement, "--size", 3, "--out", clustered) == 2
    (line,) = said(capsys.readouterr().err)
    assert "vgg16-conv-fake-float32, whose weights are no longer found" in line


# --- The words --------------------------------------------------------------------------------------------------


def test_the_time_left_follows_from_the_rate_so_far(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    assert pace.describe("Extracting features", 0, 1200) == "Extracting features: 0 / 1,200"
    now[0] += 0.5
    assert pace.describe("Extracting features", 300, 1200) == "Extracting features: 300 / 1,200"  # too early to tell
    now[0] += 29.5
    assert pace.describe("Extracting features", 300, 1200) == "Extracting features: 300 / 1,200, 1:30 left"
    now[0] += 1000
    assert pace.describe("Extracting features", 1200, 1200) == "Extracting features: 1,200 / 1,200"


def test_each_piece_of_work_has_a_time_of_its_own(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    pace.describe("Extracting features", 0, 10)
    now[0] = 100
    pace.describe("Drawing GIFs", 0, 10)
    now[0] = 102
    assert pace.describe("Drawing GIFs", 5, 10) == "Drawing GIFs: 5 / 10, 0:02 left"


def test_the_time_left_is_that_of_all_epochs_and_counts_only_what_this_run_has_done(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    pace.describe("Retraining, epoch 3 of 5", 200, 500)  # goes on after its second epoch
    now[0] = 30
    assert pace.describe("Retraining, epoch 4 of 5", 350, 500) == "Retraining, epoch 4 of 5: 350 / 500, 0:30 left"


@pytest.mark.parametrize(("n", "text"), [(0, "0 images"), (1, "1 image"), (1200, "1,200 images")])
def test_a_count_agrees_with_its_noun(n, text):
    assert count(n, "image") == text


def test_the_name_of_a_file_steers_no_terminal_and_forges_no_line(fake_network, draw_folder, tmp_path, capsys):
    folder = draw_folder(tmp_path / "images", {"night": 3})
    for name in ("\x1b]0;owned\x07\x1b[2J.png", "a\nsafe: all is well\r.png", "\u202egnp.exe.png"):
        (folder / name).write_bytes(b"no image")
    assert safe("cluster", folder, "--out", tmp_path / "out") == 0
    assert safe("cluster", f"{folder}/\x1b[2J\nsafe: all is well", "--out", tmp_path / "out") == 2
    printed = capsys.readouterr()
    assert not set(printed.out + printed.err) & set("\x1b\x07\r\u202e")
    assert "\nsafe: all is well" not in printed.err
    assert printed.err.count("safe: skipped") == 3


@pytest.mark.slow
def test_output_that_nobody_reads_to_its_end_is_no_error(tmp_path, draw_folder):
    folder = draw_folder(tmp_path / "images", {"night": 6})
    command = [sys.executable, FAKED, "cluster", folder, "--out", tmp_path / "out"]
    environment = os.environ | {"SAFE_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as run:
        run.stdout.close()
        assert b"Traceback" not in run.stderr.read()
    assert run.returncode == 0
    assert (tmp_path / "out" / "labels.txt").is_file()
