"""Time and memory compared with rivals: `python -m benchmarks.speed`."""
