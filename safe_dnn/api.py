"""SAFE for programs and notebooks: a function for each step, which the command line calls as well.

    from safe_dnn import api as safe

    safe.failures("model.keras", "test", "out")
    reasons = safe.cluster("out/failures", "out", group="person")
    reasons.to_frame()

Each works on an analysis, the folder `out`. Options are those of the command line and have their names: they are the
fields of the records of settings that a function lists. docs/steps.ipynb shows all six. (`safe_dnn.retrain` is the
module of step 6; the function is here.)

Progress is reported to whoever listens, who may stop the work by an exception:

    from safe_dnn.support.progress import reporting

    with reporting(lambda what, done, total: print(what, done, total)):
        safe.cluster("out/failures", "out")

Models run in a process of their own: a script calls these functions below `if __name__ == "__main__":`. Slow imports
are local to the functions that need them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from safe_dnn.support.errors import SAFEError, StrPath, path_of
from safe_dnn.support.options import names_of, settings_of
from safe_dnn.support.text import some

__all__ = ("check", "cluster", "failures", "report", "retrain", "select")
MOST_ROWS = 20  # of a table that a notebook shows


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
    """

    value: Any
    headline: str
    columns: tuple[str, ...]
    rows: tuple[tuple, ...] = field(repr=False)

    def to_frame(self) -> Any:
        """The table as a pandas.DataFrame."""
        import pandas  # which Gradio requires

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
    from safe_dnn.dnn.detection.converter import DetectorFiles, find_detection_failures
    from safe_dnn.dnn.detection.units import failures_in_table
    from safe_dnn.dnn.failures import find_failures
    from safe_dnn.dnn.group_columns import hold_out_of
    from safe_dnn.dnn.model import DnnOptions
    from safe_dnn.pipeline.explaining import explain_collected
    from safe_dnn.pipeline.summary_lines import failures_summary
    from safe_dnn.reasons.known_groups import accuracy_interval, groups_of_test
    from safe_dnn.training.earlier import kept_copy, other_analysis, take_over

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
    tested = Tested(collected, collected.accuracy, *interval, explain_collected(folder))
    return StepResult(tested, failures_summary(collected), names, tuple(zip(paths, *columns, strict=True)))


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
        Called with the RCCs before they are compared, which takes longer.
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
        As of `generate_clusters` and `pipeline.explaining.explain_failures`.
    """
    from safe_dnn.pipeline.explaining import explain_failures
    from safe_dnn.pipeline.generation import ClusteringSettings, generate_clusters
    from safe_dnn.pipeline.summary_lines import cluster_summary
    from safe_dnn.rccs.profiles import load_profiles
    from safe_dnn.rccs.spots.figures import row_of

    folder, (settings,) = path_of(out, "an output folder"), _settings(options, ClusteringSettings)
    clusters = generate_clusters(images, folder, settings)
    then(clusters)
    compared = explain_failures(folder, weights=settings.weights)
    reasons = listed_reasons(folder)
    texts: dict[int | None, str] = {profile.rcc: profile.text for profile in load_profiles(folder)}
    rows = (
        (one.name, one.where or texts.get(one.rcc, ""), len(one.images), *row_of(one.figures), one.fails_more)
        for one in reasons
    )
    columns = ("reason", "what", "images", "tested", "wrong", "rate", "low", "high", "more")
    return StepResult(Explained(clusters, reasons, compared), cluster_summary(clusters), columns, tuple(rows))


def listed_reasons(folder: Path) -> list[Any]:
    """All reasons of the analysis in a folder, with their notes (see `reasons.listed`); none without RCCs."""
    from safe_dnn.pipeline.word_reasons import present_reasons
    from safe_dnn.rccs.review.review import load_review
    from safe_dnn.reasons.register import register_of
    from safe_dnn.store.runs import CLUSTERS, present_runs

    if CLUSTERS not in present_runs(folder):
        return []
    review = load_review(folder)
    return [entry.about for entry in register_of(folder, review, present_reasons(folder, review), {})]


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
        As of `pipeline.generation.select_images`.
    """
    from safe_dnn.pipeline.generation import Likely, select_images
    from safe_dnn.pipeline.summary_lines import selection_summary
    from safe_dnn.rccs.unsafe_set import UnsafeImage
    from safe_dnn.selection import SelectionSettings

    folder, (settings, likely) = path_of(out, "an output folder"), _settings(options, SelectionSettings, Likely)
    unsafe = select_images(improvement, folder, settings, likely=likely)
    rows = tuple(image[:-1] for image in unsafe.images)  # without the digest
    return StepResult(unsafe, selection_summary(unsafe), UnsafeImage._fields[:-1], rows)


def retrain(
    model: StrPath, train: StrPath, test: StrPath, out: StrPath = ".", *, watch: Any = None, **options: Any
) -> StepResult:
    """Steps 5 and 6: label the unsafe set, and fine-tune the network with it.

    Parameters
    ----------
    model : path
        As for `retrain.retrain`.
    train, test : path
        As of `training.material.ImageSets`.
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
        As of `pipeline.retraining.retrain_apart`.
    """
    from safe_dnn.dnn.model import DnnOptions
    from safe_dnn.pipeline.retraining import retrain_apart
    from safe_dnn.pipeline.summary_lines import retraining_summary
    from safe_dnn.training.certainty import with_intervals
    from safe_dnn.training.finetuning import UNWATCHED
    from safe_dnn.training.material import ImageSets
    from safe_dnn.training.result import shares_by_reason
    from safe_dnn.training.settings import Wishes

    images, wishes, dnn = _settings(options, ImageSets, Wishes, DnnOptions, train=train, test=test)
    folder = path_of(out, "an output folder")
    result = retrain_apart(model, images, folder, options=dnn, wishes=wishes, watch=watch or UNWATCHED)
    classes = ((f"class {one.name}", one, ends) for one, ends in with_intervals(result.per_class, result.by_group))
    known = shares_by_reason(listed_reasons(folder), result)
    ends_of = dict(with_intervals([share for _, share, _ in known]))
    reasons = ((reason.title, share, ends_of[share]) for reason, share, _ in known)
    rows = tuple((name, *share[1:], *ends) for name, share, ends in (*classes, *reasons))
    return StepResult(result, retraining_summary(result), ("of", "images", "before", "after", "low", "high"), rows)


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
        As of `check_requirements`.
    """
    from safe_dnn.pipeline.confirmation import check_requirements
    from safe_dnn.pipeline.run_record import GivenAnswers
    from safe_dnn.rccs.spots.figures import Figures
    from safe_dnn.reasons.requirements import HOLDS

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
    return StepResult(checked, headline, columns, rows)


def report(out: StrPath = ".") -> StepResult:
    """Write all results to one HTML file, whose path is the value; as `pipeline.reporting.report.write_report`."""
    from safe_dnn.pipeline.reporting.report import write_report

    path = write_report(path_of(out, "an output folder"))
    return StepResult(path, f"Written: {path}", ("report",), ((str(path),),))
