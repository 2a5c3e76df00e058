"""The results of the steps in a line each, for the page and the command line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from safe_dnn.analysis import Analysis
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.clusters import RootCauseClusters, headline, rccs_of
from safe_dnn.rccs.confidence import (
    confidence,
    is_loose,
    loose_text,
    no_steady_groups,
    no_steady_groups_text,
    percent_down,
    why_unknown,
)
from safe_dnn.rccs.spots.rates import by_excess
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.rccs.unsafe_set import UnsafeSet
from safe_dnn.reasons.listed import MOST_OPEN, Reason, sentence
from safe_dnn.support.text import count, percent, printable, range_text, rate_text, some
from safe_dnn.training import certainty
from safe_dnn.training.before_after import Share
from safe_dnn.training.result import (
    Retraining,
    also_chosen,
    certainty_of,
    certainty_of_classes,
    claim_text,
    shares_by_reason,
)

LISTED = 10  # RCCs in a line each


def left_out(skipped: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What was left out of some work, and why."""
    return (f"skipped {printable(path)!r}: {reason}" for path, reason in skipped)


def cluster_lines(analysis: Analysis) -> Iterator[str]:
    """What RCCs are, the largest in a line each, and how they were found."""
    clusters, rccs = analysis.clusters, rccs_of(analysis.clusters)
    yield no_steady_groups_text(clusters)
    if analysis.profiles and rccs:
        yield "What the images of each RCC have in common, compared with all failing images:"
    for rcc in rccs[:LISTED]:
        size, confusion = int(clusters.sizes[rcc]), clusters.confusion_of(rcc)
        loose = f"loose, together {percent_down(confidence(clusters, rcc) or 0)}" if is_loose(clusters, rcc) else ""
        parts = (loose, analysis.profile_of(rcc).removesuffix("."), confusion[:1].lower() + confusion[1:])
        common = "; ".join(filter(None, parts))
        yield f"  RCC {rcc} ({count(size, 'image')}, {size / len(clusters.paths):.1%}){f': {common}' if common else ''}"
    if len(rccs) > LISTED:
        yield f"  … and {count(len(rccs) - LISTED, 'smaller one')} (gifs/)"
    yield clusters.explained_text
    yield f"Method: {algorithm_summary(clusters)}"
    yield why_unknown(clusters)


def rate_lines(analysis: Analysis) -> Iterator[str]:
    """Error rates and weak spots."""
    reasons, rates = analysis.reasons, analysis.reasons.rates
    yield sentence(analysis.listed, reasons.base)
    yield analysis.baseline
    rated = [rcc for rcc in by_excess(rccs_of(analysis.clusters), rates) if rcc in rates]
    yield "Error rates of images like those of each RCC:" if rated else ""
    yield from (f"  RCC {rcc}: {reasons.text_of(rcc)}" for rcc in rated if rates[rcc].verdict == "more")
    for verdict, meaning in (
        ("as often", "Wrong about as often as expected"), ("less", "Wrong less often than expected"),
        ("too few", "Too few images to decide"),
    ):  # fmt: skip
        numbers = ", ".join(str(rcc) for rcc in sorted(rated) if rates[rcc].verdict == verdict)
        yield f"  {meaning}: RCC {numbers}" if numbers else ""
    yield from spot_lines(reasons.spots)


def spot_lines(spots: Sequence[WeakSpot]) -> Iterator[str]:
    some = (
        "conditions under which more images are wrong than expected without them (of the same classes, with the same "
        "other reasons), those with most failures in excess first"
    )
    none = "none; no condition on what is known about the images stands out beyond chance"
    yield f"Weak spots: {some if spots else none}"
    for rank, spot in enumerate(spots, 1):
        yield f"  {rank}. {spot.text}{' (may be chance)' if spot.may_be_chance and not spot.doubted else ''}"


def cluster_summary(clusters: RootCauseClusters) -> str:
    """One line, such as `7 root cause clusters hold 98% of 504 failures · 2% in no cluster · 1 of 7 is loose`."""
    text = headline(clusters)
    if no_steady_groups(clusters):
        text += ": no steady groups"
    elif clusters.noise_share:
        text += f" · {100 - percent(1 - clusters.noise_share)}% in no cluster"
    if loose := loose_text(clusters):
        text += f" · {loose}"
    return text + (f" · {len(clusters.skipped):,} skipped" if clusters.skipped else "")


def algorithm_summary(clusters: RootCauseClusters) -> str:
    """One line on the algorithm, for example `vgg16-fc2 · PCA, then UMAP · DBSCAN with eps 3.21, min_samples 5`.

    Where RCCs are a consensus, it ends in ` · consensus of 100 random parts`; eps and min_samples are then those with
    which all images are clustered.
    """
    precision = clusters.extractor.precision
    features = clusters.extractor.name + (f" in {precision}" if precision == "bfloat16" else "")
    if own := clusters.own_features:
        features = f"features of {printable(own.name)} (SHA-256 {clusters.extractor.digest}…)"
    explained = clusters.beyond_class
    reduced = "contrast with correct images" if explained and explained.is_contrast else "PCA"
    reduced += ", then UMAP" if clusters.reducer == "umap" else ", then neighbour averaging"
    dbscan = f"DBSCAN with eps {clusters.eps:.3g}, min_samples {clusters.min_samples}"
    if not clusters.settings:
        dbscan = "nothing to tune: too few images, or all of them alike"
    aside = f" · without {printable(', '.join(clusters.without))}" if clusters.without else ""
    steadiness = clusters.steadiness
    consensus = f" · consensus of {count(steadiness.n_samples, 'random part')}" if steadiness else ""
    return f"{features}{aside} · {reduced} · {dbscan}{consensus}"


