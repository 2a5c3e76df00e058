"""The analysis before: what is taken over from it, and the images that the network has learned since.

The next round is another folder: failures can be collected after those of another analysis. In: both folders. Out: what
is known of conditions and images, as entries of the new one; and images that need not be selected and labelled again,
and are learned again, so that what was taught once is not lost in the next retraining.
"""

import filecmp
import os
from pathlib import Path

from safe_dnn.rccs.review.journal import FIELDS
from safe_dnn.rccs.review.review import condition_of, load_scope, load_spot_notes, notes_of_run, set_note
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set
from safe_dnn.store.database import DATABASE_FILE, append, changing, check_database, present, reading
from safe_dnn.store.places import absolute, recorded, relative, test_set_of
from safe_dnn.store.runs import RETRAINING, SELECTION, present_runs, runs_of
from safe_dnn.support.errors import SAFEError, StrPath, existing_folder
from safe_dnn.support.files import read_record
from safe_dnn.support.images import content_of
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, PREDICTIONS_FILE
from safe_dnn.training.labels import take_over_labels
from safe_dnn.training.result import MODEL_FILE, saved_model

EARLIER = "earlier analysis"
"""The kind of an entry: its subject is the digest of the network's answers, its value the folder of the analysis."""


def kept_copy(model: StrPath) -> StrPath:
    """A model or, of `retrained.keras` in an analysis, the copy in its run: that file goes when clusters change."""
    present = Path(model)
    if present.name != MODEL_FILE or not (present.parent / DATABASE_FILE).is_file() or not present.is_file():
        return model
    run = present_runs(present.parent).get(RETRAINING)
    copy = saved_model(run) if run else None
    return copy if copy and filecmp.cmp(copy, present) else model


def failing_model(image_root: Path) -> Path | None:
    """The model whose failures lie in a folder, or the table of its answers; None if SAFE did not collect them."""
    place = image_root.parent
    record = read_record(place / ACCURACY_FILE) if image_root.name == FAILURES else {}
    return Path(absolute(str(record["model"]), place)) if record.get("model") else None


# --- What is taken over -----------------------------------------------------------------------------------------


def other_analysis(typed: StrPath, out: Path) -> Path:
    """The folder of the analysis that another one is to follow.

    Raises
    ------
    SAFEError
        It is no analysis, is the same one, or cannot be read.
    """
    earlier = existing_folder(typed, "the output folder of an earlier analysis")
    if not (earlier / DATABASE_FILE).is_file() or earlier.resolve() == out.resolve():
        raise SAFEError(f"Expected the output folder of another analysis. Received: {earlier}.").about("after")
    check_database(earlier)
    return earlier


def take_over(earlier: Path, out: Path) -> None:
    """After failures were collected: take over what is known from an analysis, and record that they follow it.

    These are notes on conditions, with a sentence that says where they come from, the scope, and labels; notes in the
    new analysis stay.
    """
    tested = recorded(test_set_of(out) or "", out)
    known = load_spot_notes(out).keys()
    for note in notes_of_run(earlier).values():
        text = f"Taken over from the analysis {earlier.name}.\n{note.note}"[: FIELDS["note"].longest]
        mine = note._replace(about=(note.about[0], tested), note=text)
        if condition_of(mine) not in known:
            set_note(out, mine)
    if not any(load_scope(out)[0]):
        set_note(out, load_scope(earlier)[0])
    take_over_labels(earlier, out)
    with changing(out) as db:
        append(db, EARLIER, (content_of(out / PREDICTIONS_FILE) or b"").hex(), relative(earlier, out))


def earlier_analysis(folder: Path) -> Path | None:
    """The analysis that the failures in a folder follow; None if there is none."""
    answers = content_of(folder / PREDICTIONS_FILE)
    with reading(folder) as db:
        place = present(db, EARLIER).get(answers.hex()) if answers else None
    return Path(absolute(place, folder)) if place else None


# --- What the network has learned -------------------------------------------------------------------------------


def learned_files(folder: Path) -> dict[Path, UnsafeImage]:
    """The images that the network has learned in the last retraining of each analysis before, by file."""
    learned: dict[Path, UnsafeImage] = {}
    visited = {folder.resolve()}
    while (folder := earlier_analysis(folder) or folder).resolve() not in visited:
        visited.add(folder.resolve())
        for led in runs_of(folder, RETRAINING)[-1:]:
            of_these = [one for one in runs_of(folder, SELECTION) if one.clusters == led.clusters]
            for selection in [one for one in of_these if one.number < led.number][-1:]:
                unsafe = load_unsafe_set(folder, selection)
                without = not any(image.label for image in unsafe.images)  # a regression has its labels in a table
                images = zip(unsafe.files, unsafe.images, strict=True)
                learned |= {file: image for file, image in images if image.label or without}
    return learned


def learned_again(unsafe: UnsafeSet, folder: Path) -> tuple[UnsafeImage, ...]:
    """What `learned_files` finds that is still there and not in an unsafe set, as images of that set.

    They are of one more group beside those of the RCCs (see `training.material.weighed`).
    """
    root, now = unsafe.improvement_root, set(unsafe.files)
    again = {file: image for file, image in learned_files(folder).items() if file not in now and file.is_file()}
    names = [os.fspath(file.relative_to(root) if file.is_relative_to(root) else file) for file in again]
    images = zip(names, again.values(), strict=True)
    return tuple(image._replace(image=name, rcc=len(unsafe.candidates)) for name, image in images)
