"""The outputs of SAFE: the report for the safety case, exported images, and the history of runs.

The modules in order, each importing only from earlier ones: `markup` (HTML), `elbow` (the k-distance curve), `sections`
and `report`, `export`, and `history`.
"""
