"""What the images of an RCC have in common, as small pictures: a range within that of all failures, or a share."""

import math

from rccs.profiles import Finding, Profile
from reporting.markup import escaped

LEAST_WIDTH = 0.02  # of a bar: a single value is to be seen as well


def findings_html(profile: Profile) -> str:
    """The findings that stand out, each with a bar; a sentence where none does."""
    if not profile.mentioned:
        return f"<p class='safe-profile'>{escaped(profile.text)}</p>" if profile.text else ""
    return f"<ul class='safe-findings'>{''.join(map(_row, profile.mentioned))}</ul>"


def _row(finding: Finding) -> str:
    name = finding.value if finding.measured and finding.value else finding.parameter
    if finding.kind == "category":
        bar, words = _share(finding), f"{finding.value} {finding.share:.0%}"
    else:
        bar, words = _range(finding), finding.range
    return f"<li title='{escaped(finding.text)}'><b>{escaped(name)}</b>{bar}<span>{escaped(words)}</span></li>"


def _share(finding: Finding) -> str:
    """How many of the RCC's images have the category, and a line at the share of all failing images."""
    line = f"<i class='safe-rate-base' style='left:{finding.overall_share:.1%}'></i>"
    return _bar(f"<i class='safe-finding-own' style='left:0;width:{finding.share:.1%}'></i>{line}")


def _range(finding: Finding) -> str:
    """Where the RCC's values lie between the least and the greatest of all failing images, and a line at their median.

    An arc that goes beyond the end of the circle comes in two parts.
    """
    low, span = finding.overall_low, finding.overall_high - finding.overall_low
    if math.isnan(span) or span <= 0:  # runs of earlier versions did not record it
        return _bar("")
    start, end = ((bound - low) / span for bound in (finding.usual_low, finding.usual_high))
    if finding.kind == "angle" and start > end:
        return _bar(_part(start, 1) + _part(0, end))
    line = ""
    if finding.measured and not math.isnan(finding.overall_median):  # its word says on which side of most it lies
        line = f"<i class='safe-rate-base' style='left:{(finding.overall_median - low) / span:.1%}'></i>"
    return _bar(_part(start, end) + line)


def _part(start: float, end: float) -> str:
    start = min(max(start, 0.0), 1 - LEAST_WIDTH)
    width = max(min(end, 1.0) - start, LEAST_WIDTH)
    return f"<i class='safe-finding-own' style='left:{start:.1%};width:{width:.1%}'></i>"


def _bar(inside: str) -> str:
    return f"<span class='safe-rate-bar' aria-hidden='true'>{inside}</span>"
