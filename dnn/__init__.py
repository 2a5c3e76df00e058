"""The DNN under test: its inputs and outputs, its failures, and where it is likely to fail.

In order, each importing only from those before it: `model_file` (read without executing anything in it), `model`
(inputs and outputs), `predictions`, `targets` (of a regression), `failures` and `failure_prediction`.
"""
