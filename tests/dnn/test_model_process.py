"""A model made to hang, to crash or to take all memory ends with its process, in a sentence; nothing waits for it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from safe_dnn.dnn.model import load_dnn
from safe_dnn.dnn.model_process import end_workers, load_apart, predict_apart
from safe_dnn.dnn.predictions import labelled_images, predict
from safe_dnn.options import AS_IN_THE_FILE
from safe_dnn.page.jobs import STOPPED, Jobs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import reporting
from tests.helpers.hostile_models import bomb, calls_itself, endless, vast
from tests.helpers.onnx_models import onnx_of
from tests.helpers.small_models import colour_model, draw_set, saved

pytestmark = pytest.mark.usefixtures("models_in_processes")


def test_a_model_that_hangs_is_ended_within_a_second_of_cancelling(tmp_path):
    model, jobs, begun = endless(tmp_path / "endless.onnx"), Jobs(), threading.Event()
    processes = children()

    def work(job):
        def report(*progress):
            begun.set()
            job.progress(*progress)

        with reporting(report):
            load_apart(model, AS_IN_THE_FILE)

    job = jobs.start("failures", work)
    assert begun.wait(30)
    time.sleep(2)
    assert children() - processes
    job.cancel()
    assert job.finished(1)
    assert job.outcome == STOPPED
    assert jobs.start("failures", lambda job: None)
    until(lambda: children() <= processes | trackers())


def children() -> set[int]:
    """The processes that this one has started and that still run."""
    of_threads = Path("/proc/self/task").glob("*/children")
    return {int(number) for file in of_threads for number in file.read_text().split()}


def trackers() -> set[int]:
    """Of multiprocessing, which start with the first process and stay."""
    from multiprocessing import resource_tracker

    return {resource_tracker._resource_tracker._pid}


def until(done) -> None:
    for _ in range(50):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError


def test_a_program_that_ends_does_not_wait_for_models(tmp_path):
    model, processes = endless(tmp_path / "endless.onnx"), children()
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(load_apart, model, AS_IN_THE_FILE)
        until(lambda: children() - processes - trackers())
        time.sleep(3)
        end_workers()
        assert isinstance(loading.exception(10), SAFEError)


@pytest.mark.slow
def test_its_answers_are_those_of_this_process(tmp_path):
    images = labelled_images(draw_set(tmp_path / "test", 50))
    (images.root / images.paths[3]).write_bytes(b"no image")
    for model in (saved(colour_model(), tmp_path / "m.keras"), onnx_of(colour_model(), tmp_path / "m.onnx")):
        apart, here = load_apart(model, AS_IN_THE_FILE), load_dnn(model)
        for field in ("path", "height", "width", "channels", "scaling", "activation", "compiled", "assumptions"):
            assert getattr(apart, field) == getattr(here, field)
        for _ in range(2):
            found, expected = (
                run(dnn, images.root, images.paths) for run, dnn in ((predict_apart, apart), (predict, here))
            )
            assert np.array_equal(found.indices, expected.indices)
            assert np.allclose(found.outputs, expected.outputs, atol=1e-6)
            assert found.skipped == expected.skipped
            assert [one.path for one in found.skipped] == [images.paths[3]]


@pytest.mark.slow
def test_a_model_that_hangs_takes_all_memory_or_crashes_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("safe_dnn.dnn.model_process.MOST_SECONDS", 10)
    monkeypatch.setattr("safe_dnn.dnn.model_process.MOST_MEMORY", 2**31)
    for model, words in (
        (endless(tmp_path / "endless.onnx"), r"endless\.onnx, which has not answered within 10 seconds"),
        (bomb(tmp_path / "bomb.onnx"), r"bomb\.onnx, which"),
        (calls_itself(tmp_path / "recursive.onnx"), r"recursive\.onnx, which"),
        (vast(tmp_path / "vast.onnx", 2**15), "Expand"),
    ):  # fmt: skip
        begun = time.monotonic()
        with pytest.raises(SAFEError, match=rf"^Expected [^\n]+{words}[^\n]+[.?]$"):
            load_apart(model, AS_IN_THE_FILE)
        assert time.monotonic() - begun < 25
