"""Lists and tables of rates, as HTML."""

import html
from collections.abc import Iterable, Sequence

from support.text import printable

SMALLEST = 0.004  # width of an interval that can be seen


def bulleted(lines: Iterable[str]) -> str:
    """A list of lines of plain text."""
    return "<ul class='safe-list'>" + "".join(f"<li>{html.escape(printable(line))}</li>" for line in lines) + "</ul>"


def rate_table(label: str, heads: Sequence[str], rows: Iterable[str]) -> str:
    """A table whose rows are HTML already."""
    head = "".join(f"<th scope='col'>{name}</th>" for name in heads)
    return (
        f"<div class='safe-rates-scroll' role='region' tabindex='0' aria-label='{label}'><table class='safe-rates'>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def rate_bar(share: float, low: float, high: float, line: float, kind: str = "") -> str:
    """A share as a bar with its 95 % interval, and a line at another share."""
    return (
        f"<span class='safe-rate-bar {kind}' title='95% interval {low:.0%} to {high:.0%}'>"
        f"<i class='safe-rate-fill' style='width:{share:.1%}'></i>"
        f"<i class='safe-rate-range' style='left:{low:.1%};width:{max(high - low, SMALLEST):.1%}'></i>"
        f"<i class='safe-rate-base' style='left:{line:.1%}'></i></span>"
    )
