"""Step 1, second half: self-tuning DBSCAN and the steps before it, which `clustering.py` puts together.

The modules in order, each importing only from those before it: `outcome` (records of the result), `one_thread`,
`neighbours` (distances in blocks), `density` (DBSCAN at every eps, as a tree), `relevance` (scaling of directions,
neighbour averaging), `set_aside` (of nuisances), `contrast` (with right images), `projection` (PCA), `branches` (of the
tree), `umap_check` (against PCA), `tuning` (the choice of the clusters; read `tune` first), `resamples` (tuning in many
random parts of the images), `consensus` (what these agree on; read `agree`) and `umap_reducer`.
"""
