"""Step 6 of SAFE: retraining. The DNN and the labelled unsafe set in; a better DNN out, and how much better it is.

This module collects the images and labels, checks them, and compares the model before and after on the test set. The
training itself is in `training/finetuning.py`, the record of the result and its files in `training/result.py`. The
given model file is not changed.
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnn.failure_prediction import likely_wrong
from dnn.failures import checked, examples_for
from dnn.model import AS_IN_THE_FILE, ONNX_SUFFIX, Dnn, DnnOptions, load_dnn, sized_for
from dnn.predictions import Judgement, LabelledImages, Pixels, check_outputs, doubts, judge, run_model, skipped_of
from dnn.targets import read_targets
from rccs.clusters import fingerprint
from rccs.review import Review, load_review
from rccs.unsafe_set import UnsafeSet, load_unsafe_set
from support.entries import path_of
from support.errors import SAFEError
from support.files import prepare_folder
from support.images import Skipped, find_images
from support.output_folder import check_own, working, writing
from support.progress import Progress, no_progress
from support.run_folder import (
    CHECKPOINT_FILE,
    CLUSTERS_FILE,
    MODEL_FILE,
    REPETITIONS_FILE,
    RETRAINING_FILE,
    SECOND_CHECKPOINT_FILE,
)
from support.text import some
from training.checkpoint import remove_checkpoint, run_key
from training.comparison import before_and_after
from training.finetuning import TRAINING, UNLABELLED, FineTuning, OnEpoch, TrainingData, copy_with
from training.labels import AS_LABELLED, Labelling, check_labels, label_unsafe_set, save_labels
from training.repetitions import Repeated, Resumption, Steps, repeat
from training.result import Retraining, save_retraining
from training.second_pass import (
    Checkpoints,
    LikelyWrong,
    draw_unlabelled,
    fine_tune_twice,
    is_of_second_pass,
    second_pass_text,
)
from training.settings import (
    NO_WISHES,
    SetSizes,
    Settings,
    Wishes,
    choose_loss,
    choose_seeds,
    choose_settings,
    compile_as_given,
)
from training.together import answer_together, together_text, trade_off

# --- Retraining -------------------------------------------------------------------------------------------------


def retrain(
    model: str | os.PathLike,
    train: str | os.PathLike,
    test: str | os.PathLike,
    out: str | os.PathLike,
    *,
    options: DnnOptions = AS_IN_THE_FILE,
    labelling: Labelling = AS_LABELLED,
    wishes: Wishes = NO_WISHES,
    progress: Progress = no_progress,
    on_epoch: OnEpoch = lambda history, passes: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Retraining:
    """Fine-tune the DNN with the unsafe set in the folder `out`; write the new model and the comparison there.

    Parameters
    ----------
    model : path
        As for `dnn.model.load_dnn`.
    train, test : path
        Folders of class folders; for a regression, of images.
    options : DnnOptions
        Properties of the model that its file lacks. The targets of a regression cover the training, test and unsafe
        images.
    labelling : Labelling
        The sources of the labels, which are saved in `unsafe_set.csv`.
    wishes : Wishes
        Training settings that differ from the defaults. With several seeds, the model is fine-tuned once for each, and
        that whose test accuracy is the median is written (see `training/repetitions.py`).
    on_epoch, should_stop
        As for `training.finetuning.fine_tune`; the history is that of the repetition at work.

    Raises
    ------
    SAFEError
        The inputs do not match, or a file cannot be read or written. The given model is unchanged.
    """
    options = checked(options)
    _refuse_onnx(path_of(model, "a Keras model"))
    n_seeds = choose_seeds(wishes)
    out = prepare_folder(out)
    _refuse_overwriting(path_of(model, "a Keras model"), out / MODEL_FILE)
    with working(out, "retraining"):
        check_own(out, MODEL_FILE, RETRAINING_FILE)
        dnn = load_dnn(model, rescale=options.rescale, trust=options.trust, task=options.task)
        choose_settings(dnn, wishes)  # what is wrong with them is reported before images are read
        material = _gather(dnn, train, test, out, options, labelling)
        sizes = SetSizes(len(material.train.paths), len(material.unsafe.images), len(material.unlabelled))
        settings = choose_settings(dnn, wishes, sizes)
        if not settings.unlabelled:
            material = material._replace(unlabelled=())
        data = _training_data(material)
        tested = Pixels(material.dnn, material.test.files)
        answers = _run(material, material.dnn.model, tested, progress, "Testing the model")
        before = _judge(material, answers)
        unfinished = Checkpoints(out / CHECKPOINT_FILE, out / SECOND_CHECKPOINT_FILE)
        finished = out / REPETITIONS_FILE

        def train_with(settings: Settings, progress: Progress) -> FineTuning:
            return fine_tune_twice(
                material.dnn, data, settings, threshold=options.threshold, progress=progress, on_epoch=on_epoch,
                should_stop=should_stop, checkpoints=unfinished, likely_wrong=_likely_wrong(before, answers),
            )  # fmt: skip

        share, tests = settings.original_share, []

        def test_model(model: Any, progress: Progress) -> Judgement:
            alone = _run(material, model, tested, progress, "Testing the retrained model")
            mean = share * answers.outputs + (1 - share) * alone.outputs if share else alone.outputs
            judgement = _judge(material, alone._replace(outputs=mean))
            tests.append((judgement, alone.outputs))  # the median is known at the end
            return judgement

        steps = Steps(train_with, test_model, lambda weights: copy_with(material.dnn, weights))
        resumption = _resumption(finished, material, data, settings, n_seeds) if n_seeds > 1 else None
        repeated = repeat(
            steps, settings, n_seeds, before, resumption, progress=progress, on_epoch=on_epoch, should_stop=should_stop
        )
        result = _compare(material, before, repeated, data, tested)
        retrained = repeated.tuning.model
        if repeated.tuning.best and material.dnn.task == "classification":
            alone = next(outputs for judgement, outputs in tests if judgement is repeated.after)
            labels = material.test.labels[before.indices]
            result = dataclasses.replace(result, trade_off=trade_off(answers.outputs, alone, labels))
            retrained = answer_together(material.dnn, retrained, share) if share else retrained
        compile_as_given(material.dnn, retrained)
        result = save_retraining(result, retrained, out)
        for file in (*unfinished, finished):
            remove_checkpoint(file)
        return result


class _Material(NamedTuple):
    """The inputs of a retraining; `unlabelled` are improvement images without a label."""

    dnn: Dnn
    threshold: float | None
    train: LabelledImages
    test: LabelledImages
    unsafe: UnsafeSet
    unsafe_labels: np.ndarray
    unlabelled: tuple[Path, ...]
    review: Review | None
    assumptions: tuple[str, ...]


def _gather(
    dnn: Dnn,
    train: str | os.PathLike,
    test: str | os.PathLike,
    out: Path,
    options: DnnOptions,
    labelling: Labelling,
) -> _Material:
    """Find the images and their labels; a SAFEError if they do not match."""
    training, of_training = examples_for(dnn, train, options=options)
    if training.empty:
        raise SAFEError(
            "Expected training images of every class, since retraining would unlearn a missing one. Received none of "
            f"{some(training.empty)} in {training.root}."
        )
    testing, of_testing = examples_for(dnn, test, options=options, train=train)
    _refuse_overlap(training, testing)
    unsafe, review = _labelled_unsafe_set(dnn, training, out, labelling)
    if dnn.task == "regression":
        unsafe, unsafe_labels = _unsafe_targets(unsafe, training, testing, options, labelling)
    else:
        if labelling.only_labelled:
            unsafe = dataclasses.replace(unsafe, images=tuple(image for image in unsafe.images if image.label))
        if not unsafe.images:
            raise SAFEError("Expected labelled images in the unsafe set. Received none. Label them first.")
        check_labels(unsafe, training.classes)
        unsafe_labels = np.array([training.classes.index(image.label) for image in unsafe.images])
    inside = [i.image for i in unsafe.images if _within(unsafe.improvement_root / i.image, testing.root)]
    if inside:
        raise SAFEError(
            "Expected no test images in the unsafe set, since the test would then prove nothing. Received "
            f"{some(inside, limit=2)} in {testing.root}. Select the unsafe set from a folder without the test set."
        )
    files = [*training.files, *(unsafe.improvement_root / image.image for image in unsafe.images)]
    dnn = sized_for(dnn, [*files, *testing.files])
    unlabelled = _without_label(unsafe, training, testing) if dnn.task == "classification" else ()
    assumptions = (*dnn.assumptions, *dict.fromkeys((*of_training, *of_testing)), choose_loss(dnn)[1])
    threshold = None if options.threshold is None else float(options.threshold)
    return _Material(dnn, threshold, training, testing, unsafe, unsafe_labels, unlabelled, review, assumptions)


def _labelled_unsafe_set(
    dnn: Dnn, training: LabelledImages, out: Path, labelling: Labelling
) -> tuple[UnsafeSet, Review | None]:
    """The unsafe set with all labels that are known, which are saved, and the RCCs that it belongs to."""
    with writing(out):
        unsafe = label_unsafe_set(
            load_unsafe_set(out), training.classes, improvement=labelling.improvement, labels=labelling.labels
        )
        review = load_review(out) if (out / CLUSTERS_FILE).is_file() else None
        if review is not None and unsafe.clusters != fingerprint(review.clusters):
            raise SAFEError(
                "The unsafe set belongs to root cause clusters other than the current ones. Select it again; images "
                "keep their labels."
            )
        if dnn.task == "classification":
            save_labels(unsafe, out)
    return unsafe, review


def _unsafe_targets(
    unsafe: UnsafeSet,
    training: LabelledImages,
    testing: LabelledImages,
    options: DnnOptions,
    labelling: Labelling,
) -> tuple[UnsafeSet, np.ndarray]:
    """The targets of the unsafe images, shape (n_images, n_targets), float32."""
    if options.targets is None:
        raise SAFEError("Expected a table of targets, since the model is a regression. Give it with --targets.")
    targets = read_targets(options.targets)
    keys = {image: targets.key(unsafe.improvement_root, image.image) for image in unsafe.images}
    first = {targets.key(training.root, path) for path in training.paths}
    second = {targets.key(testing.root, path) for path in testing.paths}
    third = set(keys.values())
    twice = {key for key in (first & second) | (first & third) | (second & third) if key is not None}
    if twice:
        raise SAFEError(
            f"Expected a row of {targets.file} for each image. Received a row that matches images of two folders: "
            f"{some(sorted(twice), limit=2)}. Name the images relative to the table's folder."
        )
    missing = [image.image for image, key in keys.items() if key is None]
    if missing and not labelling.only_labelled:
        raise SAFEError(
            f"Expected a row of {targets.file} for each of the {len(keys)} images of the unsafe set. Received none for "
            f"{len(missing)}: {some(missing)}. Add the rows, or retrain without these images (--only-labelled)."
        )
    known = {image: targets.rows[key] for image, key in keys.items() if key is not None}
    if not known:
        raise SAFEError(f"Expected images of the unsafe set in {targets.file}. Received none.")
    return dataclasses.replace(unsafe, images=tuple(known)), np.array(list(known.values()), np.float32)


def _without_label(unsafe: UnsafeSet, training: LabelledImages, testing: LabelledImages) -> tuple[Path, ...]:
    """Improvement images outside the unsafe set, for the second pass: as many as there are training images at most.

    None if the unsafe set was selected from a list: its folder may hold images of any kind.
    """
    if unsafe.listed:
        return ()
    root, labelled = unsafe.improvement_root, {image.image for image in unsafe.images}
    files = [root / path for path in find_images(root).paths if path not in labelled]
    others = [testing.root.resolve(), training.root.resolve()]  # a link may lead there
    files = [file for file in files if not any(map(file.resolve().is_relative_to, others))]
    return tuple(files[i] for i in draw_unlabelled(len(files), len(training.paths)))


def _refuse_onnx(model: Path) -> None:
    if model.suffix.lower() == ONNX_SUFFIX:
        raise SAFEError(
            f"Expected a Keras model, since an ONNX model cannot be trained. Received: {model}. Export the labelled "
            "images (export --labelled), train with the framework that the model is from, and compare its answers "
            "before and after (compare)."
        )


def _refuse_overwriting(model: Path, new: Path) -> None:
    if new.exists() and model.exists() and new.samefile(model):
        raise SAFEError(
            f"Expected a model other than the file that retraining writes. Received: {model}. Copy it to another name, "
            "or choose another output folder with --out."
        )


def _refuse_overlap(training: LabelledImages, testing: LabelledImages) -> None:
    if _within(training.root, testing.root) or _within(testing.root, training.root):
        raise SAFEError(
            f"Expected the training and test sets in two folders, neither inside the other. Received: "
            f"{training.root} and {testing.root}."
        )


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _training_data(material: _Material) -> TrainingData:
    n_unlabelled = len(material.unlabelled)
    no_labels = np.zeros((n_unlabelled, *material.unsafe_labels.shape[1:]), material.unsafe_labels.dtype)
    groups = np.full(len(material.train.paths), TRAINING), weighed(material.unsafe), np.full(n_unlabelled, UNLABELLED)
    return TrainingData(
        pixels=Pixels(material.dnn, _files(material)),
        labels=np.concatenate([material.train.labels, material.unsafe_labels, no_labels]),
        groups=np.concatenate(groups),
    )


def _files(material: _Material) -> list[Path]:
    """The files of the training images, of the unsafe images, and of those without a label."""
    root = material.unsafe.improvement_root
    unsafe = (root / image.image for image in material.unsafe.images)
    return [*material.train.files, *unsafe, *material.unlabelled]


def weighed(unsafe: UnsafeSet) -> np.ndarray:
    """The groups of unsafe images that have the same weight in training, shape (n_images,), int.

    With equal quotas, these are the RCCs, as in HUDD. Quotas by size have already weighted the RCCs, so all images are
    one group: otherwise the few images of the smallest RCC would be drawn as often as the many of the largest
    (docs/decisions/043-weights-of-rccs-in-training.md).
    """
    return np.array([image.rcc if unsafe.quota == "equal" else 0 for image in unsafe.images], int)


class _Answers(NamedTuple):
    """A model's outputs for the readable test images (see `dnn.predictions.run_model`)."""

    indices: np.ndarray
    outputs: np.ndarray


