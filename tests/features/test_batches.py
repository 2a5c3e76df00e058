"""Batches on their way to the network."""

from concurrent.futures import ThreadPoolExecutor

from features.batches import Loaded, in_batches, load_ahead
from features.network import BATCH_SIZE


def test_batches_are_full_but_for_the_last():
    paths = tuple(f"{i}.png" for i in range(2 * BATCH_SIZE + 3))
    batches = in_batches(paths)
    assert [len(batch) for batch in batches] == [BATCH_SIZE, BATCH_SIZE, 3]
    assert sum(batches, ()) == paths
    assert in_batches(()) == []


def test_batches_come_in_order_and_the_next_one_is_already_being_loaded():
    asked = []

    def load(path):
        asked.append(path)
        return Loaded(path)

    with ThreadPoolExecutor(1) as pool:
        loaded = load_ahead(pool, [("a", "b"), ("c",), ("d",)], load)
        assert asked == []
        assert [item.path for item in next(loaded)] == ["a", "b"]
        pool.submit(lambda: None).result()  # the one thread has finished what it was given before
        assert asked == ["a", "b", "c"]
        assert [[item.path for item in batch] for batch in loaded] == [["c"], ["d"]]
