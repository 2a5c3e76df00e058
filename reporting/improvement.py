"""The report's sections on steps 3 to 6: the unsafe set, and what retraining changed."""

import contextlib
from pathlib import Path

from rccs.clusters import rccs_of
from rccs.review.notes import title
from reporting.confusions import confusions_html
from reporting.markup import escaped, fact_list, html_table, more, path_text, percent, picture_uri, warning
from reporting.material import Material
from selection import chosen_by_model
from store.places import absolute
from support.images import UNREADABLE
from support.text import count
from training.certainty import Certainty, gain_text, in_words, interval_text, lost_in_words, p_text, right_intervals
from training.comparison import Answered, Share
from training.repetitions import repetitions_text
from training.result import RETRAINING_FILE, Retraining, certainty_of, certainty_of_classes, claim_text
from training.settings import aim_of

AIM_TEXTS = {
    "balance": "balance of accuracy and of keeping what was right",
    "accuracy": "accuracy before keeping what was right",
    "keep": "keeping what was right before accuracy",
}
MOST_LISTED = 20  # images that retraining has changed
MOST_PAIRS, PAIR = 6, (96, 78)  # of nearly the same images for each two sets; pixels and quality


def unsafe_set_section(known: Material) -> str:
    """How many images were selected for each RCC, and how; or why there are none."""
    unsafe = known.unsafe
    if unsafe is None:
        return warning(known.missing["unsafe"])
    rows = []
    for rcc in rccs_of(known.clusters):
        images = [image for image in unsafe.images if image.rcc == rcc]
        candidates = unsafe.candidates[rcc] if rcc < len(unsafe.candidates) else 0
        rows.append(
            [
                escaped(title(rcc, known.review.notes)) + (" (left out)" if rcc in unsafe.left_out else ""),
                f"{candidates:,}",
                f"{len(images):,}",
                f"{sum(image.within_eps for image in images):,}",
                f"{sum(bool(image.label) for image in images):,}",
            ]
        )
    labelled = sum(bool(image.label) for image in unsafe.images)
    by_size = unsafe.quota == "size"
    share = "in proportion to its failing images" if by_size else "the same number for each RCC"
    of_wanted = f" of {unsafe.wanted:,} wanted: all candidates" if len(unsafe.images) < unsafe.wanted else ""
    root = f"{path_text(unsafe.improvement_root)}, {count(unsafe.n_improvement, 'readable image')}"
    facts = fact_list(
        [
            ("Improvement set", root),
            ("Size", escaped(unsafe.formula)),
            ("Chosen with", path_text(Path(unsafe.model)) if unsafe.model else ""),
            ("Selected", f"{len(unsafe.images):,}{of_wanted}"),
            ("Labelled", f"{labelled:,}"),
            ("Noted", escaped("; ".join(unsafe.notes))),
            ("Skipped", f"{len(unsafe.skipped):,}" if unsafe.skipped else ""),
            ("Left out", escaped(", ".join(title(rcc, known.review.notes) for rcc in unsafe.left_out))),
        ]
    )
    return (
        "<p>Every improvement image is a candidate of the RCC of its nearest core image. From each RCC's candidates, "
        f"the nearest are selected, {share}, as far as it has candidates. {escaped(chosen_by_model(unsafe))} "
        "<em>Within reach</em>: as near to a core image as the RCC's own images.</p>"
        + facts
        + html_table(["RCC", "Candidates", "Selected", "Within reach", "Labelled"], rows, numbers=(1, 2, 3, 4))
    )


def retraining_section(known: Material) -> str:
    """What retraining changed, how sure that is, and the images concerned; or why there is nothing."""
    result = known.retraining
    if result is None:
        return warning(known.missing["retraining"])
    was, now = result.accuracy_before, result.accuracy_after
    sure = certainty_of(result)
    facts = fact_list(
        [
            *_sources(result),
            ("What may be claimed", f"<b>{escaped(claim_text(result))}</b>" if claim_text(result) else ""),
            ("Final test set", path_text(result.final.root) if result.final else ""),
            ("Test set", f"{path_text(result.test_root)}, {count(result.test_size, 'image')}"),
            ("Test accuracy before", percent(was)),
            ("Test accuracy after", f"<b>{percent(now)}</b> ({100 * (now - was):+.1f} percentage points)"),
            ("How sure", escaped(in_words(sure)) if sure else ""),
            ("Improved", f"{count(len(result.improved), 'image')} that the network got wrong before"),
            ("Worsened", f"{count(len(result.worsened), 'image')} that the network got right before"),
            ("Lost", escaped(lost_in_words(sure)) if sure else ""),
            *_training(result),
            ("Failure", f"an error above {result.threshold:g}" if result.threshold is not None else ""),
            ("Skipped", count(len(result.skipped), "image") if result.skipped else ""),
        ]
    )
    assumed = "".join(f"<li>{escaped(assumption)}</li>" for assumption in result.assumptions)
    per_rcc = _shares("RCC", result.per_rcc, "Failing images of each RCC that were found in the test set")
    return (
        facts
        + (f"<h4>What was assumed</h4><ul>{assumed}</ul>" if assumed else "")
        + _independence(known)
        + per_rcc
        + _shares("Class", result.per_class, "Test images of each class")
        + _classes(result.per_class, certainty_of_classes(result))
        + confusions_html(result)
        + _trade_off(result)
        + _changes("Worsened: right before, wrong now", result.worsened)
        + _changes("Improved: wrong before, right now", result.improved)
    )


