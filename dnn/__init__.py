"""The DNN under test: its inputs and outputs, its failures, and where it is likely to fail.

In order, each importing only from those before it: `facts` (what a file says about a model), `model_file` (read without
executing anything in it), `keras_model`, `onnx_model`, `model` (inputs and outputs), `predictions`, `targets` (of a
regression), `answer_table`, `tested` and `given_answers` (what other programs say that the DNN answers), `failures` and
`failure_prediction`.
"""
