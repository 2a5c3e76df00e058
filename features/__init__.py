"""Step 1, first half: what feature extraction (`FE.py`) is made of.

In order, each importing only from those before it: `extractor` (which network, and how its features are compared),
`cache`, `digests` (of weights files, remembered), `weights` (found, checked and downloaded), `network` (loaded, with
TensorFlow), `batches` (images in, rows out, while the next are loaded) and `on_cluster` (the same on a Dask cluster).
"""
