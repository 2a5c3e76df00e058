"""What a comparison with the images that the DNN gets right has written."""

from pathlib import Path

from store.runs import COMPARISON, Run


def of_comparison(folder: Path) -> Run:
    """The files in a folder as those of a comparison."""
    return Run(1, COMPARISON, "", "", {}, {}, folder)
