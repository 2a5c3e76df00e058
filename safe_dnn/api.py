"""SAFE for programs and notebooks: a function for each step, which the command line calls as well.


    safe.failures("model.keras", "test", "out")
    reasons = safe.cluster("out/failures", "out", group="person")
    reasons.to_frame()

Each works on an analysis, the folder `out`. Options are those of the command line and have their names: they are the
fields of the records of settings that a function lists. docs/steps.ipynb shows six of them. (`safe_dnn.retrain` is the
module of step 6; the function is here.)

Progress is reported to whoever listens, who may stop the work by an exception:


    with reporting(lambda what, done, total: print(what, done, total)):
        safe.cluster("out/failures", "out")

Models run in a process of their own: a script calls these functions below `if __name__ == "__main__":`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

import pandas

from safe_dnn.dnn.detection.converter import DetectorFiles, cut_detections, find_detection_failures
from safe_dnn.dnn.detection.units import failures_in_table
from safe_dnn.dnn.failures import checked, find_failures
from safe_dnn.dnn.group_columns import hold_out_of
from safe_dnn.dnn.model import DnnOptions
from safe_dnn.pipeline import confirmation, exports, tagging
from safe_dnn.pipeline.analysis import Analysis
from safe_dnn.pipeline.asking import HEATMAPS_FOLDER, look, probe_reasons
from safe_dnn.pipeline.confirmation import check_requirements
from safe_dnn.pipeline.explaining import explain_collected, explain_failures, find_reasons, since_earlier
from safe_dnn.pipeline.exports import EXPORT_FOLDER, export_labelled_set, export_results, write_evidence, write_register
from safe_dnn.pipeline.generation import ClusteringSettings, Likely, generate_clusters, select_images
from safe_dnn.pipeline.reporting.report import write_report
from safe_dnn.pipeline.retraining import retrain_apart
from safe_dnn.pipeline.run_record import GivenAnswers, lost_notes, notes_of
from safe_dnn.pipeline.summary_lines import (
    cluster_lines,
    cluster_summary,
    earlier_lines,
    failures_summary,
    left_out,
    rate_lines,
    retraining_details,
    retraining_summary,
    selection_summary,
    spot_lines,
)
from safe_dnn.rccs.clusters import rccs_of
from safe_dnn.rccs.review.journal import Maker, newest
from safe_dnn.rccs.spots.figures import Figures, row_of
from safe_dnn.rccs.unsafe_set import UnsafeImage
from safe_dnn.reasons.known import doubts_on
from safe_dnn.reasons.known_groups import accuracy_interval, groups_of_test
from safe_dnn.reasons.known_groups import notes_of as notes_of_groups
from safe_dnn.reasons.register import REGISTER_FILE, changes_in, scope_entry
from safe_dnn.reasons.register import take_over as take_over_changes
from safe_dnn.reasons.requirements import HOLDS
from safe_dnn.selection import SelectionSettings, chosen_by_model
from safe_dnn.store.output_folder import writing
from safe_dnn.support.errors import Number, SAFEError, StrPath, path_of
from safe_dnn.support.options import names_of, settings_of
from safe_dnn.support.text import count, some
from safe_dnn.training.certainty import with_intervals
from safe_dnn.training.earlier import kept_copy, other_analysis, take_over
from safe_dnn.training.finetuning import UNWATCHED
from safe_dnn.training.labels import Labelling, label_unsafe_set, save_labels, take_typed_labels
from safe_dnn.training.material import ImageSets
from safe_dnn.training.result import compare_answers, shares_by_reason
from safe_dnn.training.settings import Wishes
from safe_dnn.words.tags import load_words

__all__ = (
    "check", "cluster", "compare", "confirm", "crops", "evidence", "export", "failures", "heatmaps", "label", "probe",
    "reasons", "register", "report", "retrain", "select", "verify", "word",
)  # fmt: skip
MOST_ROWS = 20  # of a table that a notebook shows
FIGURES = ("tested", "wrong", "rate", "low", "high")
NO_GROUPS = "groups: not used, since it is not known what the network gets right"


@dataclass(frozen=True)
class StepResult:
    """What a step gave. A notebook shows the headline, and a part of the table.

    Attributes
    ----------
    value : object
        What the step itself returns, such as `rccs.unsafe_set.UnsafeSet`.
    headline : str
        A sentence, as on the command line.
    columns : tuple of str
    rows : tuple of tuple
    lines : tuple of str
        Further sentences, as on the command line.
    warnings : tuple of str
        What was left out, or is in doubt.
    notes : tuple of str
        What was assumed.
    written : str
        The files in the folder of the analysis that were written.
    """

    value: Any
    headline: str
    columns: tuple[str, ...]
    rows: tuple[tuple, ...] = field(repr=False)
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    written: str = ""

    def to_frame(self) -> pandas.DataFrame:
        """The table as a pandas.DataFrame."""
        return pandas.DataFrame(list(self.rows), columns=list(self.columns))

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.headline)}</p>{self.to_frame().to_html(max_rows=MOST_ROWS, show_dimensions=True)}"


def _settings(options: dict[str, Any], *records: Any, **fixed: Any) -> list[Any]:
    """Records of settings by the options of a step, and by `fixed` values; a SAFEError for any other option."""
    known = names_of(*records)
    if unknown := sorted(options.keys() - known):
        names = ", ".join(sorted(known))
        raise SAFEError(f"Expected no options but {names}. Received: {', '.join(unknown)}.").about(*unknown)
    return [settings_of(record, options | fixed) for record in records]


class TestSet(NamedTuple):
    """How the test images of a classifier or a regression are taken.

    Attributes
    ----------
    train : path, optional
        As for `dnn.failures.find_failures`.
    hold_out, group
        As `share` and `group` of `dnn.group_columns.HoldOut`.
    """

    train: StrPath | None = None
    hold_out: float | str | None = None
    group: tuple[str, ...] = ()


class Tested(NamedTuple):
    """A network on its test set.

    Attributes
    ----------
    failures : dnn.tested.AnsweredImages
    accuracy, low, high : float
        With its 95 % interval on new images, by the groups that are known.
    reasons : pipeline.explaining.FailureReasons
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
        In place of the model, as `table` of `dnn.detection.units.failures_in_table`.
    coco, yolo : tuple of three paths, optional
        Of a detector, in place of a model and its test images: ground truth, results and images.
    after : path, optional
        The output folder of an analysis that this one follows, as the network was retrained: notes on conditions, the
        scope and labels are taken over, and the report compares both.
    options
        `dnn.model.DnnOptions`, `TestSet`; of a detector `dnn.detection.converter.DetectorFiles`.

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
        (detector,) = _settings(options, DetectorFiles, **files, yolo=bool(yolo))
        collected = find_detection_failures(detector, folder)
    else:
        dnn, images = _settings(options, DnnOptions, TestSet)
        hold_out = hold_out_of(images.hold_out, images.group)
        if predictions and (dnn.rescale or dnn.trust_model):
            text = "Expected rescale and trust_model with a model only. Received predictions."
            raise SAFEError(text).about("rescale", "trust_model")
        common: dict[str, Any] = {"options": dnn, "train": images.train, "hold_out": hold_out}
        if predictions:
            collected = failures_in_table(predictions, test, folder, **common)
        else:
            collected = find_failures(kept_copy(model), test, folder, **common)
    if earlier:
        take_over(earlier, folder)
    answers, right = collected.answers, collected.right
    columns = (column.tolist() for column in (answers.label, answers.predicted, right, answers.score))
    paths, names = collected.paths, ("image", answers.target, "predicted", "right", answers.kind)
    interval = accuracy_interval(right, groups_of_test(folder, collected.root, paths, right))
    spots, doubts = why = explain_collected(folder)
    tested = Tested(collected, collected.accuracy, *interval, why)
    lines = (*(spot_lines(spots) if spots is not None else ()), *earlier_lines(since_earlier(folder)))
    table = "" if spots is None or Analysis(folder).there else ", weak_spots.csv"
    return StepResult(
        tested, failures_summary(collected), names, tuple(zip(paths, *columns, strict=True)), lines,
        (*left_out(collected.skipped), *(f"reasons: {one}" for one in doubts)), collected.notes,
        f"{'objects/, ' if boxes else ''}failures/, failures.csv, predictions.csv, accuracy.json{table}",
    )  # fmt: skip


