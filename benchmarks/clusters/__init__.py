"""Clusters compared with injected root causes: `python -m benchmarks.clusters`."""
