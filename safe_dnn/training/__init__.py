"""Steps 5 and 6: the components of retraining (`retrain.py`).

In order, each importing only from those before it: `labels` (of the unsafe set), `settings` (of the optimizer),
`checkpoint`, `finetuning` (also with images that nobody labelled), `before_after` (the model before and after),
`certainty` (of the difference; which reasons are closed), `result` (the record and its files; what is proven on images
that chose nothing, also of a network that was retrained elsewhere), `earlier` (the analysis before, and what the
network has learned since) and `material` (the images and labels of a retraining).
"""
