"""Words as reasons: with enough answers for a rate, a word is a weak spot like any other, and has a curve.

In: the reasons found in comparison with right images. Out: the same, followed by a weak spot for each word. Where rates
clearly differ between classes, one for all would be true for none: instead, there is one for each class in which the
network clearly fails more often on images that have the word. Their figures are estimated from answers; their images
are those with the answer yes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isnan, nan

import numpy as np

from safe_dnn.rccs.answers import LABEL
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.spots.conditions import Conditions, Literal
from safe_dnn.rccs.spots.curves import Bin
from safe_dnn.rccs.spots.figures import Figures, compared_with
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.reasons.comparison import Reasons, reasons_of
from safe_dnn.reasons.known import Known
from safe_dnn.reasons.words.rates import YES, Sample, WordRate, rate_of
from safe_dnn.reasons.words.tagging import Tagging, of_classes, rate, sample_of
from safe_dnn.reasons.words.tags import ANSWERS


def with_words(reasons: Reasons, clusters: RootCauseClusters, words: Mapping[str, Tagging]) -> Reasons:
    """Reasons and those of words.

    Parameters
    ----------
    reasons : Reasons
        Of a comparison.
    clusters : RootCauseClusters
        As they were found.
    words : mapping of str to Tagging
        As of `tagging.all_words`.
    """
    spots, images, curves = list(reasons.spots), list(reasons.images), list(reasons.curves)
    for word in words.values():
        found, bins = _spots_of(word)
        known = {word.word.name: word.answers, LABEL: np.array(word.tested.answers.label)}
        spots += found
        images += reasons_of(clusters, word.tested, Known(known, frozenset(), ()), tuple(found)).images if found else ()
        curves += bins
    return replace(reasons, spots=tuple(spots), images=tuple(images), curves=tuple(curves))


def _spots_of(tagging: Tagging) -> tuple[list[WeakSpot], list[Bin]]:
    """The weak spots of a word, and the bars of its curve."""
    sample, found = sample_of(tagging), rate(tagging)
    if sample is None or found is None:
        return [], []
    word, parts, spots = Literal(tagging.word.name, "=", ANSWERS[YES]), of_classes(tagging), list[WeakSpot]()
    bins = [bar for name, part in {"": sample, **parts}.items() for bar in _bins(part, word.column, name)]
    for name, of_it in found.classes:
        spot = _spot((Literal(LABEL, "=", name), word), of_it, sample)
        spots += [] if spot.may_be_chance else [spot]
    if not found.classes:
        spots.append(_spot((word,), found, sample))
    return spots, bins


def _spot(literals: Conditions, rate: WordRate, sample: Sample) -> WeakSpot:
    """What answers say as a weak spot."""
    wrong, n_others = sample.frame.wrong, len(sample.tags) - rate.images
    figures = Figures(
        round(rate.images), round(rate.wrong), rate.new_low, rate.new_high, rate.groups,
        sample.groups.name if sample.groups else "", answers=rate.tagged, estimate=rate.rate,
    )  # fmt: skip
    figures = compared_with(figures, rate.without, limits=(rate.low, rate.high))
    elsewhere = float(wrong.sum() - rate.wrong) / n_others if n_others >= 1 else nan
    class_rate = rate.base if len(literals) > 1 else rate.class_rate
    return WeakSpot(literals, figures, elsewhere, None if isnan(class_rate) else class_rate, new_rate=rate.rate)


def _bins(sample: Sample, word: str, of_class: str) -> Iterator[Bin]:
    """Bars of images that have a word and of those that have not, as far as a rate follows."""
    for value in ("yes", "no"):
        found = rate_of(sample._replace(has_it=value == "yes"))
        if found and round(found.images):
            figures = round(found.images), round(found.wrong), found.low, found.high
            yield Bin(word, of_class, value, nan, nan, nan, *figures, nan)
