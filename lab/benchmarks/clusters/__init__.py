"""Clusters compared with injected root causes: `python -m lab.benchmarks.clusters`."""
