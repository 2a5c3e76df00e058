"""The tab Report."""
