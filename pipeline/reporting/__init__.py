"""The outputs of SAFE: the report for the safety case, exported images, and the history of runs.

The modules in order, each importing only from earlier ones: `markup` (HTML), `material` (what the report is written
from); the report's sections in `summary`, `weak_spots`, `improvement` and `provenance`; `export`, `freshness`
(whether a report or export is out of date), `report`, `history`.
"""
