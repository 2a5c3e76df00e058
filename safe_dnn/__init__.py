"""SAFE: why an image-processing DNN fails, and which images to label to repair it.

The paper's steps are `safe_dnn.FE`, `clustering`, `selection` and `retrain`, and `SAFE_Tool` is the command line. In a
clone these five files lie beside this folder; in an installation they lie in it (see `pyproject.toml`). For mypy and
editors, the `.pyi` files here say where they are in a clone. docs/architecture.md describes the packages.

Programs and notebooks call `safe_dnn.api`.
"""

import importlib
from pathlib import Path

_BESIDE = Path(__file__).parents[1]
CLONE = _BESIDE if (_BESIDE / "SAFE_Tool.py").is_file() else None
"""The folder of the clone that SAFE runs from; None if it was installed."""

if CLONE:
    __path__.append(str(CLONE))


def __getattr__(name: str) -> object:
    """`safe_dnn.api`, once it is used: a worker of a cluster does without."""
    if name != "api":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("safe_dnn.api")
