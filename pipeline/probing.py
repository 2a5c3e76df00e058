"""What would change the DNN's answer: the reasons of an analysis are probed (see `reasons/probes.py`)."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dnn.failures import DETECTION, Failures, load_failures
from dnn.model import AS_IN_THE_FILE, KERAS_SUFFIXES, ONNX_SUFFIX, Dnn, DnnOptions, sized_for
from dnn.model_process import load_apart, predict_apart
from dnn.predictions import LabelledImages, judge
from dnn.tested import AnsweredImages
from features.extractor import INPUT_SIZE
from pipeline.answers import answers_of_run
from pipeline.descriptions import show_reasons
from pipeline.run_record import groups_of, table_of
from rccs.profiles import load_profiles
from rccs.review.review import Review, load_review
from rccs.review.subjects import subjects_of
from reasons.comparison import Reasons, load_reasons
from reasons.groups import named_groups
from reasons.probes import (
    IMAGES,
    PROBES_FILE,
    Ask,
    Asked,
    Images,
    Probe,
    images_of,
    load_probes,
    probe,
    probes_text,
    spread_over,
)
from store.output_folder import working
from store.runs import CLUSTERS, PROBES, add_run, present_runs, remove_run
from support.entries import is_within, path_of
from support.errors import SAFEError
from support.images import UNREADABLE, decode, read_bytes
from support.progress import Progress, no_progress
from support.text import some

LEAST_ALIKE = 10  # right images of the classes of the failing ones, to be changed rather than those of all classes
LEAST_SAME = 0.5  # of the images, that the model must answer as its table of answers says


def model_at_hand(image_root: Path, within: Path | None = None) -> Failures | None:
    """What is known of the model that the failing images were collected with; None if it cannot be asked again."""
    try:
        found = load_failures(image_root.parent)
    except SAFEError:
        return None
    there = found.model.suffix.lower() in (*KERAS_SUFFIXES, ONNX_SUFFIX) and found.model.is_file()
    return found if there and found.task != DETECTION and is_within(found.model, within) else None


def probe_reasons(
    out: Path,
    *,
    names: Collection[str] = (),
    model: str | os.PathLike | None = None,
    options: DnnOptions = AS_IN_THE_FILE,
    within: Path | None = None,
    progress: Progress = no_progress,
) -> list[Probe]:
    """Probe reasons of the run in `out`; those of other reasons are kept beside them.

    Parameters
    ----------
    names : collection of str
        For example `weak spot 1` and `RCC 0`; by default all weak spots, and the RCCs that fail more often.
    model : path, optional
        By default that which the failures were collected with.
    options : DnnOptions
        What the engineer specifies about the model; by default pixels are scaled as they were then.
    within : path, optional
        Model and images are only read inside this folder.

    Raises
    ------
    SAFEError
        Answers or model are not known, the model does not give these answers, or there is no such reason.
    """
    with working(out, "probing"):
        review, run = load_review(out), present_runs(out)[CLUSTERS]
        reasons, root = load_reasons(out, review.original, run), review.clusters.image_root
        tested = answers_of_run(out, review.original, within)
        collected = load_failures(root.parent) if model else model_at_hand(root, within)
        if tested is None or not reasons.base or collected is None or collected.task == DETECTION:
            raise SAFEError(
                "Expected reasons found with the answers of a classifier or regression, and the model itself. "
                f"Received: {out}, without them. Collect the failures with a model and cluster them, or name the model."
            )
        asked = list(_asked(out, review, reasons, tested, names))
        options = options._replace(rescale=options.rescale or collected.rescale)
        dnn = load_apart(path_of(model or collected.model, "a model"), options, task=collected.task, progress=progress)
        dnn = sized_for(dnn, [tested.root / path for path in tested.paths])
        groups = named_groups(
            groups_of(out),
            tested,
            parameters=table_of(out, "parameters", review.clusters),
            within=within,
            required=False,
        )
        of = groups.groups.of if groups else np.arange(len(tested.paths))
        sources = Sources(dnn, tested, of, _asking(dnn, collected, tested, progress))
        probes = [found for one in asked for found in _probes(one, sources, progress)]
        before, kept = present_runs(out).get(PROBES), list[Probe]()
        with contextlib.suppress(SAFEError):  # damaged, which is told where it is shown
            kept = [one for one in load_probes(before) if one.subject not in {one.subject for one in asked}]
        add_run(out, PROBES, {PROBES_FILE: probes_text([*kept, *probes])}, clusters=run.itself)
        if before:
            remove_run(before)
        show_reasons(out)
    return probes


class Sources(NamedTuple):
    """The DNN, the test set with its answers and groups, and how to ask the DNN again."""

    dnn: Dnn
    tested: AnsweredImages
    of: np.ndarray
    ask: Ask


def _asked(
    out: Path, review: Review, reasons: Reasons, tested: AnsweredImages, names: Collection[str]
) -> Iterator[Asked]:
    """The reasons with these names, or all, and the images to probe them with."""
    clusters, subjects = review.clusters, subjects_of(review.clusters, out)
    words = {profile.rcc: {one.parameter for one in profile.mentioned} for profile in load_profiles(out)}
    every = [
        (f"weak spot {i}", spot.conditions, spot.where, {one.column for one in spot.literals}, spot.rate, rows)
        for i, (spot, rows) in enumerate(zip(reasons.spots, reasons.images, strict=True), 1)
    ]
    every += [
        (f"RCC {rcc}", subjects[rcc], "", words.get(rcc, set()), rate.rate, np.flatnonzero(clusters.labels == rcc))
        for rcc, rate in reasons.rates(clusters).items()
        if rate.verdict == "more" or f"RCC {rcc}" in names
    ]
    if missing := set(names) - {reason for reason, *_ in every}:
        raise SAFEError(
            f"Expected reasons such as `weak spot 1` or `RCC 0`. Received: {some(sorted(missing))}; there are "
            f"{some([reason for reason, *_ in every])}."
        )
    row_of = tested.rows_of(clusters.image_root, clusters.paths)
    for *asked, rate, members in every:
        if not names or asked[0] in names:
            failing = row_of[members]
            failing = failing[(failing >= 0) & ~tested.right[failing]]
            alike = tested.right & np.isin(tested.answers.label, tested.answers.label[failing])
            right = np.flatnonzero(alike if alike.sum() >= LEAST_ALIKE else tested.right)
            yield Asked._make([*asked, rate, failing, right])


def _probes(asked: Asked, sources: Sources, progress: Progress) -> list[Probe]:
    """Probe a reason with some of its images: those that the DNN answers as it has answered the originals."""
    right = _images(asked.right, 2 * IMAGES, sources, wanted=True)
    return probe(asked, right, _images(asked.failing, IMAGES, sources, wanted=False), sources.ask, progress=progress)


def _images(rows: np.ndarray, most: int, sources: Sources, *, wanted: bool) -> Images:
    dnn, tested, of, ask = sources
    loaded = {row: _pixels(tested.root / tested.paths[row], dnn) for row in spread_over(rows, of[rows], most).tolist()}
    read = {row: pixels for row, pixels in loaded.items() if pixels is not None}
    same = ask(list(read.values()), list(read)) == wanted if read else np.zeros(0, bool)
    if read and same.mean() < LEAST_SAME:
        raise SAFEError(
            f"Expected the model with the answers in {tested.source}. Received: {dnn.path}, which answers "
            f"{np.mean(~same):.0%} of {len(read)} images otherwise. Name the model, or how its pixels are scaled "
            "(--rescale)."
        )
    kept = np.array(list(itertools.compress(read, same)), int)
    return images_of(kept, [read[row] for row in kept.tolist()], of[kept])


def _pixels(file: Path, dnn: Dnn) -> np.ndarray | None:
    """An image, of at most twice the size that the DNN, or whoever measures it, needs; None if it is unreadable."""
    side = 2 * max(*INPUT_SIZE, dnn.height or 0, dnn.width or 0)
    try:
        image = decode(read_bytes(file), at_least=(side, side))
    except UNREADABLE:
        return None
    image.thumbnail((side, side))
    return np.asarray(image)


def _asking(dnn: Dnn, collected: Failures, tested: AnsweredImages, progress: Progress) -> Ask:
    """Asks the DNN; the labels are those of the table of its answers."""
    place = {name: i for i, name in enumerate(collected.classes)}
    regression = collected.task == "regression"

    def ask(pixels: Sequence[np.ndarray], rows: Sequence[int]) -> np.ndarray:
        names = tuple(f"{i}.png" for i in range(len(pixels)))
        texts = tested.answers.label[rows].tolist()
        labels = np.array([[*map(float, text.split())] if regression else place[text] for text in texts])
        with tempfile.TemporaryDirectory(prefix="safe-probe-") as folder:
            for name, one in zip(names, pixels, strict=True):
                Image.fromarray(one).save(Path(folder, name), compress_level=1)
            found = predict_apart(dnn, Path(folder), names, progress=progress)
        images = LabelledImages(Path(folder), names, collected.classes, labels)
        return judge(dnn, images, found.indices, found.outputs, threshold=collected.threshold).right

    return ask
