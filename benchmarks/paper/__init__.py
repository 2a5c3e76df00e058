"""The paper's research questions, asked again: `python -m benchmarks.paper`.

In order: `cases`, `measures`, `figures`, `cost` (time and memory of a run), `plots` and `report`.
"""
