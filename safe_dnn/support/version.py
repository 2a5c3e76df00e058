"""The version of SAFE, as in CHANGELOG.md and CITATION.cff, and how this installation of it is called and extended."""

from safe_dnn import CLONE

VERSION = "2.10.0"
PROGRAM = "python SAFE_Tool.py" if CLONE else "safe-dnn"


def install(extra: str) -> str:
    """The command that installs what an option needs: an extra of the package, or that file of `requirements/`."""
    return f"pip install -r requirements/{extra}.txt" if CLONE else f"pip install 'safe-dnn[{extra}]'"
