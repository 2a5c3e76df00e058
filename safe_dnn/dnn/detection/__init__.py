"""Detectors: their results, crops of objects, and what they miss or detect wrongly."""
