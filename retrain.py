"""Step 6 of SAFE: retraining. The DNN and the labelled unsafe set in; a better DNN out, and how much better it is.

This module collects the images and labels, checks them, and compares the model before and after on the test set. The
training itself is in `safe_dnn/training/finetuning.py`, the record of the result and its files in
`safe_dnn/training/result.py`. The given model file is not changed.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn.copies import without_copies
from safe_dnn.dnn.failure_prediction import likely_wrong
from safe_dnn.dnn.failures import checked, examples_for
from safe_dnn.dnn.held_out import HeldOut, held_out_of
from safe_dnn.dnn.model import AS_IN_THE_FILE, ONNX_SUFFIX, Dnn, DnnOptions, load_dnn, sized_for
from safe_dnn.dnn.predictions import LabelledImages, Pixels, Predictions, doubts, judge, predict, skipped_of, undecided
from safe_dnn.dnn.targets import read_targets
from safe_dnn.dnn.tested import IMAGE, AnsweredImages, in_words
from safe_dnn.rccs.clusters import fingerprint
from safe_dnn.rccs.review.review import Review, load_review
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set
from safe_dnn.store.output_folder import check_own, working, writing
from safe_dnn.store.places import relative
from safe_dnn.store.runs import CLUSTERS, present_runs
from safe_dnn.support.entries import StrPath, is_within, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import Skipped, find_images
from safe_dnn.support.progress import Progress
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.text import count, some
from safe_dnn.training.before_after import compare_in
from safe_dnn.training.checkpoint import CHECKPOINT_FILE, SECOND_CHECKPOINT_FILE, remove_checkpoints
from safe_dnn.training.earlier import kept_copy, learned_again
from safe_dnn.training.finetuning import TRAINING, UNLABELLED, UNWATCHED, FineTuning, TrainingData, Watch
from safe_dnn.training.labels import (
    AS_LABELLED,
    Labelling,
    check_labels,
    label_unsafe_set,
    save_labels,
    take_typed_labels,
)
from safe_dnn.training.proof import Overlap, final_test, held_out_apart, overlaps, refuse_used, used_elsewhere
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE, Retraining, save_retraining
from safe_dnn.training.second_pass import draw_unlabelled, fine_tune_twice, is_of_second_pass, second_pass_text
from safe_dnn.training.settings import (
    NO_WISHES,
    SetSizes,
    Settings,
    Wishes,
    choose_loss,
    choose_settings,
    compile_as_given,
)
from safe_dnn.training.together import answer_together, together_text, trade_off


class ImageSets(NamedTuple):
    """Where the images of a retraining are, and their labels.

    Attributes
    ----------
    train, test : path
        Folders of class folders; for a regression, of images.
    final_test : path, optional
        A test set of its own, which is looked at once, after the training; by default the images that were held out
        when failures were collected, if there are any.
    labelling : Labelling
        The sources of the unsafe set's labels, which are saved in `unsafe_set.csv`.
    """

    train: StrPath
    test: StrPath
    final_test: StrPath | None = None
    labelling: Labelling = AS_LABELLED


def retrain(
    model: StrPath, images: ImageSets, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE,
    wishes: Wishes = NO_WISHES, within: Path | None = None, watch: Watch = UNWATCHED,
) -> Retraining:  # fmt: skip
    """Fine-tune the DNN with the unsafe set in the folder `out`; write the new model and the comparison there.

    Parameters
    ----------
    model : path
        As for `safe_dnn.dnn.model.load_dnn`.
    options : DnnOptions
        Properties of the model that its file lacks. The targets of a regression cover the training, test and unsafe
        images.
    wishes : Wishes
        Training settings that differ from the defaults.
    within : path, optional
        A table of the test images' groups that is found beside them is only read inside this folder.

    Raises
    ------
    SAFEError
        The inputs do not match, or a file cannot be read or written. The given model is unchanged.
    """
    options = checked(options)
    folder = path_of(out, "an output folder")
    file = path_of(kept_copy(model, folder), "a Keras model")
    _check_model(file, folder / MODEL_FILE)
    out = prepare_folder(folder)
    with working(out, "retraining"):
        check_own(out, MODEL_FILE, RETRAINING_FILE)
        dnn = load_dnn(file, rescale=options.rescale, trust=options.trust, task=options.task)
        choose_settings(dnn, wishes)  # what is wrong with them is reported before images are read
        watch.progress("Reading labels", 0, 0)
        material = _gather(dnn, images, out, options)
        sizes = SetSizes(len(material.train.paths), len(material.unsafe.images), len(material.unlabelled))
        settings = choose_settings(dnn, wishes, sizes)
        if not settings.unlabelled:
            material = material._replace(unlabelled=())
        common = _in_common(material, out, watch.progress)
        data, tested = _training_data(material), material.test
        answers = _ask(material, tested, material.dnn.model, watch.progress, "Testing the model")
        before, tied = _judged(material, tested, answers), undecided(material.dnn, answers)
        unfinished = out / CHECKPOINT_FILE, out / SECOND_CHECKPOINT_FILE
        tuning = fine_tune_twice(
            material.dnn, data, settings, threshold=material.threshold, watch=watch, checkpoints=unfinished,
            # By the test images that the original network answers most similarly
            likely_wrong=lambda given: likely_wrong(np.nan_to_num(given), answers.outputs, ~before.right),
        )  # fmt: skip
        retrained, share = tuning.model, settings.original_share
        again = _ask(material, tested, retrained, watch.progress, "Testing the retrained model")
        after = _judged(material, tested, _mixed(answers, again, share))
        clusters = material.review.clusters if material.review else None
        compared, of_groups = compare_in(out, clusters, before, after, within=within)
        more: dict[str, Any] = {"overlaps": common}
        if tuning.best and material.final:
            judged = _judged_at_last(material, material.final, retrained, share, watch.progress)
            held_out = material.final.root == tested.root
            more["final"] = final_test(out, *judged, held_out=held_out, within=within)
        if tuning.best and material.dnn.task == "classification":
            more["trade_off"] = trade_off(answers.outputs, again.outputs, tested.labels[answers.indices])
            retrained = answer_together(material.dnn, retrained, share) if share else retrained
        compile_as_given(material.dnn, retrained)
        facts = _facts(material, tuning, settings, data, answers.skipped, (*tied, *of_groups))
        result = save_retraining(Retraining(**vars(compared), **facts, **more), retrained, out)
        remove_checkpoints(*unfinished)
        return result


class _Material(NamedTuple):
    """The inputs of a retraining; `unlabelled` are improvement images without a label."""

    dnn: Dnn
    threshold: float | None
    train: LabelledImages
    test: LabelledImages
    final: LabelledImages | None  # images that chose nothing
    unsafe: UnsafeSet
    unsafe_labels: np.ndarray
    unlabelled: tuple[Path, ...]
    review: Review | None
    assumptions: tuple[str, ...]


def _gather(dnn: Dnn, images: ImageSets, out: Path, options: DnnOptions) -> _Material:
    """Find the images and their labels; a SAFEError if they do not match."""
    train = images.train
    training, of_training = examples_for(dnn, train, options=options)
    if training.empty:
        raise SAFEError(
            "Expected training images of every class, since retraining would unlearn a missing one. Received none of "
            f"{some(training.empty)} in {training.root}."
        )
    testing, of_testing = examples_for(dnn, images.test, options=options, train=train)
    testing, of_copies = without_copies(testing)
    if is_within(training.root, testing.root.resolve()) or is_within(testing.root, training.root.resolve()):
        raise SAFEError(
            f"Expected the training and test sets in two folders, neither inside the other. Received: "
            f"{training.root} and {testing.root}."
        )
    unsafe, review = _labelled_unsafe_set(dnn, training, out, images.labelling)
    again, only_labelled = learned_again(unsafe, out), images.labelling.only_labelled
    if dnn.task == "regression":
        unsafe, unsafe_labels = _unsafe_targets(unsafe, again, (training, testing), options, only_labelled)
    else:
        again = tuple(image for image in again if image.label in training.classes)
        unsafe, unsafe_labels = _unsafe_classes(unsafe, again, training.classes, only_labelled)
    inside = [path for path in unsafe.paths if is_within(unsafe.improvement_root / path, testing.root.resolve())]
    if inside:
        raise SAFEError(
            "Expected no test images in the unsafe set, since the test would then prove nothing. Received "
            f"{some(inside, limit=2)} in {testing.root}. Select the unsafe set from a folder without the test set."
        )
    final = images.final_test
    own, of_own = without_copies(examples_for(dnn, final, options=options, train=train)[0]) if final else (None, ())
    failures = review.original.image_root if review else out / FAILURES
    held_out = held_out_of(failures)
    testing, chosen_nothing, left_out = _set_apart(testing, own, training, unsafe, held_out)
    left_out += held_out_apart(out, failures) if held_out and not own else ()
    dnn = sized_for(dnn, [*training.files, *unsafe.files, *testing.files])
    unlabelled = _without_label(unsafe, training, testing) if dnn.task == "classification" else ()
    earlier = f"{count(len(again), 'image')} of earlier rounds are learned again with the unsafe set."
    sentences = (*of_training, *of_testing, *of_copies, *of_own, *left_out, *([earlier] if again else []))
    assumptions = (*dnn.assumptions, *dict.fromkeys(sentences), choose_loss(dnn)[1])
    return _Material(
        dnn, options.threshold, training, testing, chosen_nothing, unsafe, unsafe_labels, unlabelled, review,
        assumptions,
    )  # fmt: skip


def _in_common(material: _Material, out: Path, progress: Progress) -> tuple[Overlap, ...]:
    """Images that prove the gain, and are nearly the same as learned ones; a SAFEError if they are the same."""
    unsafe = material.unsafe.files
    learned = {"training": material.train.files, "unsafe": unsafe, "improvement": material.unlabelled}
    proving = {"test": material.test.files, "final test": material.final.files if material.final else ()}
    return tuple(
        one._replace(examples=tuple((relative(a, out), relative(b, out)) for a, b in one.examples))
        for one in overlaps(learned, proving, progress=progress)
    )


def _set_apart(
    testing: LabelledImages,
    own: LabelledImages | None,
    training: LabelledImages,
    unsafe: UnsafeSet,
    held_out: HeldOut | None,
) -> tuple[LabelledImages, LabelledImages | None, tuple[str, ...]]:
    """The test images that choose, those that chose nothing, and a sentence on images that did after all.

    Raises
    ------
    SAFEError
        A final test set has images that are used elsewhere.
    """
    held = held_out.among(testing.root, testing.paths) if held_out else np.zeros(len(testing.paths), bool)
    final, rest = own or (testing.taken(held) if held.any() else None), testing.taken(~held)
    if final is None:
        return testing, None, ()
    root = unsafe.improvement_root
    others = {
        "test": (testing if own else rest).files,
        "training": training.files,
        "improvement": [*unsafe.files, *([] if unsafe.listed else map(root.joinpath, find_images(root).paths))],
    }
    if own:
        refuse_used("final test", own.files, others)
    used = {} if own else used_elsewhere(final.files, others)
    again = np.any([*used.values()], axis=0) if used else np.zeros(len(final.paths), bool)
    final = None if again.all() else final.taken(~again)
    told = f"Held out, but left out of the proof, since their content is used elsewhere: {count(again.sum(), 'image')}."
    return rest, final, (told,) if again.any() else ()


def _labelled_unsafe_set(
    dnn: Dnn, training: LabelledImages, out: Path, labelling: Labelling
) -> tuple[UnsafeSet, Review | None]:
    """The unsafe set with all labels that are known, which are saved, and the RCCs that it belongs to."""
    with writing(out):
        take_typed_labels(out)
        unsafe = label_unsafe_set(
            load_unsafe_set(out), training.classes, improvement=labelling.improvement, labels=labelling.labels
        )
        review = load_review(out) if CLUSTERS in present_runs(out) else None
        if review is not None and unsafe.clusters != fingerprint(review.clusters):
            raise SAFEError(
                "The unsafe set belongs to root cause clusters other than the current ones. Select it again; images "
                "keep their labels."
            )
        if dnn.task == "classification":
            save_labels(unsafe, out)
    return unsafe, review


def _unsafe_classes(
    unsafe: UnsafeSet, again: Sequence[UnsafeImage], classes: Sequence[str], only_labelled: bool
) -> tuple[UnsafeSet, np.ndarray]:
    """The unsafe images and those learned again, and their classes, shape (n_images,), int."""
    if only_labelled:
        unsafe = dataclasses.replace(unsafe, images=tuple(image for image in unsafe.images if image.label))
    if not unsafe.images:
        raise SAFEError("Expected labelled images in the unsafe set. Received none. Label them first.")
    check_labels(unsafe, classes)
    images = (*unsafe.images, *again)
    return dataclasses.replace(unsafe, images=images), np.array([classes.index(image.label) for image in images])


def _unsafe_targets(
    unsafe: UnsafeSet, again: Sequence[UnsafeImage], sets: tuple[LabelledImages, LabelledImages], options: DnnOptions,
    only_labelled: bool,
) -> tuple[UnsafeSet, np.ndarray]:  # fmt: skip
    """The targets of the unsafe images and of those learned again, shape (n_images, n_targets), float64."""
    targets = read_targets(options.targets or "")  # there is one, or the training images would have none
    images, source = (*unsafe.images, *again), targets.table.source
    row_of = targets.rows_of(unsafe.improvement_root, [image.image for image in images])
    first, second = (set(targets.rows_of(images.root, images.paths).values()) for images in sets)
    third = set(row_of.values())
    twice = {targets.table.text(IMAGE, row) for row in (first & second) | (first & third) | (second & third)}
    if twice:
        raise SAFEError(
            f"Expected a row of {source} for each image. Received a row that matches images of two folders: "
            f"{some(sorted(twice), limit=2)}. Name the images relative to the table's folder."
        )
    missing = [path for path in unsafe.paths if path not in row_of]
    if missing and not only_labelled:
        raise SAFEError(
            f"Expected a row of {source} for each of the {len(unsafe.images)} images of the unsafe set. Received "
            f"none for {len(missing)}: {some(missing)}. Add the rows, or retrain without them."
        ).about("only_labelled")
    known = {image: targets.rows[row_of[image.image]] for image in images if image.image in row_of}
    if not known:
        raise SAFEError(f"Expected images of the unsafe set in {source}. Received none.")
    return dataclasses.replace(unsafe, images=tuple(known)), np.stack([*known.values()])


def _without_label(unsafe: UnsafeSet, training: LabelledImages, testing: LabelledImages) -> tuple[Path, ...]:
    """Improvement images outside the unsafe set, for the second pass: as many as there are training images at most.

    None if the unsafe set was selected from a list: its folder may hold images of any kind.
    """
    if unsafe.listed:
        return ()
    root, labelled = unsafe.improvement_root, {*unsafe.paths}
    files = [root / path for path in find_images(root).paths if path not in labelled]
    others = [testing.root.resolve(), training.root.resolve()]  # a link may lead there
    files = [file for file in files if not any(map(file.resolve().is_relative_to, others))]
    return tuple(files[i] for i in draw_unlabelled(len(files), len(training.paths)))


def _check_model(model: Path, new: Path) -> None:
    """Make sure that a model can be trained, and is not the file that is to be written."""
    if model.suffix.lower() == ONNX_SUFFIX:
        raise SAFEError(
            f"Expected a Keras model, since an ONNX model cannot be trained. Received: {model}. Export the labelled "
            "images, train with the framework that the model is from, and compare its answers before and after."
        )
    if new.exists() and model.exists() and new.samefile(model):
        raise SAFEError(
            f"Expected a model other than the file that retraining writes. Received: {model}. Copy it to another name, "
            "or choose another output folder."
        ).about("out")


def _training_data(material: _Material) -> TrainingData:
    n_unlabelled = len(material.unlabelled)
    no_labels = np.zeros((n_unlabelled, *material.unsafe_labels.shape[1:]), material.unsafe_labels.dtype)
    groups = np.full(len(material.train.paths), TRAINING), weighed(material.unsafe), np.full(n_unlabelled, UNLABELLED)
    return TrainingData(
        pixels=Pixels(material.dnn, [*material.train.files, *material.unsafe.files, *material.unlabelled]),
        labels=np.concatenate([material.train.labels, material.unsafe_labels, no_labels]),
        groups=np.concatenate(groups),
    )


def weighed(unsafe: UnsafeSet) -> np.ndarray:
    """The groups of unsafe images that have the same weight in training, shape (n_images,), int.

    With equal quotas, these are the RCCs, as in HUDD. Quotas by size have already weighted the RCCs, so all images are
    one group: otherwise the few images of the smallest RCC would be drawn as often as the many of the largest
    (docs/decisions/043-weights-of-rccs-in-training.md).
    """
    return np.array([image.rcc if unsafe.quota == "equal" else 0 for image in unsafe.images], int)


def _ask(material: _Material, images: LabelledImages, model: Any, progress: Progress, what: str) -> Predictions:
    """What a model, the original or the retrained one, gives for images."""
    return predict(material.dnn, images.root, images.paths, model=model, progress=progress, what=what)


def _mixed(original: Predictions, retrained: Predictions, share: float) -> Predictions:
    """What both networks answer together, the original one with a share."""
    if not share:
        return retrained
    return retrained._replace(outputs=share * original.outputs + (1 - share) * retrained.outputs)


def _judged(material: _Material, images: LabelledImages, found: Predictions) -> AnsweredImages:
    judgement = judge(material.dnn, images, found, threshold=material.threshold)
    return in_words(material.dnn.path, images, judgement, threshold=material.threshold)


def _judged_at_last(
    material: _Material, last: LabelledImages, retrained: Any, share: float, progress: Progress
) -> tuple[AnsweredImages, AnsweredImages]:
    """Both networks' answers to the images that chose nothing: the one time that these are looked at."""
    what = "Testing on images that chose nothing"
    first, second = (_ask(material, last, model, progress, what) for model in (material.dnn.model, retrained))
    return _judged(material, last, first), _judged(material, last, _mixed(first, second, share))


