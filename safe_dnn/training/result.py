"""The result of a retraining, and its files `retrained.keras` and `retraining.json`.

Of a network that was trained elsewhere, there is only `retraining.json`: `compare_answers` compares it by tables of
both networks' answers to the same test set.

Every retrained model is kept in its run, with its figures. `retrained.keras` is a copy of the last one, or of the one
that belongs to the present clusters.

What a retraining gains on images that chose nothing is what may be claimed. RCCs, the unsafe set and the second pass
are chosen by test images, so that these make the gain look larger than it is on others. In: images that took no part in
that, held out or a test set of their own, with what both models say of them. Out: counts, and the headline in words.
Whether such images are learned ones is asked first: those with the same content are refused, and a sentence names those
that were saved again.
"""

import contextlib
import dataclasses
import filecmp
import functools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.dnn.failures import read_answers
from safe_dnn.dnn.group_columns import held_out_among, hold_out_record
from safe_dnn.dnn.predictions import check_spelling
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.features.attributes import pictures, same_images
from safe_dnn.options import AS_IN_THE_FILE, DnnOptions
from safe_dnn.rccs.clusters import find_clusters, fingerprint, run_record
from safe_dnn.rccs.review.review import Review, load_review
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.reasons.comparison import load_reasons, nearest_to_fresh
from safe_dnn.reasons.known_groups import group_names
from safe_dnn.reasons.listed import Reason
from safe_dnn.reasons.run_record import answers_of_run
from safe_dnn.store.output_folder import Writer, check_own, save_files, showing, working, writing
from safe_dnn.store.places import plain, restored
from safe_dnn.store.runs import (
    CLUSTERS,
    RETRAINING,
    SELECTION,
    Files,
    Run,
    add_run,
    present_runs,
    run_file,
    runs_of,
    texts_of,
)
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.files import intact, prepare_folder, read_json, read_record
from safe_dnn.support.images import Skipped, in_common
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.text import count, printable, some
from safe_dnn.training.before_after import BeforeAfter, Share, compare_in, shares_by_rcc
from safe_dnn.training.certainty import Certainty, certainty, class_certainties, in_words
from safe_dnn.training.finetuning import Epoch
from safe_dnn.training.settings import Settings

MODEL_FILE = "retrained.keras"
RETRAINING_FILE = "retraining.json"
NO_MODEL: Files = {}


@dataclass(frozen=True, kw_only=True)
class FinalTest(BeforeAfter):
    """What both models get right of images that chose nothing.

    Attributes
    ----------
    root : Path
    held_out : bool
        Whether they were held out of the test set; otherwise they are a test set of their own.
    earlier : int
        After how many earlier retrainings of the analysis the same images have been looked at.
    """

    root: Path
    held_out: bool
    earlier: int = 0

    @property
    def sure(self) -> Certainty:
        """How sure it is that the retrained model is better or worse."""
        return certainty(self.counts, self.by_group)

    @property
    def images_text(self) -> str:
        """For example `405 images that were held out and chose nothing`."""
        what = "were held out" if self.held_out else "are a test set of their own"
        return f"{count(self.test_size, 'image')} that {what} and chose nothing"

    @property
    def text(self) -> str:
        """The headline: how much better the model is, how sure that is, and on which images."""
        accuracy = f"accuracy {self.accuracy_before:.2%} → {self.accuracy_after:.2%}"
        text = f"{in_words(self.sure)} · {accuracy} on {self.images_text}"
        if not self.earlier:
            return text
        retrainings = count(self.earlier, "earlier retraining")
        return f"{text}; they were looked at after {retrainings} as well: choose no model by them"


def final_test(
    folder: Path, review: Review | None, before: AnsweredImages, after: AnsweredImages, *, held_out: bool
) -> FinalTest:
    """Compare both models on images that chose nothing; entry i of both belongs to the same image.

    Parameters
    ----------
    folder
        As for `reasons.known_groups.groups_of_test`.
    review : Review or None
        Of the clusters, if there are any: which region each image lies in is then known, too, unless its features are
        not like those of the clusters.
    """
    nearest = list(_nearest_failing(folder, review, before)) if review else []
    compared, _ = compare_in(folder, review.clusters if review and nearest else None, before, after, nearest=nearest)
    return FinalTest(**vars(compared), root=before.root, held_out=held_out)


