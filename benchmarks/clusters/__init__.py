"""Clusters measured against injected root causes: `python -m benchmarks.clusters`."""
