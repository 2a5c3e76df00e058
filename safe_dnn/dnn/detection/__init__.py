"""Converters to a test set with an image for each answer: of a detector's files, and of tables of units."""
