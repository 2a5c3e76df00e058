"""Step 6 for networks of any framework: the result of a retraining that SAFE has not run.

In: tables of the answers of the network before and after, to the same test set. Out: what became better and worse, in
the same record and file as after `retrain`, but for the model.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dnn.failures import describe
from dnn.given_answers import GivenAnswers, read_answers
from dnn.held_out import held_out_of
from dnn.model import AS_IN_THE_FILE, DnnOptions
from dnn.predictions import Judgement, LabelledImages
from rccs.clusters import fingerprint
from rccs.review.review import load_review
from store.output_folder import check_own, working
from store.runs import CLUSTERS, present_runs
from support.entries import StrPath
from support.errors import SAFEError
from support.files import prepare_folder
from support.run_folder import FAILURES
from support.text import printable
from training.comparison import compare_in
from training.proof import final_test
from training.result import RETRAINING_FILE, Retraining, save_comparison


def compare_answers(
    before: StrPath, after: StrPath, test: StrPath, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE
) -> Retraining:
    """Compare two networks by tables of their answers; write `retraining.json` to the folder `out`.

    Images that only one of the tables has are left out, and named in `skipped`. Those that were held out when failures
    were collected are compared by themselves (see `training/proof.py`).

    Parameters
    ----------
    before, after : path
        As `table` of `dnn.given_answers.read_answers`.
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
        images, *both = aligned(first, second)
        review = load_review(out) if CLUSTERS in present_runs(out) else None
        clusters = review.clusters if review else None
        held_out = held_out_of(clusters.image_root if clusters else out / FAILURES)
        held = held_out.among(images.root, images.paths) if held_out else np.zeros(len(images.paths), bool)
        final = None
        if held.any():
            final = final_test(out, images.taken(held), *_taken(both, held), held_out=True)
        images, (before_it, after_it) = images.taken(~held), _taken(both, ~held)
        compared, of_groups = compare_in(out, clusters, images, before_it, after_it)
        # Classes that are predicted, but that no image has, are no groups of images.
        kept = tuple(share for share in compared.per_class if share.images)
        compared = dataclasses.replace(compared, per_class=kept)
        result = Retraining(
            **vars(compared), model=first.source, after=second.source, test_root=images.root, task=first.task,
            threshold=options.threshold if first.task == "regression" else None,
            assumptions=tuple(dict.fromkeys((*first.assumptions, *second.assumptions, *of_groups))),
            skipped=tuple(sorted({*first.images.skipped, *second.images.skipped})),
            run=fingerprint(review.original) if review else "", final=final,
        )  # fmt: skip
        return save_comparison(result, out)


def _taken(judgements: Sequence[Judgement], rows: np.ndarray) -> list[Judgement]:
    """Judgements of some of the images, with the indices that these have among themselves."""
    return [Judgement(np.arange(rows.sum()), *(column[rows] for column in judged[1:])) for judged in judgements]


def aligned(first: GivenAnswers, second: GivenAnswers) -> tuple[LabelledImages, Judgement, Judgement]:
    """The images that both tables have, and both judgements of them: entry i of each belongs to image i.

    Raises
    ------
    SAFEError
        There are none, or the tables disagree on the class or the targets of one.
    """
    places = [{given.images.paths[i]: row for row, i in enumerate(given.judgement.indices.tolist())}
              for given in (first, second)]  # fmt: skip
    paths = tuple(sorted(places[0].keys() & places[1].keys()))
    if not paths:
        raise SAFEError(
            f"Expected answers to the same images in {first.source} and {second.source}. Received no image that is in "
            "both."
        )
    classes = tuple(dict.fromkeys((*first.images.classes, *second.images.classes)))
    index = {name: i for i, name in enumerate(classes)}
    judgements, labels = [], []
    for given, place in zip((first, second), places, strict=True):
        rows = np.array([place[path] for path in paths])
        _, predicted, score, right = (column[rows] for column in given.judgement)
        of_images = given.images.labels[given.judgement.indices[rows]]
        if given.task == "classification":
            into = np.array([index[name] for name in given.images.classes])
            predicted, of_images = into[predicted], into[of_images]
        judgements.append(Judgement(np.arange(len(paths)), predicted, score, right))
        labels.append(of_images)
    images = dataclasses.replace(first.images, paths=paths, classes=classes, labels=labels[0])
    different = np.flatnonzero((labels[0] != labels[1]).reshape(len(paths), -1).any(axis=1)).tolist()
    if different:
        names = (describe(images, of[different[0]]) for of in labels)
        what = "class" if first.task == "classification" else "targets"
        raise SAFEError(
            f"Expected the same {what} for {printable(paths[different[0]])} in {first.source} and {second.source}. "
            f"Received: {printable(' and '.join(names))}. Correct the tables."
        )
    return images, judgements[0], judgements[1]
