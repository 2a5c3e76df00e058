"""Retraining in a process of its own: what comes out is as in this one, and a model made to harm it is a sentence."""

import os
import signal
import time

import pytest

from safe_dnn.api.repairing import retrain_apart
from safe_dnn.options import ImageSets, Labelling, Wishes
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from safe_dnn.store.database import last_entry, reading, speaking
from safe_dnn.store.runs import RETRAINING, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import reporting
from safe_dnn.training.finetuning import Watch
from safe_dnn.training.result import MODEL_FILE, load_retraining
from tests.dnn.test_model_process import children, trackers, until
from tests.helpers.hostile_models import endless_rnn, vast_rows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_in_processes")]


class Asked(Exception):  # noqa: N818, it is no error
    pass


@pytest.fixture
def run(sets, tmp_path):
    def run(model=sets / "model.keras", epochs=3, **watch):
        images = tuple(UnsafeImage(f"red/in_blue_0{i}.png", 0, 0.5, True) for i in range(4))
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        save_unsafe_set(UnsafeSet(sets / "improvement", images, 4, "N = 4", 4, (4,), (), "0" * 16), out)
        return retrain_apart(
            model, ImageSets(sets / "train", sets / "test", labelling=Labelling(sets / "improvement")), out,
            wishes=Wishes(learning_rate=0.02, epochs=epochs, batch_size=8, unlabelled=0), watch=Watch(**watch),
        )  # fmt: skip

    return run


def test_what_comes_out_is_what_was_written_with_the_engineers_name_and_stopping_keeps_the_best_epoch(run, tmp_path):
    told, epochs = [], []
    with speaking("Ada"), reporting(lambda *progress: told.append(progress)):
        result = run(on_epoch=lambda *found: epochs.append(found))
    out = tmp_path / "out"
    assert result == load_retraining(out)
    assert result.best > 0
    assert (out / MODEL_FILE).is_file()
    assert [len(history) for history, _ in epochs] == [1, 2, 3, 4]
    assert (epochs[-1][0][1:], epochs[-1][1]) == (result.history[1:], (3,))  # a loss of NaN equals none
    assert ("Loading the model", 0, 0) in told
    assert any(what == "Retraining, epoch 3 of 3" for what, _, _ in told)
    with reading(out) as db:
        assert last_entry(db, "retraining").engineer == "Ada"
    seen = []
    stopped = run(epochs=5000, on_epoch=lambda history, passes: seen.append(history), should_stop=lambda: len(seen) > 3)
    assert stopped.stopped == "on request"
    assert 3 <= len(stopped.history) - 1 < 5000
    with pytest.raises(SAFEError, match="must be a whole number"):
        run(epochs="-1")


def test_a_model_that_hangs_takes_all_memory_or_crashes_is_a_sentence_and_changes_nothing(run, tmp_path, monkeypatch):
    began: list[float] = []
    processes = children()

    def cancel(what: str, done: int, total: int) -> None:
        if what == "Testing the model":
            began.append(time.monotonic())
            if began[-1] > began[0] + 3:
                raise Asked

    with pytest.raises(Asked), reporting(cancel):
        run(endless_rnn(tmp_path / "endless.keras"))
    assert time.monotonic() - began[-1] < 10  # a second, on a machine that is not busy
    until(lambda: children() <= processes | trackers())

    def crash(*_: object) -> None:
        (process,) = children() - processes - trackers()
        os.kill(process, signal.SIGSEGV)

    with pytest.raises(SAFEError, match=r"model\.keras, which has crashed, or needed too much memory\. "):
        run(on_epoch=crash)
    monkeypatch.setattr("safe_dnn.dnn.model_process.MOST_MEMORY", 3 * 2**30)
    with pytest.raises(SAFEError, match=r"^Expected a model that can be run\. Received: [^\n]+vast\.keras, which"):
        run(vast_rows(tmp_path / "vast.keras"))
    assert not runs_of(tmp_path / "out", RETRAINING)
