"""Step 6 of SAFE: retraining. The DNN and the labelled unsafe set in, a better DNN out, and how much better it is.

`training/finetuning.py` has the training itself. Here is what goes into it, the comparison of the model before and
after on the test set, and the files `retrained.keras` and `retraining.json`. The given model file is only read.

Every model that was ever trained stays in `retrained_models/`, with its figures, under the hash of its content:
`retrained.keras` is a copy of the last one, or of that of the run at hand.
"""

import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnn.failures import checked_threshold, examples_for
from dnn.model import Dnn, load_dnn, sized_for
from dnn.predictions import Judgement, LabelledImages, Pixels, check_outputs, doubts, judge, run_model, skipped_of
from dnn.targets import read_targets
from rccs.clusters import fingerprint
from rccs.review import Review, load_review
from selection import UnsafeSet, load_unsafe_set, save_labels
from support.entries import path_of
from support.errors import SAFEError
from support.files import DAMAGED, fill_text, prepare_folder, regular, replacing, replacing_together
from support.images import Skipped
from support.output_folder import check_own, save_files, working, writing
from support.progress import Progress, no_progress
from support.run_folder import CHECKPOINT_FILE, CLUSTERS_FILE, MODEL_FILE, MODELS_FOLDER, RETRAINING_FILE
from support.text import some
from training.checkpoint import remove_checkpoint
from training.comparison import Changed, Outcome, Share, changed, outcomes, shares_by_class, shares_by_rcc
from training.finetuning import TRAINING, Epoch, FineTuning, TrainingData, fine_tune
from training.labels import check_labels, label_unsafe_set
from training.settings import Settings, choose_loss, choose_settings, compile_as_given


@dataclass(frozen=True)
class Retraining:
    """What retraining brought.

    Attributes
    ----------
    model : Path
        The model that was given.
    test_root : Path
    task : "classification" or "regression"
    accuracy_before, accuracy_after : float
        On the test set.
    test_size, train_size, unsafe_size : int
        Readable images.
    improved, worsened : tuple of Changed
        Wrong before and right after; right before and wrong after. Sorted by path.
    per_rcc : tuple of Share
        By RCC, those in no cluster last; empty where there are no clusters to compare with.
    per_class : tuple of Share
        Of a regression, empty.
    history : tuple of Epoch
        Epoch 0 is the model as it was given.
    best : int
        The epoch that was kept; 0 if no epoch was better than the model as it was given.
    settings : Settings
    threshold : float or None
        Of a regression: an error above it is a failure.
    assumptions : tuple of str
        What was assumed about the model, the classes and the training, in words.
    stopped : str
        Why the training ended early; empty if it did not.
    seconds, waiting : float
        Time of the training, and the part of it in which the model waited for images.
    skipped : tuple of Skipped
        Images that could not be used.
    outcomes : tuple of Outcome
        What both models say of the failing images of the RCCs.
    run : str
        Fingerprint of the clusters, as they were found, whose unsafe set it was; empty where there were none.
    digest : str
        SHA-256 of the retrained model's file, in hexadecimal.
    """

    model: Path
    test_root: Path
    task: str
    accuracy_before: float
    accuracy_after: float
    test_size: int
    train_size: int
    unsafe_size: int
    improved: tuple[Changed, ...]
    worsened: tuple[Changed, ...]
    per_rcc: tuple[Share, ...]
    per_class: tuple[Share, ...]
    history: tuple[Epoch, ...]
    best: int
    settings: Settings
    threshold: float | None
    assumptions: tuple[str, ...]
    stopped: str
    seconds: float
    waiting: float
    skipped: tuple[Skipped, ...]
    outcomes: tuple[Outcome, ...] = ()
    run: str = ""
    digest: str = ""


# --- Retraining -------------------------------------------------------------------------------------------------


class _Material(NamedTuple):
    """All that a retraining works with."""

    dnn: Dnn
    train: LabelledImages
    test: LabelledImages
    unsafe: UnsafeSet
    unsafe_labels: np.ndarray
    review: Review | None
    said: tuple[str, ...]


