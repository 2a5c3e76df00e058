import contextlib
import sqlite3
import threading

import numpy as np
import pytest

from safe_dnn.FE import stream_features
from safe_dnn.features.batches import FeatureCache
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import cache_folder
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import reporting


def test_batches_stream_in_order_with_skipped_images_named(fake_network, draw_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("safe_dnn.features.batches.BATCH_SIZE", 4)
    folder = draw_folder(tmp_path / "in", {"sea": 10})
    (folder / "sea_02.png").write_bytes(b"")
    for i in range(4, 8):  # a whole batch
        (folder / f"sea_{i:02d}.png").write_text("no image")
    steps = []
    with reporting(lambda what, done, total: steps.append(done)):
        batches = list(stream_features(find_images(folder), fake_network.extractor))
    assert [batch.paths for batch in batches] == [
        ("sea_00.png", "sea_01.png", "sea_03.png"), (), ("sea_08.png", "sea_09.png"),
    ]  # fmt: skip
    assert [batch.features.shape for batch in batches] == [(n, fake_network.extractor.dimension) for n in (3, 0, 2)]
    assert batches[0].skipped == (("sea_02.png", "the file is empty"),)
    assert [path for path, _ in batches[1].skipped] == [f"sea_{i:02d}.png" for i in range(4, 8)]
    assert steps == [0, 4, 8, 10]


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


def test_a_batch_is_put_as_a_whole_or_not_at_all(open_cache):
    cache = open_cache()

    def rows():
        yield b"first", np.zeros(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.put(rows())
    assert cache.get(b"first") is None


def test_a_cache_that_another_process_is_just_making_is_waited_for(open_cache):
    with contextlib.closing(sqlite3.connect(cache_folder() / "net.sqlite", check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        ready = threading.Timer(0.2, other.commit)
        ready.start()
        assert open_cache("net").get(b"key") is None
        ready.join()


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


def test_a_damaged_file_is_set_aside_and_begun_anew(open_cache):
    damaged = b"this is no database" * 1000
    (cache_folder() / "net.sqlite").write_bytes(damaged)
    cache = open_cache("net")
    cache.put([(b"key", np.ones(4))])
    np.testing.assert_array_equal(cache.get(b"key"), np.ones(4))
    assert (cache_folder() / "net.damaged").read_bytes() == damaged


def test_a_cache_folder_below_a_file_is_an_error_that_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SAFEError, match="SAFE_CACHE"):
        FeatureCache("net", 4)
