"""The names of the files and folders that a run writes to its output folder.

README.md says what each holds; the module that writes a file also reads it.
"""


LABELS_FILE = "labels.txt"
CLUSTERS_FILE = "clusters.npz"
RUN_FILE = "run.json"
MAP_FILE = "map.npz"
GIF_FOLDER = "gifs"
NOTES_FILE = "rcc_notes.csv"
EDITS_FILE = "rcc_edits.json"
EXPORT_MARK = ".safe-export"
"""Hidden file in an export: what SAFE wrote there, with digests (see `reporting/export.py`)."""
FAILURES, FAILURES_MARK = "failures", ".safe"
"""The folder of a DNN's failures, and a hidden file in it: what SAFE wrote there (see `dnn/failures.py`)."""
PROFILES_FILE = "rcc_profiles.csv"
FILENAMES_FILE = "IS_filenames.txt"
UNSAFE_SET_FILE = "unsafe_set.csv"
SELECTION_FILE = "unsafe_set.json"
MODEL_FILE = "retrained.keras"
RETRAINING_FILE = "retraining.json"
MODELS_FOLDER = "retrained_models"
CHECKPOINT_FILE = "retraining.npz"
FAILURES_FILE = "failures.csv"
ACCURACY_FILE = "accuracy.json"
MARK_FILE = ".safe.json"
LOCK_FILE = ".safe.lock"
WORK_FILE = ".safe-work.lock"
KEPT_LABELS_FILE = "image_labels.csv"
REPORT_FILE = "report.html"
RUNS_FOLDER = "runs"
FORMS_FILE = "forms.json"  # written by the page, which comes after this module


