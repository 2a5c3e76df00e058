"""The DNN under test in a process of its own, since its file may have been made by anyone.

In: a model file, then images. Out: what `load_dnn` and `predict` give. Retraining is done likewise (see
`pipeline/retraining.py`). A model that hangs, crashes or takes all memory ends with that process, in a sentence.
Messages are JSON and bytes: nothing that comes from the model is unpickled.
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import resource
import signal
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

from safe_dnn.dnn.model import Dnn, DnnOptions, load_dnn, sized_for
from safe_dnn.dnn.predictions import Predictions, predict
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import MOST_MEMORY, Skipped
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.text import reason_of

MOST_SECONDS = 300  # for loading, or for a batch
TICK = 0.2  # seconds between two looks whether to go on
LOADING = ("Loading the model", 0, 0)
Report = tuple[str, int, int]
Send = Callable[[str, Any], None]


class ProcessOfItsOwn:
    """Work on a model in another process, which ends with this object and reports its progress until it answers.

    Parameters
    ----------
    file : path
        The model.
    work : callable
        A function of a module: what the process does, given its end of the pipe and `arguments`. Its messages are a
        kind and a content each: `progress`, `answer`, `error` (a sentence), `defect` (a traceback), or one of `others`.
    arguments
        Are pickled.
    """

    def __init__(self, file: str | os.PathLike, work: Callable[..., None], *arguments: Any):
        self._file = file
        self.pipe, other = multiprocessing.get_context("spawn").Pipe()
        self._process = _start(other, work, *arguments)
        self._end = weakref.finalize(self, _end, self._process, self.pipe)

    def tell(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it has ended, and the answer says how
            self.pipe.send_bytes(json.dumps(message).encode())

    def answer(
        self,
        report: Report,
        progress: Progress,
        *,
        others: Mapping[str, Callable[[Any], object]] = MappingProxyType({}),
        patient: Callable[[Report], bool] = lambda _: False,
    ) -> Any:
        """What the process answers; until then, its reports of progress are repeated, so that work can be stopped.

        Parameters
        ----------
        report : tuple
            What it does at first.
        progress : callable
            An exception from it ends the process.
        others : mapping of str to callable
            What to do with other kinds of messages.
        patient : callable
            Whether there is no limit to the time, by what it reported last.
        """
        try:
            while True:
                kind, content = json.loads(self._message(report, progress, patient))
                if kind == "answer":
                    return content
                if kind == "error":
                    raise SAFEError(content[0]).about(*content[1])
                if kind == "defect":
                    defect = RuntimeError("in the process of the model")
                    defect.add_note(content)
                    raise defect
                if kind in others:
                    others[kind](content)
                else:
                    report = tuple(content)
                progress(*report)
        except BaseException:
            self._end()
            raise

    def _message(self, report: Report, progress: Progress, patient: Callable[[Report], bool]) -> bytes:
        heard = time.monotonic()
        while not self.pipe.poll(TICK):
            progress(*report)
            if patient(report):
                heard = time.monotonic()
            if time.monotonic() - heard > MOST_SECONDS:
                raise self._fault(f"which has not answered within {MOST_SECONDS:,} seconds")
        try:
            return self.pipe.recv_bytes()
        except (EOFError, OSError):
            self._process.join(1)
            code = self._process.exitcode or 0
            reason = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            raise self._fault(f"which has crashed, or needed too much memory ({reason})") from None

    def _fault(self, what: str) -> SAFEError:
        return SAFEError(
            f"Expected a model that can be run. Received: {self._file}, {what}. Use another one, or a table of its "
            "answers."
        )


class ModelProcess(ProcessOfItsOwn):
    """The model of a `Dnn` that another process has loaded, with the face of a Keras model that cannot be trained.

    Parameters
    ----------
    file : Path
    options : dict
        As for `load_dnn`.
    progress : callable
        Called while it loads; an exception from it ends the process.
    """

    def __init__(self, file: str | os.PathLike, options: dict[str, Any], progress: Progress):
        super().__init__(file, _serve, os.fspath(file), options)
        self.facts = self.answer(LOADING, progress)
        self.inputs = [SimpleNamespace(shape=tuple(self.facts.pop("shape")))]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """As of `dnn.onnx_model.OnnxModel`."""
        self.tell({"shape": input_shape})
        if (found := self.answer(LOADING, no_progress)) is None:
            raise ValueError("the model does not take images of this size")
        return tuple(found)


def load_apart(
    path: str | os.PathLike, options: DnnOptions, *, task: str | None = None, progress: Progress = no_progress
) -> Dnn:
    """Do the same as `load_dnn` in a process of its own, which ends when nothing refers to the model any more.

    Raises
    ------
    SAFEError
        As of `load_dnn`, or the process has crashed or does not answer.
    """
    model = ModelProcess(path, {"rescale": options.rescale, "trust": options.trust_model, "task": task}, progress)
    facts = model.facts | {"path": Path(model.facts["path"]), "assumptions": tuple(model.facts["assumptions"])}
    return Dnn(model=model, **facts)


def predict_apart(
    dnn: Dnn, root: Path, paths: Sequence[str], *, progress: Progress = no_progress, what: str = "Running the model",
    measure: bool = True,
) -> Predictions:  # fmt: skip
    """Do the same as `predict` with a model of `load_apart`; the images are decoded in its process as well.

    Raises
    ------
    SAFEError
        As of `predict`, or the process has crashed or does not answer.
    """
    sized, process = sized_for(dnn, [root / path for path in paths]), dnn.model
    question = {"height": sized.height, "width": sized.width, "root": os.fspath(root), "paths": list(paths)}
    process.tell(question | {"what": what, "measure": measure})
    n, n_outputs, skipped = process.answer((what, 0, 0), progress)
    indices, outputs = np.frombuffer(process.pipe.recv_bytes(), np.int64), process.pipe.recv_bytes()
    outputs = np.frombuffer(outputs, np.float32).reshape(n, n_outputs)
    return Predictions(indices, outputs, tuple(Skipped(*one) for one in skipped))


# --- The process ------------------------------------------------------------------------------------------------


def _start(pipe: Connection, work: Callable[..., None], *arguments: Any) -> Any:
    process = multiprocessing.get_context("spawn").Process(
        target=_alone, args=(pipe, MOST_MEMORY, work, *arguments), daemon=True
    )
    process.start()
    pipe.close()
    return process


def _end(process: Any, pipe: Connection) -> None:
    process.kill()
    process.join()
    pipe.close()


def _alone(pipe: Connection, memory: int, work: Callable[..., None], *arguments: Any) -> None:
    """Work silently, as long as the process lives that asks for it."""
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
    work(pipe, *arguments)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def answering(pipe: Connection, file: str | os.PathLike, work: Callable[[Send], None]) -> None:
    """Do work, given a function that sends a message; whatever it raises is a message as well."""

    def send(kind: str, content: Any) -> None:
        pipe.send_bytes(json.dumps([kind, content]).encode())

    with contextlib.suppress(EOFError, OSError):  # nobody asks any more
        try:
            work(send)
        except SAFEError as error:
            send("error", (str(error), error.fields))
        except EOFError:
            raise
        except Exception as error:  # noqa: BLE001, the door: whatever a model does is a sentence
            reason = f"{type(error).__name__}: {reason_of(error)}"
            send("error", (f"Expected a model that can be run. Received: {file}, which fails ({reason}).", ()))


def _serve(pipe: Connection, file: str, options: dict[str, Any]) -> None:
    def serve(send: Send) -> None:
        dnn = load_dnn(file, **options)
        facts = {field.name: getattr(dnn, field.name) for field in dataclasses.fields(dnn) if field.name != "model"}
        send("answer", facts | {"path": os.fspath(dnn.path), "shape": dnn.model.inputs[0].shape})
        while True:
            _answer_one(json.loads(pipe.recv_bytes()), dnn, pipe, send)

    answering(pipe, file, serve)


def _answer_one(question: dict[str, Any], dnn: Dnn, pipe: Connection, send: Send) -> None:
    if "shape" in question:
        shape = None
        with contextlib.suppress(ValueError):
            shape = dnn.model.compute_output_shape(tuple(question["shape"]))
        send("answer", shape)
        return
    sized = dataclasses.replace(dnn, height=question["height"], width=question["width"])
    root, paths = Path(question["root"]), question["paths"]
    what, measure = question["what"], question["measure"]
    found = predict(sized, root, paths, progress=lambda *report: send("progress", report), what=what, measure=measure)
    send("answer", [*found.outputs.shape, found.skipped])
    pipe.send_bytes(found.indices.astype(np.int64).tobytes())
    pipe.send_bytes(found.outputs.astype(np.float32).tobytes())
