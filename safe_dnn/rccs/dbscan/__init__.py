"""Step 1, second half: self-tuning DBSCAN and the steps before it, which `clustering.py` puts together.

The modules in order, each importing only from those before it: `outcome` (records of the result), `neighbours`
(distances in blocks), `density` (DBSCAN at every eps, as a tree of branches), `contrast` (with right images),
`projection` (PCA, without nuisances; scaling of directions, neighbour averaging), `tuning` (the choice of the clusters,
read `tune` first; UMAP, and its check against PCA) and `consensus` (tuning in many random parts of
the images, and what these agree on; read `agree`).
"""
