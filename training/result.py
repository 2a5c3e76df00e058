"""The result of a retraining, and its files `retrained.keras` and `retraining.json`.

Of a network that was trained elsewhere, and compared by tables of its answers (see `training/compared.py`), there is
only `retraining.json`.

Every retrained model is kept in `retrained_models/` with its figures, under the hash of its content. `retrained.keras`
is a copy of the last one, or of the one that belongs to the current run.
"""

import dataclasses
import hashlib
import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rccs.clusters import fingerprint
from rccs.review import Review
from support.errors import SAFEError
from support.files import DAMAGED, fill_text, prepare_folder, read_record, replacing, replacing_together
from support.images import Skipped
from support.output_folder import check_own, own_files, save_files, writing
from support.run_folder import CLUSTERS_FILE, MODEL_FILE, MODELS_FOLDER, RETRAINING_FILE
from training.certainty import Certainty, Counts, certainties, certainty, check_counts, count_classes
from training.comparison import Answered, Changed, Outcome, Share, shares_by_rcc
from training.finetuning import Epoch
from training.repetitions import Repetition
from training.settings import Settings
from training.together import TradeOff


@dataclass(frozen=True)
class Retraining:
    """The result of a retraining.

    Attributes
    ----------
    model : Path
        The original model; the table of its answers if both models were given as tables.
    test_root : Path
    task : "classification" or "regression"
    accuracy_before, accuracy_after : float
        On the test set.
    test_size, train_size, unsafe_size, unlabelled_size : int
        Number of readable images. The last ones, improvement images without a label, took part in a second pass; files
        of older versions lack them.
    improved, worsened : tuple of Changed
        Wrong before and correct after, and vice versa. Sorted by path.
    per_rcc : tuple of Share
        For each RCC, noise last; empty if there are no clusters to compare with.
    per_class : tuple of Share
        Empty for a regression.
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
    seconds, waiting : float
        Time of the training, and the part of it spent waiting for images.
    skipped : tuple of Skipped
        Images that could not be used.
    outcomes : tuple of Outcome
        The results of both models on the failing images of the RCCs.
    run : str
        Fingerprint of the clusters, as originally found, that the unsafe set was selected for; empty without clusters.
    digest : str
        SHA-256 of the retrained model's file, in hexadecimal.
    repetitions : tuple of Repetition
        The finished ones, if several were requested. This is the result of the one with the seed in `settings`, but
        `seconds` and `waiting` are those of all together.
    trade_off : tuple of TradeOff
        What both networks together would get right, by the share of the original one; empty for a regression, if no
        epoch was better, if SAFE trained nothing, and in files of older versions.
    after : Path or None
        The table of the second model's answers, if both models were given as tables: SAFE trained nothing, and there is
        no file of a model. None after a retraining.
    answers : tuple of Answered
        What both models say of every test image, in the order of the test set; empty for a regression, and in results
        of versions that did not keep them.
    """

    model: Path
    test_root: Path
    task: str
    accuracy_before: float
    accuracy_after: float
    test_size: int
    train_size: int
    unsafe_size: int
    improved: tuple[Changed, ...]
    worsened: tuple[Changed, ...]
    per_rcc: tuple[Share, ...]
    per_class: tuple[Share, ...]
    history: tuple[Epoch, ...]
    best: int
    settings: Settings | None
    threshold: float | None
    assumptions: tuple[str, ...]
    stopped: str
    seconds: float
    waiting: float
    skipped: tuple[Skipped, ...]
    outcomes: tuple[Outcome, ...] = ()
    run: str = ""
    digest: str = ""
    repetitions: tuple[Repetition, ...] = ()
    trade_off: tuple[TradeOff, ...] = ()
    after: Path | None = None
    answers: tuple[Answered, ...] = ()
    unlabelled_size: int = 0

    @property
    def seed(self) -> int:
        """The seed of the model that is kept."""
        return self.settings.seed if self.settings else 0

    @property
    def is_other(self) -> bool:
        """Whether there is a second model, and not just the weights of the original one."""
        return self.best > 0 or self.after is not None


def certainty_of(result: Retraining) -> Certainty | None:
    """How sure it is that the retrained model is better or worse; None if it is the original model."""
    return certainty(_counts(result)) if result.is_other else None


def certainty_of_classes(result: Retraining) -> list[Certainty]:
    """The same for each class of `per_class`, with p corrected for their number; empty for the original model."""
    if not result.is_other:
        return []
    return certainties(count_classes(result.per_class, result.improved, result.worsened))


