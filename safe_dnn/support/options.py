"""Options by name, as records of settings take them: an option is called as the field that it fills."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

R = TypeVar("R")


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
