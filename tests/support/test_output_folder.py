import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from rccs.clusters import save_clusters
from rccs.gifs import write_gifs
from reporting.report import write_report
from support import output_folder
from support.errors import SAFEError
from support.output_folder import check_own, save_files, save_text, working, writing
from support.run_folder import CLUSTERS_FILE, LABELS_FILE, MARK_FILE, PLAN_FILE, REPORT_FILE, RUN_FILE
from tests.helpers.troubles import Disk, Killed, Trouble


def elsewhere(code: str, folder: Path) -> subprocess.Popen:
    """Another process that runs some code with `folder` in its hands; it says when it has come to `ready()`."""
    module = output_folder.__name__
    start = f"import sys\nfrom pathlib import Path\nfrom {module} import *\nfolder = Path({str(folder)!r})\n"
    start += "def ready():\n    print('ready', flush=True)\n    sys.stdin.readline()\n"
    command = [sys.executable, "-c", start + textwrap.dedent(code)]
    root = Path(output_folder.__file__).parents[module.count(".")]
    return subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


# --- One writer -------------------------------------------------------------------------------------------------


def test_a_change_waits_until_another_process_has_finished_its_own(tmp_path):
    save_text(tmp_path, "count.txt", "0")
    code = """
        for _ in range(50):
            with writing(folder):
                save_text(folder, "count.txt", str(int((folder / "count.txt").read_text()) + 1))
        ready()
    """
    others = [elsewhere(code, tmp_path) for _ in range(2)]
    for _ in range(50):
        with writing(tmp_path):
            save_text(tmp_path, "count.txt", str(int((tmp_path / "count.txt").read_text()) + 1))
    for other in others:
        other.communicate("go\n")
    assert (tmp_path / "count.txt").read_text() == "150"


