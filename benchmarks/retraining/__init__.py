"""Whether selecting images by RCC improves retraining: `python -m benchmarks.retraining`."""
