"""Measurements of SAFE against its rivals and its claims.

The programs are `clusters`, `paper`, `reasons`, `retraining`, `speed` and `soak`: `python -m lab.benchmarks.NAME
--help`. `rivals` has the methods that SAFE is compared with; `results` writes the pages of `lab/results/`.
"""
