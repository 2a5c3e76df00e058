"""The models of an analysis by name, each with its answers to a test set: the one under test, and those of retrainings.

All of it lies in the output folder: the failures with `predictions.csv`, also those of earlier rounds (see
`rccs/rounds.py`), the predictions that the clusters were found with, and every retraining. No model is run.
"""

import datetime
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnn.failures import DETECTION, load_failures
from dnn.given_answers import GivenAnswers, in_classes
from dnn.predictions import Judgement, LabelledImages
from dnn.tested import load_predictions, read_predictions
from rccs.answers import CONFIDENCE, Answers
from rccs.clusters import RUN_FILE, run_record
from rccs.rounds import rounds_in
from store.places import absolute
from store.runs import RETRAINING, RUNS_FOLDER, Run, run_file, runs_of
from support.entries import is_within
from support.errors import SAFEError
from support.files import read_record
from support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_MARK, PREDICTIONS_FILE
from support.text import printable
from training.result import RETRAINING_FILE, Retraining, read_retraining

CLASSIFICATION, REGRESSION = "classification", "regression"
BEFORE = " before"  # ends the key of the model that a retraining began with


class KnownModel(NamedTuple):
    """A model whose answers are kept.

    Attributes
    ----------
    folder : Path
        Of the analysis.
    key : str
        By which the analysis knows it: the record that names it, relative to the folder and, for the model that a
        retraining began with, `BEFORE`.
    name : str
        For people: the file, what was done with it, and when, in local time.
    """

    folder: Path
    key: str
    name: str


class ModelAnswers(NamedTuple):
    """A model's answers to its test set, judged.

    Attributes
    ----------
    model : KnownModel
    given : GivenAnswers
        As from a table; its `task` may also be `dnn.failures.DETECTION`, its images may be gone.
    threshold : float or None
        Of a regression: an error above it is a failure.
    """

    model: KnownModel
    given: GivenAnswers
    threshold: float | None


# --- Which there are --------------------------------------------------------------------------------------------


def models_of(folder: Path) -> list[KnownModel]:
    """The models of an analysis: the one under test, that of the clusters' predictions, then retrainings, latest first.

    Nothing but records is read: the answers of one that is listed may be damaged or incomplete.
    """
    found: list[KnownModel] = []
    tested: set[tuple[str, str]] = set()
    for place in (folder, *rounds_in(folder)):
        record = read_record(place / ACCURACY_FILE, errors="replace")
        if record.get("model") and (place / PREDICTIONS_FILE).is_file():
            record |= {name: absolute(str(record.get(name, "")), place) for name in ("model", "test_root")}
            key = (place / ACCURACY_FILE).relative_to(folder).as_posix()
            name = f"{_file_name(record['model'])}, tested {_date(_collected(place))}"
            found.append(KnownModel(folder, key, name))
            tested.add(_network(record))
    found += _of_clusters(folder)
    for run, record in _retrainings(folder):
        found += _of_retraining(folder, run, record, tested)
    return found


def known_model(folder: Path, key: str = "", *, other_than: KnownModel | None = None) -> KnownModel:
    """A model of an analysis.

    Parameters
    ----------
    key : str
        By default the first one that there is.
    other_than : KnownModel, optional
        Not the first one if it is this.

    Raises
    ------
    SAFEError
        There is none.
    """
    listed = models_of(folder)
    wanted = (model for model in listed if model.key == key or (not key and model != other_than))
    if (found := next(wanted, None)) is not None:
        return found
    if not listed:
        raise SAFEError(
            f"Expected a model whose answers to its test set are kept. Received none in {folder}. Collect its failures "
            "there, or retrain it."
        )
    known = "; ".join(f"{model.key} ({model.name})" for model in listed)
    raise SAFEError(
        f"Expected {'one of the models' if key else 'another model'} in {folder}: {printable(known)}. Received: "
        f"{printable(key) or 'no other one'}."
    )


def _of_clusters(folder: Path) -> list[KnownModel]:
    """The model whose predictions the clusters were found with, unless these are of the failures in the folder."""
    record = run_record(folder).get("predictions", {})
    if not record.get("source") or not record.get("tested"):
        return []
    source = Path(str(record["source"]))
    if source.resolve().is_relative_to(folder.resolve()):
        return []
    name = f"{_file_name(source.parent)}/{_file_name(source)}, predictions of the clusters"
    return [KnownModel(folder, RUN_FILE, name)]


def _retrainings(folder: Path) -> Iterator[tuple[Run, dict]]:
    """All retrainings with their records, the latest first, each network once."""
    seen = set()
    for run in reversed(runs_of(folder, RETRAINING)):
        record = read_record(run.folder / RETRAINING_FILE, errors="surrogateescape")
        paths = [key for key in ("model", "test_root", "after") if record.get(key)]
        record |= {key: absolute(str(record[key]), folder) for key in paths}
        # Of networks that were retrained elsewhere, the tables say which retraining it is.
        which = str(record.get("digest") or [record.get(name) for name in ("model", "after", "accuracy_after")])
        if record.get("model") and which not in seen:
            seen.add(which)
            yield run, record


