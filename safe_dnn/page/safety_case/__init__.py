"""The tab Safety case."""
