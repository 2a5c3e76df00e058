"""Rival methods as published: HUDD (`hudd`), the heatmaps that it needs (`lrp`), and slices by features (`slices`)."""
