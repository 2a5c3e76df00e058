"""What was said and done in an analysis, as tests ask for it."""

from safe_dnn.rccs.review.journal import Maker, Note, describe_edit
from safe_dnn.rccs.review.review import all_edits, load_review


def notes_in(folder) -> dict[int, Note]:
    return load_review(folder).notes


def said_in(folder, by: str | None = None) -> list[str]:
    """The list of all that was done and said; perhaps by one author alone."""
    edits = all_edits(folder, load_review(folder))
    return [describe_edit(edit, edits) for edit in edits if by in (None, edit.by)]


A, B = Maker("a"), Maker("b")
