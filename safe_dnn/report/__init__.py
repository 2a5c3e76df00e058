"""The report for the safety case.

The modules in order, each importing only from earlier ones: `markup` (HTML), `rate_curves` (drawings of
the report and of the page), `report`.
"""
