"""Are the reasons that SAFE gives reasons? Failure rates and weak spots: `python -m lab.benchmarks.reasons`."""