def retrain(
    model: str | os.PathLike,
    train: str | os.PathLike,
    test: str | os.PathLike,
    out: str | os.PathLike,
    improvement: str | os.PathLike | None = None,
    labels: str | os.PathLike | None = None,
    only_labelled: bool = False,
    rescale: str | None = None,
    trust: bool = False,
    targets: str | os.PathLike | None = None,
    threshold: float | None = None,
    progress: Progress = no_progress,
    on_epoch: Callable[[tuple[Epoch, ...]], None] = lambda history: None,
    should_stop: Callable[[], bool] = lambda: False,
    **settings: float | None,
) -> Retraining:
    """Fine-tune the DNN with the unsafe set of the folder `out`; write the new model and what it brought there.

    Parameters
    ----------
    model, rescale, trust
        As for `dnn.model.load_dnn`.
    train, test : path
        Folders of class folders; of a regression, of images.
    improvement, labels
        As for `training.labels.label_unsafe_set`. The labels are saved in `unsafe_set.csv`.
    only_labelled : bool
        Leave out the images of the unsafe set that have no label, instead of refusing them.
    targets, threshold
        Of a regression, as for `dnn.failures.find_failures`; the table has the training, test and unsafe images.
    on_epoch, should_stop
        As for `training.finetuning.fine_tune`.
    **settings
        Those of `training.settings.choose_settings`.

    Raises
    ------
    SAFEError
        Something does not fit, cannot be read or cannot be written. The given model is as it was.
    """
    threshold = checked_threshold(threshold)
    out = prepare_folder(out)
    _refuse_overwriting(path_of(model, "a Keras model"), out / MODEL_FILE)
    with working(out, "retraining"):
        check_own(out, MODEL_FILE, RETRAINING_FILE)
        dnn = load_dnn(model, rescale, trust, "regression" if targets else None)
        chosen = choose_settings(dnn, **settings)
        material = _gather(dnn, train, test, out, improvement, labels, only_labelled, targets, threshold)
        data = _training_data(material)
        tested = Pixels(material.dnn, material.test.files)
        before = _run(material, material.dnn.model, tested, threshold, progress, "Testing the model")
        unfinished = out / CHECKPOINT_FILE
        tuning = fine_tune(material.dnn, data, chosen, threshold, progress, on_epoch, should_stop, unfinished)
        after = _run(material, tuning.model, tested, threshold, progress, "Testing the retrained model")
        result = _compare(material, before, after, tuning, chosen, threshold, data, tested)
        compile_as_given(material.dnn, tuning.model)
        result = save_retraining(result, tuning.model, out)
        remove_checkpoint(unfinished)
        return result


def _gather(
    dnn: Dnn,
    train: str | os.PathLike,
    test: str | os.PathLike,
    out: Path,
    improvement: str | os.PathLike | None,
    labels: str | os.PathLike | None,
    only_labelled: bool,
    targets: str | os.PathLike | None,
    threshold: float | None,
) -> _Material:
    """Find the images and their labels, and refuse what does not fit."""
    training, said = examples_for(dnn, train, targets, threshold)
    if training.empty:
        raise SAFEError(
            f"Expected training images of every class, or retraining would unlearn it. Received none of "
            f"{some(training.empty)} in {training.root}."
        )
    testing, also_said = examples_for(dnn, test, targets, threshold, train)
    _refuse_overlap(training, testing)
    with writing(out):
        unsafe = label_unsafe_set(load_unsafe_set(out), training.classes, improvement, labels)
        review = load_review(out) if (out / CLUSTERS_FILE).is_file() else None
        if review is not None and unsafe.clusters != fingerprint(review.clusters):
            raise SAFEError(
                "The unsafe set belongs to other root cause clusters than those of now. Select it again: images keep "
                "the labels that they have."
            )
        if dnn.task == "classification":
            save_labels(unsafe, out)  # also those that are given now are kept, whatever comes
    if dnn.task == "regression":
        unsafe, unsafe_labels = _unsafe_targets(unsafe, training, testing, targets, only_labelled)
    else:
        if only_labelled:
            unsafe = dataclasses.replace(unsafe, images=tuple(image for image in unsafe.images if image.label))
        if not unsafe.images:
            raise SAFEError("Expected labelled images in the unsafe set. Received none. Label them first.")
        check_labels(unsafe, training.classes)
        unsafe_labels = np.array([training.classes.index(image.label) for image in unsafe.images])
    inside = [i.image for i in unsafe.images if _within(unsafe.improvement_root / i.image, testing.root)]
    if inside:
        raise SAFEError(
            "Expected no test image in the unsafe set, or the test would prove nothing. Received "
            f"{some(inside, limit=2)} in {testing.root}. Select the unsafe set from a folder that does not hold the "
            "test set."
        )
    files = [*training.files, *(unsafe.improvement_root / image.image for image in unsafe.images)]
    dnn = sized_for(dnn, [*files, *testing.files])
    said = (*dnn.assumptions, *dict.fromkeys((*said, *also_said)), choose_loss(dnn)[1])
    return _Material(dnn, training, testing, unsafe, unsafe_labels, review, said)


