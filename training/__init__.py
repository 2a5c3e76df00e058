"""Steps 5 and 6: what retraining (`retrain.py`) is made of.

In order, each importing only from those before it: `labels` (of the unsafe set), `settings` (of the optimizer),
`checkpoint`, `finetuning`, `comparison` (of the model before and after) and `result` (the record, and its files).
"""
