"""Steps 3 to 6: the images to label, and what retraining with them changes."""

from pathlib import Path
from typing import Any

from safe_dnn.analysis import Analysis
from safe_dnn.api.generation import select_images
from safe_dnn.api.results import StepResult, settings_by
from safe_dnn.dnn.failures import checked
from safe_dnn.dnn.model_process import LOADING, Worker, has_message, in_a_sentence, send
from safe_dnn.options import DnnOptions, ImageSets, Labelling, Likely, SelectionSettings, Wishes
from safe_dnn.rccs.unsafe_set import UnsafeImage
from safe_dnn.report.summary_lines import left_out, retraining_details, retraining_summary, selection_summary
from safe_dnn.retrain import retrain as retrain_here
from safe_dnn.selection import chosen_by_model
from safe_dnn.store.database import present_engineer, speaking
from safe_dnn.store.output_folder import writing
from safe_dnn.store.runs import RETRAINING, run_file, runs_of
from safe_dnn.support.errors import StrPath, confined, path_of, present_root
from safe_dnn.support.progress import as_part
from safe_dnn.support.text import count
from safe_dnn.training.certainty import with_intervals
from safe_dnn.training.finetuning import UNWATCHED, Watch
from safe_dnn.training.labels import label_unsafe_set, save_labels, take_typed_labels
from safe_dnn.training.result import RETRAINING_FILE, Retraining, compare_answers, read_retraining, shares_by_reason


def select(improvement: StrPath, out: StrPath = ".", **options: Any) -> StepResult:
    """Steps 3 and 4: select the improvement images to label, the unsafe set.

    Parameters
    ----------
    improvement : path
        As for `selection.select_unsafe_set`.
    options
        `options.SelectionSettings`, `options.Likely`, with `options.DnnOptions`.

    Returns
    -------
    StepResult
        Its value is `rccs.unsafe_set.UnsafeSet`; its table has the images to label.

    Raises
    ------
    SAFEError
        As in `api.generation.select_images`.
    """
    folder, (settings, likely) = path_of(out, "an output folder"), settings_by(options, SelectionSettings, Likely)
    unsafe = select_images(improvement, folder, settings, likely=likely)
    rows = tuple(image[:-1] for image in unsafe.images)  # without the digest
    return StepResult(
        unsafe, selection_summary(unsafe), UnsafeImage._fields[:-1], rows,
        (unsafe.formula, chosen_by_model(unsafe)), tuple(left_out(unsafe.skipped)),
        written="IS_filenames.txt, unsafe_set.csv",
    )  # fmt: skip


def label(out: StrPath = ".", **options: Any) -> StepResult:
    """Label the unsafe set by a table, by class folders, or by what was typed into `unsafe_set.csv`.

    Parameters
    ----------
    options
        `options.Labelling`.

    Returns
    -------
    StepResult
        Its value is `rccs.unsafe_set.UnsafeSet`; its table has the images with their labels.

    Raises
    ------
    SAFEError
        There is no unsafe set, or as of `training.labels.label_unsafe_set`.
    """
    folder, (labelling,) = path_of(out, "an output folder"), settings_by(options, Labelling)
    take_typed_labels(folder)
    with writing(folder):
        analysis = Analysis(folder)
        classes = analysis.failures.known_classes if analysis.failures_key else ()
        sources = {"improvement": labelling.improvement, "labels": labelling.labels}
        unsafe = label_unsafe_set(analysis.unsafe, classes, **sources)
        save_labels(unsafe, folder)
    n = sum(bool(image.label) for image in unsafe.images)
    rows = tuple((image.image, image.label) for image in unsafe.images)
    headline = f"{n:,} of {count(len(unsafe.images), 'image')} labelled"
    return StepResult(unsafe, headline, ("image", "label"), rows, written="unsafe_set.csv")


def retrain(
    model: StrPath, train: StrPath, test: StrPath, out: StrPath = ".", *, watch: Any = None, **options: Any
) -> StepResult:
    """Steps 5 and 6: label the unsafe set, and fine-tune the network with it.

    Parameters
    ----------
    model : path
        As for `retrain.retrain`.
    train, test : path
        As in `options.ImageSets`.
    watch : training.finetuning.Watch, optional
        What the training reports to, and asks whether to stop.
    options
        `ImageSets`, with `options.Labelling`; `options.Wishes`; `options.DnnOptions`.

    Returns
    -------
    StepResult
        Its value is `training.result.Retraining`; its table has the images of each class and reason that are right
        before and after, with the 95 % interval of the share after.

    Raises
    ------
    SAFEError
        As in `api.repairing.retrain_apart`.
    """
    images, wishes, dnn = settings_by(options, ImageSets, Wishes, DnnOptions, train=train, test=test)
    folder = path_of(out, "an output folder")
    result = retrain_apart(model, images, folder, options=dnn, wishes=wishes, watch=watch or UNWATCHED)
    return _retrained(result, folder, "retrained.keras, retraining.json")


def compare(before: StrPath, after: StrPath, test: StrPath, out: StrPath = ".", **options: Any) -> StepResult:
    """Compare a network before and after it was retrained elsewhere, by tables of its answers.

    Parameters
    ----------
    before, after, test : path
        As for `training.result.compare_answers`.
    options
        `options.DnnOptions`.

    Returns
    -------
    StepResult
        As in `retrain`.

    Raises
    ------
    SAFEError
        As in `compare_answers`.
    """
    folder, (dnn,) = path_of(out, "an output folder"), settings_by(options, DnnOptions)
    result = compare_answers(before, after, test, folder, options=checked(dnn))
    return _retrained(result, folder, "retraining.json")


def _retrained(result: Any, folder: Any, written: str) -> StepResult:
    analysis = Analysis(folder)
    listed = analysis.listed if analysis.there else []
    classes = ((f"class {one.name}", one, ends) for one, ends in with_intervals(result.per_class, result.by_group))
    known = shares_by_reason(listed, result)
    ends_of = dict(with_intervals([share for _, share, _ in known]))
    found = ((reason.title, share, ends_of[share]) for reason, share, _ in known)
    rows = tuple((name, *share[1:], *ends) for name, share, ends in (*classes, *found))
    lines = tuple(f"  {line}" for line in retraining_details(result, listed))
    return StepResult(
        result, retraining_summary(result), ("of", "images", "before", "after", "low", "high"), rows, lines,
        tuple(left_out(result.skipped)), result.assumptions, written,
    )  # fmt: skip


# --- In a worker process, since the model's file may have been made by anyone -----------------------------------


def retrain_apart(
    model: StrPath, images: ImageSets, out: StrPath, *, watch: Watch = UNWATCHED, **options: Any
) -> Retraining:
    """Do the same as `retrain.retrain` in a worker process, which an exception from a report of progress ends at once.

    Raises
    ------
    SAFEError
        As of `retrain.retrain`; or the process has crashed, or does not answer while the model is loaded or once it is
        to stop.
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
        retrain_here(model, images, out, **options, watch=watch)


def _is_of_model(error: Exception) -> bool:
    return isinstance(error, MemoryError) or type(error).__module__.startswith("tensorflow")
