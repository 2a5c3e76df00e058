"""The DNN under test: its inputs and outputs, its failures, and where it is likely to fail.

In order, each importing only from those before it: `model_file` (what a Keras file says about a model, read
without executing anything in it), `onnx_model`, `model` (inputs and outputs), `predictions`, `targets` (of a
regression), `tested` and `given_answers` (what other programs say that the DNN answers), `failures` and
`failure_prediction`.
"""
