"""SAFE: why an image-processing DNN fails, and which images to label to repair it.

The paper's steps are `safe_dnn.FE`, `clustering`, `selection` and `retrain`, and `SAFE_Tool` is the command line. In a
clone these five files lie beside this folder; in an installation they lie in it (see `pyproject.toml`). For mypy and
editors, the `.pyi` files here say where they are in a clone. docs/architecture.md describes the packages.
"""

from pathlib import Path

_BESIDE = Path(__file__).parents[1]
CLONE = _BESIDE if (_BESIDE / "SAFE_Tool.py").is_file() else None
"""The folder of the clone that SAFE runs from; None if it was installed."""

if CLONE:
    __path__.append(str(CLONE))
