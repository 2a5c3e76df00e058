"""The DNN under test: its inputs and outputs, its failures, and where it is likely to fail.

In order, each importing only from those before it: `formats` (Keras and ONNX models), `model` (inputs and outputs),
`predictions`, `model_process` (a worker process), `doubts` (whether the network works at all), `tested` (its answers to
the whole test set: the record that all that follows takes), `group_columns` (images of one group, and those that prove
a retraining), `confusion`, `failures` (of the DNN, or of answers that other programs give), those of `detection/`, and
`failure_prediction`.
"""
