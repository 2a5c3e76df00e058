"""The folder of failures that SAFE has collected: the images in it, and the test set that they are copies from."""

from pathlib import Path

from safe_dnn.store.places import absolute
from safe_dnn.support.files import read_record
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, FAILURES_MARK


def names_in(folder: Path) -> frozenset[str]:
    """The images in a folder of failures as SAFE wrote it; none if it did not, or the folder is gone."""
    try:
        text = (folder / FAILURES_MARK).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return frozenset()
    return frozenset(text.split("\n")) - {""}


def source_folder_of(image_root: Path) -> Path | None:
    """The test folder, in which the copies in a folder of failures have the same paths; None if SAFE made none."""
    made = image_root.name == FAILURES and (image_root.parent / FAILURES_FILE).is_file()
    return tested_by(image_root.parent) if made else None


def tested_by(folder: Path) -> Path | None:
    """The test folder that `accuracy.json` in a folder of failures names; None if there is none."""
    root = read_record(folder / ACCURACY_FILE).get("test_root")
    return Path(absolute(root, folder)) if isinstance(root, str) else None