def reasons(
    predictions: StrPath, out: StrPath = ".", *, parameters: StrPath | None = None, **options: Any
) -> StepResult:
    """Find the conditions under which a network fails from tables alone, without images.

    Parameters
    ----------
    predictions : path
        The network's answers to its test images.
    parameters : path, optional
        As for `pipeline.explaining.find_reasons`.
    options
        `pipeline.run_record.GivenAnswers`.

    Returns
    -------
    StepResult
        Its value is `pipeline.explaining.Conditions`; its table has the weak spots.

    Raises
    ------
    SAFEError
        As in `find_reasons`.
    """
    folder, (tables,) = path_of(out, "an output folder"), _settings(options, GivenAnswers, predictions=predictions)
    tested, found = find_reasons(tables, folder, parameters=parameters)
    rows = tuple((spot.conditions, *row_of(spot.figures)) for spot in found.spots)
    return StepResult(
        found, f"{(~tested.right).mean():.1%} of {count(len(tested.paths), 'image')} are wrong",
        ("conditions", *FIGURES), rows, tuple(spot_lines(found.spots)),
        (*tested.doubts, *doubts_on(found.spots), *tested.notes, *found.known.notes, *notes_of_groups(found.groups)),
        written="weak_spots.csv, rates.csv",
    )  # fmt: skip


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
        As for `pipeline.generation.generate_clusters`.
    then : callable, optional
        Called with the result for the RCCs alone before they are compared, which takes longer.
    options
        `pipeline.generation.ClusteringSettings`, with `pipeline.run_record.GivenAnswers`.

    Returns
    -------
    StepResult
        Its value is `Explained`; its table has the reasons: weak spots and RCCs, those that explain most failures
        first. `tested` and `wrong` are the images that were counted; `rate`, `low` and `high` are those of new
        images.

    Raises
    ------
    SAFEError
        As in `generate_clusters` and `pipeline.explaining.explain_failures`.
    """
    folder, (settings,) = path_of(out, "an output folder"), _settings(options, ClusteringSettings)
    clusters = generate_clusters(images, folder, settings)
    then(_clustered(clusters, folder))
    compared = explain_failures(folder, weights=settings.weights)
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


def _clustered(clusters: Any, folder: Any) -> StepResult:
    """RCCs before they are compared with images that are right."""
    found = Analysis(folder)
    doubts = (clusters.extractor.notice, *left_out(clusters.skipped), *notes_of(folder), lost_notes(folder))
    rows = tuple((f"RCC {rcc}", found.profile_of(rcc), int(clusters.sizes[rcc])) for rcc in rccs_of(clusters))
    return StepResult(
        clusters, cluster_summary(clusters), ("reason", "what", "images"), rows, tuple(cluster_lines(found)), doubts,
        written=f"labels.txt, gifs/{', rcc_profiles.csv' if found.profiles else ''}",
    )  # fmt: skip


def select(improvement: StrPath, out: StrPath = ".", **options: Any) -> StepResult:
    """Steps 3 and 4: select the improvement images to label, the unsafe set.

    Parameters
    ----------
    improvement : path
        As for `selection.select_unsafe_set`.
    options
        `selection.SelectionSettings`, `pipeline.generation.Likely`, with `dnn.model.DnnOptions`.

    Returns
    -------
    StepResult
        Its value is `rccs.unsafe_set.UnsafeSet`; its table has the images to label.

    Raises
    ------
    SAFEError
        As in `pipeline.generation.select_images`.
    """
    folder, (settings, likely) = path_of(out, "an output folder"), _settings(options, SelectionSettings, Likely)
    unsafe = select_images(improvement, folder, settings, likely=likely)
    rows = tuple(image[:-1] for image in unsafe.images)  # without the digest
    return StepResult(
        unsafe, selection_summary(unsafe), UnsafeImage._fields[:-1], rows,
        (unsafe.formula, chosen_by_model(unsafe), unsafe.labels), tuple(left_out(unsafe.skipped)),
        written="IS_filenames.txt, unsafe_set.csv",
    )  # fmt: skip


def label(out: StrPath = ".", **options: Any) -> StepResult:
    """Label the unsafe set by a table, by class folders, or by what was typed into `unsafe_set.csv`.

    Parameters
    ----------
    options
        `training.labels.Labelling`.

    Returns
    -------
    StepResult
        Its value is `rccs.unsafe_set.UnsafeSet`; its table has the images with their labels.

    Raises
    ------
    SAFEError
        There is no unsafe set, or as of `training.labels.label_unsafe_set`.
    """
    folder, (labelling,) = path_of(out, "an output folder"), _settings(options, Labelling)
    take_typed_labels(folder)
    with writing(folder):
        analysis = Analysis(folder)
        classes = analysis.failures.known_classes if analysis.failures_key else ()
        sources = {"improvement": labelling.improvement, "labels": labelling.labels}
        unsafe = label_unsafe_set(analysis.unsafe, classes, **sources)
        save_labels(unsafe, folder)
    n = sum(bool(image.label) for image in unsafe.images)
    rows = tuple((image.image, image.label) for image in unsafe.images)
    headline = f"{n:,} of {count(len(unsafe.images), 'image')} labelled"
    return StepResult(unsafe, headline, ("image", "label"), rows, written="unsafe_set.csv")


def retrain(
    model: StrPath, train: StrPath, test: StrPath, out: StrPath = ".", *, watch: Any = None, **options: Any
) -> StepResult:
    """Steps 5 and 6: label the unsafe set, and fine-tune the network with it.

    Parameters
    ----------
    model : path
        As for `retrain.retrain`.
    train, test : path
        As in `training.material.ImageSets`.
    watch : training.finetuning.Watch, optional
        What the training reports to, and asks whether to stop.
    options
        `ImageSets`, with `training.labels.Labelling`; `training.settings.Wishes`; `dnn.model.DnnOptions`.

    Returns
    -------
    StepResult
        Its value is `training.result.Retraining`; its table has the images of each class and reason that are right
        before and after, with the 95 % interval of the share after.

    Raises
    ------
    SAFEError
        As in `pipeline.retraining.retrain_apart`.
    """
    images, wishes, dnn = _settings(options, ImageSets, Wishes, DnnOptions, train=train, test=test)
    folder = path_of(out, "an output folder")
    result = retrain_apart(model, images, folder, options=dnn, wishes=wishes, watch=watch or UNWATCHED)
    return _retrained(result, folder, "retrained.keras, retraining.json")


def compare(before: StrPath, after: StrPath, test: StrPath, out: StrPath = ".", **options: Any) -> StepResult:
    """Compare a network before and after it was retrained elsewhere, by tables of its answers.

    Parameters
    ----------
    before, after, test : path
        As for `training.result.compare_answers`.
    options
        `dnn.model.DnnOptions`.

    Returns
    -------
    StepResult
        As in `retrain`.

    Raises
    ------
    SAFEError
        As in `compare_answers`.
    """
    folder, (dnn,) = path_of(out, "an output folder"), _settings(options, DnnOptions)
    result = compare_answers(before, after, test, folder, options=checked(dnn))
    return _retrained(result, folder, "retraining.json")


def _retrained(result: Any, folder: Any, written: str) -> StepResult:

    analysis = Analysis(folder)
    listed = analysis.listed if analysis.there else []
    classes = ((f"class {one.name}", one, ends) for one, ends in with_intervals(result.per_class, result.by_group))
    known = shares_by_reason(listed, result)
    ends_of = dict(with_intervals([share for _, share, _ in known]))
    found = ((reason.title, share, ends_of[share]) for reason, share, _ in known)
    rows = tuple((name, *share[1:], *ends) for name, share, ends in (*classes, *found))
    lines = tuple(f"  {line}" for line in retraining_details(result, listed))
    return StepResult(
        result, retraining_summary(result), ("of", "images", "before", "after", "low", "high"), rows, lines,
        tuple(left_out(result.skipped)), result.assumptions, written,
    )  # fmt: skip


def confirm(
    predictions: StrPath, tested: StrPath, out: StrPath = ".", *, after: StrPath | None = None,
    weights: StrPath | None = None, features: StrPath | None = None, **options: Any,
) -> StepResult:  # fmt: skip
    """Confirm or refute the reasons on a fresh test set, which they were not found with.

    Parameters
    ----------
    predictions, tested : path
        The network's answers to the fresh images, and these.
    after, weights, features
        As for `pipeline.confirmation.confirm`.
    options
        `pipeline.run_record.GivenAnswers`.

    Returns
    -------
    StepResult
        Its value is `pipeline.confirmation.Confirmation`; its table has a sentence for each reason.

    Raises
    ------
    SAFEError
        As in `pipeline.confirmation.confirm`.
    """
    folder = path_of(out, "an output folder")
    (given,) = _settings(options, GivenAnswers, predictions=predictions, tested=tested)
    found = confirmation.confirm(folder, given, after=after, weights=weights, features=features)
    none = "" if found.verdicts else "Nothing to confirm: no weak spot, and no RCC that fails more often"
    later = ("With the later model:", *(f"  {text}" for text in found.closed)) if found.closed else ()
    return StepResult(
        found, none, ("verdict",), tuple((text,) for text in found.verdicts), (*found.verdicts, *later), found.notes,
        written=f"confirmation.csv{', closure.csv' if found.closed else ''}",
    )  # fmt: skip


def probe(
    out: StrPath = ".", *, model: StrPath | None = None, reason: tuple[str, ...] = (), **options: Any
) -> StepResult:
    """Test whether a reason causes failures, by changing the pixels of images.

    Parameters
    ----------
    model : path, optional
        As for `pipeline.asking.asking`.
    reason : tuple of str
        Names of reasons, such as `RCC 0`; by default those that fail more often.
    options
        `dnn.model.DnnOptions`.

    Returns
    -------
    StepResult
        Its value is a list of `reasons.probes.Probe`; its table has a row for each.

    Raises
    ------
    SAFEError
        As in `pipeline.asking.probe_reasons`.
    """
    (dnn,) = _settings(options, DnnOptions)
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
        Its value is a dict of `pipeline.asking.Heatmap` by reason; its table has a row for each.

    Raises
    ------
    SAFEError
        As in `pipeline.asking.look`.
    """
    (dnn,) = _settings(options, DnnOptions)
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
        Answers to take, as for `pipeline.tagging.answers_in`.
    likely : path, optional
        The table has the images of this folder or list, sorted by predicted probability; as many as `next` says.
    weights, features
        As for `pipeline.tagging.likely`.

    Returns
    -------
    StepResult
        Its value is a list of `pipeline.tagging.Tagging`.

    Raises
    ------
    SAFEError
        As of the functions of `pipeline.tagging`.
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


