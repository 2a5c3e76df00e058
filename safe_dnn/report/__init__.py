"""The report for the safety case.

The modules in order, each importing only from earlier ones: `markup` (HTML), `drawings`, `report`.
"""
