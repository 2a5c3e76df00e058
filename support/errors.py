"""The one kind of error that SAFE shows to the engineer."""


class SAFEError(ValueError):
    """Something that the engineer can put right.

    The message is shown as it stands, in the page and on the command line. It says what was expected, what was
    received, and what to do. Every other exception is a defect of SAFE, which `defects.py` logs with its traceback.
    """
