"""Evaluation of the paper's research questions: `python -m lab.benchmarks.paper`.

In order: `cases`, `measures`, `figures`, `cost` (time and memory of a run), `plots` and `report`.
"""
