"""Time and memory against rivals: `python -m benchmarks.speed`."""
