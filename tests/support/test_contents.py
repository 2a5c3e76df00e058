import hashlib
import os

import pytest

from support.contents import digest_of


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
