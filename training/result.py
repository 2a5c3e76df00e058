"""What a retraining brought, and the files that keep it: `retrained.keras` and `retraining.json`.

Every model that was ever trained stays in `retrained_models/`, with its figures, under the hash of its content:
`retrained.keras` is a copy of the last one, or of that of the run at hand.
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
from support.files import DAMAGED, fill_text, prepare_folder, regular, replacing, replacing_together
from support.images import Skipped
from support.output_folder import check_own, save_files, writing
from support.run_folder import CLUSTERS_FILE, MODEL_FILE, MODELS_FOLDER, RETRAINING_FILE
from training.comparison import Changed, Outcome, Share, shares_by_rcc
from training.finetuning import Epoch
from training.settings import Settings


@dataclass(frozen=True)
class Retraining:
    """What retraining brought.

    Attributes
    ----------
    model : Path
        The model that was given.
    test_root : Path
    task : "classification" or "regression"
    accuracy_before, accuracy_after : float
        On the test set.
    test_size, train_size, unsafe_size : int
        Readable images.
    improved, worsened : tuple of Changed
        Wrong before and right after; right before and wrong after. Sorted by path.
    per_rcc : tuple of Share
        By RCC, those in no cluster last; empty where there are no clusters to compare with.
    per_class : tuple of Share
        Of a regression, empty.
    history : tuple of Epoch
        Epoch 0 is the model as it was given.
    best : int
        The epoch that was kept; 0 if no epoch was better than the model as it was given.
    settings : Settings
    threshold : float or None
        Of a regression: an error above it is a failure.
    assumptions : tuple of str
        What was assumed about the model, the classes and the training, in words.
    stopped : str
        Why the training ended early; empty if it did not.
    seconds, waiting : float
        Time of the training, and the part of it in which the model waited for images.
    skipped : tuple of Skipped
        Images that could not be used.
    outcomes : tuple of Outcome
        What both models say of the failing images of the RCCs.
    run : str
        Fingerprint of the clusters, as they were found, whose unsafe set it was; empty where there were none.
    digest : str
        SHA-256 of the retrained model's file, in hexadecimal.
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
    settings: Settings
    threshold: float | None
    assumptions: tuple[str, ...]
    stopped: str
    seconds: float
    waiting: float
    skipped: tuple[Skipped, ...]
    outcomes: tuple[Outcome, ...] = ()
    run: str = ""
    digest: str = ""


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
        The disk is full or not writable; what was there before is unchanged.
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


def _retraining_text(result: Retraining) -> str:
    record = dataclasses.asdict(result)
    record |= {"model": os.fspath(result.model), "test_root": os.fspath(result.test_root)}
    for name in ("improved", "worsened", "per_rcc", "per_class", "history", "skipped", "outcomes"):
        record[name] = [row._asdict() for row in getattr(result, name)]
    record["history"][0]["loss"] = None  # NaN is no JSON
    record["settings"] = result.settings._asdict()
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def keep_model(folder: Path) -> Path | None:
    """Make sure that the model in a folder is in `retrained_models/` as well; None where there is none."""
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
    """The model of the retraining in the folder of a run, among those kept; None where it is gone."""
    try:
        digest = str(json.loads(regular(run / RETRAINING_FILE).read_text(encoding="utf-8", errors="replace"))["digest"])
    except DAMAGED:
        return None
    kept = _kept(folder, digest)
    return kept if len(digest) == 64 and digest.isalnum() and kept.is_file() else None


def _kept(folder: Path, digest: str) -> Path:
    return folder / MODELS_FOLDER / f"{digest[:16]}{Path(MODEL_FILE).suffix}"


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def retraining_run(folder: Path) -> str:
    """The fingerprint of the clusters, as found, that the retraining in a folder was for; empty where unknown."""
    try:
        return str(json.loads(regular(folder / RETRAINING_FILE).read_text(encoding="utf-8", errors="replace"))["run"])
    except DAMAGED:
        return ""


def retraining_of(folder: Path, review: Review | None) -> Retraining:
    """The retraining in a folder, with the shares of the RCCs as they are now.

    Parameters
    ----------
    review : Review or None
        The RCCs in the folder; None where there are none.

    Raises
    ------
    SAFEError
        There is none, it is damaged, or it was for other clusters.
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
    # Older versions kept the shares alone: they hold as long as nothing was merged or moved.
    return result if not review.edits else dataclasses.replace(result, per_rcc=())


def _is_newer(folder: Path) -> bool:
    """Whether the retraining, of an older version that does not say for what it was, came after the clusters."""
    try:
        return (folder / RETRAINING_FILE).stat().st_mtime >= (folder / CLUSTERS_FILE).stat().st_mtime
    except OSError:
        return False


def load_retraining(folder: Path) -> Retraining:
    """Read what `save_retraining` wrote.

    Raises
    ------
    SAFEError
        There is none, or it is damaged.
    """
    path = folder / RETRAINING_FILE
    if not path.is_file():
        raise SAFEError(f"Expected the result of a retraining. Received none in {folder}. Retrain first.")
    try:
        record = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        record |= {"model": Path(record["model"]), "test_root": Path(record["test_root"])}
        kinds = {"improved": Changed, "worsened": Changed, "per_rcc": Share, "per_class": Share, "skipped": Skipped}
        for name, kind in kinds.items():
            record[name] = tuple(kind(**row) for row in record[name])
        record["outcomes"] = tuple(Outcome(**row) for row in record.get("outcomes", ()))
        history = [{**row, "loss": math.nan if row["loss"] is None else row["loss"]} for row in record["history"]]
        record["history"] = tuple(Epoch(**row) for row in history)
        record["settings"] = Settings(**record["settings"])
        record["assumptions"] = tuple(map(str, record["assumptions"]))
        result = Retraining(**record)
        _check_numbers(result)
        return result
    except DAMAGED as error:
        raise SAFEError(f"{path} is damaged ({error}). Retrain again.") from error


def _check_numbers(result: Retraining) -> None:
    """A ValueError or TypeError where the numbers of a retraining that was read from a file are none."""
    counts = [number for share in (*result.per_rcc, *result.per_class) for number in share[1:]]
    sizes = (result.test_size, result.train_size, result.unsafe_size, result.best, *counts)
    if not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise ValueError("a size that is none")
    shares = (result.accuracy_before, result.accuracy_after)
    if not all(0 <= share <= 1 for share in shares) or not all(t >= 0 for t in (result.seconds, result.waiting)):
        raise ValueError("a number that is none")
    if not all(isinstance(text, str) for text in (result.run, result.digest)):
        raise ValueError("a fingerprint that is invalid")
    if not result.history or not all(isinstance(number, int | float) for one in result.history for number in one):
        raise ValueError("a history that is none")
