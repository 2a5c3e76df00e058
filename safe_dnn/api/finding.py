"""Steps 1 and 2: why a network fails. Failures, root cause clusters, conditions, words, and what causes them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from safe_dnn.analysis import Analysis
from safe_dnn.api.explaining import explain_collected, explain_failures
from safe_dnn.api.generation import generate_clusters
from safe_dnn.api.probing import HEATMAPS_FOLDER, look, probe_reasons
from safe_dnn.api.results import StepResult, settings_by
from safe_dnn.dnn.detection.converter import cut_detections, failures_in_table, find_detection_failures
from safe_dnn.dnn.failures import find_failures
from safe_dnn.dnn.group_columns import hold_out_of
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.options import ClusteringSettings, DetectorFiles, DnnOptions, GivenAnswers, TestSet
from safe_dnn.rccs.clusters import rccs_of
from safe_dnn.rccs.spots.curves import CURVES_FILE
from safe_dnn.rccs.spots.figures import FIGURES, row_of
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE
from safe_dnn.reasons.known_groups import accuracy_interval, groups_of_test
from safe_dnn.reasons.listed import since_earlier
from safe_dnn.reasons.run_record import lost_notes, notes_of
from safe_dnn.reasons.words import tagging
from safe_dnn.reasons.words.tags import load_words
from safe_dnn.report.summary_lines import (
    cluster_lines,
    cluster_summary,
    earlier_lines,
    failures_summary,
    left_out,
    rate_lines,
    spot_lines,
)
from safe_dnn.store.output_folder import working
from safe_dnn.support.errors import Number, SAFEError, StrPath, path_of
from safe_dnn.support.progress import as_part
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES_FILE, PREDICTIONS_FILE
from safe_dnn.support.text import count, some
from safe_dnn.training.earlier import kept_copy, other_analysis, take_over

NO_GROUPS = "groups: not used, since it is not known what the network gets right"


class Tested(NamedTuple):
    """A network on its test set.

    Attributes
    ----------
    failures : dnn.tested.AnsweredImages
    accuracy, low, high : float
        With its 95 % interval on new images, by the groups that are known.
    reasons : api.explaining.FailureReasons
        Weak spots, under which the network fails more often than elsewhere.
    """

    failures: Any
    accuracy: float
    low: float
    high: float
    reasons: Any


def failures(
    model: StrPath = "", test: StrPath = "", out: StrPath = ".", *, predictions: StrPath = "",
    coco: tuple[StrPath, ...] = (), yolo: tuple[StrPath, ...] = (), after: StrPath | None = None,
    **options: Any,
) -> StepResult:  # fmt: skip
    """Collect the test images that a network gets wrong, and find the conditions under which it is wrong more often.

    Parameters
    ----------
    model, test : path
        As for `dnn.failures.find_failures`.
    predictions : path, optional
        In place of the model, as `table` of `dnn.detection.converter.failures_in_table`.
    coco, yolo : tuple of three paths, optional
        Of a detector, in place of a model and its test images: ground truth, results and images.
    after : path, optional
        The output folder of an analysis that this one follows, as the network was retrained: notes on conditions, the
        scope and labels are taken over, and the report compares both.
    options
        `options.DnnOptions`, `TestSet`; of a detector `options.DetectorFiles`.

    Returns
    -------
    StepResult
        Its value is `Tested`; its table has all test images.

    Raises
    ------
    SAFEError
        As in these functions, or the inputs do not go together.
    """
    folder, boxes = path_of(out, "an output folder"), coco or yolo
    sources = {"model": model, "predictions": predictions, "coco": coco, "yolo": yolo}
    if sum(map(bool, sources.values())) != 1 or bool(boxes) == bool(test):
        sources_given = some(name for name, value in (sources | {"test": test}).items() if value)
        raise SAFEError(
            "Expected either a model and its test images, or predictions and theirs or, of a detector, ground truth, "
            f"results and images. Received: {sources_given or 'nothing'}."
        ).about("predictions", "coco", "yolo")
    earlier = other_analysis(after, folder) if after else None
    if boxes:
        files = dict(zip(("truth", "results", "images"), boxes, strict=True))
        (detector,) = settings_by(options, DetectorFiles, **files, yolo=bool(yolo))
        collect: Callable[[], AnsweredImages] = partial(find_detection_failures, detector, folder)
    else:
        collect = _collecting(model, predictions, test, folder, options)
    return _collected(folder, collect, earlier)


def _collected(folder: Path, collect: Callable[[], AnsweredImages], earlier: Path | None = None) -> StepResult:
    """Collect failures, search for reasons, and say what was found."""
    with working(folder, "collecting failures"):
        collected = collect()
        if earlier:
            take_over(earlier, folder)
        why = explain_collected(folder)
    answers, right = collected.answers, collected.right
    columns = (column.tolist() for column in (answers.label, answers.predicted, right, answers.score))
    paths, names = collected.paths, ("image", answers.target, "predicted", "right", answers.kind)
    interval = accuracy_interval(right, groups_of_test(folder, collected.root, paths, right))
    tested = Tested(collected, collected.accuracy, *interval, why)
    lines = (*(spot_lines(why.spots) if why.spots is not None else ()), *earlier_lines(since_earlier(folder)))
    written = ["objects/"] * (collected.noun == "unit") + ["failures/"] * collected.has_images
    written += [FAILURES_FILE, PREDICTIONS_FILE, ACCURACY_FILE]
    written += [] if why.spots is None or Analysis(folder).there else [WEAK_SPOTS_FILE, CURVES_FILE]
    return StepResult(
        tested, failures_summary(collected), names, tuple(zip(paths, *columns, strict=True)), lines,
        (*left_out(collected.skipped), *(f"reasons: {one}" for one in why.notes)), collected.notes,
        ", ".join(written),
    )  # fmt: skip


def _collecting(
    model: StrPath, predictions: StrPath, test: StrPath, folder: Path, options: dict[str, Any]
) -> Callable[[], AnsweredImages]:
    """The work on a model or a table of its answers, with options that go together."""
    dnn, images = settings_by(options, DnnOptions, TestSet)
    common: dict[str, Any] = {"options": dnn, "train": images.train}
    common["hold_out"] = hold_out_of(images.hold_out, images.group)
    if images.parameters and not predictions:
        raise SAFEError("Expected parameters with predictions. Received a model.").about("parameters")
    if not predictions:
        return lambda: find_failures(kept_copy(model), test, folder, **common)
    if dnn.rescale or dnn.trust_model:
        text = "Expected rescale and trust_model with a model only. Received predictions."
        raise SAFEError(text).about("rescale", "trust_model")
    return partial(failures_in_table, predictions, test, folder, **common, parameters=images.parameters)


def reasons(
    predictions: StrPath, out: StrPath = ".", *, parameters: StrPath | None = None, **options: Any
) -> StepResult:
    """Find the conditions under which a network fails by tables, as `failures` does, with or without images.

    Parameters
    ----------
    predictions, parameters : path
        As for `failures`.
    options
        `options.GivenAnswers`.

    Returns
    -------
    StepResult
        Its value is `Tested`; its table has the weak spots.

    Raises
    ------
    SAFEError
        As in `failures`, or nothing is known of a group.
    """
    folder, (tables,) = path_of(out, "an output folder"), settings_by(options, GivenAnswers, predictions=predictions)
    how: dict[str, Any] = {"options": DnnOptions(partial=tables.partial), "group": tuple(tables.group)}
    tested = tables.tested or None
    found = _collected(folder, partial(failures_in_table, predictions, tested, folder, parameters=parameters, **how))
    rows = tuple((spot.conditions, *row_of(spot.figures)) for spot in found.value.reasons.spots or ())
    notes = (*found.notes, *found.warnings)
    return replace(found, columns=("conditions", *FIGURES), rows=rows, warnings=notes, notes=())


def crops(info: StrPath, results: StrPath, images: StrPath, out: StrPath = ".", *, score: Number = 0.05) -> StepResult:
    """Cut a detector's detections out of improvement images, for `select`; as `dnn.detection.converter.cut_detections`.

    The table has the crops.
    """
    seen = cut_detections(info, results, images, path_of(out, "an output folder"), score=score)
    images_of = {one.image for one in seen.crops}
    headline = f"{count(len(seen.crops), 'detection')} cut out of {count(len(images_of), 'image')}"
    rows = tuple((one.name, one.image) for one in seen.crops)
    return StepResult(
        seen, headline, ("crop", "image"), rows, (), tuple(left_out(seen.skipped)), seen.notes, "objects/"
    )


class Explained(NamedTuple):
    """RCCs, and the reasons for failing.

    Attributes
    ----------
    clusters : rccs.clusters.RootCauseClusters
        As the engineer has edited them.
    reasons : list of reasons.listed.Reason
        Weak spots and RCCs, each with its failing images.
    compared : bool
        Whether it is known what the network gets right.
    """

    clusters: Any
    reasons: list[Any]
    compared: bool


def cluster(
    images: StrPath, out: StrPath = ".", *, then: Callable[[Any], object] = lambda clusters: None, **options: Any
) -> StepResult:
    """Steps 1 and 2: group failing images into RCCs, and compare them with what the network gets right, if it is known.

    Parameters
    ----------
    images : path
        As for `api.generation.generate_clusters`.
    then : callable, optional
        Called with the result for the RCCs alone before they are compared, which takes longer.
    options
        `options.ClusteringSettings`, with `options.GivenAnswers`.

    Returns
    -------
    StepResult
        Its value is `Explained`; its table has the reasons: weak spots and RCCs, those that explain most failures
        first. `tested` and `wrong` are the images that were counted; `rate`, `low` and `high` are those of new
        images; `expected` is how often the same images would be wrong without the reason, and `excess` how many
        are wrong beyond that.

    Raises
    ------
    SAFEError
        As in `generate_clusters` and `api.explaining.explain_failures`.
    """
    folder, (settings,) = path_of(out, "an output folder"), settings_by(options, ClusteringSettings)
    clusters = generate_clusters(images, folder, settings)
    then(_clustered(clusters, folder))
    try:
        with as_part(_of_rates):
            compared = explain_failures(folder, weights=settings.weights)
    except SAFEError as error:
        text = f"The RCCs were found, but not compared with images that are right. {error}"
        raise SAFEError(text).about(*error.fields) from error
    found = Analysis(folder)
    rows = tuple(
        (one.name, one.where or found.profile_of(one.rcc), len(one.images), *row_of(one.figures), one.fails_more)
        for one in found.listed
    )
    value = Explained(clusters, found.listed, compared)
    columns = ("reason", "what", "images", *FIGURES, "more")
    headline = cluster_summary(clusters)
    if not compared:
        unused = NO_GROUPS if settings.answers.group else ""
        return StepResult(value, headline, columns, rows, warnings=(unused,))
    doubts = (found.problem, *(found.reasons.comparison.notes if found.reasons.comparison else ()))
    written = "rcc_rates.csv, weak_spots.csv"
    return StepResult(value, headline, columns, rows, tuple(rate_lines(found)), doubts, written=written)


def _of_rates(what: str, done: int, total: int) -> tuple[str, int, int]:
    return f"The RCCs are there. For their error rates: {what}", done, total


def _clustered(clusters: Any, folder: Any) -> StepResult:
    """RCCs before they are compared with images that are right."""
    found = Analysis(folder)
    doubts = (clusters.extractor.notice, *left_out(clusters.skipped), *notes_of(folder), lost_notes(folder))
    rows = tuple((f"RCC {rcc}", found.profile_of(rcc), int(clusters.sizes[rcc])) for rcc in rccs_of(clusters))
    return StepResult(
        clusters, cluster_summary(clusters), ("reason", "what", "images"), rows, tuple(cluster_lines(found)), doubts,
        written=f"labels.txt, gifs/{', rcc_profiles.csv' if found.profiles else ''}",
    )  # fmt: skip


def probe(
    out: StrPath = ".", *, model: StrPath | None = None, reason: tuple[str, ...] = (), **options: Any
) -> StepResult:
    """Test whether a reason causes failures, by changing the pixels of images.

    Parameters
    ----------
    model : path, optional
        As for `api.probing.asking`.
    reason : tuple of str
        Names of reasons, such as `RCC 0`; by default those that fail more often.
    options
        `options.DnnOptions`.

    Returns
    -------
    StepResult
        Its value is a list of `reasons.probes.Probe`; its table has a row for each.

    Raises
    ------
    SAFEError
        As in `api.probing.probe_reasons`.
    """
    (dnn,) = settings_by(options, DnnOptions)
    found = probe_reasons(path_of(out, "an output folder"), reason, model=model, options=dnn)
    rows = tuple((", ".join(filter(None, (one.reason, one.where))), one.text) for one in found)
    return StepResult(
        found, "", ("reason", "finding"), rows, tuple(f"{name}: {text}" for name, text in rows), written="probes.csv"
    )


def heatmaps(
    out: StrPath = ".", *, model: StrPath | None = None, reason: tuple[str, ...] = (), **options: Any
) -> StepResult:
    """Show where the network looks in the failing images of each reason, and in right ones of the same classes.

    Parameters
    ----------
    model, reason, options
        As for `probe`; by default all reasons.

    Returns
    -------
    StepResult
        Its value is a dict of `api.probing.Heatmap` by reason; its table has a row for each.

    Raises
    ------
    SAFEError
        As in `api.probing.look`.
    """
    (dnn,) = settings_by(options, DnnOptions)
    found = look(path_of(out, "an output folder"), reason, model=model, options=dnn)
    rows = tuple((name, one.text) for name, one in found.items())
    lines = tuple(f"{name}: {text}" for name, text in rows)
    return StepResult(found, "", ("reason", "where"), rows, lines, written=f"{HEATMAPS_FOLDER}/")


def word(
    word: str = "", out: StrPath = ".", *, next: int | None = None, tags: StrPath | None = None,
    likely: StrPath | None = None, weights: StrPath | None = None, features: StrPath | None = None,
) -> StepResult:  # fmt: skip
    """Tag a sample of test images with a word, and estimate the error rate on images that have it.

    Parameters
    ----------
    word : str
        What one sees, such as `baby`; `next` and `tags` begin a new one. By default all words.
    next : int, optional
        The table has so many images to answer.
    tags : path, optional
        Answers to take, as for `reasons.words.tagging.answers_in`.
    likely : path, optional
        The table has the images of this folder or list, sorted by predicted probability; as many as `next` says.
    weights, features
        As for `reasons.words.tagging.likely`.

    Returns
    -------
    StepResult
        Its value is a list of `reasons.words.tagging.Tagging`.

    Raises
    ------
    SAFEError
        As of the functions of `reasons.words.tagging`.
    """
    folder = path_of(out, "an output folder")
    if not word:
        words = [*tagging.all_words(folder).values()]
        rows: tuple[tuple, ...] = tuple((one.word.name, one.text) for one in words)
        return StepResult(words, "", ("word", "known"), rows, tuple(text for _, text in rows))
    if features and not likely:
        raise SAFEError(f"Expected features with other images. Received: {features}.").about("features", "likely")
    if (next or tags) and " ".join(word.split()) not in load_words(folder):
        tagging.begin(folder, word)
    found = tagging.open_tagging(folder, word)
    if tags:
        found = tagging.answer(found, tagging.answers_in(tags, found))
    if likely:
        chances = tagging.likely(found, likely, weights=weights, features=features)[:next]
        rows = tuple((image, f"{chance:.4f}") for image, chance in chances)
        return StepResult([found], "", ("image", "predicted_probability"), rows)
    if next is None:
        return StepResult([found], found.text, ("image", "answer"), (), written=found.word.file if tags else "")
    if not 0 < next <= len(found.tested.paths):
        raise SAFEError(f"Expected 1 to {len(found.tested.paths):,} images. Received: {next}.").about("next")
    found, images = tagging.next_images(found, next, weights=weights)
    return StepResult([found], "", ("image", "answer"), tuple((image, "") for image in images))
