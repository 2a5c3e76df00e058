"""Step 6 for networks of any framework: the result of a retraining that SAFE has not run.

In: tables of the answers of the network before and after, to the same test set. Out: what became better and worse, in
the same record and file as after `retrain`, but for the model.
"""

import dataclasses

import numpy as np

from safe_dnn.dnn.failures import read_answers
from safe_dnn.dnn.group_columns import held_out_of
from safe_dnn.dnn.model import AS_IN_THE_FILE, DnnOptions
from safe_dnn.dnn.predictions import check_spelling
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.clusters import fingerprint
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.store.output_folder import check_own, working
from safe_dnn.store.runs import CLUSTERS, SELECTION, present_runs
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.text import printable
from safe_dnn.training.before_after import compare_in
from safe_dnn.training.result import RETRAINING_FILE, Retraining, final_test, held_out_apart, save_comparison


def compare_answers(
    before: StrPath, after: StrPath, test: StrPath, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE
) -> Retraining:
    """Compare two networks by tables of their answers; write `retraining.json` to the folder `out`.

    Images that only one of the tables has are left out, and named in `skipped`. Those that were held out when failures
    were collected are compared by themselves (see `training/result.py`).

    Parameters
    ----------
    before, after : path
        As `table` of `dnn.failures.read_answers`.
    test : path
        The folder of test images.
    options : DnnOptions
        Of a regression: the targets and the threshold.

    Raises
    ------
    SAFEError
        A table cannot be used, both are the same file, or they contradict each other or have no image in common.
    """
    out = prepare_folder(out)
    with working(out, "comparing before and after"):
        check_own(out, RETRAINING_FILE)
        first, second = (read_answers(table, test, options=options) for table in (before, after))
        if first.source.resolve() == second.source.resolve():
            raise SAFEError(f"Expected the tables of two networks. Received the same file twice: {first.source}.")
        classes = tuple(dict.fromkeys((*first.known_classes, *second.known_classes)))
        check_spelling(classes, (first.known_classes, second.known_classes), second.source)
        both = [dataclasses.replace(tested, known_classes=classes) for tested in aligned(first, second)]
        runs = present_runs(out)
        review = load_review(out) if CLUSTERS in runs else None
        clusters = review.clusters if review else None
        failures = clusters.image_root if clusters else out / FAILURES
        held_out = held_out_of(failures)
        paths = both[0].paths
        held = held_out.among(first.root, paths) if held_out else np.zeros(len(paths), bool)
        final = final_test(out, *(tested.taken(held) for tested in both), held_out=True) if held.any() else None
        notes = held_out_apart(out, failures) if final else ()
        compared, of_groups = compare_in(out, clusters, *(tested.taken(~held) for tested in both))
        # Classes that are predicted, but that no image has, are no groups of images.
        with_images = tuple(share for share in compared.per_class if share.images)
        compared = dataclasses.replace(compared, per_class=with_images)
        result = Retraining(
            **vars(compared), model=first.source, after=second.source, test_root=first.root, task=first.task,
            threshold=options.threshold if first.task == "regression" else None,
            assumptions=tuple(dict.fromkeys((*first.notes, *second.notes, *of_groups, *notes))),
            unsafe_size=len(load_unsafe_set(out).images) if SELECTION in runs else 0,
            skipped=tuple(sorted({*first.skipped, *second.skipped})),
            run=fingerprint(review.original) if review else "", final=final,
        )  # fmt: skip
        return save_comparison(result, out)


def aligned(first: AnsweredImages, second: AnsweredImages) -> tuple[AnsweredImages, AnsweredImages]:
    """Both networks' answers to the images that both tables have.

    Raises
    ------
    SAFEError
        There are no common images, or the tables disagree on the class of one.
    """
    common = {*first.paths} & {*second.paths}
    if not common:
        raise SAFEError(
            f"Expected answers to the same images in {first.source} and {second.source}. Received no image that is in "
            "both."
        )
    one, other = (tested.taken(np.array([path in common for path in tested.paths])) for tested in (first, second))
    for path, *labels in zip(one.paths, one.answers.label.tolist(), other.answers.label.tolist(), strict=True):
        if labels[0] != labels[1]:
            raise SAFEError(
                f"Expected the same class for {printable(path)} in {first.source} and {second.source}. Received: "
                f"{printable(' and '.join(labels))}. Correct the tables."
            )
    return one, other
