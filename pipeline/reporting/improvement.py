"""The report's sections on steps 3 to 6: the unsafe set, and what retraining changed."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from pipeline.reporting.confusions import confusions_html
from pipeline.reporting.markup import filled, picture_uri, warning
from pipeline.reporting.material import Material
from rccs.clusters import rccs_of
from rccs.unsafe_set import UnsafeImage
from selection import chosen_by_model
from store.places import absolute
from support.images import UNREADABLE
from training import certainty
from training.comparison import Share
from training.result import Retraining, certainty_of, certainty_of_classes, claim_text
from training.settings import aim_of

AIM_TEXTS = {
    "balance": "balance of accuracy and of keeping what was right",
    "accuracy": "accuracy before keeping what was right",
    "keep": "keeping what was right before accuracy",
}
MOST_LISTED = 20  # images that retraining has changed
MOST_PAIRS, PAIR = 6, (96, 78)  # of nearly the same images for each two sets; pixels and quality


def unsafe_set_section(known: Material) -> Markup:
    """How many images were selected for each RCC, and how; or why there are none."""
    unsafe = known.unsafe
    if unsafe is None:
        return warning(known.missing["unsafe"])
    left_out = [known.title(rcc) for rcc in unsafe.left_out]
    by_rcc: dict[int, list[UnsafeImage]] = {rcc: [] for rcc in rccs_of(known.clusters)}
    for image in unsafe.images:
        by_rcc.get(image.rcc, []).append(image)
    return filled(
        "unsafe_set.html", known=known, unsafe=unsafe, by_rcc=by_rcc, left_out=left_out,
        chosen=chosen_by_model(unsafe),
    )  # fmt: skip


def retraining_section(known: Material) -> Markup:
    """What retraining changed, how sure that is, and the images concerned; or why there is nothing."""
    result = known.retraining
    if result is None:
        return warning(known.missing["retraining"])
    sure = certainty_of_classes(result)
    changed = [
        (share, one)
        for share, one in zip(result.per_class, sure, strict=bool(sure))
        if one.counts.improved + one.counts.worsened
    ]
    settings = result.settings._asdict() if result.settings else {}
    return filled(
        "retraining.html", result=result, claim=claim_text(result), sure=certainty_of(result), changed=changed,
        certainty=certainty, aim=AIM_TEXTS.get(aim_of(result.settings), "") if result.settings else "",
        confusions=confusions_html(result),
        settings=", ".join(f"{name} {value:g}" for name, value in settings.items()), most_listed=MOST_LISTED,
        per_rcc=_with_intervals(result.per_rcc), per_class=_with_intervals(result.per_class),
        pairs=[*_pairs(result, known.folder)],
    )  # fmt: skip


def _with_intervals(shares: Sequence[Share]) -> list[tuple[Share, tuple[float, float]]]:
    return list(zip(shares, certainty.right_intervals(shares), strict=True))


def _pairs(result: Retraining, folder: Path) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Images that are nearly the same in two sets, with their pictures, as far as they can be read."""
    for one in result.overlaps:
        for pair in one.examples[:MOST_PAIRS]:
            with contextlib.suppress(*UNREADABLE):
                yield pair, [picture_uri(Path(absolute(path, folder)), *PAIR) for path in pair]
