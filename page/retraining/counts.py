"""Two models in counts, as what scripts show: tiles, and tables whose counts open their images."""

from typing import Any

from reporting.two_models import (
    A_RIGHT,
    B_RIGHT,
    BOTH,
    EVERY,
    NEITHER,
    ONLY_A,
    ONLY_B,
    Group,
    TwoModels,
    accuracy_texts,
    class_verdict,
)
from support.text import count, printable
from training.certainty import gain_text, interval_text

CLASSES = (
    "Points are B's. Their intervals are for each class by itself; verdicts are corrected for the number of classes"
)
REASONS = "How many of its failing images each model gets right, of those that both were run on"


def tiles_of(two: TwoModels) -> list[dict[str, str]]:
    """Accuracies, and by whom images are got right."""
    n = len(two.images.paths)
    shares = [f"{100 * of.right.mean():.2f}%" for of in (two.a, two.b)]
    first, second = accuracy_texts(two)
    of_accuracy = f"A {first}, B {second}; of {count(n, 'test image')} of both"
    rows = [("Accuracy of A · B", " · ".join(shares), of_accuracy, "")]
    headings = {BOTH: "Both right", ONLY_A: "Only A right", ONLY_B: "Only B right", NEITHER: "Both wrong"}
    for which, heading in headings.items():
        images = int(two.of(which).sum())
        rows.append((heading, f"{images:,}", f"{images / n:.1%} of these", which if images else ""))
    return [dict(zip(("title", "figure", "more", "opens"), row, strict=True)) for row in rows]


def reasons_of_two(two: TwoModels) -> dict[str, Any]:
    """RCCs and weak spots of the analysis at hand, with their failing images; without rows if it has none."""
    rows = [_row(group.name, _link(group), _of_group(group)) for group in two.groups]
    heads = ["RCC or weak spot", "On both", "A right", "B right"]
    return {"title": "Failing images of each RCC and weak spot", "told": REASONS, "heads": heads, "rows": rows}


def _link(group: Group) -> str:
    kind, _, number = group.key.partition(":")
    return f"#rcc={number}" if kind == "rcc" else ""


def _of_group(group: Group) -> list[tuple[str, str]]:
    both = len(group.outcomes)
    of_all = f"{both:,} of {group.failing:,}" if both < group.failing else f"{both:,}"
    counts = [(of_all, EVERY if both else "")]
    for which in (A_RIGHT, B_RIGHT):
        right = group.right(which)
        counts.append((f"{right:,} ({right / both:.0%})" if both else "–", which if right else ""))
    return [(text, f"{group.key}/{which}" if which else "") for text, which in counts]


def classes_of_two(two: TwoModels) -> dict[str, Any]:
    """Each class; those in which one model is better beyond doubt first; without rows for regressions."""
    order = {name: i for i, name in enumerate(two.images.classes)}
    found = zip(two.found.per_class, two.sure_of_classes, strict=True)
    rows = []
    for share, sure in sorted(found, key=lambda one: (not class_verdict(one[1]), -abs(one[1].gain), one[0].name)):
        key = f"class:{order[share.name]}"
        of = [(EVERY, share.images), (ONLY_A, sure.counts.worsened), (ONLY_B, sure.counts.improved)]
        of.append((NEITHER, share.images - share.before - sure.counts.improved))
        cells = [(f"{images:,}", f"{key}/{which}" if images else "") for which, images in of]
        verdict = class_verdict(sure)
        told = f"{share.before / share.images:.0%} · {share.after / share.images:.0%}"
        interval = interval_text(sure).removeprefix("95% interval ")
        cells += [(told, ""), (f"{gain_text(sure)} ({interval})", ""), (verdict, "")]
        rows.append(_row(share.name, "", cells))
    counts = ["Images", "Only A right", "Only B right", "Both wrong"]
    heads = ["Class", *counts, "Right: A · B", "Points (95% interval)", "Verdict"]
    return {"title": "Test images of each class", "told": CLASSES, "heads": heads, "rows": rows}


def _row(name: str, link: str, cells: list[tuple[str, str]]) -> dict:
    return {
        "name": printable(name),
        "link": link,
        "cells": [{"text": printable(text), "opens": opens} for text, opens in cells],
    }
