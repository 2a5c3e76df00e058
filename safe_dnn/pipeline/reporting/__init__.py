"""The outputs of SAFE: the report for the safety case, exported images, evidence, and earlier runs.

The modules in order, each importing only from earlier ones: `markup` (HTML), `material` (what the report is written
from); the report's parts in `heatmap_panels`, `retraining_section` and `sections`; `report`, `evidence`, `junit` (for
CI), `history`.
"""
