"""Batches on their way to the network."""

import threading

import pytest

from features.batches import Loaded, load_ahead


@pytest.fixture(autouse=True)
def batches_of_two(monkeypatch):
    monkeypatch.setattr("features.batches.BATCH_SIZE", 2)


def test_batches_come_in_order_and_the_next_one_is_already_being_loaded():
    asked = threading.Event()

    def load(path):
        if path == "c":
            asked.set()
        return Loaded(path)

    loaded = load_ahead(("a", "b", "c", "d", "e"), load)
    assert [item.path for item in next(loaded)] == ["a", "b"]
    assert asked.wait(10)
    assert [[item.path for item in batch] for batch in loaded] == [["c", "d"], ["e"]]
    assert list(load_ahead((), load)) == []
