"""The outputs of SAFE: the report for the safety case, evidence, and results for CI.

The modules in order, each importing only from earlier ones: `markup` (HTML), `rate_curves` (drawings of
the report and of the page), `report`, `evidence`, `junit` (for CI).
"""
