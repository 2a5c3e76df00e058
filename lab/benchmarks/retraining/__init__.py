"""Whether selecting images by RCC improves retraining: `python -m lab.benchmarks.retraining`."""
