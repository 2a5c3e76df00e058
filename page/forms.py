"""What was last typed into the forms, kept in the output folder: a page that is opened again is filled in as it was."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from support.errors import SAFEError
from support.files import DAMAGED, regular
from support.output_folder import save_text, writing
from support.run_folder import FORMS_FILE

LONGEST = 4096


def remember(out: Path, tab: str, fields: Mapping[str, str | bool | None]) -> None:
    """Keep what a tab's fields hold, by their names."""
    kept = {name: value for name, value in fields.items() if isinstance(value, bool) or len(value or "") < LONGEST}
    # Where nothing can be written, the work itself says so.
    with contextlib.suppress(SAFEError, OSError), writing(out):
        save_text(out, FORMS_FILE, json.dumps({**_read(out), tab: kept}, indent=1))


def remembered(out: Path, tab: str) -> dict[str, str | bool]:
    """What was kept; nothing where there is nothing, or it is damaged."""
    fields = _read(out).get(tab)
    if not isinstance(fields, dict):
        return {}
    return {name: value for name, value in fields.items() if isinstance(value, str | bool)}


def renewed(
    before: Mapping[str, object], typed: Mapping[str, object], after: Mapping[str, object]
) -> dict[str, object]:
    """What fields are to hold instead where another run is at hand: what was typed since the last time stays.

    Parameters
    ----------
    before, after : mapping
        What the fields were filled in with, or sent with, last; what they hold with the run that is at hand now.
    typed : mapping
        What stands in them.
    """
    same = {name for name in after if (typed[name] or "") == (before.get(name) or "")}
    return {name: after[name] for name in after if name in same and (typed[name] or "") != (after[name] or "")}


def _read(out: Path) -> dict:
    try:
        record = json.loads(regular(out / FORMS_FILE).read_text(encoding="utf-8"))
    except DAMAGED:
        return {}
    return record if isinstance(record, dict) else {}
