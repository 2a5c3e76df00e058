"""Which images are the same, and digests of large files."""

import hashlib
import os

import pytest

from safe_dnn.support.images import copies_in, digest_of


def test_copies_are_found_among_files_of_equal_size(tmp_path):
    contents = {"b.png": b"1" * 5000, "a.png": b"1" * 5000, "c.png": b"2" + b"1" * 4999, "d.png": b"1", "e.png": b""}
    for name, content in {**contents, "f.png": b"", "g/b.png": b"1" * 5000, "h.png": b"1"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    paths = [*contents, "f.png", "g/b.png", "h.png", "gone.png"]
    assert copies_in(tmp_path, paths) == {"b.png": "a.png", "g/b.png": "a.png", "h.png": "d.png"}


def test_a_file_is_read_again_only_if_it_has_changed_even_if_its_time_was_set_back(tmp_path, monkeypatch):
    path, read, file_digest = tmp_path / "weights.h5", [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: read.append(given) or file_digest(*given))
    path.write_bytes(b"weights")
    for _ in range(2):
        assert digest_of(path) == hashlib.sha256(b"weights").hexdigest()
    assert digest_of(path, "md5") == hashlib.md5(b"weights", usedforsecurity=False).hexdigest()
    assert len(read) == 2
    before = path.stat()
    path.write_bytes(b"Weights")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digest_of(path) == hashlib.sha256(b"Weights").hexdigest()
    with pytest.raises(FileNotFoundError):
        digest_of(tmp_path / "gone.h5")