def _unsafe_targets(
    unsafe: UnsafeSet,
    training: LabelledImages,
    testing: LabelledImages,
    table: str | os.PathLike,
    only_labelled: bool,
) -> tuple[UnsafeSet, np.ndarray]:
    """The targets of the unsafe images, shape (n_images, n_targets), float32."""
    targets = read_targets(table)
    keys = {image: targets.key(unsafe.improvement_root, image.image) for image in unsafe.images}
    sets = [
        {targets.key(training.root, path) for path in training.paths},
        {targets.key(testing.root, path) for path in testing.paths},
        set(keys.values()) - {None},
    ]
    twice = (sets[0] & sets[1]) | (sets[0] & sets[2]) | (sets[1] & sets[2])
    if twice:
        raise SAFEError(
            f"Expected a row of {targets.file} for each image. Received one that stands for images of two folders: "
            f"{some(sorted(twice), limit=2)}. Name the images relative to the table's folder."
        )
    missing = [image.image for image, key in keys.items() if key is None]
    if missing and not only_labelled:
        raise SAFEError(
            f"Expected a row of {targets.file} for each of the {len(keys)} images of the unsafe set. Received none for "
            f"{len(missing)}: {some(missing)}. Add them, or retrain without these (--only-labelled)."
        )
    known = {image: targets.rows[key] for image, key in keys.items() if key is not None}
    if not known:
        raise SAFEError(f"Expected images of the unsafe set in {targets.file}. Received none.")
    return dataclasses.replace(unsafe, images=tuple(known)), np.array(list(known.values()), np.float32)


def _refuse_overwriting(model: Path, new: Path) -> None:
    if new.exists() and model.exists() and new.samefile(model):
        raise SAFEError(
            f"Expected a model other than the one that will be written. Received: {model}. Copy it to another name, "
            "or name another output folder with --out."
        )


def _refuse_overlap(training: LabelledImages, testing: LabelledImages) -> None:
    if _within(training.root, testing.root) or _within(testing.root, training.root):
        raise SAFEError(
            f"Expected the training and the test set in two folders, neither inside the other. Received: "
            f"{training.root} and {testing.root}."
        )


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _training_data(material: _Material) -> TrainingData:
    root = material.unsafe.improvement_root
    files = [*material.train.files, *(root / image.image for image in material.unsafe.images)]
    return TrainingData(
        pixels=Pixels(material.dnn, files),
        labels=np.concatenate([material.train.labels, material.unsafe_labels]),
        groups=np.concatenate([np.full(len(material.train.paths), TRAINING), weighed(material.unsafe)]),
    )


def weighed(unsafe: UnsafeSet) -> np.ndarray:
    """The groups of unsafe images that weigh the same in training, shape (n_images,), int.

    With equal quotas these are the RCCs, as HUDD has it. Quotas by size have given each RCC its weight already: then
    all images are one group. Or the two images of the smallest RCC would be drawn as often as the twenty of the
    largest: on `gd` that costs 1.3 points of accuracy with 100 labels and 0.5 with 300, while on `oc` no difference is
    shown (`SAFE balanced` in benchmarks/RESULTS.md).
    """
    return np.array([image.rcc if unsafe.quota == "equal" else 0 for image in unsafe.images], int)


def _run(
    material: _Material, model: Any, tested: Pixels, threshold: float | None, progress: Progress, what: str
) -> Judgement:
    """Test a model; entry i belongs to the i-th test image that can be read."""
    indices, outputs = run_model(material.dnn, model, tested, np.arange(len(tested)), progress, what)
    check_outputs(outputs, material.dnn, material.test.root, skipped_of(tested, material.test.paths))
    return judge(material.dnn, material.test, indices, outputs, threshold)


