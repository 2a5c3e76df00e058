"""What was last typed into the forms, kept in the output folder, so that a page opened again is filled in as before."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from support.errors import SAFEError
from support.files import read_record
from support.output_folder import save_text, writing
from support.run_folder import FORMS_FILE

LONGEST = 4096


def remember(out: Path, tab: str, fields: Mapping[str, str | bool | None]) -> None:
    """Keep the values of a tab's fields, by name, except those too long for a path or a number."""
    kept = {name: value for name, value in fields.items() if isinstance(value, bool) or len(value or "") < LONGEST}
    # If nothing can be written, the work itself reports it.
    with contextlib.suppress(SAFEError, OSError), writing(out):
        save_text(out, FORMS_FILE, json.dumps({**read_record(out / FORMS_FILE), tab: kept}, indent=1))


def remembered(out: Path, tab: str) -> dict[str, str | bool]:
    """The values that were kept; empty if there are none or the file is damaged."""
    fields = read_record(out / FORMS_FILE).get(tab)
    if not isinstance(fields, dict):
        return {}
    return {name: value for name, value in fields.items() if isinstance(value, str | bool)}


def renewed(
    before: Mapping[str, object], typed: Mapping[str, object], after: Mapping[str, object]
) -> dict[str, object]:
    """New values for fields when the folder holds another run; fields that were edited meanwhile stay as they are.

    Parameters
    ----------
    before, after : mapping
        What the fields were last filled in or sent with, and the values that belong to the run in the folder now.
    typed : mapping
        What the fields hold.
    """
    same = {name for name in after if (typed[name] or "") == (before.get(name) or "")}
    return {name: after[name] for name in after if name in same and (typed[name] or "") != (after[name] or "")}
