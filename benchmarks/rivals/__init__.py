"""What others do, as published: HUDD (`hudd`), and the heatmaps that it needs (`lrp`)."""
