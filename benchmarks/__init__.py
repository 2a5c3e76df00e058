"""Measurements of SAFE against its rivals and its claims.

The programs are `clusters`, `paper`, `retraining`, `speed` and `soak`: `python -m benchmarks.NAME --help`. `rivals` has
the methods that SAFE is compared with; `results` writes RESULTS.md.
"""
