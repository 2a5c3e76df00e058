"""The one error type that SAFE shows to the engineer."""


class SAFEError(ValueError):
    """An error that the engineer can fix.

    The message states what was expected, what was received, and what to do about it, in words that suit the page and
    the command line. Any other exception is a bug in SAFE; `defects.py` logs it with its traceback.

    Attributes
    ----------
    fields : tuple of str
        The parameters that the engineer can change, by name, if the message ends in a sentence about them.
    """

    fields: tuple[str, ...] = ()

    def about(self, *fields: str) -> "SAFEError":
        self.fields = fields
        return self

    def named(self, names: dict[str, str]) -> str:
        """The message with the names that fields have where it is shown, before its last mark; others have none."""
        text, named = str(self), ", ".join(names[field] for field in self.fields if field in names)
        return f"{text[:-1]} ({named}){text[-1]}" if named else text