def _run(material: _Material, model: Any, tested: Pixels, progress: Progress, what: str) -> _Answers:
    answers = _Answers(*run_model(material.dnn, model, tested, np.arange(len(tested)), progress=progress, what=what))
    check_outputs(answers.outputs, material.dnn, material.test.root, skipped_of(tested, material.test.paths))
    return answers


def _likely_wrong(before: Judgement, answers: _Answers) -> LikelyWrong:
    """How likely the original network is wrong, by the test images that it answers most similarly."""
    return lambda outputs: likely_wrong(np.nan_to_num(outputs), answers.outputs, ~before.right)


def _judge(material: _Material, answers: _Answers) -> Judgement:
    """Compare a model's outputs with the labels; entry i belongs to the i-th readable test image."""
    return judge(material.dnn, material.test, *answers, threshold=material.threshold)


def _resumption(file: Path, material: _Material, data: TrainingData, settings: Settings, n_seeds: int) -> Resumption:
    """Where finished repetitions are kept, for the same images, labels, model and settings."""
    files = [*data.pixels.files, *material.test.files]
    labels = (data.labels, data.groups, material.test.labels)
    key = run_key(material.dnn, files, settings, *labels, material.threshold, n_seeds)
    return Resumption(file, key, [weights.shape for weights in material.dnn.model.get_weights()])