# --- Before and after -------------------------------------------------------------------------------------------


def _compare(
    material: _Material,
    before: Judgement,
    after: Judgement,
    tuning: FineTuning,
    settings: Settings,
    threshold: float | None,
    data: TrainingData,
    tested: Pixels,
) -> Retraining:
    test = material.test
    roots = [material.train.root / path for path in material.train.paths]
    roots += [material.unsafe.improvement_root / image.image for image in material.unsafe.images]
    unreadable = [Skipped(os.fspath(roots[i]), reason) for i, reason in sorted(data.pixels.unreadable.items())]
    readable = np.isin(np.arange(len(data.groups)), list(data.pixels.unreadable), invert=True)
    review = material.review
    found = outcomes(review.clusters, test, before, after) if review else ()
    return Retraining(
        model=material.dnn.path,
        test_root=test.root,
        task=material.dnn.task,
        accuracy_before=before.accuracy,
        accuracy_after=after.accuracy,
        test_size=len(before.indices),
        train_size=int((readable & (data.groups == TRAINING)).sum()),
        unsafe_size=int((readable & (data.groups != TRAINING)).sum()),
        improved=changed(test, before, after, ~before.right & after.right),
        worsened=changed(test, before, after, before.right & ~after.right),
        per_rcc=shares_by_rcc(review.clusters, found) if review else (),
        per_class=shares_by_class(test, before, after) if material.dnn.task == "classification" else (),
        history=tuning.history,
        best=tuning.best,
        settings=settings,
        threshold=threshold,
        assumptions=(
            *material.said,
            *doubts(material.dnn, tuning.history[0].validation, "the training images held out"),
        ),
        stopped=tuning.stopped,
        seconds=round(tuning.seconds, 1),
        waiting=round(tuning.waiting, 1),
        skipped=(*material.train.skipped, *test.skipped, *skipped_of(tested, test.paths), *unreadable),
        outcomes=found,
        run=fingerprint(review.original) if review else "",
    )


# --- The files --------------------------------------------------------------------------------------------------


def save_retraining(result: Retraining, model: Any, folder: Path) -> Retraining:
    """Write `retrained.keras` and `retraining.json`, both or neither, and keep both in `retrained_models/`.

    Returns
    -------
    Retraining
        The result with the digest of the model's file.

    Raises
    ------
    SAFEError
        The disk is full or not writable; what was there before is unchanged.
    """
    with writing(folder):
        check_own(folder, MODEL_FILE, RETRAINING_FILE)
        keep_model(folder)
        models = prepare_folder(folder / MODELS_FOLDER)
        new = models / MODEL_FILE
        with replacing(new) as temporary:
            model.save(temporary)
        result = dataclasses.replace(result, digest=_digest(new))
        kept, text = _kept(folder, result.digest), _retraining_text(result)
        with replacing_together(kept, kept.with_suffix(".json")) as (weights, record):
            new.replace(weights)
            fill_text(record, text)
        save_files(folder, {MODEL_FILE: lambda path: shutil.copyfile(kept, path), RETRAINING_FILE: text})
        return result


def _retraining_text(result: Retraining) -> str:
    record = dataclasses.asdict(result)
    record |= {"model": os.fspath(result.model), "test_root": os.fspath(result.test_root)}
    for name in ("improved", "worsened", "per_rcc", "per_class", "history", "skipped", "outcomes"):
        record[name] = [row._asdict() for row in getattr(result, name)]
    record["history"][0]["loss"] = None  # NaN is no JSON
    record["settings"] = result.settings._asdict()
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def keep_model(folder: Path) -> Path | None:
    """Make sure that the model in a folder is in `retrained_models/` as well; None where there is none."""
    model = folder / MODEL_FILE
    if not model.is_file():
        return None
    try:
        kept = _kept(folder, _digest(model))
        if not kept.is_file():
            prepare_folder(kept.parent)
            with replacing(kept) as temporary:
                shutil.copyfile(model, temporary)
        return kept
    except OSError as error:
        raise SAFEError(f"Could not keep the earlier model {model}: {error.strerror or error}.") from error


