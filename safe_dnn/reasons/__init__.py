"""Beyond the paper: why the DNN fails, in comparison with the images that it gets right."""
