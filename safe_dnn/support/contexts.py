"""Values that hold in a block, and in all that is called there, without a parameter: whose work it is, who listens."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TypeVar

_Value = TypeVar("_Value")


@contextlib.contextmanager
def holding(variable: ContextVar[_Value], value: _Value) -> Iterator[None]:
    """Let a variable have a value in the block, in this thread and the tasks that begin there."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
