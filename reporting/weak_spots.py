"""The report's sections of weak spots, and of what a fresh test set says."""

from collections.abc import Mapping
from typing import Any

from rccs.review.notes import SpotNote, title
from rccs.review.spot_notes import notes_elsewhere
from rccs.spots.weak_spots import levels_of
from reporting.markup import badge, escaped, html_table, percent, picture_uri, warning
from reporting.material import Material
from support.text import count

SMALL = (96, 70)  # pixels and quality of pictures in a row
MOST_OVERLAPS = 5  # RCCs named with a weak spot


def weak_spots_section(known: Material) -> str:
    """A row for each weak spot with its rates and the engineer's judgement; or why there are none."""
    reasons = known.reasons
    if "reasons" in known.missing:
        return warning(known.missing["reasons"])
    if not reasons.base:
        return (
            "<p>Not searched for: the network's answers to its whole test set are not known. <code>failures</code> "
            "writes them to <code>predictions.csv</code>.</p>"
        )
    unexplained = f" {text}" if (text := reasons.unexplained(known.clusters)) else ""
    notes = " ".join(reasons.comparison.notes) if reasons.comparison else ""
    notes = f"<p class='soft small'>{escaped(notes)}</p>" if notes else ""
    if not reasons.spots:
        none = "<p>None: no condition on what is known of the test images stands out beyond chance."
        return f"{none}{unexplained}</p>{_in_a_row(known)}{notes}{_noted_elsewhere(known)}"
    levels = levels_of(reasons.spots)
    tables = "".join((f"<h3>{text}</h3>" if text else "") + _table(known, level) for text, level in levels)
    classes = (
        " What makes failing likelier given the class stands out among images of the same classes: beside its rate "
        "stands that which these classes alone would give."
        if any(not spot.of_classes for spot in reasons.spots)
        else ""
    )
    return (
        "<p>Conditions on what is known of the test images under which the network fails more often than elsewhere: "
        "than on all other test images. They are found in the whole test set, right and wrong. Each stands out among "
        "the images that earlier ones leave, corrected for all conditions that were tried, and among all images. A "
        "lower rate is to be expected of new images, since conditions were chosen for a high one; how much is told by "
        "a search in half of the test set. Intervals are of 95 %."
        f"{classes}</p>"
        f"<p>Of all test images, {percent(reasons.base)} are wrong.{unexplained}</p>"
        + tables
        + _in_a_row(known)
        + notes
        + _noted_elsewhere(known)
    )


def row_html(told: str, pictures: Mapping[str, str]) -> str:
    """Failing images in a row (see `reasons.comparison.Reasons.in_a_row`), each path with its picture's address."""
    figures = "".join(
        f"<figure><img src='{uri}' alt='{escaped(path)}' title='{escaped(path)}'></figure>"
        for path, uri in pictures.items()
    )
    return f"<h3>In a row</h3><p>{escaped(told)}</p><div class='five nine'>{figures}</div>"


def _in_a_row(known: Material) -> str:
    row = known.reasons.in_a_row(known.clusters)
    if row is None:
        return ""
    told, paths = row
    return row_html(told, {path: picture_uri(known.clusters.image_root / path, *SMALL) for path in paths})


def confirmation_section(known: Material) -> str:
    """What a fresh test set says of RCCs and weak spots."""
    found = known.confirmation
    if not found:
        return (
            "<p>RCCs and weak spots have not been asked of a fresh test set, which they were not found with. "
            "<code>confirm</code> does so.</p>"
        )
    return confirmation_html(found, changed=known.review.last_number != found["edits"])


def confirmation_html(found: Mapping[str, Any], *, changed: bool) -> str:
    """The facts of a confirmation (see `pipeline.confirmation`).

    Parameters
    ----------
    changed : bool
        RCCs were edited since.
    """
    told = "".join(f"<li>{escaped(text)}</li>" for text in found["told"])
    edited = warning("RCCs have been edited since: their numbers may be others." if changed else "")
    return (
        f"<p>{count(found['images'], 'image')} that chose nothing, {found['wrong']:,} of them wrong. A reason is "
        "<em>confirmed</em> if the network fails more often there than elsewhere, beyond chance, and not less often "
        "than was expected; <em>weakened</em> if less often than that; <em>refuted</em> if less often, and not beyond "
        f"chance; and <em>open</em> if these images do not tell.</p>{edited}<ul>{told}</ul>{_closed(found)}"
        + "".join(f"<p class='soft small'>{escaped(note)}</p>" for note in found["notes"])
    )


def _closed(found: Mapping[str, Any]) -> str:
    """What a later model makes of the reasons."""
    if not (told := found.get("closed")):
        return ""
    return (
        "<h3>With a later model</h3><p>A reason is <em>closed</em> if fewer images are wrong, beyond chance, and the "
        "interval of the rate lies below the rate that the earlier model had elsewhere; <em>reduced</em> if fewer are "
        "wrong, beyond chance; <em>worse</em> if more are (<em>new</em>, where no reason was found); and "
        "<em>unchanged</em> if a difference is not shown.</p>"
        f"<ul>{''.join(f'<li>{escaped(text)}</li>' for text in told)}</ul>"
    )


def _table(known: Material, level: range) -> str:
    """A row for each of some weak spots, by index."""
    spots = known.reasons.spots[level.start : level.stop]
    given = any(not spot.of_classes for spot in spots)
    rows = []
    for index, spot in zip(level, spots, strict=True):
        rccs = ", ".join(
            f"<a href='#rcc-{rcc}'>{escaped(title(rcc, known.review.notes))}</a> ({n:,})"
            for rcc, n in known.reasons.overlaps(known.clusters, index)[:MOST_OVERLAPS]
        )
        note = known.spot_notes.get(spot.conditions, SpotNote(spot.conditions, ""))
        low, high = spot.interval
        rate = spot.rate if spot.new_rate is None else spot.new_rate
        rows.append(
            [
                str(index + 1),
                _named(spot.where, note),
                escaped(f"{spot.wrong:,} of {spot.tested:,}{spot.of_groups}, {spot.rate:.0%}"),
                f"{rate:.0%} ({100 * low:.0f}–{high:.0%})",
                f"{spot.elsewhere:.0%}",
                *([f"{spot.expected:.0%}" if spot.expected is not None else "–"] if given else []),
                badge(note.verdict),
                rccs,
            ]
        )
    expected = ["Of its classes"] if given else []
    rates = "Rate" if all(spot.new_rate is None for spot in spots) else "Of new images"
    headers = ["", "Condition", "Wrong", rates, "Elsewhere", *expected, "Judged", "Failing images in"]
    return html_table(headers, rows, numbers=(0, 2, 3, 4, 5)[: 4 + given])


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
        f"<p class='soft small'>{count(n, 'note')} on conditions that are not among these weak spots, to be shown when "
        "they are found again.</p>"
    )
