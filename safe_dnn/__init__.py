"""SAFE: why an image-processing DNN fails, and which images to label to repair it.

The paper's steps are `safe_dnn.FE`, `clustering`, `selection` and `retrain`, and `SAFE_Tool` is the command line. In a
clone these five files lie beside this folder; in an installation they lie in it (see `pyproject.toml`). For mypy and
editors, the `.pyi` files here say where they are in a clone. docs/architecture.md describes the packages.

Programs and notebooks call `safe_dnn.api`.
"""

from safe_dnn.support.version import CLONE
from safe_dnn.support.version import api_of_package as __getattr__  # noqa: F401, Python asks it for `safe_dnn.api`

if CLONE:
    __path__.append(str(CLONE))
