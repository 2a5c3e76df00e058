"""The outputs of SAFE: the report for the safety case, exported images, evidence, and the history of runs.

The modules in order, each importing only from earlier ones: `markup` (HTML), `material` (what the report is written
from); the report's parts in `heatmaps`, `first_page`, `summary`, `probes`, `weak_spots`, `improvement`, `provenance`
and `rounds`; `export`, `freshness` (whether a report or export is out of date), `report`, those of `evidence/`,
`safety_case` (for the tools of others), `history`.
"""
