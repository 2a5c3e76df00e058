"""The names of files and folders of an analysis that several packages know. docs/files.md describes their content.

All others are named in the module that writes them, which also reads them.
"""

FAILURES, FAILURES_MARK = "failures", ".safe"
"""The folder of a DNN's failures, and a hidden file in it that lists what SAFE wrote (see `store/places.py`)."""
OBJECTS = "objects"
"""The test set that a detector's files were converted to, a folder like `FAILURES` (`dnn/detection/converter.py`)."""
FAILURES_FILE = "failures.csv"
ACCURACY_FILE = "accuracy.json"
PREDICTIONS_FILE = "predictions.csv"
GIF_FOLDER = "gifs"
UPLOADS_FOLDER = "uploads"
"""What was brought with the browser (see `page/paths.py`), a folder for each upload."""
