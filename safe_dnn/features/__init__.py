"""Step 1, first half: the parts of feature extraction (`FE.py`).

The modules in order, each importing only from those before it: `extractor` (which there are, and how their features are
scaled), `vgg16` (its weights, in every form of Keras, and the network in TensorFlow), `batches` (loading images ahead
of the network, and the cache), `attributes` (what images show: brightness, noise, size and others; images that are the
same, saved again), `own` (features in a file) and `on_cluster` (extraction on a Dask cluster).
"""
