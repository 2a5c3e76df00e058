"""The register of an analysis, read with what words say, and written as tables (see `reasons.register`)."""

from pathlib import Path

from safe_dnn.pipeline.word_reasons import present_reasons
from safe_dnn.rccs.review.notes import SCOPE
from safe_dnn.rccs.review.review import load_review
from safe_dnn.reasons.claims import asked
from safe_dnn.reasons.register import (
    REGISTER_FILE,
    SCOPE_COLUMNS,
    SCOPE_FILE,
    Entry,
    changes_in,
    register_of,
    register_text,
    scope_entry,
)
from safe_dnn.store.output_folder import check_own, is_edited, save_files
from safe_dnn.store.runs import CONFIRMATION, present_runs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import count


def load_register(folder: Path) -> list[Entry]:
    """The register of the present clusters of an analysis; a SAFEError if there are none."""
    review = load_review(folder)
    fresh = asked(present_runs(folder).get(CONFIRMATION), review)
    return register_of(folder, review, present_reasons(folder, review), fresh)


def write_register(folder: Path) -> list[Entry]:
    """Write `register.csv` and `scope.csv` to the folder of an analysis; what the first one says.

    Raises
    ------
    SAFEError
        There are no clusters, the folder cannot be written to, or a table there has something that is not said yet.
    """
    entries, scope = load_register(prepare_folder(folder)), scope_entry(folder)
    check_own(folder, REGISTER_FILE, SCOPE_FILE)
    for name in (REGISTER_FILE, SCOPE_FILE):
        if is_edited(folder, name) and (changes := changes_in(folder / name, entries, scope)):
            raise SAFEError(
                f"{folder / name} has {count(len(changes), 'change')} that would be lost, the first: "
                f"{changes[0].text}. Take them over, or move the table away."
            ).about("read")
    rows = ((field, SCOPE[field].title, text) for field, text in scope.note._asdict().items())
    save_files(folder, {REGISTER_FILE: register_text(folder, entries), SCOPE_FILE: table_text(SCOPE_COLUMNS, rows)})
    return entries