def _nearest_failing(folder: Path, review: Review, fresh: AnsweredImages) -> Iterator[tuple[str, int]]:
    clusters = review.original
    with contextlib.suppress(SAFEError):
        first, comparison = answers_of_run(folder, clusters), load_reasons(folder, clusters).comparison
        if first and comparison:
            nearest = nearest_to_fresh(clusters, comparison, first, fresh)
            yield from ((clusters.paths[of], row) for row, of in enumerate(nearest.tolist()) if of >= 0)


def held_out_apart(folder: Path, image_root: Path) -> tuple[str, ...]:
    """A sentence if images were held out one by one, although it is known which are of one group; otherwise none."""
    ungrouped = {*group_names(run_record(folder))} - {*group_names(hold_out_record(image_root))}
    name = some(sorted(ungrouped))
    note = f"Held out one by one, not by {name}: images that prove the gain may be of a {name} whose others chose."
    return (note,) if ungrouped else ()


def used_elsewhere(files: Sequence[Path], other_sets: Mapping[str, Sequence[Path]]) -> dict[str, np.ndarray]:
    """Which images have the content of others, by what these are, such as `training`; only those that have any."""
    used = {what: in_common(files, them) for what, them in other_sets.items()}
    return {what: same for what, same in used.items() if same.any()}


def refuse_used(of: str, files: Sequence[Path], other_sets: Mapping[str, Sequence[Path]]) -> None:
    """Raise a SAFEError if images that are to prove something have the content of others."""
    if used := used_elsewhere(files, other_sets):
        counts = ", ".join(
            f"{count(int(same.sum()), f'{of} image')} found among the {what} images" for what, same in used.items()
        )
        rows = np.flatnonzero(np.any([*used.values()], axis=0)).tolist()
        raise SAFEError(
            f"Expected {of} images that nothing was chosen or learned by, since they would prove nothing. Received "
            f"{counts}, by their content: {printable(some([str(files[row]) for row in rows], limit=2))}. Remove them "
            "from one of the two."
        )


def refuse_saved_again(fresh: Sequence[Path], tested: Sequence[Path]) -> None:
    """Raise a SAFEError if fresh images, which are to prove something, are test images that were saved again."""
    kinds = {"fresh": fresh, "test": tested}
    first, second = (pictures(of, what=f"Reading {kind} images") for kind, of in kinds.items())
    if pairs := same_images(first, second):
        n, (row, place) = len({row for row, _ in pairs}), pairs[0]
        raise SAFEError(
            "Expected fresh images that nothing was chosen by, since they would prove nothing. Received "
            f"{count(n, 'fresh image')} that {'is' if n == 1 else 'are'} the same as test images, saved again, such as "
            f"{printable(f'{fresh[row]} of {tested[place]}')}. Remove them from one of the two."
        )


def saved_again(learned: Mapping[str, Sequence[Path]], proving: Mapping[str, Sequence[Path]]) -> tuple[str, ...]:
    """A sentence for each two sets that have images in common which were saved again (see `features.attributes`).

    Raises
    ------
    SAFEError
        A proving set has images with the content of learned ones.
    """
    for of, tests in proving.items():
        refuse_used(of, tests, learned)
    features = {name: pictures(files, what=f"Reading {name} images") for name, files in {**learned, **proving}.items()}
    sentences = []
    for of, by in product(proving, learned):
        if pairs := same_images(features[by], features[of]):
            n, (row, place) = len({place for _, place in pairs}), pairs[0]
            what = f"{count(n, f'{of} image')} of {len(proving[of]):,} saved again from {by} images"
            example = printable(f"{proving[of][place]} from {learned[by][row]}")
            sentences.append(f"Found {what}, such as {example}: they prove nothing.")
    return tuple(sentences)