def _facts(
    material: _Material, tuning: FineTuning, settings: Settings, data: TrainingData, unread: Sequence[Skipped],
    of_groups: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """What a `Retraining` says of the training."""
    unreadable = skipped_of(data.pixels, list(map(os.fspath, data.pixels.files)))
    groups = np.delete(data.groups, list(data.pixels.unreadable))
    n_unlabelled = int((groups == UNLABELLED).sum())
    passes, together = second_pass_text(tuning, settings, n_unlabelled), together_text(settings.original_share)
    doubtful = doubts(material.dnn, tuning.history[0].validation, "the training images held out")
    return {
        "model": material.dnn.path, "task": material.dnn.task, "threshold": material.threshold,
        "test_root": material.test.root, "train_root": material.train.root,
        "train_size": int((groups == TRAINING).sum()), "unsafe_size": int((groups >= 0).sum()),
        "unlabelled_size": n_unlabelled if is_of_second_pass(tuning, settings) else 0,
        "history": tuning.history, "best": tuning.best, "settings": settings,
        "assumptions": (*material.assumptions, *of_groups, *doubtful, *filter(None, (together, passes))),
        "stopped": tuning.stopped, "seconds": round(tuning.seconds, 1),
        "skipped": (*material.train.skipped, *material.test.skipped, *unread, *unreadable),
        "run": fingerprint(material.review.original) if material.review else "",
    }  # fmt: skip