def _of_retraining(folder: Path, run: Run, record: dict, tested: set[tuple[str, str]]) -> list[KnownModel]:
    """The model that a retraining led to, and the one that it began with, if that was not tested by itself."""
    key = f"{RUNS_FOLDER}/{run.number}/{RETRAINING_FILE}"
    first, date = _file_name(record["model"]), _date(datetime.datetime.fromisoformat(run.time).timestamp())
    after, before = f"{first}, retrained {date}", f"{first}, before it was retrained {date}"
    if record.get("after"):
        after, before = (f"{name}, compared {date}" for name in (_file_name(record["after"]), first))
    found = [KnownModel(folder, key, after)]
    if _network(record) not in tested:
        found.append(KnownModel(folder, key + BEFORE, before))
        tested.add(_network(record))
    return found


def _network(record: dict) -> tuple[str, str]:
    """A model and its test set."""
    return str(record["model"]), str(record.get("test_root"))


def _file_name(path: object) -> str:
    return printable(Path(str(path)).name)


def _collected(place: Path) -> float:
    """When failures were collected."""
    try:
        return (place / FAILURES / FAILURES_MARK).stat().st_mtime
    except OSError:
        return 0.0


def _date(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


# --- Their answers ----------------------------------------------------------------------------------------------


def answers_of(model: KnownModel, *, within: Path | None = None) -> ModelAnswers:
    """Read the answers of a model to its test set.

    Parameters
    ----------
    within : path, optional
        Those to images outside this folder are refused.

    Raises
    ------
    SAFEError
        They are damaged, incomplete, or of images outside.
    """
    record = model.folder / model.key.removesuffix(BEFORE)
    if record.name == ACCURACY_FILE:
        answers = _of_failures(model, record.parent)
    elif record == model.folder / RUN_FILE:
        answers = _of_predictions(model, within)
    else:
        files = (run_file(run, record.name) for run in runs_of(model.folder, RETRAINING) if run.folder == record.parent)
        answers = _of_result(model, read_retraining(next(files, record), model.folder))
    if not is_within(answers.given.images.root, within):
        raise SAFEError(
            f"Expected a model that was tested on images below {within} (--root). Received: {model.name}, of "
            f"{printable(os.fspath(model.folder))}, which was tested on others."
        )
    return answers


def _of_failures(model: KnownModel, place: Path) -> ModelAnswers:
    failures = load_failures(place)
    paths, answers, right = load_predictions(place)
    given = _judged(
        place / PREDICTIONS_FILE, failures.test_root, failures.task, paths, answers, right, targets=failures.classes
    )
    return ModelAnswers(model, given, failures.threshold)


def _of_predictions(model: KnownModel, within: Path | None) -> ModelAnswers:
    record = run_record(model.folder)["predictions"]
    source, root = (Path(str(record[name])) for name in ("source", "tested"))
    if not is_within(source, within) or not is_within(root, within):
        raise SAFEError(f"Expected predictions of images below {within} (--root). Received: those of {model.name}.")
    tested = read_predictions(source, root, partial=True)
    task = DETECTION if tested.answers.detector else CLASSIFICATION if tested.answers.kind == CONFIDENCE else ""
    if not task:
        raise SAFEError(
            f"Expected a model whose targets and threshold are known. Received: {model.name}, a regression of which "
            "only errors are. Collect its failures in an analysis, which keeps both."
        )
    known = np.flatnonzero((tested.answers.label != "") & (tested.answers.predicted != ""))
    paths = [tested.paths[row] for row in known.tolist()]
    given = _judged(source, root, task, paths, tested.answers.taken(known), tested.right[known])
    return ModelAnswers(model, given, None)


def _of_result(model: KnownModel, result: Retraining) -> ModelAnswers:
    if not result.answers:
        why = "a regression" if result.task == REGRESSION else "a retraining by an earlier version"
        raise SAFEError(
            f"Expected all answers of {model.name} to its test images. Received {why}, of which only the changed ones "
            "are kept. Collect its failures, which keeps all, and choose it as tested."
        )
    paths, label, before, after = zip(*result.answers, strict=True)
    predicted = np.array(before if model.key.endswith(BEFORE) else after, str)
    answers = Answers.unknown(len(paths))._replace(label=np.array(label, str), predicted=predicted)
    right = answers.label == predicted
    source = model.folder / model.key.removesuffix(BEFORE)
    return ModelAnswers(model, _judged(source, result.test_root, result.task, paths, answers, right), None)


def _judged(
    source: Path,
    root: Path,
    task: str,
    paths: Sequence[str],
    answers: Answers,
    right: np.ndarray,
    *,
    targets: tuple[str, ...] = (),
) -> GivenAnswers:
    """Answers in words as those that a table gives."""
    if task != REGRESSION:
        return in_classes(source, root, paths, answers, right)._replace(task=task)
    labels, predicted = (_numbers(column, source) for column in (answers.label, answers.predicted))
    images = LabelledImages(root, tuple(paths), targets, labels)
    return GivenAnswers(source, task, images, Judgement(np.arange(len(paths)), predicted, answers.score, right), ())


def _numbers(texts: np.ndarray, source: Path) -> np.ndarray:
    """Numbers separated by spaces: ndarray of shape (n_texts, n_targets), float32."""
    try:
        numbers = np.array([[float(number) for number in text.split()] for text in texts.tolist()], np.float32)
    except ValueError as error:
        raise SAFEError(f"{source} is damaged ({error}). Collect the failures again.") from error
    return numbers