def check(
    requirements: StrPath, out: StrPath = ".", *, no_worse: StrPath | None = None, learned: StrPath | None = None,
    **options: Any,
) -> StepResult:  # fmt: skip
    """Check requirements on how often the network may be wrong.

    Parameters
    ----------
    requirements, learned : path
        As for `pipeline.confirmation.check_requirements`.
    no_worse : path, optional
        As `before` there.
    options
        `pipeline.run_record.GivenAnswers`.

    Returns
    -------
    StepResult
        Its value is `pipeline.confirmation.Checked`, which says whether all of it `holds`; its table has the
        requirements, with the rate that is the `limit`, and the reasons that models were compared for.

    Raises
    ------
    SAFEError
        As in `check_requirements`.
    """
    folder, (given,) = path_of(out, "an output folder"), _settings(options, GivenAnswers)
    checked = check_requirements(requirements, folder, given, before=no_worse, learned=learned)
    required = checked.findings
    figures = [(one.verdict, one.figures, one.low, one.high, one.requirement.most) for one in required]
    figures += [(one.state, one.after, one.after.low, one.after.high, math.nan) for one in checked.closures]
    figures += [("missing", Figures(len(checked.missing), 0), math.nan, math.nan, math.nan)] if checked.missing else []
    rows = tuple(
        (case.name, verdict, one.tested, one.wrong, one.rate, *more)
        for case, (verdict, one, *more) in zip(checked.cases, figures, strict=True)
    )
    n_held = sum(one.verdict == HOLDS for one in required)
    headline = f"Requirements that hold: {n_held} of {len(required):,}"
    columns = ("requirement", "verdict", "tested", "wrong", "rate", "low", "high", "limit")
    lines = [case.text for case in checked.cases]
    if no_worse:
        compared = [case for case in checked.cases if case.kind == "no worse"]
        worse = sum(bool(case.failure) for case in compared)
        lines.append(f"Worse for {worse} of {len(compared):,} reasons and classes")
    return StepResult(checked, headline, columns, rows, tuple(lines), checked.notes)


