"""Step 6 of SAFE: retraining. The DNN and the labelled unsafe set in; a better DNN out, and how much better it is.

This module trains the model and compares it, before and after, on the test set. The images and labels are read and
checked in `safe_dnn/training/material.py`; the training itself is in `safe_dnn/training/finetuning.py`, the record of
the result and its files in `safe_dnn/training/result.py`. The given model file is not changed.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.dnn.failure_prediction import likely_wrong
from safe_dnn.dnn.failures import checked, in_words
from safe_dnn.dnn.model import ONNX_SUFFIX
from safe_dnn.dnn.predictions import LabelledImages, Predictions, judge, predict, skipped_of, undecided
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.options import AS_IN_THE_FILE, NO_WISHES, DnnOptions, ImageSets, Wishes
from safe_dnn.rccs.clusters import fingerprint
from safe_dnn.store.output_folder import check_own, working
from safe_dnn.support.errors import SAFEError, StrPath, path_of
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import Skipped
from safe_dnn.training.before_after import compare_in
from safe_dnn.training.checkpoint import CHECKPOINT_FILE, SECOND_CHECKPOINT_FILE, remove_checkpoints
from safe_dnn.training.earlier import kept_copy
from safe_dnn.training.finetuning import (
    TRAINING,
    UNLABELLED,
    UNWATCHED,
    FineTuning,
    Watch,
    fine_tune_twice,
    is_of_second_pass,
    second_pass_text,
)
from safe_dnn.training.material import Material, read_material
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE, Retraining, final_test, save_retraining
from safe_dnn.training.settings import compile_like_original


def retrain(
    model: StrPath, images: ImageSets, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE,
    wishes: Wishes = NO_WISHES, watch: Watch = UNWATCHED,
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

    Raises
    ------
    SAFEError
        The inputs do not match, or a file cannot be read or written. The given model is unchanged.
    """
    options = checked(options)
    folder = path_of(out, "an output folder")
    file = path_of(kept_copy(model), "a Keras model")
    _check_model(file, folder / MODEL_FILE)
    out = prepare_folder(folder)
    with working(out, "retraining"):
        check_own(out, MODEL_FILE, RETRAINING_FILE)
        material = read_material(file, images, out, options=options, wishes=wishes)
        tested = material.test
        before, answers = _answered(material, tested, material.dnn.model, "Testing the model")
        tied = undecided(material.dnn, answers)
        unfinished = out / CHECKPOINT_FILE, out / SECOND_CHECKPOINT_FILE
        tuning = fine_tune_twice(
            material.dnn, material.data, material.settings, threshold=material.threshold, watch=watch,
            checkpoints=unfinished,
            # By the test images that the original network answers most similarly
            likely_wrong=lambda outputs: likely_wrong(np.nan_to_num(outputs), answers.outputs, ~before.right),
        )  # fmt: skip
        retrained = tuning.model
        after, _ = _answered(material, tested, retrained, "Testing the retrained model")
        clusters = material.review.clusters if material.review else None
        compared, of_groups = compare_in(out, clusters, before, after)
        proof: dict[str, Any] = {}
        if tuning.best and material.final:
            both, what = (material.dnn.model, retrained), "Testing on images that chose nothing"  # looked at this once
            judged = [_answered(material, material.final, one, what)[0] for one in both]
            held_out = material.final.root == tested.root
            proof["final"] = final_test(out, material.review, *judged, held_out=held_out)
        compile_like_original(material.dnn, retrained)
        facts = _facts(material, tuning, answers.skipped, (*tied, *before.doubts, *of_groups))
        result = save_retraining(Retraining(**vars(compared), **facts, **proof), retrained, out)
        remove_checkpoints(*unfinished)
        return result


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


def _answered(material: Material, images: LabelledImages, model: Any, what: str) -> tuple[AnsweredImages, Predictions]:
    """What a model, the original or the retrained one, answers to images; and its outputs."""
    retrained = dataclasses.replace(material.dnn, model=model)
    outputs = predict(retrained, images.root, images.paths, what=what)
    return in_words(retrained.path, images, judge(retrained, images, outputs, threshold=material.threshold)), outputs


def _facts(
    material: Material, tuning: FineTuning, unread: Sequence[Skipped], of_groups: Sequence[str]
) -> dict[str, Any]:
    """The fields of a `Retraining` that describe the training."""
    data, settings = material.data, material.settings
    unreadable = skipped_of(data.pixels, list(map(os.fspath, data.pixels.files)))
    groups = np.delete(data.groups, list(data.pixels.unreadable))
    n_unlabelled = int((groups == UNLABELLED).sum())
    assumptions = (*material.assumptions, *of_groups, second_pass_text(tuning, settings, n_unlabelled))
    return {
        "model": material.dnn.path, "task": material.dnn.task, "threshold": material.threshold,
        "test_root": material.test.root, "train_root": material.train.root,
        "train_size": int((groups == TRAINING).sum()), "unsafe_size": int((groups >= 0).sum()),
        "unlabelled_size": n_unlabelled if is_of_second_pass(tuning, settings) else 0,
        "history": tuning.history, "best": tuning.best, "settings": settings,
        "assumptions": tuple(filter(None, assumptions)),
        "stopped": tuning.stopped, "seconds": round(tuning.seconds, 1),
        "skipped": (*material.train.skipped, *material.test.skipped, *unread, *unreadable),
        "run": fingerprint(material.review.original) if material.review else "",
    }  # fmt: skip
