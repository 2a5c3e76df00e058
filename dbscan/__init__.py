"""Step 1, second half: self-tuning DBSCAN and the steps before it, which `clustering.py` puts together.

The modules in order, each importing only from those before it: `outcome` (records of the result), `neighbours`
(distances in blocks), `density` (DBSCAN at every eps, as a tree), `relevance` (scaling of directions, neighbour
averaging), `projection` (PCA), `branches` (of the tree), `consensus` (of two clusterings), `silhouettes`, `tuning`
(the choice of the clusters; read `tune` first) and `umap_reducer`.
"""