def register(
    out: StrPath = ".", *, missing: bool = False, read: StrPath | None = None, apply: bool = False
) -> StepResult:
    """Write the register and the scope for a safety case, or read edited ones back.

    Parameters
    ----------
    missing : bool
        Write nothing; the table has the reasons that lack what a safety case would ask for.
    read : path, optional
        A register or scope that was edited: the value is what it changes.
    apply : bool
        Take these changes over.

    Returns
    -------
    StepResult
        Its value is a list of `reasons.register.Entry`, or of `Change`.

    Raises
    ------
    SAFEError
        As in `pipeline.exports.write_register`, `reasons.register.changes_in` and `take_over`.
    """
    folder = path_of(out, "an output folder")
    if read:
        maker = Maker(last_entry=newest(folder))
        changes = changes_in(path_of(read, "a register"), Analysis(folder).register, scope_entry(folder))
        if apply:
            take_over_changes(folder, changes, maker=maker)
        n, lines = count(len(changes), "change"), tuple(one.text for one in changes)
        headline = f"Taken over: {n}" if apply else f"{n}; nothing was taken over"
        return StepResult(changes, headline, ("change",), tuple((text,) for text in lines), lines)
    entries = Analysis(folder).register if missing else write_register(folder)
    lacking = [entry for entry in entries if entry.missing]
    named: dict[str, list[str]] = {}
    for entry in lacking:
        named.setdefault("; ".join(entry.missing), []).append(entry.reason)
    lines = tuple(f"{', '.join(reasons)}: {text}" for text, reasons in named.items())
    n = count(len(entries), "reason")
    headline = f"{len(lacking)} of {n} lack what a safety case would ask for" if missing else n
    rows = tuple((one.reason, one.where, one.note.verdict, "; ".join(one.missing)) for one in entries)
    return StepResult(
        lacking if missing else entries, headline, ("reason", "where", "verdict", "missing"), rows, lines,
        written="" if missing else f"{REGISTER_FILE}, scope.csv",
    )  # fmt: skip


