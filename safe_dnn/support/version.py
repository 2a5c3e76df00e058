"""The version of SAFE, as in CHANGELOG.md and CITATION.cff, and how this installation of it is called and extended."""

import importlib
from pathlib import Path

VERSION = "2.10.0"
_BESIDE = Path(__file__).parents[2]
CLONE = _BESIDE if (_BESIDE / "SAFE_Tool.py").is_file() else None
"""The folder of the clone that SAFE runs from; None if it was installed."""
PROGRAM = "python SAFE_Tool.py" if CLONE else "safe-dnn"


def install(extra: str) -> str:
    """The command that installs what an option needs: an extra of the package, or that file of `requirements/`."""
    return f"pip install -r requirements/{extra}.txt" if CLONE else f"pip install 'safe-dnn[{extra}]'"


def api_of_package(name: str) -> object:
    """`safe_dnn.api`, once it is used: a worker of a cluster does without."""
    if name != "api":
        raise AttributeError(f"module 'safe_dnn' has no attribute {name!r}")
    return importlib.import_module(f"safe_dnn.{name}")
