import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from safe_dnn.api.generation import generate_clusters
from safe_dnn.rccs.clusters import LABELS_FILE
from safe_dnn.store import output_folder
from safe_dnn.store.output_folder import save_files, working
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import names_in


def elsewhere(code: str, folder: Path) -> subprocess.Popen:
    """Another process that runs some code with `folder` in its hands; it says when it has come to `ready()`."""
    module = output_folder.__name__
    start = f"import sys\nfrom pathlib import Path\nfrom {module} import *\nfolder = Path({str(folder)!r})\n"
    start += "def ready():\n    print('ready', flush=True)\n    sys.stdin.readline()\n"
    command = [sys.executable, "-c", start + textwrap.dedent(code)]
    root = Path(output_folder.__file__).parents[module.count(".")]
    return subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


# --- One writer -------------------------------------------------------------------------------------------------


def test_long_work_in_a_folder_where_another_process_is_at_work_is_refused_in_words(tmp_path):
    other = elsewhere("with working(folder, 'clustering'):\n    ready()", tmp_path)
    try:
        assert other.stdout.readline() == "ready\n"
        message = rf"job is running in .*\(clustering since .*process {other.pid}\).*another output folder"
        with pytest.raises(SAFEError, match=message), working(tmp_path, "selecting"):
            pytest.fail("two at work")
        save_files(tmp_path, {"note.txt": "changes are made all the same"})
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
            save_files(tmp_path, {"note.txt": "x"})
    finally:
        other.communicate("go\n")
    assert not (tmp_path / "note.txt").exists()


# --- Only SAFE's own files --------------------------------------------------------------------------------------


def test_files_of_another_program_are_never_replaced_or_removed(clusters, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / LABELS_FILE).write_text("0\tcat\n")
    for write in (
        lambda: save_files(out, {LABELS_FILE: "1\tdog\n"}), lambda: generate_clusters(clusters.image_root, out),
        lambda: save_files(out, {"a.txt": "1", LABELS_FILE: "1\tdog\n"}),
    ):  # fmt: skip
        with pytest.raises(SAFEError, match=rf"{LABELS_FILE} in .* did not write.*for example .*safe-1"):
            write()
    save_files(out, {}, remove=[LABELS_FILE])
    assert (out / LABELS_FILE).read_text() == "0\tcat\n"
    assert names_in(out) == [LABELS_FILE]


def test_files_that_belong_together_are_written_all_or_none(tmp_path):
    save_files(tmp_path, {"a.txt": "1", "b.txt": "1"})

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(SAFEError, match=r"No space left.*unchanged"):
        save_files(tmp_path, {"a.txt": "2", "b.txt": full, "c.txt": "2"})
    assert [(tmp_path / name).read_text() for name in ("a.txt", "b.txt")] == ["1", "1"]
    assert not (tmp_path / "c.txt").exists()