def test_threads_wait_for_each_other_and_blocks_may_be_nested(tmp_path):
    save_text(tmp_path, "count.txt", "0")

    def add() -> None:
        for _ in range(20):
            with writing(tmp_path), writing(tmp_path):
                save_text(tmp_path, "count.txt", str(int((tmp_path / "count.txt").read_text()) + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "count.txt").read_text() == "80"


def test_long_work_in_a_folder_where_another_process_is_at_work_is_refused_in_words(tmp_path):
    other = elsewhere("with working(folder, 'clustering'):\n    ready()", tmp_path)
    try:
        assert other.stdout.readline() == "ready\n"
        message = rf"job is running in .*\(clustering since .*process {other.pid}\).*--out"
        with pytest.raises(SAFEError, match=message), working(tmp_path, "selecting"):
            pytest.fail("two at work")
        save_text(tmp_path, "note.txt", "changes are made all the same")
    finally:
        other.kill()
        other.communicate()
    with working(tmp_path, "selecting"):  # it was killed: nothing holds the folder any more
        pass


def test_a_change_that_waits_too_long_is_refused_in_words_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(output_folder, "PATIENCE", 0.2)
    other = elsewhere("with writing(folder):\n    ready()", tmp_path)
    try:
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(SAFEError, match="Nothing was changed"):
            save_text(tmp_path, "note.txt", "x")
    finally:
        other.communicate("go\n")
    assert not (tmp_path / "note.txt").exists()


# --- Only SAFE's own files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [LABELS_FILE, RUN_FILE, CLUSTERS_FILE])
def test_files_of_another_program_are_never_replaced(clusters, tmp_path, name):
    (tmp_path / name).write_text("0\tcat\n")
    with pytest.raises(SAFEError, match=rf"{name} in .* did not write.*--out .*safe-1"):
        save_clusters(clusters, tmp_path)
    assert (tmp_path / name).read_text() == "0\tcat\n"
    assert [path.name for path in tmp_path.iterdir() if path.is_file() and path.name[0] != "."] == [name]


def test_a_report_of_another_program_is_never_replaced(clusters, tmp_path):
    out = tmp_path / "out"
    save_clusters(clusters, out)
    (out / REPORT_FILE).write_text("mine")
    with pytest.raises(SAFEError, match="did not write"):
        write_report(out)
    assert (out / REPORT_FILE).read_text() == "mine"


def test_files_that_safe_wrote_are_replaced_as_often_as_they_are_written(clusters, tmp_path):
    for _ in range(2):
        save_clusters(clusters, tmp_path / "out")
    listed = json.loads((tmp_path / "out" / MARK_FILE).read_text())["files"]
    assert listed == sorted([LABELS_FILE, RUN_FILE, CLUSTERS_FILE])


@pytest.mark.parametrize("mark", [None, "{}", "damaged"])
def test_the_folder_of_an_older_version_is_safes_own(clusters, tmp_path, mark):
    out = tmp_path / "out"
    save_clusters(clusters, out)
    (out / MARK_FILE).unlink()
    if mark is not None:
        (out / MARK_FILE).write_text(mark)
    save_clusters(clusters, out)
    check_own(out, LABELS_FILE, RUN_FILE, CLUSTERS_FILE)


def test_a_gif_of_the_engineers_own_is_neither_removed_nor_replaced(clusters, tmp_path):
    from PIL import Image

    gifs = tmp_path / "gifs"
    gifs.mkdir()
    Image.new("P", (8, 8)).save(gifs / "RCC_9.gif")
    mine = (gifs / "RCC_9.gif").read_bytes()
    write_gifs(clusters, tmp_path)
    assert (gifs / "RCC_9.gif").read_bytes() == mine
    (gifs / "RCC_01.gif").write_bytes(mine)
    with pytest.raises(SAFEError, match="drawn by SAFE"):
        write_gifs(clusters, tmp_path)
    assert (gifs / "RCC_01.gif").read_bytes() == mine


def test_files_that_belong_together_are_written_all_or_none(tmp_path):
    save_files(tmp_path, {"a.txt": "1", "b.txt": "1"})

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(SAFEError, match=r"No space left.*unchanged"):
        save_files(tmp_path, {"a.txt": "2", "b.txt": full, "c.txt": "2"})
    assert [(tmp_path / name).read_text() for name in ("a.txt", "b.txt")] == ["1", "1"]
    assert not (tmp_path / "c.txt").exists()


def test_files_that_go_with_a_change_go_only_if_they_are_safes_own(tmp_path):
    save_files(tmp_path, {"a.txt": "1", "b.txt": "1"})
    (tmp_path / "mine.txt").write_text("mine")
    save_files(tmp_path, {"a.txt": "2"}, remove=("a.txt", "b.txt", "mine.txt", "nothing.txt"))
    assert {path.name: path.read_text() for path in tmp_path.glob("*.txt")} == {"a.txt": "2", "mine.txt": "mine"}


def change_and_kill(folder: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> bool:
    """Change two files and remove one; the process is killed at an operation on files. Whether it came so far."""
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        with disk.trouble(Trouble("killed", at)):
            try:
                save_files(folder, {"a.txt": "2", "b.txt": "2"}, remove=["c.txt"])
            except Killed:
                return True
    return False


def test_what_a_process_has_begun_when_it_is_killed_is_finished_by_the_next_one_or_was_not_begun(tmp_path, monkeypatch):
    outcomes = []
    for at in range(100):
        folder = tmp_path / str(at)
        save_files(folder, dict.fromkeys(("a.txt", "b.txt", "c.txt"), "1"))
        killed = change_and_kill(folder, monkeypatch, at)
        with writing(folder):
            outcomes.append({path.name: path.read_text() for path in folder.glob("[!.]*")})
        if not killed:
            break
    before, after = dict.fromkeys(("a.txt", "b.txt", "c.txt"), "1"), {"a.txt": "2", "b.txt": "2"}
    assert not killed
    assert outcomes.count(after) >= 4  # killed before the second file, before the third, before the plan goes; not
    assert outcomes == [before] * outcomes.count(before) + [after] * outcomes.count(after)
    assert not (folder / PLAN_FILE).exists()


@pytest.mark.parametrize(
    "plan", ["", "{}", '{"rename": {"a.txt": "../b.txt"}, "remove": []}', '{"rename": {}, "remove": ["../x/mine"]}']
)
def test_a_plan_that_is_none_or_leads_elsewhere_does_nothing(tmp_path, plan):
    folder = tmp_path / "x"
    save_text(folder, "a.txt", "1")
    (folder / "mine").write_text("mine")
    (folder / PLAN_FILE).write_text(plan)
    with writing(folder):
        assert (folder / "a.txt").read_text() == "1"
    assert (folder / "mine").read_text() == "mine"
    assert not (folder / PLAN_FILE).exists()
    assert not (tmp_path / "b.txt").exists()
