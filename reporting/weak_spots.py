"""The report's section of weak spots."""

from rccs.notes import title
from rccs.spot_notes import SpotNote, notes_elsewhere
from reporting.markup import badge, escaped, html_table, percent
from reporting.material import Material
from support.run_folder import SPOT_NOTES_FILE
from support.text import count

MOST_OVERLAPS = 5  # RCCs named with a weak spot


def weak_spots_section(known: Material) -> str:
    """A row for each weak spot with its rates and the engineer's judgement; or why there are none."""
    reasons = known.reasons
    if known.reasons_missing:
        return f"<p class='warning'>{escaped(known.reasons_missing)}</p>"
    if not reasons.base:
        return (
            "<p>Not searched for: the network's answers to its whole test set are not known. <code>failures</code> "
            "writes them to <code>predictions.csv</code>.</p>"
        )
    if not reasons.spots:
        none = "<p>None: no condition on what is known of the test images stands out beyond chance.</p>"
        return none + _noted_elsewhere(known)
    rows = []
    for rank, spot in enumerate(reasons.spots, start=1):
        rccs = ", ".join(
            f"<a href='#rcc-{rcc}'>{escaped(title(rcc, known.review.notes))}</a> ({n:,})"
            for rcc, n in reasons.overlaps(known.clusters, rank - 1)[:MOST_OVERLAPS]
        )
        note = known.spot_notes.get(spot.conditions, SpotNote(spot.conditions, ""))
        rows.append(
            [
                str(rank),
                _named(spot.where, note),
                f"{spot.wrong:,} of {spot.tested:,}",
                f"{spot.rate:.0%} ({100 * spot.low:.0f}–{spot.high:.0%})",
                f"{spot.elsewhere:.0%}",
                badge(note.verdict),
                rccs,
            ]
        )
    notes = " ".join(reasons.comparison.notes) if reasons.comparison else ""
    headers = ["", "Condition", "Wrong", "Rate", "Elsewhere", "Judged", "Failing images in"]
    return (
        "<p>Conditions on what is known of the test images under which the network fails more often than elsewhere; of "
        f"all test images, {percent(reasons.base)} are wrong. They are found in the whole test set, right and wrong, "
        "and each is significant after correction for all conditions that were tried. The interval is that of a rate, "
        "and not corrected for the search.</p>"
        + (f"<p class='warning'>{escaped(known.spot_notes_missing)}</p>" if known.spot_notes_missing else "")
        + html_table(headers, rows, numbers=(0, 2, 3, 4))
        + (f"<p class='soft small'>{escaped(notes)}</p>" if notes else "")
        + _noted_elsewhere(known)
    )


def _named(where: str, note: SpotNote) -> str:
    """A condition with the engineer's name for it and note."""
    name = f"<br>{escaped(note.name)}" if note.name else ""
    return f"<b>{escaped(where)}</b>{name}" + (f"<p class='note'>{escaped(note.note)}</p>" if note.note else "")


def _noted_elsewhere(known: Material) -> str:
    """A line on notes that belong to no weak spot of this run."""
    n = notes_elsewhere(known.spot_notes, (spot.conditions for spot in known.reasons.spots))
    if not n:
        return ""
    return (
        f"<p class='soft small'>{count(n, 'note')} on conditions that are not among these weak spots: see "
        f"{SPOT_NOTES_FILE}.</p>"
    )
