"""Why a network fails on its test set, as runs keep it: by a table of its answers, with or without clusters."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.review.review import folder_tested, notes_of_run
from safe_dnn.rccs.spots.curves import Bin, load_curves
from safe_dnn.rccs.spots.weak_spots import WeakSpot, load_spots
from safe_dnn.reasons.listed import Reason, ungrouped, with_notes
from safe_dnn.store.runs import REASONS, Run, reading_file, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import read_arrays
from safe_dnn.support.images import content_of
from safe_dnn.support.run_folder import PREDICTIONS_FILE

HOLDS_FILE = "holds.npz"  # of a run: for which tested images each weak spot holds


class FailureReasons(NamedTuple):
    """Why a network fails on its test set, as far as this is known without grouping its failures.

    Attributes
    ----------
    spots : tuple of WeakSpot or None
        None if all answers are right or wrong, or they could not be searched.
    notes : tuple of str
        Sentences on what could not be used.
    curves : tuple of Bin
        As in `reasons.comparison.Reasons`.
    images : mapping of str to tuple of str
        By the conditions of a weak spot, the tested images for which it holds; empty if that is not known.
    listed : tuple of Reason
        The same as a list of reasons, in its order and with notes, if `ungrouped_reasons` has given them.
    """

    spots: tuple[WeakSpot, ...] | None
    notes: tuple[str, ...]
    curves: tuple[Bin, ...] = ()
    images: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    listed: tuple[Reason, ...] = ()


def found_before(out: Path, fact: str, value: str) -> FailureReasons | None:
    """Those of the last run of which a fact has this value; None if there is none, or it is damaged."""
    for run in runs_with(out, fact, value):
        with contextlib.suppress(SAFEError):
            spots = load_spots(run)
            found = FailureReasons(spots, tuple(run.facts["notes"]))
            with contextlib.suppress(SAFEError), reading_file(run, HOLDS_FILE) as path:
                arrays = read_arrays(path)
                held = (tuple(arrays["paths"][of].tolist()) for of in arrays["holds"])
                images = dict(zip((spot.conditions for spot in spots), held, strict=True))
                found = found._replace(curves=load_curves(run), images=images)
            return found
    return None


def runs_with(out: Path, fact: str, value: str) -> list[Run]:
    """The runs with reasons in which a fact has this value, the newest first."""
    return [run for run in reversed(runs_of(out, REASONS)) if value and run.facts.get(fact) == value]


def collected(out: Path) -> str:
    """The digest of the answers to which failures were collected in a folder; empty if there are none."""
    return (content_of(out / PREDICTIONS_FILE) or b"").hex()


def failure_reasons(out: Path) -> FailureReasons | None:
    """The reasons for the failures collected in a folder; None if there are none."""
    return found_before(out, "predictions", collected(out))


def since_earlier(out: Path, predictions: str | None = None) -> dict[str, Any]:
    """What the answers with a digest are in comparison with those of the analysis before; empty without one.

    By default the answers to which failures were collected in the folder.
    """
    runs = runs_with(out, "predictions", collected(out) if predictions is None else predictions)
    return runs[0].facts.get("earlier", {}) if runs else {}


def ungrouped_reasons(answered: AnsweredImages, out: Path) -> FailureReasons | None:
    """As `failure_reasons`, with the list of reasons."""
    found = failure_reasons(out)
    if found is None:
        return None
    wrong = {path for path, right in zip(answered.paths, answered.right.tolist(), strict=True) if not right}
    spots = found.spots or ()
    failing = [[image for image in found.images.get(spot.conditions, ()) if image in wrong] for spot in spots]
    listed = with_notes(ungrouped(spots, failing), {}, notes_of_run(out, spots), folder_tested(out))
    return found._replace(listed=tuple(listed))
