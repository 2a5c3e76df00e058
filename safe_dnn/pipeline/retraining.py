"""Step 6 of SAFE in a process of its own, since the model's file may have been made by anyone.

In: what `retrain.retrain` takes. Out: the same. The process reports its progress and its epochs, and writes the result
itself: by one rename, so that one that is killed leaves the old result or the new one.
"""

import traceback
from multiprocessing.connection import Connection
from typing import Any

from safe_dnn.dnn.model_process import LOADING, ProcessOfItsOwn, Send, answering
from safe_dnn.retrain import retrain
from safe_dnn.store.database import present_engineer, speaking
from safe_dnn.store.runs import RETRAINING, run_file, runs_of
from safe_dnn.support.entries import StrPath, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.finetuning import UNWATCHED, Epoch, Watch
from safe_dnn.training.material import ImageSets
from safe_dnn.training.result import RETRAINING_FILE, Retraining, read_retraining


def retrain_apart(
    model: StrPath, images: ImageSets, out: StrPath, *, watch: Watch = UNWATCHED, **more: Any
) -> Retraining:
    """Do the same as `retrain` in a process of its own, which an exception from `watch.progress` ends at once.

    Raises
    ------
    SAFEError
        As of `retrain`; or the process has crashed, or does not answer while the model is loaded or once it is to stop.
    """
    process = ProcessOfItsOwn(model, _work, (model, images, out), more, present_engineer())
    stopping = False

    def look(what: str, done: int, total: int) -> None:
        nonlocal stopping
        watch.progress(what, done, total)
        if watch.should_stop() and not stopping:
            stopping = True
            process.tell("stop")

    others = {"epoch": lambda told: watch.on_epoch(tuple(Epoch(*row) for row in told[0]), tuple(told[1]))}
    process.answer(LOADING, look, others=others, patient=lambda report: report != LOADING and not stopping)
    folder = path_of(out, "an output folder")
    return read_retraining(run_file(runs_of(folder, RETRAINING)[-1], RETRAINING_FILE), folder)


def _work(pipe: Connection, given: tuple, more: dict[str, Any], engineer: str) -> None:
    def work(send: Send) -> None:
        try:
            watch = Watch(
                lambda *report: send("progress", report),
                lambda *epochs: send("epoch", epochs),
                pipe.poll,  # nothing else is ever told to this process
            )
            retrain(*given, **more, watch=watch)
            send("answer", None)
        except (SAFEError, MemoryError):
            raise
        except Exception as error:
            if type(error).__module__.startswith("tensorflow"):
                raise
            send("defect", traceback.format_exc())

    with speaking(engineer):
        answering(pipe, given[0], work)