@dataclass(frozen=True, kw_only=True)
class Retraining(BeforeAfter):
    """The result of a retraining, and what `BeforeAfter` says of both models.

    Attributes
    ----------
    model : Path
        The original model; the table of its answers if both models were given as tables.
    test_root : Path
    task : "classification" or "regression"
    train_size, unsafe_size, unlabelled_size : int
        Number of readable images. The last ones, improvement images without a label, took part in a second pass. If
        SAFE trained nothing, `unsafe_size` is that of the unsafe set selected before.
    history : tuple of Epoch
        Epoch 0 is the original model. Empty if SAFE trained nothing.
    best : int
        The epoch that was kept; 0 if no epoch was better than the original model.
    settings : Settings or None
        None if SAFE trained nothing.
    threshold : float or None
        For a regression: an error above it is a failure.
    assumptions : tuple of str
        Assumptions about the model, the classes and the training, a sentence each.
    stopped : str
        The reason if the training stopped early, otherwise empty.
    seconds : float
        Time of the training.
    skipped : tuple of Skipped
        Images that could not be used.
    run : str
        Fingerprint of the clusters, as originally found, that the unsafe set was selected for; empty without clusters.
    after : Path or None
        The table of the second model's answers, if both models were given as tables: SAFE trained nothing, and there is
        no file of a model. None after a retraining.
    final : FinalTest or None
        What both models get right of images that chose nothing; None if there are none, and if the model is the
        original one.
    train_root : Path or None
        The training images; None if SAFE trained nothing.
    """

    model: Path
    test_root: Path
    task: str
    train_size: int = 0
    unsafe_size: int = 0
    history: tuple[Epoch, ...] = ()
    best: int = 0
    settings: Settings | None = None
    threshold: float | None
    assumptions: tuple[str, ...]
    stopped: str = ""
    seconds: float = 0.0
    skipped: tuple[Skipped, ...]
    run: str = ""
    after: Path | None = None
    unlabelled_size: int = 0
    final: FinalTest | None = None
    train_root: Path | None = None

    @property
    def is_other(self) -> bool:
        """Whether there is a second model, and not just the weights of the original one."""
        return self.best > 0 or self.after is not None


def also_chosen(result: Retraining) -> str:
    """What the test images also chose, such as `the RCCs and the unsafe set`; empty if, as far as is known, nothing."""
    rccs = bool(result.outcomes or result.per_rcc)
    known = (rccs, rccs and result.unsafe_size, result.unlabelled_size)
    chosen = ("the RCCs", "the unsafe set", "what the second pass learned")
    *first, last = [what for what, there in zip(chosen, known, strict=True) if there] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def claim_text(result: Retraining) -> str:
    """What may be claimed: the figure of images that chose nothing or, without any, what the test images also chose.

    Empty if the model is the original one, or nothing is known to have been chosen.
    """
    if result.final:
        return result.final.text
    if not result.is_other or not (chosen := also_chosen(result)):
        return ""
    return f"These test images also chose {chosen}: the gain on other images may be smaller"


def certainty_of(result: Retraining) -> Certainty | None:
    """How sure it is that the retrained model is better or worse; None if it is the original model."""
    return certainty(result.counts, result.by_group) if result.is_other else None


def shares_by_reason(listed: Iterable[Reason], result: Retraining) -> list[tuple[Reason, Share, Share | None]]:
    """The reasons of a list of whose images both answers are known, with these, and with those to images held out."""
    shares, final = (
        {one.name: one for one in (*of.per_rcc, *of.per_condition) if one.images} if of else {}
        for of in (result, result.final)
    )
    known = ((one, str(one.key)) for one in listed)
    return [(one, shares[key], final.get(key)) for one, key in known if key in shares]


def certainty_of_classes(result: Retraining) -> list[Certainty]:
    """The same for each class of `per_class`, with p corrected for their number; empty for the original model."""
    if not result.is_other:
        return []
    return class_certainties(result.per_class, result.improved, result.worsened, result.by_group)


# --- The files --------------------------------------------------------------------------------------------------


def save_retraining(result: Retraining, model: Any, folder: Path) -> Retraining:
    """Keep a model and `retraining.json` as a run of the analysis in a folder; show both there.

    Returns
    -------
    Retraining
        The result as it is kept.

    Raises
    ------
    SAFEError
        The disk is full or not writable; what was there is unchanged.
    """
    with writing(folder):
        check_own(folder, MODEL_FILE, RETRAINING_FILE)
        return save_comparison(result, folder, {MODEL_FILE: model.save})


