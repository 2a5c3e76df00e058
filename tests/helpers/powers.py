"""What root may do and others may not, given up for a while: to write and read against the permission bits."""

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator
from unittest import mock

_VERSION = 0x20080522
_OVERRIDE = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def bound_by_permissions() -> Iterator[None]:
    """This thread, and those that it starts, may do only what the permission bits allow, even as root."""
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    if libc.capget(header, held):
        raise OSError(ctypes.get_errno(), "capget")
    fewer = (ctypes.c_uint32 * 6)(held[0] & ~_OVERRIDE, *held[1:])
    if libc.capset(header, fewer):
        raise OSError(ctypes.get_errno(), "capset")
    try:
        with mock.patch.object(os, "access", functools.partial(os.access, effective_ids=True)):
            yield
    finally:
        libc.capset(header, held)