# --- Before and after -------------------------------------------------------------------------------------------


def _compare(
    material: _Material,
    before: Judgement,
    repeated: Repeated,
    data: TrainingData,
    tested: Pixels,
) -> Retraining:
    test, after, tuning = material.test, repeated.after, repeated.tuning
    files = _files(material)
    unreadable = [Skipped(os.fspath(files[i]), reason) for i, reason in sorted(data.pixels.unreadable.items())]
    readable = np.isin(np.arange(len(data.groups)), list(data.pixels.unreadable), invert=True)
    n_unlabelled = int((readable & (data.groups == UNLABELLED)).sum())
    settings = repeated.settings
    review = material.review
    compared = before_and_after(review.clusters if review else None, test, before, after)
    about_passes = second_pass_text(tuning, settings, n_unlabelled)
    return Retraining(
        **compared._asdict(),
        model=material.dnn.path,
        test_root=test.root,
        task=material.dnn.task,
        train_size=int((readable & (data.groups == TRAINING)).sum()),
        unsafe_size=int((readable & (data.groups >= 0)).sum()),
        unlabelled_size=n_unlabelled if is_of_second_pass(tuning, settings) else 0,
        history=tuning.history,
        best=tuning.best,
        settings=settings,
        threshold=material.threshold,
        assumptions=(
            *material.assumptions,
            *doubts(material.dnn, tuning.history[0].validation, "the training images held out"),
            *filter(None, (together_text(settings.original_share), about_passes)),
        ),
        stopped=tuning.stopped,
        seconds=round(tuning.seconds, 1),
        waiting=round(tuning.waiting, 1),
        skipped=(*material.train.skipped, *test.skipped, *skipped_of(tested, test.paths), *unreadable),
        run=fingerprint(review.original) if review else "",
        repetitions=repeated.repetitions,
    )
