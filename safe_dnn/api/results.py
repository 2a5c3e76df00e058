"""What each step gives, and how options by name become records of settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeVar

import pandas

from safe_dnn.support.errors import SAFEError

R = TypeVar("R")
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


def settings_by(options: dict[str, Any], *records: Any, **fixed: Any) -> list[Any]:
    """Records of settings by the options of a step, and by `fixed` values; a SAFEError for any other option."""
    known = names_of(*records)
    if unknown := sorted(options.keys() - known):
        names = ", ".join(sorted(known))
        raise SAFEError(f"Expected no options but {names}. Received: {', '.join(unknown)}.").about(*unknown)
    return [settings_of(record, options | fixed) for record in records]


def names_of(*records: Any) -> set[str]:
    """The names of the options that NamedTuples take, and those inside them; what has no default is no option."""
    fields = [field for record in records for field in record._field_defaults.items()]
    return {one for name, held in fields for one in (names_of(type(held)) if hasattr(held, "_fields") else (name,))}


def settings_of(record: Callable[..., R], options: Mapping[str, Any]) -> R:
    """A record of settings by the options with the names of its fields; what is not given keeps its default.

    A field that is itself such a record is made in the same way. A list, or a single name of several, becomes a tuple.

    Parameters
    ----------
    record : type
        A NamedTuple.
    options : mapping
        May have others. None is not given.
    """
    fields, defaults = {}, record._field_defaults  # type: ignore[attr-defined]
    for name in record._fields:  # type: ignore[attr-defined]
        default, value = defaults.get(name), options.get(name)
        if hasattr(default, "_fields"):
            fields[name] = settings_of(type(default), options)
        elif value is not None:
            alone = isinstance(default, tuple) and isinstance(value, str)
            fields[name] = (value,) if alone else tuple(value) if isinstance(value, list) else value
    return record(**fields)