def save_comparison(result: Retraining, folder: Path, model: Files = NO_MODEL) -> Retraining:
    """Write `retraining.json` of a result, and the file of its model if it has one, as a run; show both.

    Returns and raises the same as `save_retraining`.
    """
    with writing(folder):
        if result.final:
            final = dataclasses.replace(result.final, earlier=_earlier(result.final, folder))
            result = dataclasses.replace(result, final=final)
        clusters = find_clusters(folder, result.run)
        files: Files = {RETRAINING_FILE: _retraining_text(result, folder), **model}
        add_run(folder, RETRAINING, files, clusters=clusters.clusters if clusters else "")
        show_retraining(folder)
    return result


def _earlier(final: FinalTest, folder: Path) -> int:
    """After how many retrainings these images were looked at already."""
    now, same = plain(final, folder), ("root", "held_out", "test_size", "accuracy_before")
    runs = (read_record(run.folder / RETRAINING_FILE) for run in runs_of(folder, RETRAINING))
    known = (one for run in runs if (one := run.get("final")))
    return sum(all(of[name] == now[name] for name in same) for of in known)


def show_retraining(folder: Path) -> None:
    """Write `retrained.keras` and `retraining.json`, as they are for the present clusters; or remove them."""
    with showing(folder), writing(folder):
        files, gone = retraining_files(folder)
        save_files(folder, files, remove=gone)


def retraining_files(folder: Path) -> tuple[dict[str, Writer], list[str]]:
    """What `show_retraining` writes, without a model that is there already; and the names of what it removes."""
    run = present_runs(folder).get(RETRAINING)
    files: dict[str, Writer] = {**texts_of(run, RETRAINING_FILE)}
    model = saved_model(run) if run else None
    present = folder / MODEL_FILE
    if model and not (present.is_file() and filecmp.cmp(present, model)):
        files[MODEL_FILE] = functools.partial(shutil.copy2, model)
    return files, [name for name, there in ((MODEL_FILE, model), (RETRAINING_FILE, run)) if not there]


def _retraining_text(result: Retraining, folder: Path) -> str:
    record = ({"headline": text} if (text := claim_text(result)) else {}) | plain(result, folder)
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def saved_model(run: Run) -> Path | None:
    """The kept model of a retraining; None if it has none, or it no longer exists."""
    model = run.folder / MODEL_FILE
    return model if model.is_file() else None


def retraining_of(folder: Path, review: Review | None) -> Retraining:
    """The retraining for clusters, with the shares of the RCCs as they are now.

    Parameters
    ----------
    review : Review or None
        Of the clusters; None if there are none.

    Raises
    ------
    SAFEError
        The retraining is missing or damaged.
    """
    result = load_retraining(folder)
    if review is None or not result.outcomes:
        return result
    now, final = functools.partial(shares_by_rcc, review.clusters), result.final
    if final and final.outcomes:
        final = dataclasses.replace(final, per_rcc=now(final.outcomes))
    return dataclasses.replace(result, per_rcc=now(result.outcomes), final=final)


def load_retraining(folder: Path) -> Retraining:
    """The retraining for the present clusters.

    Raises
    ------
    SAFEError
        It is missing or damaged.
    """
    run = present_runs(folder).get(RETRAINING)
    if run is None:
        raise SAFEError(
            "The last retraining was for other root cause clusters. Open their run to see it (under Earlier runs), or "
            "retrain."
            if runs_of(folder, RETRAINING)
            else f"Expected the result of a retraining in {folder}. Received none. Retrain first."
        )
    return read_retraining(run_file(run, RETRAINING_FILE), folder)


def read_retraining(path: Path, folder: Path) -> Retraining:
    """Read `retraining.json`.

    Parameters
    ----------
    folder : Path
        Of the analysis.

    Raises
    ------
    SAFEError
        It is damaged.
    """
    with intact(path, "Retrain again."):
        record = read_json(path)
        record.pop("headline", None)
        result: Retraining = restored(Retraining, record, folder)
        return result


# --- Networks of any framework ----------------------------------------------------------------------------------


def compare_answers(
    before: StrPath, after: StrPath, test: StrPath, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE
) -> Retraining:
    """Compare two networks by tables of their answers; write `retraining.json` to the folder `out`.

    Images that only one of the tables has are left out, and named in `skipped`. Those that were held out when failures
    were collected are compared by themselves.

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
        held = held_out_among(failures, first.root, both[0].paths)
        of_held = [tested.taken(held) for tested in both]
        final = final_test(out, review, *of_held, held_out=True) if held.any() else None
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
