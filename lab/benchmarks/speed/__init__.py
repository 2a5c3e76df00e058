"""Time and memory compared with rivals: `python -m lab.benchmarks.speed`."""
