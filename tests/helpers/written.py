"""The names of what SAFE writes, read from the code: each is a constant of the module that writes it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PACKAGES = ("support", "store", "rccs", "dnn", "reasons", "words", "training", "report", "api", "page")
_CONSTANT = re.compile(r'^[A-Z_]+_(FILE|FOLDER|MARK|ZIP) = "([^"]+)"', re.MULTILINE)
_SOURCES = [
    path.read_text(encoding="utf-8") for package in _PACKAGES for path in ROOT.glob(f"safe_dnn/{package}/**/*.py")
]
_NONE = {"classes.txt", "no_cluster", "pictures"}  # read, of YOLO; a folder of an export; an address of the page

NAMES = {(kind, name) for text in _SOURCES for kind, name in _CONSTANT.findall(text)}
FILES = {name for kind, name in NAMES if kind == "FILE"} - _NONE
WRITTEN = {name for _, name in NAMES} - _NONE | {"failures", "objects", ".safe"}
