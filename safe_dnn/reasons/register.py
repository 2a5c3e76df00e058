"""The register: notes on each reason, as a table that a spreadsheet can fill in, and what is missing.

In: a review with its reasons. Out: `register.csv`, a row for each RCC and weak spot; or, of such a table that was
filled in, what it would change, so that nothing is taken over in silence. A row is known by what it is about, its
images or its condition, not by its number. The scope, the note on the analysis as a whole, is a table of its own.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safe_dnn.rccs.review.journal import FIELDS, NOBODY, NOT_JUDGED, REGISTER, SCOPE, UNSAFE, Maker, tidy_note
from safe_dnn.rccs.review.review import load_scope, set_note
from safe_dnn.rccs.spots import figures
from safe_dnn.reasons.listed import Reason
from safe_dnn.reasons.probes import load_probes
from safe_dnn.store.runs import CLUSTERS, PROBES, present_runs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.tables import Table, read_table, table_text
from safe_dnn.support.text import some

REGISTER_FILE = "register.csv"
SCOPE_FILE = "scope.csv"
KEY = "id"
FIGURES = ("reason", "where", *figures.FIGURES, "fresh", "cause", "missing")
COLUMNS = (KEY, *FIGURES, *FIELDS)
SCOPE_COLUMNS = ("field", "meaning", "said")
# What a reason lacks that was judged or decided about in some way: field, value, and the fields that go with it
RULES = (
    ("verdict", UNSAFE, ("hazard", "trigger", "severity", "measure", "owner", "status")),
    ("status", "closed", ("criterion",)),
    ("status", "accepted", ("residual", "owner")),
    ("belief", "confirmed", ("hypothesis", "refutation")),
)


class Entry(NamedTuple):
    """A reason, or the analysis as a whole, with its note.

    Attributes
    ----------
    key : str
        Of what it is about; the same as long as that is.
    reason, where : str
        For example `RCC 3`, or `weak spot 1` and its condition.
    note : Note or Scope
    fresh : str
        The verdict of a fresh test set, as in `reasons.claims.fresh_verdicts`; empty without one.
    about : Reason or None
        None of the analysis as a whole.
    """

    key: str
    reason: str
    where: str
    note: Any
    fresh: str = ""
    about: Reason | None = None

    @property
    def title(self) -> str:
        """What it is called where people read it, as in the list of reasons."""
        return self.about.title if self.about else self.reason

    @property
    def to_judge(self) -> bool:
        """Whether it is a reason that a verdict is asked for."""
        return self.about is not None and self.about.to_judge

    @property
    def lacks(self) -> dict[str, list[str]]:
        """What a safety case would ask for: what is said, and what should be said with it but is not."""
        found: dict[str, list[str]] = (
            {NOT_JUDGED: []} if self.about and self.about.fails_more and not self.note.verdict else {}
        )
        for field, value, needed in RULES:
            if getattr(self.note, field) == value:
                nouns = [REGISTER[name].noun for name in needed if not getattr(self.note, name)]
                claim = f"hypothesis {value}" if field == "belief" else value
                found |= {claim: nouns} if nouns else {}
        return found

    @property
    def missing(self) -> tuple[str, ...]:
        """The same in words."""
        return tuple(f"{claim}, but without: {', '.join(it)}" if it else claim for claim, it in self.lacks.items())


class Change(NamedTuple):
    """What a table that was filled in would change: a field of an entry."""

    entry: Entry
    field: str
    now: str

    @property
    def text(self) -> str:
        """For example `light < 0.4: status “open” → “closed”`."""
        before = getattr(self.entry.note, self.field)
        return f"{self.entry.title}: {self.field} {f'“{before}”' if before else 'empty'} → “{self.now}”"


def register_of(listed: Iterable[Reason], fresh: Mapping[str, str]) -> list[Entry]:
    """A row for each reason.

    Parameters
    ----------
    listed : iterable of Reason
        With what is said of them.
    fresh : mapping of str to str
        As of `reasons.claims.fresh_verdicts`.
    """
    answered = ((reason, fresh.get(reason.where or reason.name, "")) for reason in listed)
    return [Entry(_key(one.identity), one.name, one.where, one.note, answer, one) for one, answer in answered]


def titles_of(entries: Iterable[Entry]) -> dict[str, str]:
    """What each entry is called, by its key; of equal names, each with its identifier."""
    every = [*entries]
    often = Counter(one.title for one in every)
    return {one.key: one.title if often[one.title] == 1 else f"{one.title} ({one.reason})" for one in every}


def scope_entry(folder: Path) -> Entry:
    """The analysis as a whole."""
    return Entry("scope", "scope", "", load_scope(folder)[0])


def _key(subject: str) -> str:
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def register_text(folder: Path, entries: Iterable[Entry]) -> str:
    """`register.csv`: a row for each entry, with what its clearest probe says, and what it lacks."""
    probes = load_probes(present_runs(folder).get(PROBES))
    rows, causes = [], {found.subject: found.text for found in reversed(probes)}
    for one in entries:
        counted = figures.row_of(one.about.figures if one.about else None)
        subjects = (one.about.subject, one.about.twin) if one.about else ()
        cause = next((causes[subject] for subject in subjects if subject in causes), "")
        told = one.fresh, cause, "; ".join(one.missing)
        rows.append((one.key, one.reason, one.where, *counted, *told, *one.note[1:]))
    return table_text(COLUMNS, rows)


def changes_in(table: Path, entries: Sequence[Entry], scope: Entry | None = None) -> list[Change]:
    """What a table that was filled in says that is not said yet. Columns and rows that are not there say nothing.

    Parameters
    ----------
    entries : sequence of Entry
        The register.
    scope : Entry, optional
        As of `scope_entry`: the table may be about it as well.

    Raises
    ------
    SAFEError
        It is no such table, has unknown columns or reasons, a reason twice, or what a field may not be.
    """
    read = read_table(table, "the register", own=True)
    if scope and {*SCOPE_COLUMNS} >= {*read.header} >= {"field", "said"}:
        return _scope_changes(read, scope)
    unknown = [name for name in read.header if name not in COLUMNS]
    if KEY not in read.header or unknown:
        fault = f"the columns {some(unknown, limit=3)}" if unknown else f"no column {KEY}"
        raise SAFEError(f"Expected the columns of {REGISTER_FILE}: {', '.join(COLUMNS)}. Received {fault} in {table}.")
    by_key, seen, changes = {one.key: one for one in entries}, set[str](), []
    for row in range(len(read.rows)):
        key = read.text(KEY, row)
        entry = by_key.get(key)
        if entry is None or key in seen:
            raise read.fault(row, f"the {KEY} of a present reason, once", f"{key} twice" if entry else key or "nothing")
        seen.add(key)
        given = {field: read.text(field, row) for field in FIELDS if field in read.header}
        try:
            changes += _changes(entry, given)
        except SAFEError as error:
            raise SAFEError(f"{error} (line {read.lines[row]} of {table})") from error
    return changes


def _scope_changes(read: Table, scope: Entry) -> list[Change]:
    given: dict[str, str] = {}
    for row in range(len(read.rows)):
        field = read.text("field", row)
        if field not in SCOPE or field in given:
            raise read.fault(row, f"one of the fields {', '.join(SCOPE)}, once", field or "nothing")
        given[field] = read.text("said", row)
    return _changes(scope, given)


def _changes(entry: Entry, texts: Mapping[str, str]) -> list[Change]:
    tidy = tidy_note(entry.note._replace(**texts))
    now = ((field, getattr(tidy, field)) for field in texts)
    return [Change(entry, field, text) for field, text in now if text != getattr(entry.note, field)]


def take_over(folder: Path, changes: Iterable[Change], *, maker: Maker = NOBODY) -> None:
    """Say what a table says, as entries that can be undone.

    Raises
    ------
    SAFEError
        Something was changed elsewhere.
    """
    of_entry: dict[str, list[Change]] = {}
    for change in changes:
        of_entry.setdefault(change.entry.key, []).append(change)
    clusters = present_runs(folder).get(CLUSTERS)
    run = clusters.clusters if clusters else ""
    for those in of_entry.values():
        entry = those[0].entry
        fields: dict[str, Any] = {change.field: change.now for change in those}
        twin = entry.about.twin_rcc if entry.about else None
        set_note(folder, entry.note._replace(**fields), maker=maker, run=run, twin=twin)
        maker = maker._replace(last_entry=None)  # what follows are changes by the same
