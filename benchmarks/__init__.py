"""Measurements of SAFE against its rivals and its claims; each module is a program: `python -m benchmarks.NAME -h`."""
