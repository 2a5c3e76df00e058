"""Rounds: failures of a DNN that were collected before, kept for the clusters that are of them.

`failures/` has the latest failures. Before others take their place, `rccs.kept_rounds` copies those that clusters are
of to `rounds/<time>/failures/`, with the tables beside them. The files of clusters go on naming `failures/`, which is
their home; which round has their images by now is found out on reading, by the names of the images.
"""

import os
from collections.abc import Collection
from pathlib import Path

from safe_dnn.store.places import absolute
from safe_dnn.support.entries import StrPath
from safe_dnn.support.files import read_record
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, FAILURES_MARK, ROUNDS_FOLDER


def names_in(folder: Path) -> frozenset[str]:
    """The images in a folder of failures or objects as SAFE wrote it; none if it did not, or the folder is gone."""
    try:
        text = (folder / FAILURES_MARK).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return frozenset()
    return frozenset(text.split("\n")) - {""}


def rounds_in(folder: Path) -> list[Path]:
    """The rounds that were kept in an output folder, the latest first."""
    try:
        rounds = [path for path in (folder / ROUNDS_FOLDER).iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    return sorted(rounds, key=lambda path: (len(path.name), path.name), reverse=True)


def place_of(home: Path, images: Collection[str]) -> Path:
    """Where the images of clusters are by now.

    Parameters
    ----------
    home : path
        Where they were when they were clustered.
    images : collection of str
        Their paths in that folder.

    Returns
    -------
    Path
        `home`, or the folder of failures of the latest kept round that has exactly these images or, if there is none,
        that has them all.
    """
    if home.name != FAILURES or not (rounds := rounds_in(home.parent)):
        return home
    wanted = frozenset(images)
    held = {folder: names_in(folder) for folder in (home, *(path / FAILURES for path in rounds))}
    having = [folder for folder, names in held.items() if names >= wanted]
    return next((folder for folder in having if held[folder] == wanted), having[0] if having else home)


def home_of(image_root: Path) -> Path:
    """Where the failures in a folder were when they were collected: for those of a kept round, the latest ones' folder.

    It stays the same when other failures are collected, so that it tells whether clusters are of the same DNN's.
    """
    if image_root.name == FAILURES and image_root.parent.parent.name == ROUNDS_FOLDER:
        return image_root.parent.parent.parent / FAILURES
    return image_root


def source_folder_of(image_root: Path) -> Path | None:
    """The test folder, in which the copies in a folder of failures have the same paths; None if SAFE made none."""
    made = image_root.name == FAILURES and (image_root.parent / FAILURES_FILE).is_file()
    return tested_by(image_root.parent) if made else None


def tested_by(folder: Path) -> Path | None:
    """The test folder that `accuracy.json` in a folder of failures names; None if there is none."""
    root = read_record(folder / ACCURACY_FILE).get("test_root")
    return Path(absolute(root, folder)) if isinstance(root, str) else None


def beside(path: StrPath, image_root: Path) -> Path:
    """A file or folder beside the failures that clusters are of, in the round that has their images by now."""
    path = Path(path)
    kept = image_root.parent / path.name
    return kept if path.parent == home_of(image_root).parent and os.path.lexists(kept) else path