def _independence(known: Material) -> str:
    """Images that prove the gain, and are nearly the same as learned ones, with examples side by side."""
    if known.retraining is None or not known.retraining.overlaps:
        return ""
    told, pairs = [], []
    for one in known.retraining.overlaps:
        told.append(f"<li>{escaped(one.text)}</li>")
        for pair in one.examples[:MOST_PAIRS]:
            with contextlib.suppress(*UNREADABLE):
                shown = "".join(
                    f"<img src='{picture_uri(Path(absolute(path, known.folder)), *PAIR)}' alt='{escaped(path)}'>"
                    for path in pair
                )
                pairs.append(f"<figure>{shown}<figcaption>{escaped(' · '.join(pair))}</figcaption></figure>")
    return (
        "<h4>Independence</h4><p>Copies of learned images, encoded again, resized, brightened, mirrored or cut, and "
        "neighbouring frames, prove less than they seem to. A learned image, and one that is nearly the same:</p>"
        f"<ul>{''.join(told)}</ul><div class='five'>{''.join(pairs)}</div>"
    )


def _sources(result: Retraining) -> list[tuple[str, str]]:
    """What was compared: a model and its retraining, or the answers of two networks."""
    if result.after is not None:
        return [
            ("Compared by", "tables of the answers of two networks, taken as they are; SAFE has trained neither"),
            ("Answers before", path_text(result.model)),
            ("Answers after", path_text(result.after)),
        ]
    images = f"{count(result.train_size, 'training image')} and {count(result.unsafe_size, 'unsafe image')}"
    if result.unlabelled_size:
        images += f"; in a second pass also {count(result.unlabelled_size, 'improvement image')} without a label"
    return [("Model given", path_text(result.model)), ("Trained with", images)]


def _training(result: Retraining) -> list[tuple[str, str]]:
    """How the model was trained; nothing if SAFE has not trained one."""
    if result.settings is None:
        return []
    epochs = len(result.history) - 1
    return [
        ("Aim", AIM_TEXTS.get(aim_of(result.settings), "")),
        ("Training", escaped(f"{count(epochs, 'epoch')}; epoch {result.best} was kept")),
        ("Seeds", escaped(repetitions_text(result.repetitions, result.seed))),
        ("Stopped", escaped(result.stopped)),
        ("Settings", escaped(", ".join(f"{name} {value:g}" for name, value in result.settings._asdict().items()))),
    ]


def _shares(group: str, shares: tuple[Share, ...], caption: str) -> str:
    if not shares:
        return ""
    rows = [
        [
            escaped(title(int(share.name)) if group == "RCC" and share.name.lstrip("-").isdigit() else share.name),
            f"{share.images:,}",
            f"{share.before:,}",
            f"{share.after:,}",
            percent(share.after / share.images) if share.images else "–",
            f"{percent(low)} to {percent(high)}" if share.images else "–",
        ]
        for share, (low, high) in zip(shares, right_intervals(shares), strict=True)
    ]
    headers = [group, "Images", "Right before", "Right after", "Share after", "95% interval"]
    return html_table(headers, rows, caption=caption, numbers=range(1, 6))


def _trade_off(result: Retraining) -> str:
    """What would be right and worsened if the original network had a share in the answers."""
    if not result.trade_off or result.settings is None:
        return ""
    mine = result.settings.original_share
    rows = [
        [
            f"{one.share:.0%}{' (this model)' if one.share == mine else ''}",
            percent(one.right / result.test_size),
            f"{one.worsened:,}",
        ]
        for one in result.trade_off
    ]
    caption = "Both networks answering together, by the share of the original one"
    return html_table(["Share", "Test accuracy", "Worsened"], rows, caption=caption, numbers=(1, 2))


def _classes(shares: tuple[Share, ...], sure: list[Certainty]) -> str:
    """The difference for each class in which an image changed, with how sure it is."""
    changed = [
        (share, one) for share, one in zip(shares, sure, strict=bool(sure)) if one.counts.improved + one.counts.worsened
    ]
    rows = [
        [
            escaped(share.name),
            f"{one.counts.improved:,}",
            f"{one.counts.worsened:,}",
            f"{gain_text(one)} ({interval_text(one)})",
            p_text(one.p),
            one.verdict,
        ]
        for share, one in changed
    ]
    if not rows:
        return ""
    headers = ["Class", "Improved", "Worsened", "Points", "McNemar", "Verdict"]
    caption = (
        "Classes in which an image changed. Each interval is for the class by itself; p and verdict are corrected for "
        "the number of classes (Holm), so that with a probability of 95% none is called better or worse by chance"
    )
    return html_table(headers, rows, caption=caption, numbers=range(1, 5))


def _changes(what: str, images: tuple[Answered, ...]) -> str:
    if not images:
        return ""
    rows = [
        [path_text(image.image), *(escaped(value) for value in (image.label, image.before, image.after))]
        for image in images[:MOST_LISTED]
    ]
    table = html_table(["Image", "Class", "Predicted before", "Predicted after"], rows, caption=what)
    return table + more(len(images), len(rows), RETRAINING_FILE)
