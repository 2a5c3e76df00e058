"""Rival methods as published: HUDD (`hudd`), and the heatmaps that it needs (`lrp`)."""
