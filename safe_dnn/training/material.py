"""What a retraining reads before the training: the DNN, its images and their labels, checked.

In: a model, folders of training and test images, and an analysis with an unsafe set. Out: one record, with images that
chose nothing apart, the others in groups, as fine-tuning takes them, and the settings that follow from their number.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.failures import examples_for, read_targets
from safe_dnn.dnn.group_columns import held_out_among
from safe_dnn.dnn.model import Dnn, load_dnn, sized_for
from safe_dnn.dnn.predictions import LabelledImages, Pixels, without_copies
from safe_dnn.options import DnnOptions, ImageSets, Labelling, Wishes
from safe_dnn.rccs.clusters import fingerprint
from safe_dnn.rccs.review.review import Review, load_review
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set
from safe_dnn.store.output_folder import writing
from safe_dnn.store.runs import CLUSTERS, present_runs
from safe_dnn.support.errors import SAFEError, is_within
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import report_progress
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.tables import IMAGE
from safe_dnn.support.text import count, some
from safe_dnn.training.earlier import learned_again
from safe_dnn.training.finetuning import TRAINING, UNLABELLED, TrainingData, draw_unlabelled
from safe_dnn.training.labels import check_labels, label_unsafe_set, save_labels, take_typed_labels
from safe_dnn.training.result import held_out_apart, refuse_used, saved_again, used_elsewhere
from safe_dnn.training.settings import SetSizes, Settings, choose_loss, choose_settings


class Material(NamedTuple):
    """What a model is trained with and compared on.

    Attributes
    ----------
    dnn : Dnn
    threshold : float or None
        For a regression: an error above it is a failure.
    train, test : LabelledImages
    final : LabelledImages or None
        Images that chose nothing.
    data : TrainingData
        Training and unsafe images, and improvement images without a label.
    settings : Settings
    review : Review or None
        The RCCs that the unsafe set belongs to.
    assumptions : tuple of str
    """

    dnn: Dnn
    threshold: float | None
    train: LabelledImages
    test: LabelledImages
    final: LabelledImages | None
    data: TrainingData
    settings: Settings
    review: Review | None
    assumptions: tuple[str, ...]


def read_material(model: Path, images: ImageSets, out: Path, *, options: DnnOptions, wishes: Wishes) -> Material:
    """Load the model, and find its images and their labels; a SAFEError if they do not match."""
    dnn = load_dnn(model, rescale=options.rescale, trust=options.trust_model, task=options.task)
    choose_settings(dnn, wishes)  # what is wrong with them is reported before images are read
    report_progress("Reading labels", 0, 0)
    training, testing, sentences = _training_and_test(dnn, images, options)
    unsafe, labels, review, n_again = _unsafe_images(dnn, (training, testing), out, images.labelling, options)
    final, train = images.final_test, images.train
    own, of_own = without_copies(examples_for(dnn, final, options=options, train=train)[0]) if final else (None, ())
    failures = review.original.image_root if review else out / FAILURES
    held = held_out_among(failures, testing.root, testing.paths)
    testing, chosen_nothing, left_out = _set_apart(testing, own, training, unsafe, held)
    left_out += held_out_apart(out, failures) if held.any() and not own else ()
    dnn = sized_for(dnn, [*training.files, *unsafe.files, *testing.files])
    unlabelled = _without_label(unsafe, training, testing) if dnn.task == "classification" else ()
    settings = choose_settings(dnn, wishes, SetSizes(len(training.paths), len(unsafe.images), len(unlabelled)))
    if not settings.unlabelled:
        unlabelled = ()
    learned = {"training": training.files, "unsafe": unsafe.files, "improvement": unlabelled}
    proving = {"test": testing.files, "final test": chosen_nothing.files if chosen_nothing else ()}
    leaks = saved_again(learned, proving)
    no_labels = np.zeros((len(unlabelled), *labels.shape[1:]), labels.dtype)
    groups = np.full(len(training.paths), TRAINING), weighed(unsafe), np.full(len(unlabelled), UNLABELLED)
    data = TrainingData(
        pixels=Pixels(dnn, [*training.files, *unsafe.files, *unlabelled]),
        labels=np.concatenate([training.labels, labels, no_labels]),
        groups=np.concatenate(groups),
    )
    earlier = f"{count(n_again, 'image')} of earlier rounds are learned again with the unsafe set."
    sentences += (*of_own, *left_out, *leaks, *([earlier] if n_again else []))
    assumptions = (*dnn.assumptions, *dict.fromkeys(sentences), choose_loss(dnn)[1])
    return Material(dnn, options.threshold, training, testing, chosen_nothing, data, settings, review, assumptions)


def _training_and_test(
    dnn: Dnn, images: ImageSets, options: DnnOptions
) -> tuple[LabelledImages, LabelledImages, tuple[str, ...]]:
    """The two sets, apart from each other, and what is assumed of them."""
    training, of_training = examples_for(dnn, images.train, options=options)
    if training.empty:
        raise SAFEError(
            "Expected training images of every class, since retraining would unlearn a missing one. Received none of "
            f"{some(training.empty)} in {training.root}."
        )
    testing, of_testing = examples_for(dnn, images.test, options=options, train=images.train)
    testing, of_copies = without_copies(testing)
    if is_within(training.root, testing.root.resolve()) or is_within(testing.root, training.root.resolve()):
        raise SAFEError(
            f"Expected the training and test sets in two folders, neither inside the other. Received: "
            f"{training.root} and {testing.root}."
        )
    return training, testing, (*of_training, *of_testing, *of_copies)


def _unsafe_images(
    dnn: Dnn, sets: tuple[LabelledImages, LabelledImages], out: Path, labelling: Labelling, options: DnnOptions
) -> tuple[UnsafeSet, np.ndarray, Review | None, int]:
    """The unsafe images with those that are learned again, their labels, their RCCs, and how many are learned again."""
    training, testing = sets
    unsafe, review = _labelled_unsafe_set(dnn, training, out, labelling)
    again = learned_again(unsafe, out)
    if dnn.task == "regression":
        unsafe, labels = _unsafe_targets(unsafe, again, sets, options, labelling.only_labelled)
    else:
        again = tuple(image for image in again if image.label in training.classes)
        unsafe, labels = _unsafe_classes(unsafe, again, training.classes, labelling.only_labelled)
    inside = [path for path in unsafe.paths if is_within(unsafe.improvement_root / path, testing.root.resolve())]
    if inside:
        raise SAFEError(
            "Expected no test images in the unsafe set, since the test would then prove nothing. Received "
            f"{some(inside, limit=2)} in {testing.root}. Select the unsafe set from a folder without the test set."
        )
    return unsafe, labels, review, len(again)


def _set_apart(
    testing: LabelledImages, own: LabelledImages | None, training: LabelledImages, unsafe: UnsafeSet, held: np.ndarray
) -> tuple[LabelledImages, LabelledImages | None, tuple[str, ...]]:
    """The test images that choose, those that chose nothing, and a sentence on images that did after all.

    Parameters
    ----------
    own : LabelledImages or None
        A final test set of its own.
    held : ndarray of shape (n_test_images,), bool
        Those that are held out.

    Raises
    ------
    SAFEError
        A final test set has images that are used elsewhere.
    """
    final, rest = own or (testing.taken(held) if held.any() else None), testing.taken(~held)
    if final is None:
        return testing, None, ()
    root = unsafe.improvement_root
    sets = {
        "test": (testing if own else rest).files,
        "training": training.files,
        "improvement": [*unsafe.files, *([] if unsafe.listed else map(root.joinpath, find_images(root).paths))],
    }
    if own:
        refuse_used("final test", own.files, sets)
    used = {} if own else used_elsewhere(final.files, sets)
    again = np.any([*used.values()], axis=0) if used else np.zeros(len(final.paths), bool)
    final = None if again.all() else final.taken(~again)
    note = f"Held out, but left out of the proof, since their content is used elsewhere: {count(again.sum(), 'image')}."
    return rest, final, (note,) if again.any() else ()


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
    labelled_folders = [testing.root.resolve(), training.root.resolve()]  # a link may lead there
    files = [file for file in files if not any(map(file.resolve().is_relative_to, labelled_folders))]
    return tuple(files[i] for i in draw_unlabelled(len(files), len(training.paths)))


def weighed(unsafe: UnsafeSet) -> np.ndarray:
    """The groups of unsafe images that have the same weight in training, shape (n_images,), int.

    With equal quotas, these are the RCCs, as in HUDD. Quotas by size have already weighted the RCCs, so all images are
    one group: otherwise the few images of the smallest RCC would be drawn as often as the many of the largest
    (docs/decisions/020-quotas-by-size.md).
    """
    return np.array([image.rcc if unsafe.quota == "equal" else 0 for image in unsafe.images], int)
