import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from safe_dnn import SAFE_Tool
from safe_dnn.api import generation
from safe_dnn.rccs.clusters import LABELS_FILE, RUN_FILE
from safe_dnn.rccs.profiles import PROFILES_FILE
from safe_dnn.rccs.unsafe_set import FILENAMES_FILE
from safe_dnn.store.database import RUNS_FOLDER
from tests.helpers.places import digests_of, in_run, names_in
from tests.support.test_entries import bad_paths

TOOL = Path(SAFE_Tool.__file__)
FAKED = Path(__file__).parent / "helpers" / "faked_tool.py"


def safe(*arguments: str | Path) -> int:
    """Run the command line in this process; its exit code."""
    return SAFE_Tool.main([str(argument) for argument in arguments])


def in_a_process(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess:
    """Run the command line as an engineer does."""
    command = [sys.executable, TOOL, *arguments]
    here = {**os.environ, **environment}
    return subprocess.run(command, env=here, capture_output=True, timeout=60, encoding="utf-8")


def said(text: str) -> list[str]:
    """The lines of stderr that are no progress."""
    return [line for line in text.splitlines() if line.startswith("safe: ")]


@pytest.fixture
def failing(draw_folder, tmp_path) -> Path:
    return draw_folder(tmp_path / "failing", {"night": 12, "snow": 10, "wood": 8})


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


# --- As a process -----------------------------------------------------------------------------------------------


def test_a_password_is_read_from_a_file_or_the_environment(tmp_path, monkeypatch, capsys):
    served, ui = [], ["ui", "--out", str(tmp_path)]
    monkeypatch.setattr("safe_dnn.page.app.serve", lambda out, **given: served.append(given["auth"]))
    (tmp_path / "password").write_text("ann:wörd \n", encoding="utf-8")
    assert SAFE_Tool.main([*ui, "--password-file", str(tmp_path / "password")]) == 0
    monkeypatch.setenv("SAFE_AUTH", "bob:x")
    assert SAFE_Tool.main(ui) == 0
    assert SAFE_Tool.main([*ui, "--auth", "cem:y"]) == 0
    assert served == ["ann:wörd ", "bob:x", "cem:y"]
    assert SAFE_Tool.main([*ui, "--auth", "a:b", "--password-file", str(tmp_path / "password")]) == 2
    assert SAFE_Tool.main([*ui, "--password-file", str(tmp_path / "none")]) == 2
    assert "Expected either --auth or --password-file. Received both." in capsys.readouterr().err


def test_an_error_of_the_engineer_is_one_plain_line_and_exit_code_2(tmp_path):
    run = in_a_process("cluster", tmp_path / "gone", "--extractor", "vgg16-conv", "--out", tmp_path / "out")
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == f"safe: Expected an image folder. Received: {tmp_path}/gone (No such file or directory).\n"


@pytest.mark.slow
def test_all_but_the_network_goes_without_tensorflow_and_the_page(failing, out):
    command = [sys.executable, "-X", "importtime", FAKED, "cluster", failing, "--out", out]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert not {"tensorflow", "keras", "gradio"} & {line.split("|")[-1].strip() for line in run.stderr.splitlines()}


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
    assert names_in(out) == ["gifs", LABELS_FILE, PROFILES_FILE, RUNS_FOLDER]
    lines = [line.split("\t") for line in (out / LABELS_FILE).read_text().splitlines()]
    assert [path for _, path in lines] == names_in(failing)
    by_scene = {
        scene: {label for label, path in lines if path.startswith(scene)} for scene in ("night", "snow", "wood")
    }
    assert all(labels - {"-1"} for labels in by_scene.values())
    assert not by_scene["night"] & by_scene["snow"] - {"-1"}
    assert re.match(r"\d root cause clusters hold \d+% of 30 failures", printed.out)
    assert "RCC 0 (" in printed.out
    assert str(out) in printed.out.splitlines()[-1]
    (notice,) = said(printed.err)
    assert notice.startswith("safe: Using vgg16-conv instead") or fake_network.extractor.notice == notice
    assert "Extracting features: 30 / 30" in printed.err


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
        "safe: skipped 'night_03.png': the file is empty", "safe: skipped 'pipe.png': not a regular file",
    ]  # fmt: skip
    assert "3 skipped" in printed.out
    assert len(json.loads(in_run(out, RUN_FILE).read_text())["skipped"]) == 3


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


