"""The one error type that SAFE shows to the engineer."""


class SAFEError(ValueError):
    """An error that the engineer can fix.

    The message is shown unchanged on the page and on the command line. It states what was expected, what was received,
    and what to do about it. Any other exception is a bug in SAFE; `defects.py` logs it with its traceback.
    """