def kept_model(folder: Path, run: Path) -> Path | None:
    """The model of the retraining in the folder of a run, among those kept; None where it is gone."""
    try:
        digest = str(json.loads(regular(run / RETRAINING_FILE).read_text(encoding="utf-8", errors="replace"))["digest"])
    except DAMAGED:
        return None
    kept = _kept(folder, digest)
    return kept if len(digest) == 64 and digest.isalnum() and kept.is_file() else None


def _kept(folder: Path, digest: str) -> Path:
    return folder / MODELS_FOLDER / f"{digest[:16]}{Path(MODEL_FILE).suffix}"


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def retraining_run(folder: Path) -> str:
    """The fingerprint of the clusters, as found, that the retraining in a folder was for; empty where unknown."""
    try:
        return str(json.loads(regular(folder / RETRAINING_FILE).read_text(encoding="utf-8", errors="replace"))["run"])
    except DAMAGED:
        return ""


def retraining_of(folder: Path, review: Review | None) -> Retraining:
    """The retraining in a folder, with the shares of the RCCs as they are now.

    Parameters
    ----------
    review : Review or None
        The RCCs in the folder; None where there are none.

    Raises
    ------
    SAFEError
        There is none, it is damaged, or it was for other clusters.
    """
    result = load_retraining(folder)
    if review is None:
        return result
    ours = result.run == fingerprint(review.original) if result.run else _is_newer(folder)
    if not ours:
        raise SAFEError(
            "The last retraining was for other root cause clusters. Open their run to see it (under Earlier runs), or "
            "retrain."
        )
    if result.outcomes:
        return dataclasses.replace(result, per_rcc=shares_by_rcc(review.clusters, result.outcomes))
    # Older versions kept the shares alone: they hold as long as nothing was merged or moved.
    return result if not review.edits else dataclasses.replace(result, per_rcc=())


def _is_newer(folder: Path) -> bool:
    """Whether the retraining, of an older version that does not say for what it was, came after the clusters."""
    try:
        return (folder / RETRAINING_FILE).stat().st_mtime >= (folder / CLUSTERS_FILE).stat().st_mtime
    except OSError:
        return False


def load_retraining(folder: Path) -> Retraining:
    """Read what `save_retraining` wrote.

    Raises
    ------
    SAFEError
        There is none, or it is damaged.
    """
    path = folder / RETRAINING_FILE
    if not path.is_file():
        raise SAFEError(f"Expected the result of a retraining. Received none in {folder}. Retrain first.")
    try:
        record = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        record |= {"model": Path(record["model"]), "test_root": Path(record["test_root"])}
        kinds = {"improved": Changed, "worsened": Changed, "per_rcc": Share, "per_class": Share, "skipped": Skipped}
        for name, kind in kinds.items():
            record[name] = tuple(kind(**row) for row in record[name])
        record["outcomes"] = tuple(Outcome(**row) for row in record.get("outcomes", ()))
        history = [{**row, "loss": math.nan if row["loss"] is None else row["loss"]} for row in record["history"]]
        record["history"] = tuple(Epoch(**row) for row in history)
        record["settings"] = Settings(**record["settings"])
        record["assumptions"] = tuple(map(str, record["assumptions"]))
        result = Retraining(**record)
        _check_numbers(result)
        return result
    except DAMAGED as error:
        raise SAFEError(f"{path} is damaged ({error}). Retrain again.") from error


def _check_numbers(result: Retraining) -> None:
    """A ValueError or TypeError where the numbers of a retraining that was read from a file are none."""
    counts = [number for share in (*result.per_rcc, *result.per_class) for number in share[1:]]
    sizes = (result.test_size, result.train_size, result.unsafe_size, result.best, *counts)
    if not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise ValueError("a size that is none")
    shares = (result.accuracy_before, result.accuracy_after)
    if not all(0 <= share <= 1 for share in shares) or not all(t >= 0 for t in (result.seconds, result.waiting)):
        raise ValueError("a number that is none")
    if not all(isinstance(text, str) for text in (result.run, result.digest)):
        raise ValueError("a fingerprint that is invalid")
    if not result.history or not all(isinstance(number, int | float) for one in result.history for number in one):
        raise ValueError("a history that is none")
