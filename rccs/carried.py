"""The engineer's notes and edits from one clustering to the next: they belong to images, and come back with them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dbscan.outcome import NOISE
from rccs.clusters import RootCauseClusters, cluster_files, fingerprint
from rccs.edited import reviewed
from rccs.journal import Edit
from rccs.notes import RccNote
from rccs.review import Review, review_files
from support.output_folder import Writer, save_files
from support.run_folder import EDITS_FILE, NOTES_FILE


class Carried(NamedTuple):
    """The notes and edits that also apply to new clusters.

    Attributes
    ----------
    notes : dict of int to RccNote
    edits : tuple of Edit
    left : tuple of RccNote
        Notes of the previous run on RCCs that the new clusters do not have.
    """

    notes: dict[int, RccNote]
    edits: tuple[Edit, ...]
    left: tuple[RccNote, ...]


def carry_over(runs: Sequence[Review], clusters: RootCauseClusters) -> Carried:
    """The notes and edits that apply when clusters are generated again.

    Edits are those of the latest run that found the same clusters. A note belongs to the images of its RCC: it applies
    to the RCC with exactly the same images, whichever run it was written in. If several runs have such an RCC, the
    latest one that the engineer has reviewed decides, even if it has no note.

    Parameters
    ----------
    runs : sequence of Review
        The previous run, then earlier ones, the latest first.
    """
    reviews = [run for run in runs if run.touched]
    same = next((run for run in reviews if _is_same(run.original, clusters)), None)
    edits = same.edits if same else ()
    notes = dict(same.notes) if same else {}
    now = reviewed(clusters, edits)
    groups = {rcc: _images(now, rcc) for rcc in now.groups}
    rcc_of = [{_images(run.clusters, rcc): rcc for rcc in run.clusters.groups} for run in reviews]
    for rcc, images in groups.items():
        for run, known in zip(reviews, rcc_of, strict=True):
            if images in known:
                note = run.notes.get(known[images])
                notes = {**notes, rcc: note._replace(rcc=rcc)} if note else {k: v for k, v in notes.items() if k != rcc}
                break
    there = set(groups.values())
    before = runs[0] if runs else None
    left = () if before is None or before is same else tuple(
        note for rcc, note in sorted(before.notes.items())
        if rcc in before.clusters.groups and _images(before.clusters, rcc) not in there
    )  # fmt: skip
    return Carried(notes, edits, left)


def with_newer_notes(review: Review, newer: Sequence[Review]) -> dict[str, Writer]:
    """The files of a run that is opened again, with what was said of the same images since it was left.

    A note belongs to the images of its RCC. One that a newer run has on exactly the same images is added, unless the
    run has a note on them itself: that stays as it was.

    Parameters
    ----------
    newer : sequence of Review
        The runs since, the latest first.

    Returns
    -------
    dict of str to Writer
        Empty if there is nothing to add.
    """
    notes = dict(review.notes)
    rcc_of = [{_images(run.clusters, rcc): rcc for rcc in run.clusters.groups} for run in newer]
    for rcc in review.clusters.groups:
        images = _images(review.clusters, rcc)
        since = (run.notes.get(known[images]) for run, known in zip(newer, rcc_of, strict=True) if images in known)
        note = next(since, None)  # the latest run that has such an RCC decides, even if it has no note
        if note and rcc not in notes:
            notes[rcc] = note._replace(rcc=rcc)
    if notes == review.notes:
        return {}
    return review_files(review.original, review.clusters, notes, review.edits, labels=False)


def _is_same(a: RootCauseClusters, b: RootCauseClusters) -> bool:
    return a.home == b.home and fingerprint(a) == fingerprint(b)


def _images(clusters: RootCauseClusters, rcc: int) -> tuple[Path, bool, frozenset[str]]:
    """The images of an RCC: their folder, since other data sets have images of the same names, and their paths."""
    return clusters.home, rcc == NOISE, frozenset(clusters.members(rcc))


def save_run(
    clusters: RootCauseClusters,
    carried: Carried,
    folder: Path,
    *,
    more: Mapping[str, object] | None = None,
    files: Mapping[str, Writer] | None = None,
    remove: Collection[str] = (),
) -> None:
    """Replace the run in a folder by new clusters, with the notes and edits that apply to them.

    Parameters
    ----------
    clusters : RootCauseClusters
        As the clustering found them.
    more : mapping, optional
        Further entries of `run.json`.
    files : mapping, optional
        Further files of the run (see `support.output_folder.save_files`).
    remove : collection of str
        Files of the previous run that this one does not have.

    Raises
    ------
    SAFEError
        As for `support.output_folder.save_files`.
    """
    after = reviewed(clusters, carried.edits)
    review = review_files(clusters, after, carried.notes, carried.edits) if carried.notes or carried.edits else {}
    # The journal last: it identifies the clusters of the notes, and old notes must never be applied to new RCCs.
    save_files(
        folder,
        {**(files or {}), **cluster_files(clusters, more=more), **review},
        remove=(*remove, NOTES_FILE, EDITS_FILE),
    )
