"""What was last typed into the forms, kept as entries, so that a page opened again is filled in as before."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from safe_dnn.store.chain import append, entries
from safe_dnn.store.database import changing, reading
from safe_dnn.store.places import absolute, relative
from safe_dnn.store.runs import CLUSTERS, present_runs
from safe_dnn.support.errors import SAFEError

LONGEST = 4096
FORM = "form"
"""The kind of an entry: its subject is the tab, its value the fields."""
HERE = "here"
"""Of a path below the folder of the analysis, that relative to it."""


def remember(out: Path, tab: str, fields: Mapping[str, str | bool | None]) -> None:
    """Keep the values of a tab's fields, by name, except those too long for a path or a number."""
    kept = {name: value for name, value in fields.items() if isinstance(value, bool) or len(value or "") < LONGEST}
    # If nothing can be written, the work itself reports it.
    with contextlib.suppress(SAFEError, OSError):
        if remembered(out, tab) != {name: value for name, value in kept.items() if value is not None}:
            run = present_runs(out).get(CLUSTERS)
            with changing(out) as db:
                value = {name: _without_folder(typed, out) for name, typed in kept.items()}
                append(db, FORM, tab, value, run=run.clusters if run else "")


def remembered(out: Path, tab: str) -> dict[str, str | bool]:
    """The values that were last kept for the present clusters; otherwise for others of the same images, or for none.

    Empty if there are none.
    """
    run = present_runs(out).get(CLUSTERS)
    clusters = run.clusters if run else ""
    home = clusters.partition(" ")[2]
    with reading(out) as db:
        kept = [*entries(db, "kind = ? AND subject = ?", FORM, tab)]
    mine = [entry.value for entry in kept if entry.run == clusters]
    others = [entry.value for entry in kept if not (entry.run and home) or entry.run.partition(" ")[2] == home]
    fields = [{}, *others, *mine][-1]
    values = {name: absolute(one[HERE], out) if isinstance(one, dict) else one for name, one in fields.items()}
    return {name: value for name, value in values.items() if isinstance(value, str | bool)}


def _without_folder(value: str | bool | None, out: Path) -> object:
    if isinstance(value, str) and value.startswith(f"{out}{os.sep}"):
        return {HERE: relative(value, out)}
    return value


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


def typed(**fields: str | None) -> dict[str, str]:
    """Fields that were filled in; Gradio gives None for one that was never touched."""
    return {name: text.strip() for name, text in fields.items() if text and text.strip()}
