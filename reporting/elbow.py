"""A drawing of the k-distance curve."""

import numpy as np

from rccs.clusters import RootCauseClusters


def elbow_svg(clusters: RootCauseClusters) -> str:
    """The k-distance curve with its knee and the chosen eps, as an SVG drawing in the colour of the text around it."""
    curve = clusters.k_distances
    if len(curve) < 2 or curve[-1] <= 0:
        return ""
    width, height, left, bottom = 560, 240, 46, 34
    ranks = np.unique(np.linspace(0, len(curve) - 1, 300).astype(int))

    def x(rank: float) -> float:
        return left + rank / (len(curve) - 1) * (width - left - 10)

    def y(distance: float) -> float:
        return 10 + (1 - distance / float(curve[-1])) * (height - bottom - 10)

    line = " ".join(f"{x(rank):.1f},{y(float(curve[rank])):.1f}" for rank in ranks)
    eps = min(clusters.eps, float(curve[-1]))
    parts = [
        f"<path d='M{left} 10V{height - bottom}H{width - 10}' stroke='currentColor' stroke-opacity='.4' fill='none'/>",
        f"<polyline points='{line}' fill='none' stroke='currentColor' stroke-width='2'/>",
        f"<path d='M{left} {y(eps):.1f}H{width - 10}' stroke='#0f766e' stroke-width='2'/>",
        # Below the line if there is no room above it
        f"<text x='{left + 6}' y='{y(eps) + (16 if y(eps) < 24 else -6):.1f}'>eps {clusters.eps:.3g}</text>",
        f"<text x='{width - 10}' y='{height - 12}' text-anchor='end'>{len(curve):,} images, sorted</text>",
        f"<text x='{left - 6}' y='{height - bottom}' text-anchor='end'>0</text>",
        f"<text x='{left - 6}' y='18' text-anchor='end'>{float(curve[-1]):.2g}</text>",
    ]
    if clusters.knee is not None:
        at = x(clusters.knee)
        parts += [
            f"<path d='M{at:.1f} 10V{height - bottom}' stroke='currentColor' stroke-dasharray='4 4'/>",
            f"<text x='{at - 6:.1f}' y='24' text-anchor='end'>knee</text>",
        ]
    label = f"Sorted distances of the images to neighbour number {clusters.min_samples}, with the knee and eps"
    return (
        f"<svg viewBox='0 0 {width} {height}' role='img' aria-label='{label}' fill='currentColor' font-size='12' "
        f"style='max-width:{width}px;width:100%'>{''.join(parts)}</svg>"
    )
