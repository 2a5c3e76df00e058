"""Are the reasons that SAFE gives reasons? Failure rates of RCCs, and weak spots: `python -m benchmarks.reasons`."""
