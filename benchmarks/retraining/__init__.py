"""Whether choosing by RCC pays: `python -m benchmarks.retraining`."""
