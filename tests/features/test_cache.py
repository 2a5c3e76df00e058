import sqlite3
import threading

import numpy as np
import pytest

from features.cache import FeatureCache, content_key
from support.errors import SAFEError
from support.files import cache_folder


@pytest.fixture
def open_cache():
    """Opens caches and closes them at the end."""
    opened = []

    def open_one(identity="net-weights-float32", dimension=4):
        opened.append(FeatureCache(identity, dimension))
        return opened[-1]

    yield open_one
    for cache in opened:
        cache.close()


def test_a_row_comes_back_as_it_was_put(open_cache):
    row = np.array([0, 1.5, -2, 3e-30], np.float32)
    open_cache().put([(b"key", row)])
    again = open_cache().get(b"key")
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, row)


def test_new_content_has_no_row(open_cache):
    assert open_cache().get(b"never put") is None


def test_a_row_that_is_put_twice_is_the_later_one(open_cache):
    cache = open_cache()
    cache.put([(b"key", np.zeros(4))])
    cache.put([(b"key", np.ones(4))])
    np.testing.assert_array_equal(cache.get(b"key"), np.ones(4))


def test_a_batch_is_put_as_a_whole_or_not_at_all(open_cache):
    cache = open_cache()

    def rows():
        yield b"first", np.zeros(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.put(rows())
    assert cache.get(b"first") is None


def test_extractors_do_not_share_rows(open_cache):
    open_cache("one").put([(b"key", np.zeros(4))])
    assert open_cache("other").get(b"key") is None


def test_a_row_of_another_length_is_as_good_as_none(open_cache):
    open_cache(dimension=3).put([(b"key", np.zeros(3))])
    assert open_cache(dimension=4).get(b"key") is None


def test_a_row_whose_bytes_were_damaged_is_as_good_as_none_until_it_is_put_again(open_cache):
    rows = {bytes([i]): np.full(400, i, np.float32) for i in range(20)}
    cache = open_cache("net", 400)
    cache.put(rows.items())
    cache.close()
    path = cache_folder() / "net.sqlite"
    data = bytearray(path.read_bytes())
    data[data.index(rows[b"\x07"].tobytes()) + 801] ^= 1  # a bit: 7 becomes 7.03
    path.write_bytes(data)
    cache = open_cache("net", 400)
    assert [key for key in rows if cache.get(key) is None] == [b"\x07"]
    cache.put([(b"\x07", rows[b"\x07"])])
    np.testing.assert_array_equal(cache.get(b"\x07"), rows[b"\x07"])


def test_a_row_of_other_content_is_as_good_as_none(open_cache):
    cache = open_cache()
    cache.put([(b"key", np.ones(4))])
    with cache._connection as connection:
        connection.execute("UPDATE features SET content = ?", (b"another",))
    assert cache.get(b"another") is None


def test_a_row_of_an_earlier_version_without_a_checksum_is_computed_anew(open_cache):
    cache = open_cache()
    with cache._connection as connection:
        connection.execute("INSERT INTO features VALUES (?, ?)", (b"key", np.ones(4, "<f4").tobytes()))
    assert cache.get(b"key") is None
    cache.put([(b"key", np.zeros(4))])
    np.testing.assert_array_equal(cache.get(b"key"), np.zeros(4))


def test_equal_content_has_equal_keys_and_different_content_different_ones():
    assert content_key(b"an image") == content_key(b"an image")
    assert content_key(b"an image") != content_key(b"another")
    assert len(content_key(b"")) == 16


def test_a_damaged_file_is_set_aside_and_begun_anew(open_cache):
    damaged = b"this is no database" * 1000
    (cache_folder() / "net.sqlite").write_bytes(damaged)
    cache = open_cache("net")
    cache.put([(b"key", np.ones(4))])
    np.testing.assert_array_equal(cache.get(b"key"), np.ones(4))
    assert (cache_folder() / "net.damaged").read_bytes() == damaged


def test_damage_found_later_names_the_file_to_delete(open_cache):
    cache = open_cache("net", 400)
    cache.put((bytes([i]), np.ones(400)) for i in range(200))
    cache.close()
    path = cache_folder() / "net.sqlite"
    data = bytearray(path.read_bytes())
    data[8192:-4096] = b"\xff" * (len(data) - 12288)
    path.write_bytes(data)
    cache = open_cache("net", 400)
    with pytest.raises(SAFEError, match=r"delete the file: .*net\.sqlite"):
        [cache.get(bytes([i])) for i in range(200)]


def test_two_threads_can_put_and_get_at_once(open_cache):
    cache = open_cache()
    faults = []

    def work(name: int) -> None:
        try:
            for i in range(100):
                cache.put([(f"{name}/{i}".encode(), np.full(4, i))])
                np.testing.assert_array_equal(cache.get(f"{name}/{i}".encode()), np.full(4, i))
        except BaseException as fault:  # noqa: BLE001, handed to the test
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert cache.get(b"0/99") is not None
    assert cache.get(b"1/99") is not None


def test_two_processes_share_the_rows(open_cache):
    first, second = open_cache(), open_cache()
    first.put([(b"key", np.ones(4))])
    np.testing.assert_array_equal(second.get(b"key"), np.ones(4))


def test_a_cache_folder_below_a_file_is_an_error_that_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SAFEError, match="SAFE_CACHE"):
        FeatureCache("net", 4)


def test_a_file_that_cannot_be_opened_is_an_error_that_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path))
    (tmp_path / "net.sqlite").mkdir()
    with pytest.raises(SAFEError, match=f"Received: {tmp_path}"):
        FeatureCache("net", 4)


def test_a_cache_that_is_closed_under_way_says_so(open_cache):
    cache = open_cache()
    cache.close()
    with pytest.raises(SAFEError, match="could not be used") as caught:
        cache.get(b"key")
    assert isinstance(caught.value.__cause__, sqlite3.Error)
