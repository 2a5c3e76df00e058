"""The benchmark of what a retraining gains on images that chose it and on others."""

from lab.benchmarks.proof import section


def test_gains_are_compared_by_halvings():
    runs = [
        {"labels": 40, "used": (0.5, 0.6), "unused": (0.6, 0.66)},
        {"labels": 50, "used": (0.6, 0.7), "unused": (0.5, 0.58)},
        {"labels": 40, "used": (0.5, 0.56), "unused": (0.6, 0.66)},
        {"labels": 50, "used": (0.6, 0.66), "unused": (0.5, 0.56)},
    ]
    # Gains 10, 10, 6, 6 and 6, 8, 6, 6; differences of the halvings 3 and 0
    assert section({"drawn": runs}).splitlines()[-1] == (
        "| drawn | 4 | 45 | 55.0 % | +8.0 | 55.0 % | +6.5 | +1.5 ± 1.5 |"
    )
