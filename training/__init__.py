"""Steps 5 and 6: the components of retraining (`retrain.py`).

In order, each importing only from those before it: `labels` (of the unsafe set), `settings` (of the optimizer),
`checkpoint`, `finetuning`, `together` (with the original network), `comparison` (of the model before and after),
`result` (the record, and its files) and `compared` (of a network that was retrained elsewhere).
"""
