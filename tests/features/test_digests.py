import hashlib
import json
import os

import pytest

from features import digests
from features.digests import FILE, Digests, remembered_digests, sha256_of


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def weights(tmp_path, cache, monkeypatch):
    """A file, which counts as settled at once."""
    monkeypatch.setattr(digests, "SETTLED_SECONDS", -1)
    path = tmp_path / "weights.h5"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def passes(monkeypatch):
    """The files that were read, in turn."""
    computed, seen = digests._compute, []

    def compute(path):
        seen.append(path)
        return computed(path)

    monkeypatch.setattr(digests, "_compute", compute)
    return seen


def digests_of(data: bytes) -> Digests:
    return Digests(hashlib.sha256(data).hexdigest(), hashlib.md5(data, usedforsecurity=False).hexdigest())


def test_a_file_is_read_once(weights, passes):
    assert remembered_digests(weights) == remembered_digests(weights) == digests_of(b"weights")
    assert passes == [weights]
    assert sha256_of(weights) == digests_of(b"weights").sha256


def test_a_changed_file_is_read_again_even_if_its_time_was_set_back(weights, passes):
    remembered_digests(weights)
    before = weights.stat()
    weights.write_bytes(b"Weights")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert remembered_digests(weights) == digests_of(b"Weights")
    assert len(passes) == 2


def test_a_file_that_has_just_changed_is_not_remembered(weights, passes, monkeypatch):
    monkeypatch.setattr(digests, "SETTLED_SECONDS", 60)
    for _ in range(2):
        assert remembered_digests(weights) == digests_of(b"weights")
    assert len(passes) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"%s": 3}', b'{"%s": {"stamp": null}}']
)
def test_a_damaged_memory_is_begun_anew(weights, cache, content):
    cache.mkdir()
    (cache / FILE).write_bytes(content.replace(b"%s", str(weights).encode()))
    assert remembered_digests(weights) == digests_of(b"weights")
    assert str(weights) in json.loads((cache / FILE).read_text())


def test_remembered_digests_that_are_none_are_not_taken(weights, cache):
    remembered_digests(weights)
    known = json.loads((cache / FILE).read_text())
    known[str(weights)]["sha256"] = "../.."
    (cache / FILE).write_text(json.dumps(known))
    assert remembered_digests(weights) == digests_of(b"weights")


def test_a_cache_that_cannot_be_written_to_costs_only_time(weights, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "file"))
    assert remembered_digests(weights) == digests_of(b"weights")


def test_not_more_files_than_that_are_remembered(weights, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "MOST_REMEMBERED", 2)
    paths = [tmp_path / f"{i}.h5" for i in range(3)]
    for path in paths:
        path.write_bytes(b"weights")
        remembered_digests(path)
    assert list(json.loads((cache / FILE).read_text())) == [str(path) for path in paths[1:]]


def test_a_file_that_is_missing_is_the_systems_error(tmp_path, cache):
    with pytest.raises(FileNotFoundError):
        remembered_digests(tmp_path / "gone.h5")
