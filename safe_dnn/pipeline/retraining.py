"""Step 6 of SAFE in a worker process, since the model's file may have been made by anyone.

In: what `retrain.retrain` takes. Out: the same. The process reports its progress and its epochs, and writes the result
itself: by one rename, so that one that is killed leaves the old result or the new one.
"""

from pathlib import Path
from typing import Any

from safe_dnn.dnn.model_process import LOADING, Worker, has_message, in_a_sentence, send
from safe_dnn.retrain import retrain
from safe_dnn.store.database import present_engineer, speaking
from safe_dnn.store.runs import RETRAINING, run_file, runs_of
from safe_dnn.support.errors import StrPath, confined, path_of, present_root
from safe_dnn.support.progress import as_part
from safe_dnn.training.finetuning import UNWATCHED, Watch
from safe_dnn.training.material import ImageSets
from safe_dnn.training.result import RETRAINING_FILE, Retraining, read_retraining


def retrain_apart(
    model: StrPath, images: ImageSets, out: StrPath, *, watch: Watch = UNWATCHED, **options: Any
) -> Retraining:
    """Do the same as `retrain` in a worker process, which an exception raised by a report of progress ends at once.

    Raises
    ------
    SAFEError
        As of `retrain`; or the process has crashed, or does not answer while the model is loaded or once it is to stop.
    """
    worker, stopping = Worker(model), False

    def look(*report: Any) -> Any:
        nonlocal stopping
        if watch.should_stop() and not stopping:
            stopping = True
            worker.send("stop")
        return report

    with as_part(look):
        worker.run(
            _work, model, images, out, options, present_engineer(), present_root(),
            receive=lambda epochs: watch.on_epoch(*epochs),
            patient=lambda report: report != LOADING and not stopping,
        )  # fmt: skip
    folder = path_of(out, "an output folder")
    return read_retraining(run_file(runs_of(folder, RETRAINING)[-1], RETRAINING_FILE), folder)


def _work(
    model: StrPath, images: ImageSets, out: StrPath, options: dict[str, Any], engineer: str, root: Path | None
) -> None:
    # A message that comes is the wish to stop: nothing else is ever sent.
    watch = Watch(lambda *epochs: send([*epochs]), has_message)
    with speaking(engineer), confined(root), in_a_sentence(model, _is_of_model):
        retrain(model, images, out, **options, watch=watch)


def _is_of_model(error: Exception) -> bool:
    return isinstance(error, MemoryError) or type(error).__module__.startswith("tensorflow")
