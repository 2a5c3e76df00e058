"""What probes say of a reason: in words, and as a curve of how many right images stay right."""

from collections.abc import Sequence

from markupsafe import Markup

from pipeline.reporting.markup import filled
from reasons.probes import Probe

WIDTH, HEIGHT, LEFT, BOTTOM = 420, 156, 40, 132  # of the curve, and where its axes are


def probes_html(probes: Sequence[Probe]) -> Markup:
    """The clearest probe of a reason with its curve, and the others; empty without any."""
    return filled("probes.html", probes=probes, curve=_curve(probes[0])) if probes else Markup()


def _curve(found: Probe) -> Markup:
    """The share of right images that stay right, by the attribute, as an SVG drawing; empty if none was changed."""
    steps = found.curve
    if not steps:
        return Markup()
    ends = [found.failing_low, found.failing_high, *(step.value for step in steps)]
    low, high = min(ends), max(ends)

    def across(value: float) -> float:
        return round(LEFT + (value - low) / ((high - low) or 1) * (WIDTH - LEFT - 12), 1)

    def line(turned: Sequence[float]) -> str:
        points = zip(steps, turned, strict=True)
        return " ".join(f"{across(step.value)},{10 + n / step.tested * (BOTTOM - 10):.1f}" for step, n in points)

    return filled(
        "probe.svg", width=WIDTH, height=HEIGHT, left=LEFT, bottom=BOTTOM, found=found, low=low, high=high,
        band=(across(found.failing_low), across(found.failing_high)), own=line([step.turned for step in steps]),
        other=line([step.otherwise for step in steps]), limit=None if found.limit is None else across(found.limit),
    )  # fmt: skip
