"""The results of the steps in a line each, for the page and the command line."""

from dbscan.outcome import NOISE
from dnn.failures import DETECTION, Failures
from rccs.clusters import RootCauseClusters, explained_percent, headline
from rccs.confidence import loose_text, no_steady_groups
from rccs.unsafe_set import UnsafeSet
from support.text import count, printable
from training.certainty import class_lines, in_words, lost_in_words, right_intervals
from training.result import Retraining, certainty_of, certainty_of_classes
from training.settings import AIMS
from training.together import trade_off_text


def cluster_summary(clusters: RootCauseClusters) -> str:
    """One line, such as `7 root cause clusters explain 98% of 504 failures · 2% in no cluster · 1 of 7 is loose`."""
    text = headline(clusters)
    if no_steady_groups(clusters):
        text += ": no steady groups"
    elif clusters.noise_share:
        text += f" · {100 - explained_percent(clusters)}% in no cluster"
    if loose := loose_text(clusters):
        text += f" · {loose}"
    return text + (f" · {len(clusters.skipped):,} skipped" if clusters.skipped else "")


def how_found(clusters: RootCauseClusters) -> str:
    """One line on the algorithm, for example `vgg16-fc2 · PCA, then UMAP · DBSCAN with eps 3.21, min_samples 5`.

    Where RCCs are a consensus, it ends in ` · consensus of 100 random parts`; eps and min_samples are then those with
    which all images are clustered.
    """
    features = clusters.extractor + (" in bfloat16" if clusters.precision == "bfloat16" else "")
    reduced = "PCA, then UMAP" if clusters.reducer == "umap" else "PCA, then neighbour averaging"
    dbscan = f"DBSCAN with eps {clusters.eps:.3g}, min_samples {clusters.min_samples}"
    if not clusters.settings:
        dbscan = "nothing to tune: too few images, or all of them alike"
    aside = f" · without {printable(', '.join(clusters.without))}" if clusters.without else ""
    steadiness = clusters.steadiness
    consensus = f" · consensus of {count(steadiness.n_samples, 'random part')}" if steadiness else ""
    return f"{features}{aside} · {reduced} · {dbscan}{consensus}"


def selection_summary(unsafe: UnsafeSet) -> str:
    """One line: how many images were selected, of how many, and whether these are fewer than wanted."""
    text = f"{len(unsafe.images):,} of {count(unsafe.n_improvement, 'improvement image')} selected"
    text += " to label (the unsafe set)"
    if len(unsafe.images) < unsafe.wanted:
        text += f"; {unsafe.wanted:,} were wanted, but there are no more candidates"
    text += "".join(f" · {note}" for note in unsafe.notes)
    return text + (f" · {len(unsafe.skipped):,} skipped" if unsafe.skipped else "")


def failures_summary(failures: Failures) -> str:
    """One line: how many images the DNN gets wrong, of how many."""
    if failures.task == DETECTION:
        text = f"{count(len(failures.failing), 'failure')} of {failures.test_size:,} objects and false detections"
        text += f" · share of them that is found {failures.accuracy:.4f}"
    else:
        text = f"{count(len(failures.failing), 'failing image')} of {failures.test_size:,}"
        text += f" · test accuracy {failures.accuracy:.4f}"
    return text + (f" · {len(failures.skipped):,} skipped" if failures.skipped else "")


def retraining_summary(result: Retraining) -> str:
    """One line: the accuracy before and after, how sure that is, how many images changed, and any epoch kept."""
    text = (
        f"test accuracy {result.accuracy_before:.4f} → {result.accuracy_after:.4f} · "
        f"{len(result.improved):,} improved, {len(result.worsened):,} worsened of {count(result.test_size, 'image')}"
    )
    sure = certainty_of(result)
    if sure is None:
        text += " · no epoch was better than the given model, whose weights are kept"
    else:
        text = f"{in_words(sure)} · {text}"
        text += f" · epoch {result.best} of {sum(result.settings.passes)} kept" if result.settings else ""
    return text + (f" · stopped: {result.stopped}" if result.stopped else "")


def retraining_details(result: Retraining) -> list[str]:
    """A line each on the images that are wrong now, on classes and on RCCs, with how sure it is."""
    sure = certainty_of(result)
    lines = [lost_in_words(sure)] if sure and lost_in_words(sure) else []
    lines += class_lines([share.name for share in result.per_class], certainty_of_classes(result))
    for share, (low, high) in zip(result.per_rcc, right_intervals(result.per_rcc), strict=True):
        name = "in no cluster" if share.name == str(NOISE) else f"RCC {share.name}"
        line = f"{name}: {share.after} of {count(share.images, 'failing image')} now right"
        lines.append(f"{line} (95% interval {low:.0%} to {high:.0%})" if share.images else line)
    if result.settings:
        shares = {"now": result.settings.original_share, "offered": AIMS["keep"].original_share}
        along = trade_off_text(result.trade_off, result.test_size, **shares)
        lines += [along] if along else []
    return lines
