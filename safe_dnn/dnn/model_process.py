"""The DNN under test in a worker process, since its file may have been made by anyone.

In: a model file, then images. Out: what `load_dnn` and `predict` give. Retraining is done likewise (see
`api/repairing.py`). The process ends with the job; a model that hangs, crashes or takes all memory ends with it,
in a sentence.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import resource
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safe_dnn.dnn.model import Dnn, load_dnn, sized_for
from safe_dnn.dnn.predictions import Predictions, predict
from safe_dnn.options import DnnOptions
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import MOST_MEMORY
from safe_dnn.support.progress import report_progress, reporting
from safe_dnn.support.text import reason_of

MOST_SECONDS = 300  # for loading, or for a batch
TICK = 0.2  # seconds between two looks whether to go on
LOADING = ("Loading the model", 0, 0)
Report = tuple[str, int, int]


class Worker:
    """A process that works on a model, and ends with this object or with an error.

    Parameters
    ----------
    file : path
        The model.
    """

    def __init__(self, file: str | os.PathLike):
        self._file = file
        self._pipe, other = multiprocessing.Pipe()
        self._pool, self._number = _start(other)
        self._end = weakref.finalize(self, _end, self._pool, self._number)

    def send(self, message: object) -> None:
        with contextlib.suppress(OSError):  # it has ended, and the result says how
            self._pipe.send(message)

    def run(
        self,
        work: Callable[..., Any],
        *arguments: Any,
        report: Report = LOADING,
        receive: Callable[[Any], object] = lambda _: None,
        patient: Callable[[Report], bool] = lambda _: False,
    ) -> Any:
        """The result of a function of a module; until then, its progress is reported again and again.

        An exception that this raises ends the process.

        Parameters
        ----------
        report : tuple
            What it does at first.
        receive : callable
            What to do with messages that are no reports of progress.
        patient : callable
            Whether there is no limit to the time, by what it reported last.
        """
        try:
            self._wait(self._number, report, receive, patient)  # before it is known, work could not be ended
            future = self._pool.submit(_reported, work, *arguments)
            self._wait(future, report, receive, patient)
            return future.result()
        except BrokenProcessPool:
            self._end.detach()  # its number may become that of another process
            raise self._fault("which has crashed, or needed too much memory") from None
        except BaseException:
            self._end()
            raise

    def _wait(self, future: Future, report: Report, receive: Any, patient: Any) -> None:
        heard, done = time.monotonic(), False
        while not done:
            done = bool(wait([future], TICK).done)
            for message in self._messages():
                heard = time.monotonic()
                if isinstance(message, tuple):
                    report_progress(*(report := message))
                else:
                    receive(message)
            if not done:
                report_progress(*report)
                if patient(report):
                    heard = time.monotonic()
                if time.monotonic() - heard > MOST_SECONDS:
                    raise self._fault(f"which has not answered within {MOST_SECONDS:,} seconds")

    def _messages(self) -> Iterator[Any]:
        with contextlib.suppress(EOFError, OSError):  # the process has ended
            while self._pipe.poll():
                yield self._pipe.recv()

    def _fault(self, what: str) -> SAFEError:
        return SAFEError(
            f"Expected a model that can be run. Received: {self._file}, {what}. Use another one, or a table of its "
            "answers."
        )


def end_workers() -> None:
    """End all processes that this one has started, before it ends: it would wait for what they do for its threads."""
    for process in multiprocessing.active_children():
        process.kill()


class ModelProcess(Worker):
    """The model of a `Dnn` that another process has loaded: what `sized_for` needs of a Keras model."""

    def __init__(self, file: str | os.PathLike, options: dict[str, Any]):
        super().__init__(file)
        self.dnn, shape = self.run(_load, os.fspath(file), options)
        self.inputs = [SimpleNamespace(shape=shape)]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """As of `dnn.formats.OnnxModel`."""
        if (shape := self.run(_output_shape, input_shape)) is None:
            raise ValueError("the model does not take images of this size")
        return shape


def load_apart(path: str | os.PathLike, options: DnnOptions, *, task: str | None = None) -> Dnn:
    """Do the same as `load_dnn` in a worker process, which ends when nothing refers to the model any more.

    Raises
    ------
    SAFEError
        As of `load_dnn`, or the process has crashed or does not answer.
    """
    model = ModelProcess(path, {"rescale": options.rescale, "trust": options.trust_model, "task": task})
    return dataclasses.replace(model.dnn, model=model)


def predict_apart(dnn: Dnn, root: Path, paths: Sequence[str], *, what: str = "Running the model") -> Predictions:
    """Do the same as `predict` with a model of `load_apart`; the images are decoded in its process as well.

    Raises
    ------
    SAFEError
        As of `predict`, or the process has crashed or does not answer.
    """
    sized = sized_for(dnn, [root / path for path in paths])
    size = {"height": sized.height, "width": sized.width}
    return dnn.model.run(_predict, size, root, paths, what, report=(what, 0, 0))


# --- The process ------------------------------------------------------------------------------------------------

_mine = threading.local()  # of the process: its end of the pipe, and the model


def _start(pipe: Connection) -> tuple[Executor, Future]:
    """An executor with one process, and its number."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context, _begin, (pipe, MOST_MEMORY))
    number = pool.submit(os.getpid)
    pipe.close()  # the process has its own
    return pool, number


def _end(pool: Executor, number: Future) -> None:
    with contextlib.suppress(BrokenProcessPool, CancelledError, ProcessLookupError):
        if number.done():  # otherwise it has no work yet
            os.kill(number.result(), signal.SIGKILL)
    pool.shutdown(wait=False, cancel_futures=True)


def _begin(pipe: Connection, memory: int) -> None:
    """Be silent, take no more than some memory, and live no longer than the process that asks."""
    connect(pipe)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for that process
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    with contextlib.suppress(OSError, ValueError):  # not every system has all of it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (memory if hard < 0 else min(memory, hard), hard))
        Path("/proc/self/oom_score_adj").write_text("1000")  # where memory is short, this process goes first
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def connect(pipe: Connection) -> None:
    _mine.pipe = pipe


def send(message: object) -> None:
    """Send a message to the process that asks; a tuple is a report of progress."""
    _mine.pipe.send(message)


def has_message() -> bool:
    return _mine.pipe.poll()


@contextlib.contextmanager
def in_a_sentence(file: object, is_of_model: Callable[[Exception], bool] = lambda _: True) -> Iterator[None]:
    """Say in a SAFEError what a model raises in the block."""
    try:
        yield
    except Exception as error:
        if isinstance(error, SAFEError) or not is_of_model(error):
            raise
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise SAFEError(f"Expected a model that can be run. Received: {file}, which fails ({reason}).") from error


def _reported(work: Callable[..., Any], *arguments: Any) -> Any:
    """What work gives, whose progress is reported to the process that asks."""
    with reporting(lambda *report: send(report)):
        return work(*arguments)


def _load(file: str, options: dict[str, Any]) -> tuple[Dnn, tuple]:
    with in_a_sentence(file):
        _mine.dnn = load_dnn(file, **options)
    return dataclasses.replace(_mine.dnn, model=None), tuple(_mine.dnn.model.inputs[0].shape)


def _output_shape(input_shape: tuple) -> tuple | None:
    with contextlib.suppress(ValueError):
        return tuple(_mine.dnn.model.compute_output_shape(input_shape))
    return None


def _predict(size: dict[str, int], root: Path, paths: Sequence[str], what: str) -> Predictions:
    sized = dataclasses.replace(_mine.dnn, **size)
    with in_a_sentence(sized.path):
        return predict(sized, root, paths, what=what)
