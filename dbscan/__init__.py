"""Step 1, second half: DBSCAN that tunes itself, and what comes before it; `clustering.py` puts it together.

In order, each importing only from those before it: `outcome` (the records, and what noise is), `neighbours` (distances
in blocks), `density` (DBSCAN at every eps as a tree), `relevance` (what of the images counts), `projection` (PCA),
`branches` (of that tree), `consensus`, `silhouettes`, `tuning` (decides) and `umap_reducer`.
"""
