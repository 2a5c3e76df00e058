"""The outputs of SAFE: the report for the safety case, exported images, and the history of runs.

The modules in order, each importing only from earlier ones: `markup` (HTML), `elbow` (the k-distance curve), `material`
(what the report is written from); the report's sections in `summary`, `cards`, `weak_spots`, `improvement` (with
`confusions`) and `provenance`; `export`, `freshness` (whether a report or export is out of date), `report`, `history`.
"""