def export(
    out: StrPath = ".", *, to: StrPath | None = None, rcc: tuple[int, ...] = (), labelled: StrPath | None = None,
    **options: Any,
) -> StepResult:  # fmt: skip
    """Copy the images to a folder per RCC, with a table and the report; or the labelled unsafe set to class folders.

    Parameters
    ----------
    to : path, optional
        As for `pipeline.exports.export_results`; by default the folder `export` of the analysis.
    rcc : tuple of int
        Only these RCCs.
    labelled : path, optional
        A new folder for the labelled images of the unsafe set instead.
    options
        `training.labels.Labelling`, with `labelled`.

    Returns
    -------
    StepResult
        Its value is `pipeline.exports.Export`.

    Raises
    ------
    SAFEError
        As in `export_results` and `pipeline.exports.export_labelled_set`, or what is given does not go together.
    """
    folder, (labelling,), unlabelled = path_of(out, "an output folder"), _settings(options, Labelling), 0
    if labelled and (to or rcc):
        raise SAFEError("Expected either labelled images or RCCs. Received both.").about("labelled", "to", "rcc")
    if not labelled and (labelling.improvement or labelling.labels):
        raise SAFEError("Expected labels with labelled images. Received RCCs.").about("labelled")
    if labelled:
        done, unlabelled = export_labelled_set(folder, labelled, labelling)
    else:
        done = export_results(folder, to or folder / EXPORT_FOLDER, rccs=rcc or None)
    without = f"left out, since they have no label: {count(unlabelled, 'image')}" if unlabelled else ""
    headline, lines = f"{count(done.images, 'image')} exported", (f"Written: {done.path}",)
    return StepResult(done, headline, ("export",), ((str(done.path),),), lines, (*left_out(done.missing), without))


def evidence(out: StrPath = ".") -> StepResult:
    """Write the SHA-256 of all results and of all that they rest on, as `pipeline.exports.write_evidence`."""
    lines = tuple(write_evidence(path_of(out, "an output folder")))
    rows = tuple((line,) for line in lines)
    return StepResult(lines, "", ("input",), rows, lines, written="SHA256SUMS, evidence.txt")


def verify(out: StrPath = ".") -> StepResult:
    """Check that nothing has changed since evidence was written, and that nothing is new.

    The value and the table are the differences, as of `pipeline.exports.verify`.
    """
    found = exports.verify(path_of(out, "an output folder"))
    headline = "" if found else "All is as the evidence says"
    return StepResult(found, headline, ("kind", "file"), tuple(found), tuple(f"{kind}: {name}" for kind, name in found))


def report(out: StrPath = ".") -> StepResult:
    """Write all results to one HTML file, whose path is the value; as `pipeline.reporting.report.write_report`."""
    path = write_report(path_of(out, "an output folder"))
    return StepResult(path, f"Written: {path}", ("report",), ((str(path),),))