def _counts(result: Retraining) -> Counts:
    right_before = round(result.accuracy_before * result.test_size)
    return Counts(result.test_size, right_before, len(result.improved), len(result.worsened))


# --- The files --------------------------------------------------------------------------------------------------


def save_retraining(result: Retraining, model: Any, folder: Path) -> Retraining:
    """Write `retrained.keras` and `retraining.json`, both or neither, and keep both in `retrained_models/`.

    Returns
    -------
    Retraining
        The result with the digest of the model's file.

    Raises
    ------
    SAFEError
        The disk is full or not writable; the previous files are unchanged.
    """
    with writing(folder):
        check_own(folder, MODEL_FILE, RETRAINING_FILE)
        keep_model(folder)
        models = prepare_folder(folder / MODELS_FOLDER)
        new = models / MODEL_FILE
        with replacing(new) as temporary:
            model.save(temporary)
        result = dataclasses.replace(result, digest=_digest(new))
        kept, text = _kept(folder, result.digest), _retraining_text(result)
        with replacing_together(kept, kept.with_suffix(".json")) as (weights, record):
            new.replace(weights)
            fill_text(record, text)
        save_files(folder, {MODEL_FILE: lambda path: shutil.copyfile(kept, path), RETRAINING_FILE: text})
        return result


def save_comparison(result: Retraining, folder: Path) -> None:
    """Write `retraining.json` of a result without a model. An earlier `retrained.keras` stays in `retrained_models/`.

    Raises
    ------
    SAFEError
        The disk is full or not writable; the previous files are unchanged.
    """
    with writing(folder):
        if own_files(folder, [MODEL_FILE]):
            keep_model(folder)
        save_files(folder, {RETRAINING_FILE: _retraining_text(result)}, remove=[MODEL_FILE])


def _retraining_text(result: Retraining) -> str:
    record = dataclasses.asdict(dataclasses.replace(result, answers=()))
    del record["answers"]
    record |= {"model": os.fspath(result.model), "test_root": os.fspath(result.test_root)}
    rows = (
        "improved",
        "worsened",
        "per_rcc",
        "per_class",
        "history",
        "skipped",
        "outcomes",
        "repetitions",
        "trade_off",
    )
    for name in rows:
        record[name] = [row._asdict() for row in getattr(result, name)]
    # So that earlier versions can read it
    for name in ("repetitions", "unlabelled_size"):
        if not record[name]:
            del record[name]
    if result.after is None:
        del record["after"]
    else:
        record["after"] = os.fspath(result.after)
    for epoch in record["history"][:1]:
        epoch["loss"] = None  # JSON has no NaN
    record["settings"] = result.settings._asdict() if result.settings else None
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    if not result.answers:  # so that earlier versions can read it
        return text + "\n"
    lines = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in result.answers)  # a line for each image
    return f'{text.removesuffix("}").rstrip()},\n  "answers": [\n    {lines}\n  ]\n}}\n'


def keep_model(folder: Path) -> Path | None:
    """Make sure that a folder's model is also in `retrained_models/`; return its path there, None without a model."""
    model = folder / MODEL_FILE
    if not model.is_file():
        return None
    try:
        kept = _kept(folder, _digest(model))
        if not kept.is_file():
            prepare_folder(kept.parent)
            with replacing(kept) as temporary:
                shutil.copyfile(model, temporary)
        return kept
    except OSError as error:
        raise SAFEError(f"Could not keep the earlier model {model}: {error.strerror or error}.") from error


def kept_model(folder: Path, run: Path) -> Path | None:
    """The kept model of the retraining in the folder of a run; None if it no longer exists."""
    digest = _entry(run, "digest")
    kept = _kept(folder, digest)
    return kept if len(digest) == 64 and digest.isalnum() and kept.is_file() else None


def _kept(folder: Path, digest: str) -> Path:
    return folder / MODELS_FOLDER / f"{digest[:16]}{Path(MODEL_FILE).suffix}"


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def retraining_run(folder: Path) -> str:
    """The fingerprint of the original clusters that the retraining in a folder was for; empty if unknown."""
    return _entry(folder, "run")


def _entry(folder: Path, name: str) -> str:
    """An entry of `retraining.json`, whatever else in it may be damaged; empty if there is none."""
    return str(read_record(folder / RETRAINING_FILE, errors="replace").get(name, ""))


