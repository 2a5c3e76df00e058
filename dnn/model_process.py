"""The DNN under test in a process of its own, since its file may have been made by anyone.

In: a model file, then images. Out: what `load_dnn` and `predict` give. A model that hangs, crashes or takes all memory
ends with that process, in a sentence. Messages are JSON and bytes: nothing that comes from the model is unpickled.
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
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from dnn.model import Dnn, DnnOptions, load_dnn, sized_for
from dnn.predictions import Predictions, predict
from support.errors import SAFEError
from support.images import Skipped
from support.progress import Progress, no_progress
from support.text import printable

MOST_SECONDS = 300  # for loading, or for a batch
MOST_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4  # bytes
TICK = 0.2  # seconds between two looks whether to go on
_LOADING = ("Loading the model", 0, 0)


class ModelProcess:
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
        self._file = file
        self._pipe, other = multiprocessing.get_context("spawn").Pipe()
        self._process = _start(other, os.fspath(file), options, MOST_MEMORY)
        self._end = weakref.finalize(self, _end, self._process, self._pipe)
        self.facts = self._answer(_LOADING, progress)
        self.inputs = [SimpleNamespace(shape=tuple(self.facts.pop("shape")))]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """As of `dnn.onnx_model.OnnxModel`."""
        found = self._ask({"shape": input_shape}, _LOADING, no_progress)
        if found is None:
            raise ValueError("the model does not take images of this size")
        return tuple(found)

    def predict(self, question: dict[str, Any], progress: Progress, what: str) -> Predictions:
        """As of `predict_apart`."""
        n, n_outputs, skipped = self._ask(question, (what, 0, 0), progress)
        indices = np.frombuffer(self._pipe.recv_bytes(), np.int64)
        outputs = np.frombuffer(self._pipe.recv_bytes(), np.float32).reshape(n, n_outputs)
        return Predictions(indices, outputs, tuple(Skipped(*one) for one in skipped))

    def _ask(self, question: dict[str, Any], report: tuple[str, int, int], progress: Progress) -> Any:
        with contextlib.suppress(OSError):  # it has ended, and the answer says how
            self._pipe.send_bytes(json.dumps(question).encode())
        return self._answer(report, progress)

    def _answer(self, report: tuple[str, int, int], progress: Progress) -> Any:
        """What the process answers; until then, its reports of progress are repeated, so that work can be stopped."""
        try:
            while True:
                kind, content = json.loads(self._message(report, progress))
                if kind == "answer":
                    return content
                if kind == "error":
                    raise SAFEError(content)
                report = tuple(content)
                progress(*report)
        except BaseException:
            self._end()
            raise

    def _message(self, report: tuple[str, int, int], progress: Progress) -> bytes:
        until = time.monotonic() + MOST_SECONDS
        while not self._pipe.poll(TICK):
            progress(*report)
            if time.monotonic() > until:
                raise self._fault(f"which has not answered within {MOST_SECONDS:,} seconds")
        try:
            return self._pipe.recv_bytes()
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


def load_apart(
    path: str | os.PathLike, options: DnnOptions, *, task: str | None = None, progress: Progress = no_progress
) -> Dnn:
    """Do the same as `load_dnn` in a process of its own, which ends when nothing refers to the model any more.

    Raises
    ------
    SAFEError
        As of `load_dnn`, or the process has crashed or does not answer.
    """
    model = ModelProcess(path, {"rescale": options.rescale, "trust": options.trust, "task": task}, progress)
    facts = model.facts | {"path": Path(model.facts["path"]), "assumptions": tuple(model.facts["assumptions"])}
    return Dnn(model=model, **facts)


def predict_apart(
    dnn: Dnn,
    root: Path,
    paths: Sequence[str],
    *,
    progress: Progress = no_progress,
    what: str = "Running the model",
) -> Predictions:
    """Do the same as `predict` with a model of `load_apart`; the images are decoded in its process as well.

    Raises
    ------
    SAFEError
        As of `predict`, or the process has crashed or does not answer.
    """
    dnn = sized_for(dnn, [root / path for path in paths])
    question = {"height": dnn.height, "width": dnn.width, "root": os.fspath(root), "paths": list(paths), "what": what}
    return dnn.model.predict(question, progress, what)


# --- The process ------------------------------------------------------------------------------------------------


def _start(pipe: Connection, *arguments: Any) -> Any:
    process = multiprocessing.get_context("spawn").Process(target=_alone, args=(pipe, *arguments), daemon=True)
    process.start()
    pipe.close()
    return process


def _end(process: Any, pipe: Connection) -> None:
    process.kill()
    process.join()
    pipe.close()


def _alone(pipe: Connection, file: str, options: dict[str, Any], memory: int) -> None:
    """Serve a model, silently, as long as the process lives that asks for it."""
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
    _serve(pipe, file, options, memory)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _serve(pipe: Connection, file: str, options: dict[str, Any], _: int) -> None:
    def send(kind: str, content: Any) -> None:
        pipe.send_bytes(json.dumps([kind, content]).encode())

    with contextlib.suppress(EOFError, OSError):  # nobody asks any more
        try:
            dnn = load_dnn(file, **options)
            facts = {field.name: getattr(dnn, field.name) for field in dataclasses.fields(dnn) if field.name != "model"}
            send("answer", facts | {"path": os.fspath(dnn.path), "shape": dnn.model.inputs[0].shape})
            while True:
                _answer_one(json.loads(pipe.recv_bytes()), dnn, pipe, send)
        except SAFEError as error:
            send("error", str(error))
        except EOFError:
            raise
        except Exception as error:  # noqa: BLE001, the door: whatever a model does is a sentence
            reason = printable(str(error).strip().split("\n")[0][:200])
            text = (
                f"Expected a model that can be run. Received: {file}, which fails ({type(error).__name__}: {reason})."
            )
            send("error", text)


def _answer_one(question: dict[str, Any], dnn: Dnn, pipe: Connection, send: Any) -> None:
    if "shape" in question:
        found = None
        with contextlib.suppress(ValueError):
            found = dnn.model.compute_output_shape(tuple(question["shape"]))
        send("answer", found)
        return
    sized = dataclasses.replace(dnn, height=question["height"], width=question["width"])
    root, paths, what = Path(question["root"]), question["paths"], question["what"]
    found = predict(sized, root, paths, progress=lambda *report: send("progress", report), what=what)
    send("answer", [*found.outputs.shape, found.skipped])
    pipe.send_bytes(found.indices.astype(np.int64).tobytes())
    pipe.send_bytes(found.outputs.astype(np.float32).tobytes())
