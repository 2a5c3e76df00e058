"""The DNN under test: what it takes, what it says, where it fails and where it is likely to.

In order, each importing only from those before it: `model_file` (read without executing anything of it), `model` (what
it takes and gives), `predictions`, `targets` (of a regression), `failures` and `failure_prediction`.
"""