def retraining_of(folder: Path, review: Review | None) -> Retraining:
    """The retraining in a folder, with the shares of the RCCs as they are now.

    Parameters
    ----------
    review : Review or None
        The RCCs in the folder; None if there are none.

    Raises
    ------
    SAFEError
        The retraining is missing or damaged, or was for other clusters.
    """
    result = load_retraining(folder)
    if review is None:
        return result
    ours = result.run == fingerprint(review.original) if result.run else _is_newer(folder)
    if not ours:
        raise SAFEError(
            "The last retraining was for other root cause clusters. Open their run to see it (under Earlier runs), or "
            "retrain."
        )
    if result.outcomes:
        return dataclasses.replace(result, per_rcc=shares_by_rcc(review.clusters, result.outcomes))
    # Older versions stored only the shares, which are valid as long as no RCC was edited.
    return result if not review.edits else dataclasses.replace(result, per_rcc=())


def _is_newer(folder: Path) -> bool:
    """Whether a retraining by an older version, which does not record its clusters, is newer than the clusters."""
    try:
        return (folder / RETRAINING_FILE).stat().st_mtime >= (folder / CLUSTERS_FILE).stat().st_mtime
    except OSError:
        return False


def load_retraining(folder: Path) -> Retraining:
    """Read the files written by `save_retraining`.

    Raises
    ------
    SAFEError
        They are missing or damaged.
    """
    if not (folder / RETRAINING_FILE).is_file():
        raise SAFEError(f"Expected the result of a retraining in {folder}. Received none. Retrain first.")
    return read_retraining(folder / RETRAINING_FILE)


def read_retraining(path: Path) -> Retraining:
    """Read `retraining.json`, or a copy of it in `retrained_models/` or of an earlier run.

    Raises
    ------
    SAFEError
        It is damaged.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        record |= {"model": Path(record["model"]), "test_root": Path(record["test_root"])}
        kinds = {"improved": Changed, "worsened": Changed, "per_rcc": Share, "per_class": Share, "skipped": Skipped}
        for name, kind in kinds.items():
            record[name] = tuple(kind(**row) for row in record[name])
        record["outcomes"] = tuple(Outcome(**row) for row in record.get("outcomes", ()))
        record["repetitions"] = tuple(Repetition(**row) for row in record.get("repetitions", ()))
        record["answers"] = tuple(Answered(*map(str, row)) for row in record.get("answers", ()))
        record["trade_off"] = tuple(TradeOff(**row) for row in record.get("trade_off", ()))
        history = [{**row, "loss": math.nan if row["loss"] is None else row["loss"]} for row in record["history"]]
        record["history"] = tuple(Epoch(**row) for row in history)
        record["after"] = None if record.get("after") is None else Path(record["after"])
        record["settings"] = None if record["after"] else Settings(**record["settings"])
        record["assumptions"] = tuple(map(str, record["assumptions"]))
        result = Retraining(**record)
        _check_numbers(result)
        return result
    except DAMAGED as error:
        raise SAFEError(f"{path} is damaged ({error}). Retrain again.") from error


def _check_numbers(result: Retraining) -> None:
    """Raise a ValueError or TypeError if a number of a retraining that was read from a file is invalid."""
    of_shares = [number for share in (*result.per_rcc, *result.per_class) for number in share[1:]]
    of_shares += [number for one in result.repetitions for number in (one.seed, one.improved, one.worsened)]
    of_shares += [number for one in result.trade_off for number in (one.right, one.worsened)]
    sizes = (result.test_size, result.train_size, result.unsafe_size, result.unlabelled_size, result.best, *of_shares)
    if not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise ValueError("a size is invalid")
    if any(max(one.right, one.worsened) > result.test_size for one in result.trade_off):
        raise ValueError("a trade-off counts more images than there are")
    if any(max(share.before, share.after) > share.images for share in (*result.per_rcc, *result.per_class)):
        raise ValueError("a share is above 1")
    accuracies = [one.accuracy_after for one in result.repetitions]
    accuracies += [one.share for one in result.trade_off]
    shares = (result.accuracy_before, result.accuracy_after, *accuracies)
    if not all(0 <= share <= 1 for share in shares) or not all(t >= 0 for t in (result.seconds, result.waiting)):
        raise ValueError("a number is invalid")
    for counts in (_counts(result), *count_classes(result.per_class, result.improved, result.worsened)):
        check_counts(counts)
    if result.answers and len(result.answers) != result.test_size:
        raise ValueError("answers are missing")
    if not all(isinstance(text, str) for text in (result.run, result.digest)):
        raise ValueError("a fingerprint is invalid")
    numbers = [number for one in result.history for number in one]
    if bool(result.history) == bool(result.after) or not all(isinstance(number, int | float) for number in numbers):
        raise ValueError("the history is invalid")
