"""Words as reasons: where a rate follows from answers, the word is a weak spot like any other, and has a curve.

In: what was found in comparison with right images. Out: the same, followed by a weak spot for each word and, where the
network clearly fails more often on images of one class that have the word than on others of that class, one for both.
Their figures are estimated from answers; their images are those that somebody has said have the word.
"""

from collections.abc import Iterator
from math import isnan, nan
from pathlib import Path

import numpy as np

from safe_dnn.dnn.tested import LABEL, AnsweredImages
from safe_dnn.pipeline.tagging import Tagging, all_words, answers_to_tag, sample_of
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.review.review import Review
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.curves import Bin
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.reasons.comparison import Reasons, known_classes, load_reasons
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.intervals import LEFT_OUT
from safe_dnn.words.drawing import YES
from safe_dnn.words.rates import Sample, WordRate, rate_of
from safe_dnn.words.tags import ANSWERS, load_words

MOST_CLASSES = 12  # that a word is looked at in


def present_reasons(out: Path, review: Review) -> Reasons:
    """What was found for the present clusters, and what words say.

    Words are left out if the network's answers cannot be read any more.

    Raises
    ------
    SAFEError
        As of `reasons.comparison.load_reasons`.
    """
    reasons = load_reasons(out, review.original)
    if not (reasons.base and load_words(out)):
        return reasons
    try:
        return with_words(reasons, review.original, out, answers_to_tag(out))
    except SAFEError:
        return reasons


def with_words(reasons: Reasons, clusters: RootCauseClusters, out: Path, tested: AnsweredImages) -> Reasons:
    """Reasons and those of words.

    Parameters
    ----------
    reasons : Reasons
        Of a comparison.
    clusters : RootCauseClusters
        As they were found.
    tested : AnsweredImages
        As of `tagging.answers_to_tag`.
    """
    found = [one for word in all_words(out, tested=tested).values() for one in _spots_of(word)]
    row_of = tested.rows_of(clusters.image_root, clusters.paths)
    spots, images, curves = list(reasons.spots), list(reasons.images), list(reasons.curves)
    for spot, has_it, bins in found:
        spots.append(spot)
        images.append(np.flatnonzero(np.isin(row_of, np.flatnonzero(np.isin(tested.paths, has_it)))))
        curves += bins
    return reasons._replace(spots=tuple(spots), images=tuple(images), curves=tuple(curves))


def _spots_of(tagging: Tagging) -> Iterator[tuple[WeakSpot, list[str], list[Bin]]]:
    """The weak spots of a word with the images that are said to have it, and the bars of its curve with the first."""
    sample, classes = sample_of(tagging), known_classes(tagging.tested)
    found = rate_of(sample, classes) if sample else None
    if sample is None or found is None:
        return
    word, wrong = Literal(tagging.word.name, "=", ANSWERS[YES]), sample.frame.wrong
    paths, has_it = np.array(tagging.tested.paths), sample.tags == YES
    labels = np.array(tagging.tested.answers.label) if classes is not None else np.zeros(0, str)
    names = np.unique(labels).tolist()
    names = names if len(names) <= MOST_CLASSES else []
    bins = list(_bins(sample, found, word.column, ""))
    of_class = {}
    for name in names:
        within = sample._replace(within=labels == name)
        of_it = rate_of(within)
        bins += _bins(within, of_it, word.column, name)
        if of_it:
            of_class[name] = within, of_it
    yield _spot((word,), found, sample, wrong, found.expected), paths[has_it].tolist(), bins
    clear = []
    for name, (within, of_it) in of_class.items():
        low, _ = within.limits(1 - LEFT_OUT / 2 / len(names), within.totals())  # one of several classes is chosen
        spot = _spot((Literal(LABEL, "=", name), word), of_it, within, wrong, of_it.base)
        spot = spot._replace(like=max(of_it.base, 0.0 if isnan(of_it.elsewhere) else of_it.elsewhere))
        if low > max(spot.compared, found.rate):
            clear.append((spot.excess, name, spot))
    if clear:
        _, name, spot = max(clear)
        yield spot, paths[has_it & (labels == name)].tolist(), []


def _spot(
    literals: tuple[Literal, ...], found: WordRate, sample: Sample, wrong: np.ndarray, expected: float
) -> WeakSpot:
    """What answers say as a weak spot; `wrong` are all tested images that are wrong."""
    others = len(wrong) - found.images
    return WeakSpot(
        literals, round(found.images), round(found.wrong), found.low, found.high,
        float(wrong.sum() - found.wrong) / others if others >= 1 else 0.0, found.groups,
        sample.groups.name if sample.groups else "", None if isnan(expected) else expected, None, found.rate,
        found.new_low, found.new_high, answers=found.tagged,
    )  # fmt: skip


def _bins(sample: Sample, with_it: WordRate | None, word: str, of_class: str) -> Iterator[Bin]:
    """Bars of images that have a word and of those that have not, as far as a rate follows."""
    for value, found in (("yes", with_it), ("no", rate_of(sample._replace(has_it=False)))):
        if found and round(found.images):
            figures = round(found.images), round(found.wrong), found.low, found.high
            yield Bin(word, of_class, value, nan, nan, nan, *figures, nan)
