"""A converter of a detector's files to a test set: crops, answers and parameters."""