def test_a_bad_image_folder_is_an_error_that_leaves_the_last_run_as_it_was(
    fake_network, failing, out, tmp_path, capsys
):
    assert safe("cluster", failing, "--out", out) == 0
    before = digests_of(out)
    capsys.readouterr()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").touch()
    assert safe("cluster", tmp_path / "bad", "--out", out) == 2
    (line,) = said(capsys.readouterr().err)
    assert "all of them unreadable" in line
    assert digests_of(out) == before


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        (KeyboardInterrupt, 130, "run the same command again to continue from there"),
        (ZeroDivisionError, 1, "safe: this is a defect in SAFE (ZeroDivisionError); details are in {}. Please report"),
    ],
)
def test_an_interrupted_run_says_that_it_can_go_on_and_a_defect_is_one_line_with_its_traceback_in_the_log(
    fake_network, failing, out, monkeypatch, capsys, fault, status, told
):
    def end(*_, **__):
        raise fault

    monkeypatch.setattr(generation, "find_root_cause_clusters", end)
    assert safe("cluster", failing, "--out", out) == status
    (line,) = said(capsys.readouterr().err)
    log = Path(os.environ["SAFE_CACHE"]) / "defects.log"
    assert told.format(log) in line
    assert not (out / LABELS_FILE).exists()
    assert log.exists() == (status == 1)
    assert status != 1 or "raise fault" in log.read_text()


@pytest.mark.slow
def test_streams_that_the_shell_has_closed_or_nobody_reads_change_nothing_else(draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "images", {"night": 6})

    def run(*arguments: str | Path) -> subprocess.CompletedProcess:
        shell = ["sh", "-c", 'exec "$0" "$@" 0<&- 1>&- 2>&-', sys.executable, FAKED]
        return subprocess.run([*shell, *arguments], capture_output=True, check=False)

    for unread in ("stdout", "stderr"):
        command = [sys.executable, FAKED, "cluster", folder, "--out", tmp_path / unread]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            getattr(process, unread).close()
            process.stderr.read() if unread == "stdout" else process.stdout.read()
        assert (tmp_path / unread / LABELS_FILE).is_file()

    assert run("cluster", folder, "--out", tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / LABELS_FILE).read_text().count("\n") == 6
    bad = run("cluster", tmp_path / "gone", "--out", tmp_path / "out")
    assert bad.returncode == 2
    assert b"Traceback" not in bad.stderr + bad.stdout


def test_no_way_to_mistype_a_path_ends_in_a_traceback(tmp_path, monkeypatch, capsys):
    """Each argument that is a path is converted by one function: a few stand for all."""
    monkeypatch.chdir(tmp_path)
    train = ("--train", "t", "--test", "t")
    commands = [
        ("cluster", "PATH"), ("cluster", "images", "--out", "PATH"),
        ("failures", "--coco", "truth.json", "results.json", "PATH"), ("failures", "PATH", "--predictions", "p.csv"),
        ("retrain", "m.keras", *train, "--labels", "PATH"), ("export", "--labelled", "PATH"),
        ("ui", "--port", "1", "--root", "PATH"),
    ]  # fmt: skip
    paths = bad_paths(tmp_path)
    for arguments in commands:
        for kind, path in paths.items():
            assert safe(*(path if argument == "PATH" else argument for argument in arguments)) == 2, kind
            (line,) = capsys.readouterr().err.splitlines()
            assert re.match(r"safe: Expected .*\. Received: ", line), line
            assert "\0" not in line
    assert set(names_in(tmp_path)) == {"loop", "circle"}


# --- select -----------------------------------------------------------------------------------------------------


# --- The words --------------------------------------------------------------------------------------------------


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
