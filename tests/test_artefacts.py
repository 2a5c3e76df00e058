import os

import pytest
from conftest import names_in

from artefacts import prepare_folder, replacing, write_text
from errors import SAFEError


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["labels.txt"]


@pytest.mark.parametrize("fault", [RuntimeError("a defect"), KeyboardInterrupt()])
def test_the_old_file_stays_and_no_temporary_one_when_the_writer_raises(tmp_path, fault):
    path = tmp_path / "labels.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise fault

    with pytest.raises(type(fault)):
        write()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["labels.txt"]


def test_a_full_disk_is_an_error_for_the_engineer_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("old")
    with pytest.raises(SAFEError, match=r"labels\.txt: No space left on device"), replacing(path):
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["labels.txt"]


def test_a_folder_that_is_gone_is_an_error_for_the_engineer(tmp_path):
    with pytest.raises(SAFEError, match=r"Could not write .*labels\.txt"):
        write_text(tmp_path / "gone" / "labels.txt", "new")


def test_the_temporary_name_ends_like_the_file(tmp_path):
    with replacing(tmp_path / "clusters.npz") as temporary:
        assert temporary.suffix == ".npz"
        assert temporary.parent == tmp_path


def test_a_written_file_has_the_mode_of_any_new_file(tmp_path):
    (tmp_path / "plain.txt").write_text("")
    write_text(tmp_path / "replaced.txt", "")
    assert (tmp_path / "replaced.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_text_keeps_line_ends_and_the_bytes_of_names_that_are_not_unicode(tmp_path):
    write_text(tmp_path / "names.txt", os.fsdecode(b"caf\xe9.png\n") + "schön.png\n")
    assert (tmp_path / "names.txt").read_bytes() == b"caf\xe9.png\n" + "schön.png\n".encode()


def test_a_folder_for_results_is_created_with_its_parents_and_left_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert prepare_folder("a/b") == tmp_path / "a" / "b"
    assert names_in(tmp_path / "a" / "b") == []


def test_a_folder_below_a_file_cannot_be_prepared(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SAFEError, match=r"folder that SAFE can write to\. Received: .*file/out .*--out"):
        prepare_folder(tmp_path / "file" / "out")


def test_a_file_cannot_be_the_folder_for_results(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(SAFEError, match="folder that SAFE can write to"):
        prepare_folder(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
