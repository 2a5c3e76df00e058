"""Measurements of SAFE against its rivals and its claims, of which docs/evaluation.md tells.

Each program is run by `python -m lab.benchmarks.NAME --help`; lab/README.md lists them. `rivals` has the methods that
SAFE is compared with, `results` writes the pages of `lab/results/`, and `kept` holds what was measured.
"""