def selection_summary(unsafe: UnsafeSet) -> str:
    """One line: how many images were selected, of how many, and whether these are fewer than wanted."""
    n_of = f"{len(unsafe.images):,} of {count(unsafe.n_improvement, 'improvement image')}"
    text = f"{n_of} selected to label (the unsafe set)"
    if len(unsafe.images) < unsafe.wanted:
        text += f"; {unsafe.wanted:,} were wanted, but there are no more candidates"
    if unsafe.excluded:
        text += f" · none for {some(f'RCC {rcc}' for rcc in unsafe.excluded)}, judged safe"
    text += "".join(f" · {note}" for note in unsafe.notes)
    return text + (f" · {len(unsafe.skipped):,} skipped" if unsafe.skipped else "")


def earlier_lines(compared: Mapping[str, Any]) -> Iterator[str]:
    """What `api.explaining.since_earlier` says: a line on all images, and one for each reason found before."""
    if not compared:
        return
    before, now = compared["accuracy"]
    right = f"{now:.2%} right" if before is None else f"{before:.2%} right before, {now:.2%} now"
    yield f"Compared with {printable(compared['analysis'])}: {right}"
    for reason in compared["reasons"]:
        figures = (reason["before"], reason["now"])
        then, today = (f"{of[1]:,} of {of[0]:,}" if of else "not known" for of in figures)
        yield f"  {reason['where']}: {then} wrong before, {today} now"


def failures_summary(failures: AnsweredImages) -> str:
    """One line: how many images the DNN gets wrong, of how many."""
    text = f"{count(len(failures.failing), f'failing {failures.noun}')} of {len(failures.paths):,}"
    accuracy, threshold = f"{failures.accuracy:.2%}", failures.options.threshold
    text += f" · test accuracy {accuracy}" if threshold is None else f" · {accuracy} within {threshold:g}"
    if failures.skipped:
        whole = len(failures.paths) + len(failures.skipped)
        text += f" of {len(failures.paths):,} of {count(whole, failures.noun)}"
    text += f" · {len(failures.held_out):,} held out" if failures.held_out else ""
    return text + (f" · {len(failures.skipped):,} skipped" if failures.skipped else "")


def retraining_summary(result: Retraining) -> str:
    """One line: what may be claimed of the gain; of the test set that also chose, the figures and what it chose."""
    if result.final:
        return result.final.text
    sure = certainty_of(result)
    parts = (certainty.in_words(sure) if sure else "", claim_text(result), _of_test_set(result))
    return " · ".join(filter(None, parts))


def retraining_verdict(result: Retraining) -> str:
    """The same without the figures of the test set, where they stand beside it, and without what that chose."""
    sure = certainty_of(result)
    if result.final or not sure:
        return retraining_summary(result)
    verdict = certainty.in_words(sure)
    if also_chosen(result):
        verdict = verdict.replace("beyond doubt", "beyond doubt on these test images")
    return verdict + _of_epochs(result)


def of_choosing_images(result: Retraining) -> str:
    """The figures of the test images that also chose, where others prove the gain; otherwise empty."""
    sure = certainty_of(result)
    if result.final is None or sure is None:
        return ""
    chosen = also_chosen(result)
    which = f"On the test images that also chose {chosen}" if chosen else "On the other test images"
    how_sure = f"{certainty.interval_text(sure)}; {certainty.mcnemar_text(sure)}"
    return f"{which}: {certainty.gain_text(sure)} points ({how_sure}) · {_of_test_set(result)}"


def _of_test_set(result: Retraining) -> str:
    text = (
        f"test accuracy {result.accuracy_before:.2%} → {result.accuracy_after:.2%} · "
        f"{len(result.improved):,} improved, {len(result.worsened):,} worsened of {count(result.test_size, 'image')}"
    )
    return text + _of_epochs(result)


def _of_epochs(result: Retraining) -> str:
    text = ""
    if not result.is_other:
        text = " · no epoch was better than the given model, whose weights are kept"
    elif result.settings:
        text = f" · epoch {result.best} of {sum(result.settings.passes)} kept"
    return text + (f" · stopped: {result.stopped}" if result.stopped else "")


def retraining_details(result: Retraining, listed: Iterable[Reason]) -> list[str]:
    """What is wrong now, classes, and reasons of a list, a line each, with how sure it is."""
    sure = certainty_of(result)
    lines = [of_choosing_images(result), certainty.lost_in_words(sure) if sure else ""]
    lines += certainty.class_lines([share.name for share in result.per_class], certainty_of_classes(result))
    lines += _reason_lines(result, listed)
    return list(filter(None, lines))


def _reason_lines(result: Retraining, listed: Iterable[Reason]) -> Iterator[str]:
    shares = [one for one in shares_by_reason(listed, result) if one[0].to_judge]
    alone = ", images counted as independent" if result.by_group else ""
    intervals = dict(certainty.with_intervals([share for _, share, _ in shares]))
    for reason, share, final_share in shares[:MOST_OPEN]:
        low, high = intervals[share]
        held = f"; {_wrong(final_share)} that chose nothing" if final_share else ""
        interval = f"95% interval {range_text(1 - high, 1 - low)}{alone}"
        yield f"{reason.title}: {_wrong(share)} ({interval}){held}"
    if len(shares) > MOST_OPEN:
        yield f"{count(len(shares) - MOST_OPEN, 'more reason')}, see the report"


def _wrong(share: Share) -> str:
    before, after = (rate_text(1 - right / share.images) for right in share[2:])
    return f"{before} → {after} wrong of {count(share.images, 'image')}"
